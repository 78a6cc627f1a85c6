"""The strategies that run in production are the files that the laboratory proves."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from vecforensics.errors import SourceError
from vecforensics.migrate.strategies import Strategy, dependency_levels, load_strategy, locked, serial, waves
from vecforensics.race import FAULTS, Verdict, explore, generate_records
from vecforensics.records import Record, lab_ids

FILES = {"serial": serial.migrate, "locked": locked.migrate, "waves": waves.migrate}


@pytest.mark.parametrize("name", FILES)
def test_production_runs_the_very_function(name: str) -> None:
    loaded = load_strategy(name, 8)
    assert getattr(loaded, "func", loaded) is FILES[name]


@pytest.mark.parametrize("versions", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_no_order_of_completion_of_four_records_does_harm(name: str, versions: bool) -> None:
    found = explore(FILES[name], records=4, versions=versions)
    assert found.failures == {}
    assert found.verdict is Verdict.PROVED


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_found_with_a_hundred_records(name: str) -> None:
    found = explore(FILES[name], records=100, schedules=120)
    assert found.failures == {}
    assert found.verdict is not Verdict.FAILING


@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize("name", ["locked", "waves"])
def test_nothing_is_found_when_the_width_cuts_through_families(name: str, width: int) -> None:
    found = explore(_narrow(name, width), records=9, schedules=300)
    assert found.failures == {}


@pytest.mark.parametrize("name", FILES)
def test_a_fault_is_told_to_the_caller_and_leaves_no_child_without_its_parent(name: str) -> None:
    found = explore(FILES[name], records=6, schedules=500, faults=tuple(FAULTS), versions=True)
    assert found.failures == {}


def _narrow(name: str, width: int) -> Strategy:
    strategy = load_strategy(name, width)

    async def migrate(records: Sequence[Record], embed: object, store: object) -> None:
        await strategy(records, embed, store)  # type: ignore[arg-type]

    return migrate  # type: ignore[return-value]


def test_levels_put_parents_first_and_keep_only_the_newest_version() -> None:
    records = [
        Record("c", "child", depends_on=("b",)),
        Record("b", "old", version=1),
        Record("b", "new", version=3, depends_on=("a", "elsewhere")),
        Record("b", "middle", version=2),
        Record("a", "root", depends_on=("a",)),
    ]
    assert [[(r.id, r.text) for r in level] for level in dependency_levels(records)] == [
        [("a", "root")],
        [("b", "new")],
        [("c", "child")],
    ]


def test_a_circle_has_no_levels() -> None:
    with pytest.raises(SourceError, match="2 records wait for one another in a circle, among them 'a'"):
        dependency_levels(
            [Record("a", "", depends_on=("b",)), Record("b", "", depends_on=("a",)), Record("c", "")]
        )


def test_levels_of_generated_records_hold_each_record_once() -> None:
    records = generate_records(60, 3)
    levels = dependency_levels(records)
    assert sorted(r.id for level in levels for r in level) == sorted(r.id for r in records)
    seen: set[str] = set()
    for level in levels:
        assert all(set(r.depends_on) <= seen for r in level)
        seen |= {r.id for r in level}


def test_distinct_ids_stay_as_they_are_and_overlapping_ones_get_their_collection() -> None:
    assert lab_ids([("users", "1"), ("posts", "p1"), ("users", "1")]) == {
        ("users", "1"): "1",
        ("posts", "p1"): "p1",
    }
    assert lab_ids([("users", "1"), ("posts", "1")]) == {("users", "1"): "users/1", ("posts", "1"): "posts/1"}


def test_ids_with_slashes_never_meet() -> None:
    keys = [("a/b", "c"), ("a", "b/c"), ("a%2Fb", "c"), ("a", "c")]
    assert len(set(lab_ids(keys).values())) == len(keys)
