"""A reader opens the report: the sentence at the top, the chapters in their order, figures that are those of the files."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from report_builder import (
    CASE,
    add_evidence,
    add_findings,
    add_race,
    begin,
    findings_of,
    full_run,
    make_case,
)
from report_pages import chapter, page

from vecforensics.errors import CaseError
from vecforensics.findings import SEVERITY, Kind, Severity, Verdict
from vecforensics.report import write_report
from vecforensics.report.account import read_account
from vecforensics.report.headline import headline

CHAPTERS = [
    "summary",
    "trace",
    "cause",
    "code",
    "metrics",
    "timeline",
    "damage",
    "repair",
    "actions",
    "limits",
    "custody",
    "reproduction",
]


def test_repaired_incident_headline_says_how_much_where_why_and_that_it_is_clean_now(tmp_path: Path) -> None:
    report = write_report(*full_run(tmp_path))
    assert report.headline == (
        "2,431 of 7,200 records (33.8 %) in the target were corrupt, in users and posts; "
        "cause of 1,616 missing, 402 mangled id and 400 dangling rows: migration.js returns while its own writes are still "
        "under way; "
        "not explained: 13 swapped rows; repaired and verified clean."
    )
    assert report.verdict is Verdict.CORRUPT
    assert report.repaired is Verdict.CLEAN
    assert report.headline in str(report)
    assert "33.8 %" in report._repr_html_()


@pytest.mark.parametrize(
    ("users", "says", "tile"),
    [
        ({Kind.MISSING: 103}, "; cause: migration.js returns while", "Reproduced in schedule 2 of 41"),
        (
            {Kind.MISSING: 103, Kind.ZERO: 5, Kind.SHIFTED: 12},
            "; cause of 103 missing rows: migration.js returns while its own writes are still under way; "
            "not explained: 12 shifted and 5 zero rows; ",
            "In part reproduced for 103 of 120 corrupt findings",
        ),
        (
            {
                Kind.MISSING: 103,
                **dict.fromkeys((Kind.ORPHAN, Kind.SWAPPED, Kind.ZERO, Kind.STALE, Kind.PARTIAL), 7),
            },
            "; not explained: 35 findings of 5 other kinds; ",
            "In part reproduced for 103 of 138 corrupt findings",
        ),
        (
            {Kind.ZERO: 5},
            "; cause not found: migration.js returns while its own writes are still under way, which explains none of this "
            "damage; ",
            "Not found explains none of 5 corrupt findings",
        ),
    ],
)
def test_the_cause_is_claimed_for_the_kinds_that_it_produces_and_no_others(
    tmp_path: Path, users: dict[Kind, int], says: str, tile: str
) -> None:
    report = write_report(*full_run(tmp_path, **findings_of(users, {})))
    assert says in report.headline
    assert tile in chapter(page(report.html), "summary")
    assert says.strip("; ") in report.summary.read_text()


def test_references_that_are_broken_in_the_source_are_no_codes_fault_and_no_repairs_task(
    tmp_path: Path,
) -> None:
    found = findings_of({Kind.MISSING: 3}, {Kind.DANGLING: 14})
    found["collections"]["posts"]["broken_references"] = 10
    case, run = begin(tmp_path)
    add_evidence(case, run)
    add_findings(run, **found)
    add_race(run)
    report = write_report(case, run)
    assert (
        "cause: migration.js returns while its own writes are still under way (10 dangling references to no record of the "
        "source left aside)"
    ) in report.headline
    soup = page(report.html)
    assert "Reproduced" in chapter(soup, "summary")
    assert "Mend 10 references in the source" in chapter(soup, "actions")
    assert "can only be mended there" in chapter(soup, "actions")
    assert "Repair what the diff proved bad" in chapter(soup, "actions")
    found = findings_of({}, {Kind.DANGLING: 10})
    found["collections"]["posts"]["broken_references"] = 10
    add_findings(run, **found)
    report = write_report(case, run)
    assert "which explains none of this damage" in report.headline
    assert "broken in the source" in chapter(page(report.html), "cause")
    assert "Repair what the diff proved bad" not in chapter(page(report.html), "actions")


def test_all_chapters_stand_in_the_fixed_order_in_html_and_markdown(tmp_path: Path) -> None:
    report = write_report(*full_run(tmp_path))
    soup = page(report.html)
    assert [section["id"] for section in soup.find_all("section")] == CHAPTERS
    titles = [
        soup.find(id=f"{anchor}-title").get_text(" ", strip=True).split(" ", 1)[1] for anchor in CHAPTERS
    ]
    in_markdown = re.findall(r"^## \d+\. (.*)$", report.markdown.read_text(encoding="utf-8"), re.MULTILINE)
    assert in_markdown == titles


def test_page_is_accessible_headings_in_order_tables_with_headers_images_with_words(tmp_path: Path) -> None:
    report = write_report(*full_run(tmp_path))
    soup = page(report.html)
    levels = [int(heading.name[1]) for heading in soup.find_all(re.compile("^h[1-6]$"))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    tables = soup.find_all("table")
    assert tables
    for table in tables:
        assert table.caption.get_text(strip=True)
        assert all(cell.get("scope") == "col" for cell in table.thead.find_all("th"))
        assert all(row.find("th", scope="row") for row in table.tbody.find_all("tr"))
    assert all(image["alt"].strip() for image in soup.find_all("img"))
    for drawing in soup.find_all("svg"):
        assert drawing.get("aria-hidden") == "true" or drawing.get("role") == "img"
    ids = [element["id"] for element in soup.find_all(id=True)]
    assert len(ids) == len(set(ids))
    assert {link["href"] for link in soup.find_all("a")} <= {f"#{name}" for name in ids}


def test_trace_shows_the_log_line_its_stack_and_the_swim_lanes(tmp_path: Path) -> None:
    soup = page(write_report(*full_run(tmp_path)).html)
    text = chapter(soup, "trace")
    assert "Key Not Found - UserId: 12345, Vector ID: NaN" in text
    assert "at migrateDataToVectorDB (/src/migration.js:45:12)" in text
    assert "at async main (/src/index.js:12:3)" in text
    lanes = soup.select_one("#trace figure.drawing svg")
    assert lanes is not None
    assert "user 10001" in lanes.get_text()
    assert "upsert(user 10001) after return" in text


def test_without_a_drawing_the_witness_is_told_step_by_step(tmp_path: Path) -> None:
    case, run = full_run(tmp_path)
    (run.race / "swimlanes.svg").unlink()
    text = chapter(page(write_report(case, run).html), "trace")
    assert "The failing run, step by step" in text
    assert "upsert(user 10001)" in text


def test_damage_lists_every_kind_with_its_number_and_the_zeros(tmp_path: Path) -> None:
    soup = page(write_report(*full_run(tmp_path)).html)
    rows = {
        row.find("th").get_text(strip=True): [cell.get_text(" ", strip=True) for cell in row.find_all("td")]
        for row in soup.select("#damage table")[0].tbody.find_all("tr")
    }
    assert list(rows) == [kind.value for kind in Kind]
    assert rows["missing"][1:4] == ["412", "1,204", "1,616"]
    assert rows["zero"][1:4] == ["0", "0", "0"]
    assert "batches 17–19 of worker 3" in chapter(soup, "damage")


def test_measured_figures_stand_beside_the_claim_and_say_that_they_are_simulated(tmp_path: Path) -> None:
    text = chapter(page(write_report(*full_run(tmp_path)).html), "metrics").replace("\u00a0", " ")
    assert "Simulated" in text
    assert "33.7 %" in text
    assert "32.1 % to 35.2 %" in text
    assert "34 % → 0 %" in text
    assert "5 of 20" in text
    assert "embed 80 ms" in text
    assert "Claimed by the incident" in text


def test_a_case_without_claims_gets_no_claims(tmp_path: Path) -> None:
    text_without = CASE[: CASE.index("claims:")]
    case, run = begin(tmp_path, text_without)
    add_evidence(case, run)
    add_findings(run)
    add_race(run)
    text = chapter(page(write_report(case, run).html), "metrics")
    assert "33.7" in text
    assert "laimed" not in text


@pytest.mark.parametrize("claim", ["[.nan, 0]", "[0.3, .inf]", "[0.3]", "high", "{before: 1, after: 0}"])
def test_a_claim_that_is_no_pair_of_numbers_is_refused_with_its_line(tmp_path: Path, claim: str) -> None:
    with pytest.raises(CaseError, match=r"case\.yaml:1[4-6]: .*claims\.error_rate"):
        make_case(tmp_path, CASE.replace("[0.34, 0.0]", claim))


def test_action_items_speak_only_of_kinds_that_were_found(tmp_path: Path) -> None:
    soup = page(write_report(*full_run(tmp_path)).html)
    table = soup.select_one("#actions table")
    assert table is not None
    assert [row.th.get_text(strip=True) for row in table.tbody.find_all("tr")] == [
        "missing",
        "mangled_id",
        "swapped",
        "dangling",
    ]
    assert "a second cause: the race examined does not produce swapped" in chapter(soup, "actions")


def test_kinds_that_the_race_cannot_produce_are_named_as_unexplained(tmp_path: Path) -> None:
    soup = page(write_report(*full_run(tmp_path)).html)
    says = {
        row.th.get_text(strip=True): row.find_all("td")[-1].get_text(" ", strip=True)
        for row in soup.select_one("#cause table").tbody.find_all("tr")
    }
    assert says["missing"] == "● explained"
    assert says["swapped"] == "▲ not explained"
    assert says["dangling"] == "● follows from missing"
    assert "swapped (13)" in chapter(soup, "limits")


def test_suspect_and_corrected_code_are_shown_with_the_failing_line_marked(tmp_path: Path) -> None:
    soup = page(write_report(*full_run(tmp_path)).html)
    marked = soup.select("#code .line.bad")
    assert len(marked) == 1
    assert "await vectorDB.insert(user.id, vector, user.metadata);" in marked[0].get_text()
    text = chapter(soup, "code")
    assert "for (const user of users)" in text
    assert "proved: no failing order exists at this size" in text
    assert "vecforensics race migration.js --replay vf1:12:0:all:quiet:-:fifo" in text


def test_a_schedule_on_the_cases_own_records_is_replayed_from_the_run_that_holds_them(tmp_path: Path) -> None:
    case, run = full_run(tmp_path)
    witness = json.loads(run.witness_json.read_text())
    own = json.dumps(witness).replace("vf1:12:0:all:quiet:-:fifo", "vf1:g7b33f13d:0:10.11:quiet:-:fifo")
    run.witness_json.write_text(own)
    text = chapter(page(write_report(case, run).html), "code")
    assert f"{run.path.name} --replay vf1:g7b33f13d:0:10.11:quiet:-:fifo" in text


def test_a_clean_target_is_called_clean_only_when_all_of_it_was_checked(tmp_path: Path) -> None:
    case, run = begin(tmp_path)
    add_evidence(case, run)
    add_findings(run, **findings_of({}, {Kind.NOISE: 3}))
    assert write_report(case, run).headline == (
        "No corruption: all 7,200 records in the target were checked and are right."
    )
    add_findings(run, **findings_of({Kind.UNCHECKED: 200}, {}))
    report = write_report(case, run)
    assert report.verdict is Verdict.UNKNOWN
    assert "200 of 7,200 records could not be checked: the target is not known to be clean" in report.headline


def test_an_estimate_is_called_an_estimate_with_its_interval(tmp_path: Path) -> None:
    estimate = {
        "rate": 0.12,
        "low": 0.1,
        "high": 0.14,
        "confidence": 0.95,
        "rows": 7_200,
        "sampled": 900,
        "found": 108,
    }
    case, run = full_run(tmp_path, estimate=estimate)
    report = write_report(case, run)
    assert report.headline.startswith("At least 2,431 of 7,200")
    assert "estimated share of wrong contents 12.0 %, interval 10.0 % to 14.0 %" in report.headline
    text = chapter(page(report.html), "summary").replace("\u00a0", " ")
    assert "This is an estimate" in text
    assert "900 of 7,200 records" in text


def test_what_a_sample_could_not_judge_makes_its_rate_a_range_and_a_whole_sample_is_no_estimate(
    tmp_path: Path,
) -> None:
    estimate = {
        "rate": 0.12,
        "rate_most": 0.2,
        "low": 0.1,
        "high": 0.22,
        "confidence": 0.95,
        "rows": 7_200,
        "sampled": 900,
        "estimate": True,
    }
    case, run = full_run(tmp_path / "some", estimate=estimate)
    report = write_report(case, run)
    assert "estimated share of wrong contents 12.0 % to 20.0 %, interval 10.0 % to 22.0 %" in report.headline
    case, run = full_run(tmp_path / "all", estimate=estimate | {"sampled": 7_200, "estimate": False})
    report = write_report(case, run)
    assert report.headline.startswith("2,431 of 7,200")
    assert "estimate" not in report.headline
    assert "This is an estimate" not in page(report.html)


def test_only_orphans_are_no_damage_to_source_records(tmp_path: Path) -> None:
    case, run = begin(tmp_path)
    add_evidence(case, run)
    add_findings(run, **findings_of({Kind.ORPHAN: 3}, {}))
    assert headline(read_account(case, run)).startswith(
        "No source record is damaged, but the target holds what it should not: 3 orphan"
    )


def test_impact_is_shown_with_the_searches_hurt_most(tmp_path: Path) -> None:
    impact = {
        "users": {
            "k": 10, "queries": 1_000, "population": 2_000, "recall": 0.64, "recall_low": 0.61, "recall_high": 0.67,
            "changed_share": 0.88, "changed_low": 0.85, "changed_high": 0.9,
            "hurt": [{"id": "10007", "recall": 0.0, "lost": ["1", "2", "3", "4"], "instead": ["9"]}],
            "method": "exact blocked search",
        }
    }  # fmt: skip
    text = chapter(page(write_report(*full_run(tmp_path, impact=impact)).html), "summary").replace(
        "\u00a0", " "
    )
    assert "0.64 at 10" in text
    assert "0.61 to 0.67" in text
    assert "88.0 %" in text
    assert "10007" in text
    assert "and 1 more" in text


def test_where_nobody_could_ask_no_recall_is_shown(tmp_path: Path) -> None:
    """As an older run has it: perfect, of no queries."""
    impact = {"users": {"k": 10, "queries": 0, "population": 0, "recall": 1.0, "changed_share": 0.0}}
    text = chapter(page(write_report(*full_run(tmp_path, impact=impact)).html), "summary")
    assert "Recall at" not in text
    assert "Not measured in this run." in text


def test_the_analysts_notes_are_included_and_never_changed(tmp_path: Path) -> None:
    case, run = full_run(tmp_path)
    notes = "# Monday\n\nAsked the *vendor*: <b>no answer</b>.\n\n- see [ticket](javascript:alert(1))\n"
    run.notes_md.write_text(notes)
    soup = page(write_report(case, run).html)
    text = chapter(soup, "notes")
    assert "Asked the" in text
    assert "<b>no answer</b>" in text
    assert soup.select("#notes b") == []
    assert run.notes_md.read_text() == notes


def test_every_kind_has_its_share_of_the_examples(tmp_path: Path) -> None:
    """Seventeen corrupt kinds with five examples each, of which forty are shown."""
    kinds = [kind for kind in Kind if SEVERITY[kind] is Severity.CORRUPT]
    examples = [
        {"collection": "users", "kind": kind.value, "source_id": f"{kind.value}-{n}", "detail": "{}"}
        for kind in kinds
        for n in range(5)
    ]
    soup = page(write_report(*full_run(tmp_path, examples=examples)).html)
    [table] = [table for table in soup.select("#damage table") if "examples" in table.caption.get_text()]
    shown = Counter(row.th.get_text(strip=True) for row in table.tbody.find_all("tr"))
    assert list(shown) == [kind.value for kind in kinds]
    assert shown.total() == 40
    assert set(shown.values()) == {2, 3}


def test_details_are_said_in_words_that_count_from_one_and_are_not_cut(tmp_path: Path) -> None:
    shifted = {"begins_at": 1500, "begins_with": "001500", "ends_at": 1559, "offset": 1, "run": 60}
    fields = {
        name: {"change": "retyped", "expected": 3, "actual": "3", "types": "int→text"}
        for name in ("price", "in_stock", "rating", "discount")
    }
    examples = [
        {"collection": "users", "kind": "shifted", "source_id": "a", "detail": json.dumps(shifted)},
        {
            "collection": "users",
            "kind": "metadata_drift",
            "source_id": "b",
            "detail": json.dumps({"fields": fields}),
        },
    ]
    text = chapter(page(write_report(*full_run(tmp_path, examples=examples)).html), "damage")
    assert "rows 1,501–1,560, begins with: 001500, offset: 1, run: 60" in text
    assert 'discount retyped int→text (3 → "3"), in_stock retyped' in text
    assert 'rating retyped int→text (3 → "3")' in text


def test_metadata_that_drifted_is_counted_by_field(tmp_path: Path) -> None:
    found = findings_of({Kind.METADATA_DRIFT: 30}, {})
    found["collections"]["users"]["metadata_fields"] = {
        "plan": {"changed": 10, "missing": 1, "retyped": 0},
        "score": {"changed": 0, "missing": 0, "retyped": 1_029},
    }
    case, run = full_run(tmp_path, **found)
    text = chapter(page(write_report(case, run).html), "damage")
    assert "Collection Field Changed Missing Retyped users plan 10 1 0 users score 0 0 1,029" in text
    del found["collections"]["users"]["metadata_fields"]
    add_findings(run, **found)
    assert "field by field" not in chapter(page(write_report(case, run).html), "damage")
