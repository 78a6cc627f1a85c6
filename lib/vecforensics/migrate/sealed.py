"""Whether what a migration goes by is still what was diffed, and what was sealed where there is a seal already.

The frozen evidence has digests of its own (`Evidence.verify`); the index that holds them and the findings are looked at here.
Only what decides about writes counts: other files of a run folder may change, and `vecforensics verify` speaks of them.
Findings that a later diff of the same run wrote are as good as the sealed ones, since the journal accounts for them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vecforensics.errors import EvidenceError
from vecforensics.evidence import Evidence
from vecforensics.run_folder import RunFolder

__all__ = ["refuse_what_changed"]


def refuse_what_changed(run: RunFolder, evidence: Evidence) -> None:
    """Raises EvidenceError where the evidence or the findings are not what they were."""
    if run.manifest_json.is_file():
        _as_sealed(run)
    if run.findings_json.is_file() and run.findings_parquet.is_file():
        _as_diffed(run, evidence)


def _as_sealed(run: RunFolder) -> None:
    sealed = _entries(run.read_json(run.manifest_json, made_by="report"), "outputs")
    since = _entries(run.journal(), "since_seal")
    for name in sorted(sealed):
        frozen = name.startswith("evidence/")
        if frozen or name in ("findings.json", "findings.parquet"):
            found = _sha256(run.path / name)
            # Nothing of this run writes evidence again.
            again = None if frozen else since.get(name, {}).get("sha256")
            if found is None or found not in (sealed[name].get("sha256"), again):
                raise EvidenceError(
                    f"{name} is not what was sealed, and no stage of this run wrote it",
                    where=str(run.path),
                    hint=f"Begin a new run; what else changed says: vecforensics verify {run.path}",
                )


def _as_diffed(run: RunFolder, evidence: Evidence) -> None:
    said = run.read_json(run.findings_json, made_by="diff")
    counts = {
        (name, kind): count
        for name, one in _entries(said, "collections").items()
        for kind, count in _entries({"counts": one.get("counts")}, "counts", int).items()
        if count
    }
    if said.get("evidence_digest") != evidence.digest or counts != _counted(run.findings_parquet):
        raise EvidenceError(
            "are not what diff found in this evidence (findings.json beside them says otherwise)",
            where=str(run.findings_parquet),
            hint=f"Make them again: vecforensics diff {run.path}",
        )


def _counted(findings: Path) -> Counter[tuple[str, str]]:
    """Findings by collection and kind. Raises EvidenceError where they cannot be read."""
    counts: Counter[tuple[str, str]] = Counter()
    try:
        for batch in pq.ParquetFile(findings).iter_batches(columns=["collection", "kind"]):
            counts.update(zip(batch["collection"].to_pylist(), batch["kind"].to_pylist(), strict=True))
    except (pa.ArrowException, OSError) as error:
        raise EvidenceError(f"cannot be read ({error})", where=str(findings), hint="Run diff again") from None
    return counts


def _entries(of: dict[str, Any], key: str, kind: type = dict) -> dict[str, Any]:
    """The entries of one kind below a key of a file that a stranger may have written."""
    found = of.get(key)
    return (
        {name: one for name, one in found.items() if isinstance(one, kind)} if isinstance(found, dict) else {}
    )


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
