"""The frozen plan: everything that a migration is going to do, settled before the first write.

Nothing is decided while writing. Which records are written and in which chunks, which rows are removed and why, who is
quarantined from the start: all of it follows from the evidence, the findings and the case file, so planning again gives the same
plan, and a resumed run can prove that it goes on with the one that it began. `migration/plan.json` holds it whole.

A row is only ever removed where the diff proved that it stands for nothing (`orphan`) or for a record that this plan writes under
its right id (`mangled_id`, `duplicate`). Before anything else the mapping of ids is proved injective: no two records may land on
one key of one store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from vecforensics.case import Case
from vecforensics.errors import CaseError, EvidenceError
from vecforensics.evidence import Evidence
from vecforensics.migrate.chain import Operation
from vecforensics.migrate.outline import Key, Outline, outline
from vecforensics.migrate.place import spot
from vecforensics.migrate.wanted import Wanted, from_findings
from vecforensics.records import NO_ID, canonical_json
from vecforensics.run_folder import RunFolder

__all__ = ["CHUNK_ROWS", "QUARANTINE", "Chunk", "Plan", "differences", "make_plan"]

FORMAT: Final = 1
# Vectors of one chunk lie in memory at once: 4,096 × 1,536 × 4 bytes are 25 MB.
CHUNK_ROWS: Final = 4_096
QUARANTINE: Final = -1
_NO_ID: Final = "no store finds a row whose id is null: remove it by hand, and what stands under the text 'null' beside it"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Operations that are checkpointed together. `kind`: "upsert" or "delete". `keys` in the order of writing."""

    number: int
    kind: str
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done. `because`: for each removal, why; `quarantined`: key → reason, never written; or, of a row that
    no store finds, never removed.

    `left`: findings by kind that no writing mends (nothing is planned for them). `stand_ins`: record → the wrong ids under which
    rows of it stand; it follows from the findings.
    """

    mode: str
    settings: Mapping[str, Any]
    chunks: tuple[Chunk, ...]
    because: Mapping[Key, Mapping[str, Any]] = field(default_factory=dict)
    quarantined: Mapping[Key, str] = field(default_factory=dict)
    left: Mapping[str, int] = field(default_factory=dict)
    stand_ins: Mapping[Key, tuple[str, ...]] = field(default_factory=dict)

    def counts(self) -> dict[str, dict[str, int]]:
        """Collection → upsert, delete, quarantine."""
        table = {name: {"upsert": 0, "delete": 0, "quarantine": 0} for name in self.settings["collections"]}
        for chunk in self.chunks:
            for collection, _ in chunk.keys:
                table[collection][chunk.kind] += 1
        for collection, _ in self.quarantined:
            table[collection]["quarantine"] += 1
        return table

    def operations(self) -> Iterator[Operation]:
        """The operations as the ledger keeps them, numbered from 1; the quarantined ones last, in chunk -1."""
        number = 0
        for chunk in self.chunks:
            for key in chunk.keys:
                number += 1
                yield Operation(
                    number, chunk.number, chunk.kind, *key, canonical_json(self.because.get(key, {}))
                )
        for key, reason in self.quarantined.items():
            number += 1
            yield Operation(number, QUARANTINE, "upsert", *key, canonical_json({"refused": reason}))

    def as_dict(self) -> dict[str, Any]:
        """The content of plan.json. `digest` covers all the rest."""
        content = {
            "format": FORMAT,
            "mode": self.mode,
            "settings": dict(self.settings),
            "counts": self.counts(),
            "chunks": [
                {"number": chunk.number, "kind": chunk.kind, "operations": _runs(chunk.keys)}
                for chunk in self.chunks
            ],
            "deletes": [{"collection": c, "id": i, **why} for (c, i), why in self.because.items()],
            "quarantined": [
                {"collection": c, "id": i, "reason": reason} for (c, i), reason in self.quarantined.items()
            ],
            "left_as_it_is": dict(self.left),
        }
        return {**content, "digest": hashlib.sha256(canonical_json(content).encode()).hexdigest()}


def _runs(keys: tuple[Key, ...]) -> list[list[Any]]:
    """Keys as [collection, [ids]] runs, so that a collection's name is not repeated for each id."""
    runs: list[list[Any]] = []
    for collection, record_id in keys:
        if not runs or runs[-1][0] != collection:
            runs.append([collection, []])
        runs[-1][1].append(record_id)
    return runs


