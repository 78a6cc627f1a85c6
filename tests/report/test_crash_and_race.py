"""A migration that died of an error nobody caught is told apart from the race in its code, each with the rows it explains."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import report_builder
from report_builder import CASE, LOG, add_evidence, add_findings, add_race, add_repair, begin, findings_of
from report_pages import chapter, page

from vecforensics import investigate
from vecforensics.case import Case
from vecforensics.collect.logs import parse_log
from vecforensics.findings import Kind
from vecforensics.report import write_report
from vecforensics.report.events import read_log_digest
from vecforensics.run_folder import RunFolder, write_json

REFUSED = {
    "level": "info",
    "message": "RateLimited: 429 too many requests",
    "time": "2026-11-20T09:00:09.466Z",
    "line_number": 12,
}
WENT_ON = {
    "level": "info",
    "message": "Migration went on",
    "time": "2026-11-20T09:00:10.000Z",
    "line_number": 13,
}


def tail(missing: int, of: int, to_the_end: bool = True, **changes: Any) -> dict[str, Any]:
    """A hot spot: of the last `of` rows by time `missing` are missing."""
    part = {
        "dimension": "metadata:created_at",
        "form": "run",
        "first": 7,
        "last": 9,
        "to_the_end": to_the_end,
    }
    return {
        "collection": None,
        "kind": "missing",
        "side": "source",
        "rows": missing,
        "of": of,
        "parts": [part],
        "where": "rows with created_at from 3 to 5",
        "sentence": "rows with created_at from 3 to 5 hold most of the missing rows",
        "p_value": 1e-300,
        **changes,
    }


def a_run_that_died(
    tmp_path: Path,
    spots: list[dict[str, Any]],
    missing: int = 1_600,
    log: tuple[dict[str, Any], ...] = (*LOG, REFUSED),
    case: str = CASE,
    race: bool = True,
) -> tuple[Case, RunFolder]:
    found = findings_of(
        {Kind.MISSING: 400}, {Kind.MISSING: missing - 400, Kind.MANGLED_ID: 2}, hot_spots=spots
    )
    opened, run = begin(tmp_path, case)
    add_evidence(opened, run, log)
    add_findings(run, **found)
    if race:
        add_race(run)
    add_repair(run)
    return opened, run


def flat(text: str) -> str:
    return text.replace("\u00a0", " ")


@pytest.mark.parametrize(("missing", "of"), [(1_000, 1_004), (640, 700), (900, 900)])
def test_the_error_that_ended_the_log_is_a_cause_with_the_rows_that_were_not_reached(
    tmp_path: Path, missing: int, of: int
) -> None:
    report = write_report(*a_run_that_died(tmp_path, [tail(missing, of)]))
    left = 1_600 - missing
    died = (
        f"cause of {missing:,} missing rows: the process died of an error that nothing caught (RateLimited: 429 too many "
        "requests)"
    )
    code = f"cause of {left:,} missing and 2 mangled id rows: migration.js returns while its own writes are still under way"
    first, second = (died, code) if missing > left else (code, died)
    assert f"; {first}; {second}; repaired" in report.headline
    soup = page(report.html)
    cause = flat(chapter(soup, "cause"))
    there = f"{of:,} rows there (rows with created_at from 3 to 5)"
    gone = f"of {there} {missing:,}" if missing < of else f"all {there}"
    assert f"The process had not come to the end of the source: {gone} are missing" in cause
    shares = {
        (row.th.get_text(" ", strip=True).split(":")[0], cells[0].get_text(strip=True)): cells[1].get_text(
            strip=True
        )
        for row in soup.select("#cause table")[0].tbody.find_all("tr")
        if (cells := row.find_all("td"))
    }
    assert shares == {
        ("the process died", "missing"): f"{missing:,}",
        ("the race in migration.js", "missing"): f"{left:,}",
        ("the race in migration.js", "mangled_id"): "2",
    }
    tile = f"▲ Two crash {missing:,} · race {left + 2:,}"
    assert tile in flat(chapter(soup, "summary"))
    assert "The logs end with RateLimited: 429 too many requests at migration.log:12" in chapter(
        soup, "trace"
    )
    [moment] = [item for item in soup.select("#timeline li") if "RateLimited" in item.get_text()]
    assert "▲" in moment.get_text()
    assert "nothing caught it, and the log ends" in moment.get_text()
    assert "p < 1e-12. The process died before it came to them" in chapter(soup, "damage")
    assert "Repeat a request that the provider refuses" in chapter(soup, "actions")
    assert "RateLimited" in report.summary.read_text()
    assert "finds 2 others and not this one" in cause


def test_after_an_exception_that_the_program_outlived_nothing_changes(tmp_path: Path) -> None:
    spots = [tail(1_000, 1_004)]
    outlived = write_report(*a_run_that_died(tmp_path / "a", spots, log=(*LOG, REFUSED, WENT_ON)))
    assert "; cause: migration.js returns while its own writes are still under way; " in outlived.headline
    soup = page(outlived.html)
    assert "nothing caught" not in soup.get_text()
    assert "The error that ended the process" not in soup.get_text()
    assert "Repeat a request" not in soup.get_text()
    assert "Reproduced" in chapter(soup, "summary")


@pytest.mark.parametrize(
    "spots",
    [
        [],
        [tail(1_000, 1_004, kind="stale")],
        [tail(500, 1_004)],
        [tail(1_000, 1_004, side="target")],
        [tail(1_000, 1_004, to_the_end=False)],
        [tail(1_000, 1_004, parts=[{"dimension": "collection", "form": "values", "first": 1, "last": 1}])],
    ],
    ids=["nowhere", "other kind", "half of them", "rows of the target", "not the end", "no run"],
)
def test_no_row_is_put_down_to_a_crash_where_the_source_does_not_end_with_missing_rows(
    tmp_path: Path, spots: list[dict[str, Any]]
) -> None:
    report = write_report(*a_run_that_died(tmp_path, spots))
    assert "; cause: migration.js returns while its own writes are still under way; " in report.headline
    soup = page(report.html)
    assert "so none is put down to it by its place" in chapter(soup, "cause")
    assert "what that error kept from being written is not known" in chapter(soup, "limits")


@pytest.mark.parametrize("died", [True, False])
def test_the_rows_that_a_real_diff_finds_missing_at_the_end_by_time_are_put_down_to_the_crash(
    tmp_path: Path, died: bool
) -> None:
    """Rows stand in no order in the source; by the time of their making the last 120 are missing, and two more."""
    rows = [
        (f"r{number:03d}", f"2026-01-01T00:{number // 60:02d}:{number % 60:02d}Z") for number in range(400)
    ]
    there = [one for place, one in enumerate(rows) if place < 280 and place not in (17, 99)]
    shuffled = random.Random(5).sample(rows, len(rows))
    (tmp_path / "rows.csv").write_text("id,at,v\n" + "".join(f"{key},{at},x\n" for key, at in shuffled))
    (tmp_path / "run.log").write_text(
        "INFO: begun\n" + ("RateLimited: 429 too many requests\n" if died else "")
    )
    (tmp_path / "target").mkdir()
    vectors = pa.array([[float(place), 1.0] for place, _ in enumerate(there)], pa.list_(pa.float32(), 2))
    columns = {"id": [key for key, _ in there], "metadata": [json.dumps({"at": at}) for _, at in there]}
    table = pa.table({**columns, "vector": vectors})
    pq.write_table(table, tmp_path / "target" / "rows.parquet")
    (tmp_path / "case.yaml").write_text(
        "case: crashed\ncollections:\n  rows:\n    source: {uri: rows.csv, id: id, text: [v], metadata: [at]}\n"
        '    target: {uri: "parquet:target", collection: rows}\nlogs: [run.log]\n'
    )
    investigation = investigate(tmp_path / "case.yaml", tmp_path / "reports")
    investigation.diff()
    said = investigation.report().headline
    assert ("cause of 120 missing rows: the process died of an error that nothing caught" in said) is died
    assert "122 of 400 records" in said


def test_a_crash_that_explains_all_of_it_leaves_no_cause_open(tmp_path: Path) -> None:
    found = findings_of({}, {Kind.MISSING: 900}, hot_spots=[tail(900, 900)])
    case, run = begin(
        tmp_path, CASE.replace("suspect: migration.js\ncorrected: migration.corrected.js\n", "")
    )
    add_evidence(case, run, (*LOG, REFUSED))
    add_findings(run, **found)
    report = write_report(case, run)
    assert "; cause: the process died of an error that nothing caught (RateLimited" in report.headline
    assert "A crash explains all 900 corrupt findings" in flat(chapter(page(report.html), "summary"))


def test_what_a_crash_leaves_is_not_examined_where_the_case_names_no_code(tmp_path: Path) -> None:
    text = CASE.replace("suspect: migration.js\ncorrected: migration.corrected.js\n", "")
    report = write_report(*a_run_that_died(tmp_path, [tail(1_000, 1_000)], case=text, race=False))
    assert "; cause of 1,000 missing rows: the process died of" in report.headline
    assert "; cause of the rest not examined, since the case names no code; " in report.headline
    assert "not explained" in chapter(page(report.html), "cause")


def test_an_error_that_is_no_refusal_asks_for_other_remedies_and_hostile_words_stay_words(
    tmp_path: Path,
) -> None:
    hostile = {**REFUSED, "message": "TypeError: <img src=x onerror=alert(1)> \x1b[31m\u202e is undefined"}
    report = write_report(*a_run_that_died(tmp_path, [tail(1_000, 1_000)], log=(*LOG, hostile)))
    soup = page(report.html)
    assert "where it arises" in chapter(soup, "actions")
    assert "provider refuses" not in chapter(soup, "actions")
    assert soup.select("img[src=x]") == []
    for text in (
        report.headline,
        report.html.read_text(),
        report.markdown.read_text(),
        report.summary.read_text(),
    ):
        assert "\x1b" not in text
        assert "\u202e" not in text


NODE = """\
2026-11-05T10:12:00.000Z INFO: Migration started - Records: 8000
/srv/migration.js:30
    const vector = await generateVector(user);
                         ^

