"""A notebook failed, a kernel was killed, a file is damaged: the report comes out and says so, in its place, with the command."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from report_builder import add_evidence, add_findings, add_plan, add_race, begin, full_run

from vecforensics.case import Case
from vecforensics.errors import EvidenceError, RunLocked, ToolFailed
from vecforensics.findings import SEVERITY, Kind, Severity, Verdict
from vecforensics.report import write_report
from vecforensics.run_folder import RunFolder, write_json


def chapters(path: Path) -> dict[str, str]:
    soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    return {section["id"]: " ".join(section.get_text(" ").split()) for section in soup.find_all("section")}


def fail(run: RunFolder, stage: str, what: str) -> None:
    with pytest.raises(ToolFailed), run.stage(stage):
        raise ToolFailed(what)


def test_nothing_ran_yet(tmp_path: Path) -> None:
    case, run = begin(tmp_path)
    report = write_report(case, run)
    assert report.verdict is Verdict.UNKNOWN
    assert (
        report.headline
        == "Nothing is known about the target yet: the comparison of vectors has not been run."
    )
    found = chapters(report.html)
    assert len(found) == 12
    for chapter, verb in (
        ("damage", "diff"),
        ("cause", "race"),
        ("code", "race"),
        ("metrics", "race"),
        ("repair", "migrate"),
    ):
        assert "was not run" in found[chapter], chapter
        assert f"vecforensics {verb} reports/ERR-2026-57/{run.path.name}" in found[chapter], chapter


def test_failed_stage_gives_its_reason_and_the_command_that_runs_it_again(tmp_path: Path) -> None:
    case, run = begin(tmp_path)
    add_evidence(case, run)
    add_findings(run)
    fail(run, "reproduce", "the kernel died (exit code 137)")
    report = write_report(case, run)
    found = chapters(report.html)
    assert "The race laboratory failed: the kernel died (exit code 137)" in found["cause"]
    assert f"vecforensics race reports/ERR-2026-57/{run.path.name}" in found["cause"]
    assert "cause not examined" in report.headline
    assert "migration code explored: failed" in found["timeline"]
    assert "the kernel died" in report.summary.read_text(encoding="utf-8")


def test_killed_stage_is_called_interrupted_and_never_done(tmp_path: Path) -> None:
    case, run = begin(tmp_path)
    add_evidence(case, run)
    journal = run.journal()
    journal["stages"]["diff"] = {"status": "running", "began": "2026-11-24T08:00:00.000Z", "parameters": {}}
    write_json(run.run_json, journal)
    report = write_report(case, run)
    assert (
        report.headline == "Nothing is known about the target yet: the comparison of vectors did not finish."
    )
    assert "began and never ended" in chapters(report.html)["damage"]
    case_of = {c.get("name"): c for c in ET.parse(report.junit).iter("testcase")}
    assert case_of["diff"].find("error") is not None


def test_damaged_file_of_a_finished_stage_is_said(tmp_path: Path) -> None:
    case, run = full_run(tmp_path)
    run.findings_json.write_text('{"verdict": "clean", ')
    report = write_report(case, run)
    assert report.verdict is Verdict.UNKNOWN
    assert "ran, but its file cannot be read" in chapters(report.html)["damage"]


def test_damaged_ledger_and_drawing_do_not_stop_the_report(tmp_path: Path) -> None:
    case, run = full_run(tmp_path)
    run.ledger_sqlite.write_bytes(b"no database at all")
    (run.race / "swimlanes.svg").write_bytes(b"\xff\xfe broken")
    (run.evidence / "logs.jsonl").write_bytes(
        b'\xff{"level": 3}\n[]\n{"level": "error", "message": "still read"}\n'
    )
    report = write_report(case, run)
    found = chapters(report.html)
    assert "The ledger cannot be read" in found["repair"]
    assert "step by step" in found["trace"]
    assert "still read" in found["trace"]
    assert "not repaired" in report.headline or "planned and not applied" in report.headline


def test_run_that_another_process_works_on_is_refused(tmp_path: Path) -> None:
    import subprocess
    import sys

    case, run = begin(tmp_path)
    hold = (
        f"import sys; from filelock import FileLock\n"
        f"with FileLock({str(run.path / '.lock')!r}):\n    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunLocked):
            write_report(case, run)
        other.communicate("")
    assert write_report(case, run).html.is_file()


def test_no_run_json_is_one_clear_line(tmp_path: Path) -> None:
    case, run = begin(tmp_path)
    run.run_json.unlink()
    with pytest.raises(EvidenceError, match="has not been made yet"):
        write_report(case, run)


def test_same_run_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    case, run = full_run(tmp_path)
    names = ("incident-report.html", "incident-report.md", "junit.xml", "summary.md", "manifest.json")
    write_report(case, run)
    first = {name: (run.path / name).read_bytes() for name in names}
    write_report(case, run)
    assert {name: (run.path / name).read_bytes() for name in names} == first


def test_rewriting_the_report_leaves_every_other_file_alone(tmp_path: Path) -> None:
    case, run = full_run(tmp_path)
    before = {
        path: path.read_bytes() for path in run.path.rglob("*") if path.is_file() and path.name != "run.json"
    }
    write_report(case, run)
    assert {path: path.read_bytes() for path in before} == before


@pytest.fixture
def ci(tmp_path: Path) -> tuple[Case, RunFolder, dict[tuple[str, str], ET.Element]]:
    case, run = begin(tmp_path)
    add_evidence(case, run)
    add_findings(run)
    add_race(run)
    add_plan(run)
    report = write_report(case, run)
    cases = {(c.get("classname", ""), c.get("name", "")): c for c in ET.parse(report.junit).iter("testcase")}
    return case, run, cases


def test_junit_has_a_case_per_collection_and_corrupt_kind(
    ci: tuple[Case, RunFolder, dict[tuple[str, str], ET.Element]],
) -> None:
    _, run, cases = ci
    corrupt = [kind.value for kind in Kind if SEVERITY[kind] is Severity.CORRUPT]
    for collection in ("users", "posts"):
        here = [name for place, name in cases if place == f"ERR-2026-57.{collection}"]
        assert here == [*corrupt, "unchecked"]
    failure = cases["ERR-2026-57.users", "missing"].find("failure")
    assert failure is not None
    assert (
        failure.get("message") == "412 findings in 2,000 records: a source record has no vector in the target"
    )
    assert failure.text == "source '12345'"
    assert cases["ERR-2026-57.users", "swapped"].find("failure") is None
    assert cases["ERR-2026-57.stages", "repair verified"].find("skipped") is not None
    root = ET.parse(run.junit_xml).getroot()
    assert int(root.get("tests", "0")) == len(cases)
    assert int(root.get("failures", "0")) == sum(c.find("failure") is not None for c in cases.values()) == 6


def test_green_never_means_not_looked_at(tmp_path: Path) -> None:
    from report_builder import findings_of

    case, run = begin(tmp_path)
    add_evidence(case, run)
    add_findings(run, **findings_of({Kind.UNCHECKED: 200}, {}))
    root = ET.parse(write_report(case, run).junit).getroot()
    unchecked = next(
        c for c in root.iter("testcase") if c.get("name") == "unchecked" and "users" in c.get("classname", "")
    )
    skipped = unchecked.find("skipped")
    assert skipped is not None
    assert skipped.get("message") == "200 of 2,000 records could not be checked"
    verdict = next(c for c in root.iter("testcase") if c.get("name") == "verdict")
    assert verdict.find("skipped") is not None