def make_plan(case: Case, run: RunFolder, evidence: Evidence, *, mode: str, strategy: str) -> Plan:
    """The plan of `mode` ("apply" or "repair"). Raises CaseError or EvidenceError where there can be none."""
    order = outline(evidence, case)
    _prove_injective(case, order)
    if run.findings_parquet.is_file():
        wanted = from_findings(run.findings_parquet, case, order)
    elif mode == "repair":
        raise EvidenceError(
            "there are no findings to repair",
            where=str(run.findings_parquet),
            hint=f"Run first: vecforensics diff {run.path}",
        )
    else:
        wanted = Wanted()
    chosen = wanted.upserts if mode == "repair" else None
    if mode == "repair":
        refused = {key: why for key, why in order.refused.items() if key[1] in wanted.upserts.get(key[0], ())}
    else:
        refused = dict(order.refused)
    by_hand = {key for key in wanted.deletes if key[1] == NO_ID and evidence.collection(key[0]).without_id}
    refused |= dict.fromkeys(sorted(by_hand), _NO_ID)
    chunks = [Chunk(n, "upsert", keys) for n, keys in enumerate(_chunked(order.in_order(chosen)))]
    needed = {collection for chunk in chunks for collection, _ in chunk.keys}
    for collection in sorted(needed):
        if case.collections[collection].expected is None:
            raise CaseError(
                f"nobody knows the right vectors of {collection!r}, so there is nothing to write",
                where=f"collections.{collection}.expected",
                hint="Name an embedder, a column or another store there",
            )
    ranks = {name: rank for rank, name in enumerate(reversed(list(order.levels)))}
    doomed = sorted(wanted.deletes.keys() - by_hand, key=lambda key: (ranks[key[0]], key[1]))
    chunks += [Chunk(n, "delete", keys) for n, keys in enumerate(_chunked(iter(doomed)), start=len(chunks))]
    return Plan(
        mode=mode,
        settings=_settings(case, run, evidence, strategy),
        chunks=tuple(chunks),
        because={key: wanted.deletes[key] for key in doomed},
        quarantined=refused,
        left=wanted.left,
        stand_ins=wanted.stand_ins,
    )


def _chunked(keys: Iterator[Key]) -> Iterator[tuple[Key, ...]]:
    while chunk := tuple(islice(keys, CHUNK_ROWS)):
        yield chunk


def _prove_injective(case: Case, order: Outline) -> None:
    """Raises CaseError where two records of different collections would stand under one key of one store."""
    places: dict[tuple[str, str], list[str]] = {}
    for name, one in case.collections.items():
        places.setdefault(spot(one.target), []).append(name)
    for (uri, target), names in sorted(places.items()):
        taken: dict[str, str] = {}
        for name in names if len(names) > 1 else ():
            for record_id in order.levels[name]:
                if record_id in taken:
                    raise CaseError(
                        f"{taken[record_id]}/{record_id} and {name}/{record_id} would be one row of {target or uri!r}",
                        where=uri,
                        hint="Give each collection a target of its own",
                    )
                taken[record_id] = name


def _settings(case: Case, run: RunFolder, evidence: Evidence, strategy: str) -> dict[str, Any]:
    """Everything that decides what is written. References to secrets stay references."""
    findings = run.findings_parquet
    return {
        "strategy": strategy,
        "chunk_rows": CHUNK_ROWS,
        "tolerance_cosine": case.tolerance.cosine,
        "evidence": evidence.digest,
        "findings": _sha256(findings) if findings.is_file() else None,
        "collections": {
            name: {
                "target": one.target.model_dump(),
                "expected": one.expected.model_dump() if one.expected else None,
                "code": _code_digest(case, one.expected.embedder) if one.expected else None,
                "source": evidence.collection(name).digests["source"],
                "records": evidence.collection(name).rows["source"],
            }
            for name, one in case.collections.items()
        },
    }


def _code_digest(case: Case, embedder: str | None) -> str | None:
    """SHA-256 of the file that a `file.py:function` embedder lies in: other code gives other vectors."""
    file, _, _ = (embedder or "").rpartition(":")
    path = case.path(file) if file.endswith(".py") else None
    return _sha256(path) if path is not None and path.is_file() else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differences(frozen: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of plan `frozen` is no longer so in plan `now`, for the refusal to resume; settings by their name."""
    changed = [key for key in ("format", "mode") if frozen.get(key) != now.get(key)]
    before, after = frozen.get("settings", {}), now.get("settings", {})
    changed += sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
    if not changed and frozen.get("digest") != now.get("digest"):
        changed.append("operations")
    return changed
