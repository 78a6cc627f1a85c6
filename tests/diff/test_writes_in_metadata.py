"""What a target's metadata say of its writing: order by time stamps of any zone, in whatever order the fields stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World

from vecforensics.diff.moments import times

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
