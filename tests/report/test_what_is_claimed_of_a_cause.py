"""A cause is claimed as far as it is shown, and what a reader is told to do can be done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import report_builder
from report_builder import (
    CASE,
    add_evidence,
    add_findings,
    add_picture,
    add_race,
    begin,
    findings_of,
    full_run,
)
from report_pages import chapter, page

from vecforensics.findings import Kind
from vecforensics.report import write_report
from vecforensics.run_folder import RunFolder, write_json


def calm_rehearsals(run: RunFolder, **of_the_witness: Any) -> None:
    """Rehearsals in which nothing failed, and a witness with other conditions."""
    runs = [
        {"side": side, "run": n, "wrong": 0, "records": 9} for side in ("before", "after") for n in range(20)
    ]
    write_json(run.rehearsal_json, {**report_builder.REHEARSAL, "runs": runs})
    found = json.loads(run.witness_json.read_text())
    found["witness"].update(of_the_witness)
    write_json(run.witness_json, found)


def test_a_race_that_no_rehearsal_meets_is_a_likely_cause_and_the_reader_is_told_why(tmp_path: Path) -> None:
    case, run = full_run(tmp_path, **findings_of({Kind.MISSING: 40, Kind.ZERO: 1}, {}))
    constraint = {
        "first": "a",
        "then": "b",
        "text": "embed(2) in the same round of the loop as embed(1)",
        "fault": "",
    }
    calm_rehearsals(run, granularity="fine", constraints=[constraint])
    report = write_report(case, run)
    assert "; likely cause of 40 missing rows: migration.js returns " in report.headline
    assert ", though in none of 20 rehearsals; not explained: 1 zero row; " in report.headline
    soup = page(report.html)
    assert "likely for 40 of 41 corrupt findings" in chapter(soup, "summary")
    assert "◇ likely" in chapter(soup, "cause")
    assert "● explained" not in chapter(soup, "cause")
    said = chapter(soup, "metrics")
    assert (
        "came up in none of 20 rehearsals: it needs two answers in the same round of the event loop" in said
    )
    assert "in none of 20 rehearsals did it come up" in chapter(soup, "limits")


def test_of_an_order_and_of_a_fault_it_is_said_why_no_rehearsal_met_them(tmp_path: Path) -> None:
    case, run = full_run(tmp_path)
    calm_rehearsals(run)
    assert "the order of answers that it needs did not come up" in chapter(
        page(write_report(case, run).html), "metrics"
    )
    calm_rehearsals(run, faults=["a=timeout"])
    assert "it needs a fault" in chapter(page(write_report(case, run).html), "metrics")


def test_a_race_that_some_rehearsal_meets_stays_the_cause(tmp_path: Path) -> None:
    case, run = full_run(tmp_path, **findings_of({Kind.MISSING: 40}, {}))
    runs = [{"side": "before", "run": n, "wrong": int(n == 3), "records": 9} for n in range(20)]
    write_json(run.rehearsal_json, {**report_builder.REHEARSAL, "runs": runs})
    report = write_report(case, run)
    assert "; cause: migration.js returns" in report.headline
    assert "Reproduced" in chapter(page(report.html), "summary")
    assert "came up in none" not in page(report.html).get_text()


def test_the_packages_own_strategy_is_not_offered_as_code_to_copy(tmp_path: Path) -> None:
    case, run = begin(tmp_path, CASE.replace("corrected: migration.corrected.js\n", ""))
    add_evidence(case, run)
    (run.evidence / "corrected.js").unlink()
    add_findings(run)
    add_race(run)
    corrected = json.loads(run.corrected_json.read_text())
    write_json(run.corrected_json, {**corrected, "suspect": "vecforensics.migrate.strategies.waves:migrate"})
    soup = page(write_report(case, run).html)
    code, actions = chapter(soup, "code"), chapter(soup, "actions")
    assert "from vecforensics.migrate.strategies.order import dependency_levels" in code
    assert "The case names no corrected form." in code
    assert "part of this package and imports from it" in code
    assert "Replace the code" not in actions
    assert "Give the code the order that this report shows under the corrected form" in actions
    own = page(write_report(*full_run(tmp_path / "own")).html)
    assert "Replace the code by the corrected form that this report shows" in chapter(own, "actions")
    assert "part of this package" not in chapter(own, "code")


def test_a_comparison_of_counts_is_a_reason_only_where_it_would_have_seen_little(tmp_path: Path) -> None:
    noticed = findings_of({Kind.MISSING: 400}, {Kind.MISSING: 5, Kind.MANGLED_ID: 200})
    text = chapter(page(write_report(*full_run(tmp_path, **noticed)).html), "cause")
    assert "users holds" not in text
    assert "posts holds 5,195 vectors for 5,200 records: a comparison of counts sees 5 rows amiss" in text
    assert "where 205 are corrupt" in text


def test_a_figure_that_tables_and_drawings_tell_already_stands_in_its_folder_only(tmp_path: Path) -> None:
    case, run = full_run(tmp_path)
    add_picture(run, "before-after.png", "Before and after", "reproduce")
    report = write_report(case, run)
    assert "before-after" not in report.html.read_text()
    assert "before-after" not in report.markdown.read_text()
    assert (run.figures / "before-after.png").is_file()
    assert page(report.html).select("#metrics img")


def test_a_caption_does_not_repeat_the_title_that_stands_in_the_figure(tmp_path: Path) -> None:
    case, run = full_run(tmp_path)
    captions = json.loads((run.figures / "captions.json").read_text())
    title = "Every simulated run fails"
    captions["failure-curve.png"] |= {"title": title, "alt": f"How likely a run fails. {title}"}
    write_json(run.figures / "captions.json", captions)
    soup = page(write_report(case, run).html)
    figure = soup.select_one("#metrics img[alt*='simulated run']")
    assert figure is not None
    assert title in str(figure["alt"])
    assert title not in figure.find_parent("figure").figcaption.get_text()


def test_a_case_without_a_title_is_headed_by_what_was_migrated(tmp_path: Path) -> None:
    case, run = begin(
        tmp_path, CASE.replace("title: Data corruption during PostPilot's vector migration\n", "")
    )
    add_evidence(case, run)
    heading = page(write_report(case, run).html).h1
    assert heading is not None
    assert heading.get_text(strip=True) == "Vector migration of users and posts"