RateLimited: 429 too many requests
    at generateVector (/srv/client.js:12:11)
    at async migrateDataToVectorDB (/srv/migration.js:30:20) {
  status: 429
}

Node.js v20.11.0
"""
PYTHON = """\
2026-11-05 10:12:00,000 INFO wrote 4000 rows
Traceback (most recent call last):
  File "/srv/migration.py", line 30, in migrate
    vector = await embed(record)
openai.RateLimitError: Error code: 429 - too many requests
"""


@pytest.mark.parametrize(
    ("log", "ending"),
    [
        (NODE, "RateLimited: 429 too many requests"),
        (PYTHON, "openai.RateLimitError: Error code: 429 - too many requests"),
        (
            "INFO: begun\nUncaught TypeError: x is undefined\nnpm ERR! code 1\n",
            "Uncaught TypeError: x is undefined",
        ),
        (
            "INFO: begun\nERROR: Unhandled promise rejection: out of memory\n",
            "Unhandled promise rejection: out of memory",
        ),
        ("INFO: begun\nKeyboardInterrupt\n", "KeyboardInterrupt"),
        (f"{NODE}2026-11-05T10:13:00.000Z INFO: Migration started again\n", ""),
        ("INFO: begun\nERROR: ValueError: bad row 17\n", ""),
        ("INFO: begun\nBatchWriter: 500 rows, 0 failed\n", ""),
        ("INFO: begun\nINFO: done, unhandled errors: 0\n", ""),
        ("INFO: begun\nERROR: Key Not Found - UserId: 1, Vector ID: NaN\n", ""),
        ("", ""),
    ],
)
def test_how_a_log_ends(tmp_path: Path, log: str, ending: str) -> None:
    file = tmp_path / "logs.jsonl"
    events = parse_log(log.splitlines(keepends=True), "migration.log")
    file.write_text("".join(f"{event.to_json()}\n" for event in events), encoding="utf-8")
    digest = read_log_digest(file)
    assert digest.ending.text("message") == ending
    assert [shape.ends for shape in digest.shapes].count(True) == bool(ending)


def test_of_several_logs_the_last_to_end_so_is_told_and_one_that_went_on_is_not(tmp_path: Path) -> None:
    file = tmp_path / "logs.jsonl"
    events = [
        {**REFUSED, "file": "a.log", "time": "2026-11-20T09:00:01Z", "message": "OneError: a"},
        {**REFUSED, "file": "b.log", "time": "2026-11-20T09:00:03Z", "message": "OneError: b"},
        {**REFUSED, "file": "c.log", "time": "2026-11-20T09:00:05Z", "message": "OneError: c"},
        {**WENT_ON, "file": "c.log"},
    ]
    file.write_text("".join(f"{json.dumps(event)}\n" for event in events), encoding="utf-8")
    assert read_log_digest(file).ending.text("file") == "b.log"


def rehearsed(**changes: Any) -> dict[str, Any]:
    """Two runs a side, and conditions that differ by the client's repeating of refused requests."""
    physics = {
        "embed_429_per_10k": 0.0,
        "embed_sockets": 0,
        "retry_after_s": 1.0,
        "retry_rate_limited": False,
    }
    runs = [
        {"side": side, "run": number, "wrong": wrong, "records": 100, "refusals": 0, "crashed": crashed}
        for side, number, wrong, crashed in (
            ("before", 0, 60, True),
            ("before", 1, 20, False),
            ("after", 0, 0, False),
            ("after", 1, 0, False),
        )
    ]
    duration = {
        "name": "duration_s",
        "unit": "s",
        "before": {"value": 7.1, "low": 7.0, "high": 7.2, "n": 1},
        "after": {"value": 32.0, "low": 31.7, "high": 32.2, "n": 2},
        "method": "From the start of a run to its end.",
    }
    return {
        **report_builder.REHEARSAL,
        "metrics": [*report_builder.REHEARSAL["metrics"], duration],
        "physics": physics,
        "physics_after": {**physics, "retry_rate_limited": True},
        "runs": runs,
        **changes,
    }


