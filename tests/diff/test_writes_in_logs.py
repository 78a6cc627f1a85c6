"""What a log says of the order of writes, in whatever form it names the records; and nothing where it only seems to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World

from vecforensics.collect import parse_log
from vecforensics.diff import Diff

CHILD, PARENT = 45, 5


def world(lines: list[str], **settings: Any) -> World:
    """Sixty records, the upper thirty of which depend on one of the others each; three are wrong. The log reads `lines`."""
    made = World.make(**{"count": 60, "dimension": 8, **settings})
    for row in (3, 17, 44):
        made.vector(row, np.zeros(8))
    made.logs = [json.loads(event.to_json()) for event in parse_log([f"{line}\n" for line in lines], "x.log")]
    return made


def early_children(diff: Diff) -> list[str]:
    return diff.of_kind("premature")["source_id"].to_pylist()


def ordered() -> list[int]:
    """Parents before children, but for one child, which came first."""
    return [CHILD, *(row for row in range(60) if row != CHILD)]


@pytest.mark.parametrize(
    "line",
    [
        "INFO wrote {} collection=things batch={} worker=0",
        'INFO upserted record "{}" to things batch={}',
        "2026-01-01T00:00:00Z INFO stored {}, batch={}",
        '{{"msg": "inserted {}", "batch": {}}}',
    ],
)
def test_a_record_is_named_by_its_place_in_a_sentence(tmp_path: Path, line: str) -> None:
    names = World.make(count=60).ids
    diff = investigate(
        world([line.format(names[row], row // 20) for row in ordered()]), tmp_path, impact=False
    )
    assert early_children(diff) == [names[CHILD]]
    assert diff.of_kind("zero")["batch"].to_pylist() == ["0", "0", "2"]


@pytest.mark.parametrize("key", ["ids", "record_ids", "vector_ids"])
def test_one_upsert_lists_all_its_records(tmp_path: Path, key: str) -> None:
    names = World.make(count=60).ids
    parts = [[CHILD], *(range(start, start + 20) for start in (0, 20, 40))]
    lines = [
        json.dumps({"event": "upsert", key: [names[row] for row in part], "batch": number})
        for number, part in enumerate(parts)
    ]
    diff = investigate(world(lines), tmp_path, impact=False)
    assert early_children(diff) == [names[CHILD]]
    assert diff.of_kind("zero")["batch"].to_pylist() == ["1", "1", "3"]


def test_one_upsert_may_list_records_of_which_none_is_before_the_other(tmp_path: Path) -> None:
    names = World.make(count=60).ids
    diff = investigate(world([json.dumps({"event": "upsert", "ids": names[::-1]})]), tmp_path, impact=False)
    assert early_children(diff) == []


@pytest.mark.parametrize(
    "line",
    [
        "INFO wrote {child} rows",
        "INFO wrote {child}",
        "INFO wrote {child} of 60 batch=0",
        "INFO wrote row {child}",
        "INFO wrote chunk {child} to things",
        "INFO wrote checkpoint {child}",
        "INFO wrote the state of {child}",
        "INFO wrote batch={child}",
        "INFO failed to write {child}, stored nothing",
        '{{"msg": "wrote some", "count": {child}, "failed_ids": ["{child}"], "parent_ids": ["{child}"]}}',
        '{{"msg": "wrote some", "rows": ["{child}"]}}',
    ],
)
def test_a_count_or_another_word_that_happens_to_be_an_id_is_no_write(tmp_path: Path, line: str) -> None:
    names = World.make(count=60, shape="numeric").ids
    lines = [line.format(child=names[CHILD]), *(f"INFO wrote user_id={name}" for name in names)]
    diff = investigate(world(lines, shape="numeric"), tmp_path, impact=False)
    assert early_children(diff) == []


def test_words_that_are_nobodys_id_name_nothing(tmp_path: Path) -> None:
    lines = ["INFO wrote everything batch=4", "INFO upserted points to things batch=4", "INFO saved batch=4"]
    diff = investigate(world(lines), tmp_path, impact=False)
    assert diff.of_kind("zero")["batch"].to_pylist() == [None] * 3
    assert any("neither logs nor metadata say when" in limit for limit in diff.limits)


def test_the_record_and_not_the_parent_that_its_line_names_too_was_written(tmp_path: Path) -> None:
    names = World.make(count=60).ids
    lines = [
        f"INFO wrote {names[PARENT]} batch=0",
        f"INFO wrote {names[CHILD - 10]} parent_id={names[PARENT]}",
    ]
    lines += [f"INFO wrote {names[44]} parent_id={names[14]} batch=9"]
    diff = investigate(world(lines), tmp_path, impact=False)
    assert early_children(diff) == []
    assert diff.of_kind("zero")["batch"].to_pylist() == [None, None, "9"]


def test_a_stray_that_only_an_upsert_lists_is_placed(tmp_path: Path) -> None:
    made = world([json.dumps({"event": "upsert", "ids": ["stranger", "another"], "batch": 5})])
    made.target.append(("stranger", np.ones(8, np.float32), {}))
    diff = investigate(made, tmp_path, impact=False)
    assert diff.of_kind("orphan")["batch"].to_pylist() == ["5"]


def told(log: str, line: int, text: str, time: str | None = None, **fields: str) -> dict[str, Any]:
    """One event of one of several logs."""
    return {
        "file": log,
        "line_number": line,
        "action": "wrote",
        "record_ids": [text],
        "time": time and f"2026-01-01T{time}Z",
        "fields": fields,
    }


def with_logs(tmp_path: Path, *events: dict[str, Any], **settings: Any) -> Diff:
    made = World.make(count=60, dimension=8)
    made.vector(CHILD, np.zeros(8))
    made.logs = list(events)
    return investigate(made, tmp_path, impact=False, **settings)


IDS = World.make(count=60).ids
KID, ELDER = IDS[CHILD], IDS[CHILD - 30]


def bases(diff: Diff) -> list[str]:
    return [json.loads(detail)["by"] for detail in diff.of_kind("premature")["detail"].to_pylist()]


@pytest.mark.parametrize("names", [("a.log", "b.log"), ("worker.log", "worker.log")])
def test_lines_of_two_logs_are_in_no_order(tmp_path: Path, names: tuple[str, str]) -> None:
    """Nor are those of two logs of one name, from two folders."""
    children = [told(names[0], 1 + row, IDS[row]) for row in range(30, 60)]
    parents = [told(names[1], 1 + row, IDS[row]) for row in range(30)]
    diff = with_logs(tmp_path, *children, *parents)
    assert early_children(diff) == []
    said = "things: nothing says whether 30 records were written before or after a parent; `premature` was not checked for these."
    assert said in diff.limits


def test_lines_of_one_of_several_logs_are_in_order(tmp_path: Path) -> None:
    first = [told("a.log", 1, IDS[7]), told("a.log", 2, IDS[37])]
    diff = with_logs(tmp_path, *first, told("b.log", 3, KID), told("b.log", 4, ELDER))
    assert early_children(diff) == [KID]
    assert bases(diff) == ["order in the log"]
    assert any("nothing says whether 28 records were written before or after" in one for one in diff.limits)


def test_a_parent_that_another_log_tells_of_too_may_have_come_first(tmp_path: Path) -> None:
    diff = with_logs(tmp_path, told("a.log", 1, KID), told("a.log", 2, ELDER), told("b.log", 1, ELDER))
    assert early_children(diff) == []


def test_the_first_write_is_the_earliest_and_not_the_one_that_stands_first(tmp_path: Path) -> None:
    again = told("a.log", 1, ELDER, "12:00:00", batch="9")
    before = told("b.log", 1, ELDER, "10:00:00", batch="1")
    early = told("b.log", 2, KID, "11:00:00", batch="2")
    assert early_children(with_logs(tmp_path / "1", again, before, early)) == []
    late = with_logs(tmp_path / "2", again, told("b.log", 1, ELDER, "11:30:00"), early)
    assert (early_children(late), bases(late)) == ([KID], ["time"])


def test_by_sequence_numbers_the_smallest_is_the_first(tmp_path: Path) -> None:
    lines = [("u", ELDER, "7"), ("u", KID, "5"), ("v", ELDER, "3")]
    events = [told(log, 1 + n, text, seq=seq) for n, (log, text, seq) in enumerate(lines)]
    assert early_children(with_logs(tmp_path / "1", *events)) == []
    diff = with_logs(tmp_path / "2", *events[:2])
    assert (early_children(diff), bases(diff)) == ([KID], ["sequence number"])


def test_where_one_write_has_no_time_nobody_knows_the_time_of_the_first(tmp_path: Path) -> None:
    diff = with_logs(
        tmp_path,
        told("a.log", 1, ELDER),
        told("a.log", 2, KID, "11:00:00"),
        told("a.log", 3, ELDER, "12:00:00"),
    )
    assert early_children(diff) == []


@pytest.mark.parametrize("child_first", [True, False])
def test_at_equal_times_the_order_of_the_log_decides_and_is_what_is_said(
    tmp_path: Path, child_first: bool
) -> None:
    texts = [KID, ELDER] if child_first else [ELDER, KID]
    diff = with_logs(tmp_path, *(told("a.log", 1 + n, text, "10:00:00") for n, text in enumerate(texts)))
    assert early_children(diff) == ([KID] if child_first else [])
    assert bases(diff) == (["order in the log"] if child_first else [])


def test_batch_and_time_are_those_of_the_first_write(tmp_path: Path) -> None:
    diff = with_logs(
        tmp_path, told("a.log", 1, KID, "12:00:00", batch="9"), told("b.log", 1, KID, "10:00:00", batch="1")
    )
    row = diff.of_kind("zero").to_pylist()[0]
    assert (row["batch"], row["written_at"]) == ("1", "2026-01-01T10:00:00Z")


def test_what_a_log_says_of_an_id_is_true_of_all_strays_under_it(tmp_path: Path) -> None:
    made = World.make(count=60, dimension=8)
    for _ in range(2):
        made.target.append(("stranger", made.rng.normal(size=8).astype(np.float32), {}))
    made.logs = [told("a.log", 1, "stranger", batch="5")]
    diff = investigate(made, tmp_path, impact=False)
    assert diff.of_kind("orphan")["batch"].to_pylist() == ["5", "5"]


def timed(tmp_path: Path, *lines: tuple[str, str]) -> Diff:
    """A log whose lines give a time and a record each."""
    made = World.make(count=60, dimension=8)
    text = [f"{time} upserted {name} collection=things\n" for time, name in lines]
    made.logs = [json.loads(event.to_json()) for event in parse_log(text, "x.log")]
    return investigate(made, tmp_path, impact=False)


@pytest.mark.parametrize("child_first", [True, False])
def test_where_one_line_names_a_zone_and_the_other_none_the_order_of_lines_decides(
    tmp_path: Path, child_first: bool
) -> None:
    """Parents stamped by a clock that is two hours ahead of UTC look later than the children that followed them."""
    lines = [("2026-05-01 10:00:00", ELDER), ("2026-05-01 08:30:00Z", KID)]
    diff = timed(tmp_path, *(reversed(lines) if child_first else lines))
    assert early_children(diff) == ([KID] if child_first else [])
    assert bases(diff) == (["order in the log"] if child_first else [])


@pytest.mark.parametrize(("elder", "early"), [("2026-05-01 22:29:59", False), ("2026-05-01 22:30:00", True)])
def test_times_that_no_zone_can_bring_together_are_in_order(tmp_path: Path, elder: str, early: bool) -> None:
    made = World.make(count=60, dimension=8)
    made.logs = [
        json.loads(event.to_json())
        for name, line in (("a.log", f"{elder} upserted {ELDER}\n"), ("b.log", f"2026-05-01 08:30:00+00:00 upserted {KID}\n"))
        for event in parse_log([line], name)
    ]  # fmt: skip
    diff = investigate(made, tmp_path, impact=False)
    assert early_children(diff) == ([KID] if early else [])
    said = (
        "Of 1 of them the time of only one of the two names its zone, and they lie less than 14 hours apart."
    )
    assert any(limit.endswith(said) for limit in diff.limits) is not early


@pytest.mark.parametrize(
    ("first", "second", "judged"),
    [
        ("2026-10-25 02:50:00", "2026-10-25 02:05:00", False),
        ("2026-10-25 02:50:00Z", "2026-10-25 02:05:00Z", True),
        ("2026-10-25 05:50:00", "2026-10-25 02:05:00", True),
    ],
)
def test_after_a_clock_was_put_back_times_without_a_zone_say_nothing_against_the_order_of_lines(
    tmp_path: Path, first: str, second: str, judged: bool
) -> None:
    diff = timed(tmp_path, (first, ELDER), (second, KID))
    assert early_children(diff) == ([KID] if judged else [])
    said = "Of 1 of them the order of lines in the log contradicts the times, which name no zone:"
    assert any(said in limit for limit in diff.limits) is not judged


def test_a_record_whose_writes_are_timed_with_and_without_a_zone_has_no_earliest_time(tmp_path: Path) -> None:
    diff = timed(
        tmp_path,
        ("2026-05-01T08:00:00Z", ELDER),
        ("2026-05-01T09:00:00", ELDER),
        ("2026-04-30T10:00:00", KID),
    )
    assert early_children(diff) == []
