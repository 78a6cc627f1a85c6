"""After the run was sealed somebody changes, removes or adds something; or nobody does."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from report_builder import CASE, add_evidence, add_findings, begin, full_run, make_case

from vecforensics.case import Case
from vecforensics.custody import digest_of, inputs_of, record_inputs, verify_run, write_manifest
from vecforensics.errors import EvidenceError
from vecforensics.migrate.ledger import check_ledger
from vecforensics.report import write_report
from vecforensics.run_folder import RunFolder, write_json


@pytest.fixture
def sealed(tmp_path: Path) -> tuple[Case, RunFolder]:
    case, run = full_run(tmp_path)
    write_report(case, run)
    return case, run


def test_untouched_run_is_intact_and_checking_twice_leaves_no_trace(sealed: tuple[Case, RunFolder]) -> None:
    _, run = sealed
    before = sorted(path for path in run.path.rglob("*"))
    first, second = verify_run(run), verify_run(run)
    assert first == second
    assert first.intact
    assert first.inputs_changed == ()
    assert first.checked > 15
    assert str(first).startswith("intact: all ")
    assert sorted(path for path in run.path.rglob("*")) == before


def test_every_sealed_file_is_watched(sealed: tuple[Case, RunFolder]) -> None:
    _, run = sealed
    for name in json.loads(run.manifest_json.read_text())["outputs"]:
        if name == "run.json":
            continue
        path = run.path / name
        data = path.read_bytes()
        path.write_bytes(data + b" ")
        assert verify_run(run).changed == (name,)
        path.unlink()
        assert verify_run(run).missing == (name,)
        path.write_bytes(data)
    assert verify_run(run).intact


def test_a_file_that_came_along_is_extra(sealed: tuple[Case, RunFolder]) -> None:
    _, run = sealed
    (run.evidence / "planted.arrow").write_bytes(b"x")
    custody = verify_run(run)
    assert custody.extra == ("evidence/planted.arrow",)
    assert not custody.intact
    assert "extra:   evidence/planted.arrow" in str(custody)


def test_notes_may_be_amended_after_sealing(sealed: tuple[Case, RunFolder]) -> None:
    case, run = sealed
    run.notes_md.write_text("a first thought")
    assert verify_run(run).amended == ("notes.md",)
    write_report(case, run)
    assert verify_run(run).amended == ()
    run.notes_md.write_text("a second thought")
    custody = verify_run(run)
    assert custody.amended == ("notes.md",)
    assert custody.intact
    run.notes_md.unlink()
    assert verify_run(run).missing == ("notes.md",)


def test_the_end_of_the_run_may_be_noted_and_a_stage_may_not_be_altered(
    sealed: tuple[Case, RunFolder],
) -> None:
    _, run = sealed
    run.note(status="done", ended="2026-11-24T10:00:00Z")
    assert verify_run(run).intact
    journal = run.journal()
    journal["stages"]["diff"]["ended"] = "2026-11-24T00:00:00Z"
    write_json(run.run_json, journal)
    assert verify_run(run).changed == ("run.json",)


def test_an_input_that_lives_on_is_named_and_does_not_break_the_run(sealed: tuple[Case, RunFolder]) -> None:
    case, run = sealed
    (case.folder / "users.jsonl").write_text('{"user_id": "2", "name": "b"}\n')
    (case.folder / "target" / "data.lance").write_bytes(b"repaired")
    custody = verify_run(run)
    assert custody.inputs_changed == ("source of users users.jsonl", "target lancedb:target")
    assert custody.intact


def test_manifest_tells_inputs_before_and_after(tmp_path: Path) -> None:
    case, run = begin(tmp_path)
    add_evidence(case, run)
    was = digest_of(case.folder / "migration.log")[0]
    (case.folder / "migration.log").write_text("INFO: rewritten\n")
    write_report(case, run)
    manifest = json.loads(run.manifest_json.read_text())
    log = next(row for row in manifest["inputs"] if row["role"] == "log")
    assert log["before"] == was
    assert log["after"] == hashlib.sha256(b"INFO: rewritten\n").hexdigest()
    assert log["changed"] is True
    assert {"python", "vecforensics", "numpy"} <= manifest["tools"].keys()
    assert "changed since" in run.report_md.read_text(encoding="utf-8")


def test_evidence_that_is_not_what_collect_froze_is_changed_even_if_the_manifest_agrees(
    tmp_path: Path,
) -> None:
    case, run = begin(tmp_path)
    add_evidence(case, run)
    frozen = {"users/source-0000.arrow": hashlib.sha256(b"frozen").hexdigest()}
    write_json(run.evidence / "evidence.json", {"files": frozen, "collections": {}})
    write_manifest(case, run)
    assert verify_run(run).intact
    (run.evidence / "users" / "source-0000.arrow").write_bytes(b"forged")
    write_manifest(case, run)
    assert verify_run(run).changed == ("evidence/users/source-0000.arrow",)


def test_what_a_manifest_vouches_for_is_on_the_disk_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, run = begin(tmp_path)
    add_evidence(case, run)
    synced: list[tuple[int, int]] = []
    fsync = os.fsync

    def noted(handle: int) -> None:
        fsync(handle)
        entry = os.fstat(handle)
        synced.append((entry.st_ino, entry.st_size))

    monkeypatch.setattr(os, "fsync", noted)
    write_manifest(case, run)

    def when(path: Path) -> int:
        return synced.index((path.stat().st_ino, path.stat().st_size))

    outputs = json.loads(run.manifest_json.read_text())["outputs"]
    folders = {path.parent for path in map(run.path.joinpath, outputs)}
    assert len(outputs) > 3
    assert max(when(path) for path in (*map(run.path.joinpath, outputs), *folders)) < when(run.manifest_json)


def test_ledger_whose_chain_is_broken_is_reported(sealed: tuple[Case, RunFolder]) -> None:
    _, run = sealed
    assert verify_run(run, check_ledger=lambda path: "").intact
    custody = verify_run(run, check_ledger=lambda path: "the chain breaks at entry 3")
    assert not custody.intact
    assert "the chain breaks at entry 3" in str(custody)
    assert check_ledger(run.ledger_sqlite) == ""


def test_no_manifest_and_a_damaged_one_are_one_clear_line(tmp_path: Path) -> None:
    case, run = begin(tmp_path)
    with pytest.raises(EvidenceError, match="has not been made yet"):
        verify_run(run)
    write_manifest(case, run)
    write_json(run.manifest_json, {"outputs": []})
    with pytest.raises(EvidenceError, match="no outputs or inputs"):
        verify_run(run)


def test_manifest_with_hostile_names_reads_nothing_outside(sealed: tuple[Case, RunFolder]) -> None:
    _, run = sealed
    manifest = json.loads(run.manifest_json.read_text())
    manifest["outputs"]["../../../../etc/hostname"] = {"sha256": "0" * 64}
    manifest["outputs"]["\x1b[2Jred"] = None
    manifest["inputs"].append({"role": "log", "name": "/etc/hostname", "after": "0" * 64})
    write_json(run.manifest_json, manifest)
    custody = verify_run(run)
    assert custody.missing == ("\x1b[2Jred", "../../../../etc/hostname")
    assert "\x1b" not in str(custody)
    assert custody.inputs_changed == ("log /etc/hostname",)


def test_folder_digest_is_the_one_that_the_shell_prints(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two").write_bytes(b"2")
    (tmp_path / "a").write_bytes(b"1")
    script = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    said = subprocess.run(script, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert digest_of(tmp_path) == (said.split()[0], 2)


def test_inputs_that_are_no_local_files_are_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = CASE.replace("uri: users.jsonl", "uri: env:NOT_SET_ANYWHERE").replace(
        '"lancedb:target"', '"pinecone:index"'
    )
    monkeypatch.delenv("NOT_SET_ANYWHERE", raising=False)
    case = make_case(tmp_path, text.replace("suspect: migration.js", "suspect: package.module:migrate"))
    found = {(item.role, item.name): item for item in inputs_of(case)}
    assert found["source of users", "env:NOT_SET_ANYWHERE"].sha256 is None
    assert "not set" in found["source of users", "env:NOT_SET_ANYWHERE"].note
    assert "not a local file" in found["target", "pinecone:index"].note
    assert "not a local file" in found["suspect", "package.module:migrate"].note
    assert found["source of posts", "posts.jsonl"].sha256 is not None


def test_collect_writes_down_what_the_inputs_were(tmp_path: Path) -> None:
    case, run = begin(tmp_path)
    found = record_inputs(case, run)
    written = json.loads((run.evidence / "inputs.json").read_text())["inputs"]
    assert [(row["role"], row["name"]) for row in written] == [(item.role, item.name) for item in found]
    assert {item.role for item in found} == {
        "source of users",
        "source of posts",
        "target",
        "log",
        "suspect",
        "corrected",
    }


def test_report_states_the_custody_of_inputs(tmp_path: Path) -> None:
    case, run = begin(tmp_path)
    add_evidence(case, run)
    add_findings(run)
    text = write_report(case, run).markdown.read_text(encoding="utf-8")
    assert text.count("● unchanged") == 6
    assert "vecforensics verify" in text