def metrics_of(tmp_path: Path, rehearsal: dict[str, Any]) -> tuple[str, str]:
    """The chapters on the metrics and on the cause."""
    case, run = a_run_that_died(tmp_path, [tail(1_000, 1_000)])
    write_json(run.rehearsal_json, rehearsal)
    soup = page(write_report(case, run).html)
    return flat(chapter(soup, "metrics")), flat(chapter(soup, "cause"))


def test_conditions_that_differ_are_named_and_marked_and_all_stand_in_words(tmp_path: Path) -> None:
    text, cause = metrics_of(tmp_path, rehearsed())
    assert "under the same conditions" not in text
    assert "The conditions are the same but for one" in text
    assert "None was refused after, so this made no difference" in text
    assert "A refused request before: is an error in the program; ◇ after: is repeated by the client" in text
    assert "Requests of 10,000 refused at random none" in text
    assert "Connections to the embedding provider no limit" in text
    assert "per 10k" not in text
    assert (
        "in 1 of 2 runs the process dies, and 60.0 % of the records are wrong; in the others 20.0 %" in cause
    )
    same = rehearsed(physics_after=rehearsed()["physics"])
    text, _ = metrics_of(tmp_path / "same", same)
    assert "The figures compare the two programs under the same conditions." in text
    assert "◇" not in text


def test_requests_that_were_repeated_are_counted(tmp_path: Path) -> None:
    rehearsal = rehearsed()
    rehearsal["runs"][2]["refusals"] = 7
    text, _ = metrics_of(tmp_path, rehearsal)
    assert "7 requests were repeated so." in text


def test_a_run_that_takes_longer_is_said_to_although_its_inserts_are_answered_sooner(tmp_path: Path) -> None:
    text, _ = metrics_of(tmp_path, rehearsed())
    assert "Duration of a run 7.1 s 7 s to 7.2 s 1 32 s 31.7 s to 32.2 s 2" in text
    assert "Although an insert is answered sooner, the corrected run as a whole takes longer" in text
    assert "32 s instead of 7.1 s, 4.51 times as long" in text


def test_a_duration_of_no_run_is_not_nought(tmp_path: Path) -> None:
    rehearsal = rehearsed()
    rehearsal["metrics"][-1]["before"] = {"value": 0.0, "low": 0.0, "high": 0.0, "n": 0}
    text, _ = metrics_of(tmp_path, rehearsal)
    assert "Duration of a run not measured – –" in text
    assert "takes longer" not in text
