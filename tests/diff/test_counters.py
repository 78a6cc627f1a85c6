"""Sequence numbers: compared where one counter gave them out, and times decide where they say otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World

from vecforensics.diff import Diff
from vecforensics.diff.writing.counters import counters
from vecforensics.diff.writing.moments import NEVER

IDS = World.make(count=60).ids
HALF = 30


def write(row: int, seq: int, worker: str | None, second: int | None, log: str = "a.log") -> dict[str, Any]:
    """One event; the upper thirty records each depend on one of the lower."""
    return {
        "file": log,
        "line_number": 1,
        "action": "wrote",
        "record_ids": [IDS[row]],
        "time": None if second is None else f"2026-01-01T00:{second // 60:02d}:{second % 60:02d}Z",
        "fields": {"seq": str(seq)} | ({} if worker is None else {"worker": worker}),
    }


def diffed(folder: Path, events: list[dict[str, Any]]) -> Diff:
    made = World.make(count=60, dimension=8)
    # The logs stand one after the other.
    events = sorted(events, key=lambda event: event["file"])
    made.logs = [event | {"line_number": number} for number, event in enumerate(events, 1)]
    return investigate(made, folder, impact=False)


def early(diff: Diff) -> list[tuple[str, str]]:
    rows = diff.of_kind("premature").to_pylist()
    return [(row["source_id"], json.loads(row["detail"])["by"]) for row in rows]


def test_a_parent_of_one_worker_has_a_high_number_and_its_children_of_another_low_ones(
    tmp_path: Path,
) -> None:
    parents = [write(row, 900 + row, "a", row) for row in range(HALF)]
    children = [write(row, row - HALF, "b", 100 + row) for row in range(HALF, 60)]
    assert early(diffed(tmp_path, parents + children)) == []


def test_times_find_what_numbers_of_two_workers_hide(tmp_path: Path) -> None:
    parents = [write(row, row, "a", 100 + row) for row in range(HALF)]
    children = [write(row, 900 + row, "b", row - HALF) for row in range(HALF, 60)]
    assert early(diffed(tmp_path, parents + children)) == [(IDS[row], "time") for row in range(HALF, 60)]


def test_within_one_worker_numbers_hold_without_times(tmp_path: Path) -> None:
    child_first = [
        write(row, 2 * (row % HALF) + (row < HALF), "ab"[row % 2], None, f"{row % 2}.log")
        for row in range(60)
    ]
    assert early(diffed(tmp_path, child_first)) == [(IDS[row], "sequence number") for row in range(HALF, 60)]


@pytest.mark.parametrize("apart", ["worker", "log"])
def test_numbers_that_come_twice_are_those_of_two_counters(tmp_path: Path, apart: str) -> None:
    one, two = (
        ({"worker": "a"}, {"worker": "b"}) if apart == "worker" else ({"log": "a.log"}, {"log": "b.log"})
    )
    parents = [write(row, row, **{"worker": None, "second": None, **two}) for row in range(HALF)]
    children = [
        write(row, row - HALF - 1, **{"worker": None, "second": None, **one}) for row in range(HALF, 60)
    ]
    diff = diffed(tmp_path, children + parents)
    assert "sequence number" not in {by for _, by in early(diff)}


def test_one_counter_for_all_workers_tells_without_times(tmp_path: Path) -> None:
    """No number comes twice and the workers take turns."""
    order = [row for pair in zip(range(HALF, 60), range(HALF), strict=True) for row in pair]
    events = [
        write(row, seq, "ab"[seq % 3 == 0], None, f"{seq % 3 == 0}.log") for seq, row in enumerate(order)
    ]
    assert early(diffed(tmp_path, events)) == [(IDS[row], "sequence number") for row in range(HALF, 60)]


def test_numbers_dealt_out_in_blocks_are_no_order(tmp_path: Path) -> None:
    children = [write(row, row - HALF, "a", None, "a.log") for row in range(HALF, 60)]
    parents = [write(row, 100 + row, "b", None, "b.log") for row in range(HALF)]
    diff = diffed(tmp_path, children + parents)
    assert early(diff) == []
    assert any(
        "nothing says whether 30 records were written before or after" in limit for limit in diff.limits
    )


def test_within_one_worker_too_the_time_decides_where_it_contradicts(tmp_path: Path) -> None:
    """The worker was started anew, and counts from the beginning."""
    parents = [write(row, 900 + row, "a", row) for row in range(HALF)]
    children = [write(row, row - HALF, "a", 100 + row) for row in range(HALF, 60)]
    assert early(diffed(tmp_path, parents + children)) == []


def test_a_record_that_two_workers_wrote_has_no_smallest_number(tmp_path: Path) -> None:
    """Worker b's second write is no earlier than worker a's ninth."""
    events = [
        write(15, 9, "a", None),
        write(15, 2, "b", None, "b.log"),
        write(45, 5, "a", None),
        write(50, 5, "b", None, "b.log"),
    ]
    assert early(diffed(tmp_path, events)) == []


def test_what_a_second_write_shows_of_the_counters_holds_for_first_writes_too(tmp_path: Path) -> None:
    """Only record 15's two writes show that both workers counted a fifth; without it their numbers would take turns."""
    events = [
        *(write(15, 5, "a", None), write(20, 9, "a", None), write(50, 6, "a", None)),
        *(write(15, 5, "b", None, "b.log"), write(46, 7, "b", None, "b.log"), write(16, 8, "a", None)),
        *(write(47, 3, "b", None, "b.log"), write(17, 4, "a", None)),
    ]
    assert early(diffed(tmp_path, events)) == [(IDS[50], "sequence number")]


