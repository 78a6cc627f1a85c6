"""What a target's metadata say of its writing: order by time stamps of any zone, in whatever order the fields stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World
from xxhash import xxh3_64_intdigest

from vecforensics.diff.writing.moments import times

UNKNOWN = np.iinfo(np.int64).min
NEW_YEAR_2026 = 1_767_225_600_000_000_000


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-01T00:00:00Z", NEW_YEAR_2026),
        ("2026-01-01T02:00:00+02:00", NEW_YEAR_2026),
        ("2025-12-31T19:00:00-0500", NEW_YEAR_2026),
        ("2026-01-01", NEW_YEAR_2026),
        ("2026-01-01 00:00:00.5", NEW_YEAR_2026 + 500_000_000),
        ("yesterday", UNKNOWN),
        ("9999-01-01", UNKNOWN),
        (None, UNKNOWN),
        (20260101, UNKNOWN),
        (1_767_225_600, NEW_YEAR_2026),
        (1_767_225_600.5, NEW_YEAR_2026 + 500_000_000),
        (1_767_225_600_000, NEW_YEAR_2026),
        (1_767_225_600_000_000, NEW_YEAR_2026),
        (NEW_YEAR_2026, NEW_YEAR_2026),
        (float("inf"), UNKNOWN),
        (True, UNKNOWN),
        (10**400, UNKNOWN),
    ],
)
def test_a_time_stamp_in_metadata_is_a_moment_or_unknown(text: object, moment: int) -> None:
    # Beside a good one and a bad one: neither spoils the other.
    found = times(["2026-01-01T00:00:00Z", text, "rubbish"])
    assert found.tolist() == [NEW_YEAR_2026, moment, UNKNOWN]


def test_a_child_is_premature_by_numbers_of_seconds_too(tmp_path: Path) -> None:
    """Stores that filter by numbers only are given times as such."""
    world = World.make(count=60)
    for n, (_, _, metadata) in enumerate(world.target):
        metadata["inserted_at"] = 1_767_225_600 + n
    world.target[40][2]["inserted_at"] = 1_767_225_599
    diff = investigate(world, tmp_path, impact=False)
    assert diff.of_kind("premature")["source_id"].to_pylist() == [world.ids[40]]


def test_a_field_that_few_rows_have_is_seen_and_fills_what_the_log_does_not_say(tmp_path: Path) -> None:
    world = World.make(count=2000, dimension=8)
    for row in range(0, 2000, 2):
        fields = {"batch": str(row // 100)}
        world.logs.append({"action": "wrote", "record_ids": [world.ids[row]], "time": None, "fields": fields})
    for row in (1501, 1503, 1500):
        world.target[row][2]["batch"] = 77
        world.vector(row, np.zeros(8))
    for text in ("one", "two"):
        world.target.append((text, world.rng.normal(size=8).astype(np.float32), {"worker": "late"}))
    table = investigate(world, tmp_path, impact=False).table.to_pylist()
    assert {row["source_id"]: row["batch"] for row in table if row["kind"] == "zero"} == {
        world.ids[1501]: "77",
        world.ids[1503]: "77",
        world.ids[1500]: "15",
    }
    assert [row["worker"] for row in table if row["kind"] == "orphan"] == ["late", "late"]


def test_a_sequence_number_beyond_all_bounds_is_none(tmp_path: Path) -> None:
    world = World.make(count=60)
    for n, (_, _, metadata) in enumerate(world.target):
        metadata["seq"] = n
    world.target[5][2]["seq"] = 10**400
    world.target[6][2]["seq"] = "six"
    assert investigate(world, tmp_path, impact=False).counts["premature"] == 0


def test_a_parents_time_without_a_zone_says_nothing_beside_a_childs_with_one(tmp_path: Path) -> None:
    """Parents stamped two hours ahead of UTC, children half an hour after them in UTC."""
    world = World.make(count=60)
    for n, (_, _, metadata) in enumerate(world.target):
        metadata["written_at"] = f"2026-05-01T10:00:{n:02d}" if n < 30 else f"2026-05-01T08:30:{n:02d}+00:00"
    diff = investigate(world, tmp_path, impact=False)
    assert diff.counts["premature"] == 0
    said = "30 of them the time of only one of the two names its zone"
    assert any(said in limit for limit in diff.limits)


def test_of_several_rows_under_an_id_the_earliest_is_known_only_where_all_name_a_zone_or_none(
    tmp_path: Path,
) -> None:
    world = World.make(count=60)
    for n, (_, _, metadata) in enumerate(world.target):
        metadata["written_at"] = f"2026-05-01T10:00:{n:02d}"
    name, vector, metadata = world.target[10]
    world.target.append((name, vector, {**metadata, "written_at": "2026-05-01T12:00:00Z"}))
    world.target[40][2]["written_at"] = "2026-05-01T09:00:00"
    diff = investigate(world, tmp_path, impact=False)
    assert diff.counts["premature"] == 0


@pytest.mark.parametrize("backwards", [False, True])
def test_whether_a_field_is_seen_does_not_depend_on_the_order_of_the_scan(
    tmp_path: Path, backwards: bool
) -> None:
    world = World.make(count=12_000, dimension=4)
    few = sorted(range(12_000), key=lambda row: xxh3_64_intdigest(world.ids[row].encode()))
    # Of the rows that are asked the last, of those that are not the first.
    for place, name in ((4095, "batch"), (4096, "worker")):
        world.target[few[place]][2][name] = 7
    for row in (few[4095], few[4096]):
        world.vector(row, np.zeros(4))
    if backwards:
        world.target.reverse()
    table = investigate(world, tmp_path, impact=False).of_kind("zero")
    assert sorted(table["batch"].to_pylist(), key=str) == ["7", None]
    assert table["worker"].to_pylist() == [None, None]
