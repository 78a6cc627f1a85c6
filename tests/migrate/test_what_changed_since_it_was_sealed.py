"""Evidence and findings that are not what was diffed or sealed: nothing is written by them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from migration_scene import Scene
from test_repair import corrupted

from vecforensics.cli import main
from vecforensics.diff import diff_vectors
from vecforensics.errors import EvidenceError
from vecforensics.findings import Verdict
from vecforensics.investigation import Investigation
from vecforensics.run_folder import RunFolder


def swap_ids(run: RunFolder) -> None:
    """Other records in the findings, as many as before."""
    table = pq.read_table(run.findings_parquet)
    ids = table["source_id"].to_pylist()
    at = table.schema.get_field_index("source_id")
    changed = table.set_column(at, table.schema.field(at), [ids[1:] + ids[:1]])
    pq.write_table(changed, run.findings_parquet)


def drop_a_finding(run: RunFolder) -> None:
    pq.write_table(pq.read_table(run.findings_parquet).slice(1), run.findings_parquet)


def edit(name: str, was: str, now: str) -> Callable[[RunFolder], None]:
    def change(run: RunFolder) -> None:
        file = run.path / name
        text = file.read_text()
        assert was in text
        file.write_text(text.replace(was, now))

    return change


def forge_the_index(run: RunFolder) -> None:
    """The evidence's own index says what the evidence now is."""
    index = run.evidence / "evidence.json"
    content = json.loads(index.read_text())
    name = next(one for one in content["files"] if "source" in one)
    file = run.evidence / name
    file.write_bytes(file.read_bytes() + b"\0")
    content["files"][name] = hashlib.sha256(file.read_bytes()).hexdigest()
    index.write_text(json.dumps(content))


SEALED = {
    "findings of other records": swap_ids,
    "a finding gone": drop_a_finding,
    "findings in words": edit("findings.json", "corrupt", "clean  "),
    "the index of the evidence": forge_the_index,
    "the frozen case": edit("evidence/case.yaml", "SCENE-1", "SCENE-2"),
    "the inputs": edit("evidence/inputs.json", "sha256", "sha255"),
}


@pytest.mark.parametrize("change", SEALED)
def test_after_the_seal_nothing_is_written_by_what_changed(
    tmp_path: Path, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = corrupted(tmp_path)
    Investigation(scene.case, scene.run).report()
    before = scene.dump()
    SEALED[change](scene.run)
    with pytest.raises(EvidenceError, match="is not what was sealed, and no stage of this run wrote it"):
        scene.migrate("repair")
    assert main(["migrate", str(scene.run.path), "--repair"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (scene.dump(), scene.run.ledger_sqlite.exists()) == (before, False)


def test_what_our_own_stages_write_after_the_seal_is_no_reason(tmp_path: Path) -> None:
    scene = corrupted(tmp_path)
    inv = Investigation(scene.case, scene.run)
    inv.report()
    inv.diff(sample=35)
    inv.migrate("plan")
    scene.run.notes_md.write_text("checked by hand")
    assert inv.migrate("repair").mode == "repair"
    assert inv.migrate("repair").resumed


@pytest.mark.parametrize(("name", "refused"), [("evidence/case.yaml", True), ("findings.json", False)])
def test_the_journal_accounts_for_findings_and_never_for_evidence(
    tmp_path: Path, name: str, refused: bool
) -> None:
    scene = corrupted(tmp_path)
    Investigation(scene.case, scene.run).report()
    file = scene.run.path / name
    file.write_text(file.read_text() + "\n")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    scene.run.note(since_seal={name: {"sha256": digest, "by": "diff", "at": "2026-11-29T00:00:00Z"}})
    if refused:
        with pytest.raises(EvidenceError, match=r"evidence/case\.yaml is not what was sealed"):
            scene.migrate("repair")
    else:
        assert scene.migrate("repair").verdict is Verdict.CLEAN


@pytest.mark.parametrize("change", ["a finding gone", "other evidence"])
def test_without_a_seal_findings_have_to_be_what_diff_says_of_this_evidence(
    tmp_path: Path, change: str
) -> None:
    scene = corrupted(tmp_path)
    if change == "a finding gone":
        drop_a_finding(scene.run)
    else:
        edit("findings.json", '"evidence_digest": "', '"evidence_digest": "0')(scene.run)
    with pytest.raises(EvidenceError, match="are not what diff found in this evidence"):
        scene.migrate("repair")
    diff_vectors(scene.case, scene.run)
    assert scene.migrate("repair").verdict is Verdict.CLEAN


def test_a_rollback_is_never_refused_for_it(tmp_path: Path) -> None:
    scene = corrupted(tmp_path)
    before = scene.dump()
    scene.migrate("repair")
    Investigation(scene.case, scene.run).report()
    swap_ids(scene.run)
    scene.migrate("rollback")
    assert scene.dump() == before


def test_a_damaged_manifest_is_one_line(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.run.manifest_json.write_text("{")
    with pytest.raises(EvidenceError, match="is damaged"):
        scene.migrate("apply")