@pytest.mark.parametrize("worker", [True, False])
def test_numbers_in_metadata_are_told_apart_by_the_worker_there(tmp_path: Path, worker: bool) -> None:
    world = World.make(count=60, dimension=8)
    for row, (_, _, metadata) in enumerate(world.target):
        metadata["seq"] = 1 + row % HALF + (0 if row >= HALF else 40)
        if worker:
            metadata["worker"] = "late" if row >= HALF else "early"
    diff = investigate(world, tmp_path, impact=False)
    assert len(early(diff)) == (0 if worker else HALF)


@pytest.mark.parametrize("copys_worker", ["a", "b"])
def test_of_several_rows_under_an_id_the_smallest_number_is_one_workers(
    tmp_path: Path, copys_worker: str
) -> None:
    """A child that its worker wrote behind its parent stands there once more, with a low number."""
    world = World.make(count=60, dimension=8)
    for row, (_, _, metadata) in enumerate(world.target):
        metadata |= {"seq": 100 + row, "worker": "a"}
    text, vector, metadata = world.target[45]
    world.target.append((text, -vector, metadata | {"seq": 1, "worker": copys_worker}))
    # Worker b counts by itself: it has a number that worker a has too.
    world.target[59][2].update({"seq": 100, "worker": "b"})
    found = early(investigate(world, tmp_path, impact=False))
    assert found == ([(IDS[45], "sequence number")] if copys_worker == "a" else [])


def test_a_log_without_numbers_does_not_part_those_in_metadata(tmp_path: Path) -> None:
    world = World.make(count=60, dimension=8)
    for row, (_, _, metadata) in enumerate(world.target):
        metadata["seq"] = 1 + row % HALF + (0 if row >= HALF else 40)
    world.logs = [write(row, 0, None, None) | {"fields": {"batch": "1"}} for row in range(0, 60, 7)]
    assert len(early(investigate(world, tmp_path, impact=False))) == HALF


@pytest.mark.parametrize("seed", range(20))
def test_what_is_one_counter_does_not_depend_on_the_order_of_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    number, who = rng.permutation(9).astype(float), rng.integers(0, 2, 9)
    time = np.where(rng.random(9) < 0.5, NEVER, number.astype(np.int64) // 2)
    if seed % 2:
        time[0] = 99
    shuffled = rng.permutation(9)
    one, other = counters(number, time, who), counters(number[shuffled], time[shuffled], who[shuffled])
    assert one[shuffled].tolist() == other.tolist()
