"""What a report says of a repair: planned, proved, not proved, taken back, or broken off on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_builder import (
    VERIFICATION,
    add_broken_repair,
    add_evidence,
    add_findings,
    add_plan,
    add_race,
    add_repair,
    begin,
    full_run,
)
from report_pages import chapter, page

from vecforensics.migrate.chain import State
from vecforensics.migrate.ledger import Ledger
from vecforensics.report import write_report


def test_a_planned_repair_is_called_a_plan_and_names_its_command(tmp_path: Path) -> None:
    case, run = begin(tmp_path)
    add_evidence(case, run)
    add_findings(run)
    add_race(run)
    add_plan(run)
    report = write_report(case, run)
    assert "2,431 of 7,200 records (33.8 %) in the target are corrupt" in report.headline
    assert report.headline.endswith("a repair is planned and not applied.")
    assert report.repaired is None
    soup = page(report.html)
    assert soup.find(id="repair-title").get_text(" ", strip=True).endswith("Repair plan")
    assert "--repair" in chapter(soup, "repair")
    assert "1,619" in chapter(soup, "repair")


@pytest.mark.parametrize(
    ("verdict", "says"),
    [
        ("corrupt", "repaired, but the verification still finds corruption."),
        ("unknown", "repaired, but not everything could be verified."),
        (None, "repaired, not verified."),
    ],
)
def test_a_repair_that_was_not_proved_clean_is_never_called_clean(
    tmp_path: Path, verdict: str | None, says: str
) -> None:
    case, run = begin(tmp_path)
    add_evidence(case, run)
    add_findings(run)
    add_race(run)
    add_repair(
        run, {**VERIFICATION, "verdict": verdict} if verdict else None, quarantined="refused: no vector"
    )
    report = write_report(case, run)
    assert report.headline.endswith(says)
    assert " are corrupt" in report.headline
    soup = page(report.html)
    assert "refused: no vector" in chapter(soup, "repair")
    assert "quarantined operation" in chapter(soup, "actions")


def test_a_repair_that_was_taken_back_is_no_repair(tmp_path: Path) -> None:
    case, run = full_run(tmp_path)
    with Ledger.open(run.ledger_sqlite) as ledger:
        ledger.advance([1, 2, 3, 4], State.ROLLED_BACK)
    report = write_report(case, run)
    assert report.headline.endswith("a repair was applied and taken back.")
    assert report.repaired is None
    text = chapter(page(report.html), "repair")
    assert "taken back to what stood there before" in text
    assert "Nothing stands in the target of the repair" in text


def test_a_repair_that_broke_off_is_no_repair_and_says_how_to_go_on(tmp_path: Path) -> None:
    case, run = begin(tmp_path)
    add_evidence(case, run)
    add_findings(run)
    add_broken_repair(run)
    report = write_report(case, run)
    told = "2 of 4 writes acknowledged, 1 read back, the outcome of 1 is unknown"
    assert report.headline.endswith(f"the repair broke off: {told}.")
    assert report.repaired is None
    soup = page(report.html)
    assert "Repair broke off" in chapter(soup, "summary")
    assert f"last entry: {told}" in chapter(soup, "timeline")
    text = chapter(soup, "repair")
    assert "A repair that broke off" in text
    assert "--repair" in text
    assert "--rollback" in text
    assert "Finish the repair, which broke off" in chapter(soup, "actions")


def test_a_roll_back_that_broke_off_says_how_much_was_put_back(tmp_path: Path) -> None:
    case, run = full_run(tmp_path)
    with Ledger.open(run.ledger_sqlite) as ledger:
        ledger.note("rollback", {})
        ledger.advance([1, 2, 3], State.ROLLED_BACK)
    report = write_report(case, run)
    assert report.headline.endswith("the roll-back of a repair broke off: 3 of 4 rows put back.")
    assert report.repaired is None
    assert "Finish the roll-back, which broke off" in chapter(page(report.html), "actions")
