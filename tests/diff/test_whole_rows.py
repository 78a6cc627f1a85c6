"""Whether metadata moved along with a vector tells a mistake in the id from a mistake with the vector."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World

from vecforensics.diff import Diff


@pytest.fixture
def world() -> World:
    made = World.make(count=120, dimension=24, shape="numeric", seed=7)
    made.parents = [None] * 120
    return made


def kinds(diff: Diff) -> dict[str, int]:
    return dict(Counter(diff.table["kind"].to_pylist()))


def details(diff: Diff, kind: str) -> dict[str, Any]:
    return {row["source_id"]: json.loads(row["detail"]) for row in diff.of_kind(kind).to_pylist()}


def exchange_ids(world: World, one: int, other: int) -> None:
    first, second = world.target[one], world.target[other]
    world.target[one], world.target[other] = (second[0], *first[1:]), (first[0], *second[1:])


@pytest.mark.parametrize("buckets", [1, 3])
def test_two_rows_that_were_exchanged_as_a_whole_are_one_pair_and_no_drift(
    world: World, tmp_path: Path, buckets: int
) -> None:
    exchange_ids(world, 5, 9)
    diff = investigate(world, tmp_path, buckets=buckets, impact=False)
    assert kinds(diff) == {"swapped": 2}
    said = {"form": "pair", "metadata": "moved along"}
    assert details(diff, "swapped") == {world.ids[5]: said, world.ids[9]: said}
    assert diff.collections["things"].metadata_fields == {}


def test_ids_that_count_from_the_wrong_number_are_one_run_and_one_row_under_a_strange_id(
    world: World, tmp_path: Path
) -> None:
    world.target = [(str(int(text) + 1), vector, held) for text, vector, held in world.target]
    diff = investigate(world, tmp_path, impact=False)
    assert kinds(diff) == {"shifted": 119, "missing": 1, "mangled_id": 1}
    assert {detail["metadata"] for detail in details(diff, "shifted").values()} == {"moved along"}
    assert details(diff, "mangled_id") == {world.ids[-1]: {"by": "content", "conversion": "another id"}}
    assert diff.of_kind("mangled_id")["target_id"].to_pylist() == ["1120"]


@pytest.mark.parametrize("held", ["its own", "a third record's", "changed"])
def test_metadata_that_are_not_the_partners_are_judged_apart(world: World, tmp_path: Path, held: str) -> None:
    for row, owner in ((5, 9), (9, 5)):
        world.vector(row, world.expected[owner])
        text, vector, metadata = world.target[row]
        metadata = {
            "its own": metadata,
            "a third record's": world.metadata[40],
            "changed": {**world.metadata[owner], "plan": "enterprise"},
        }[held]
        world.target[row] = (text, vector, dict(metadata))
    diff = investigate(world, tmp_path, impact=False)
    assert kinds(diff) == {"swapped": 2} | ({} if held == "its own" else {"metadata_drift": 2})
    assert set(map(str, details(diff, "swapped").values())) == {"{'form': 'pair'}"}


def test_a_row_written_under_many_ids_moved_as_a_whole(world: World, tmp_path: Path) -> None:
    for row in range(20, 25):
        world.target[row] = (world.ids[row], world.expected[60], dict(world.metadata[60]))
    diff = investigate(world, tmp_path, impact=False)
    assert kinds(diff) == {"broadcast": 5}
    assert {detail["metadata"] for detail in details(diff, "broadcast").values()} == {"moved along"}


def test_a_swapped_row_under_a_mangled_id_moved_as_a_whole(world: World, tmp_path: Path) -> None:
    exchange_ids(world, 5, 9)
    text, vector, metadata = world.target[5]
    world.target[5] = (f"{text}.0", vector, metadata)
    diff = investigate(world, tmp_path, impact=False)
    assert kinds(diff) == {"swapped": 2, "mangled_id": 1}
    assert {detail["metadata"] for detail in details(diff, "swapped").values()} == {"moved along"}


@pytest.mark.parametrize("copies", [1, 2])
def test_a_copy_under_another_id_of_a_vector_that_stands_elsewhere_too_is_a_duplicate(
    world: World, tmp_path: Path, copies: int
) -> None:
    exchange_ids(world, 5, 9)
    for number in range(copies):
        world.target.append((f"again {number}", world.expected[5].copy(), dict(world.metadata[5])))
    assert kinds(investigate(world, tmp_path, impact=False)) == {"swapped": 2, "duplicate": copies}


@pytest.mark.parametrize(("copies", "said"), [(1, {"mangled_id": 1}), (2, {"duplicate": 2})])
def test_the_only_row_with_a_records_vector_is_no_further_copy(
    world: World, tmp_path: Path, copies: int, said: dict[str, int]
) -> None:
    world.target[5] = (world.ids[5], world.expected[9], dict(world.metadata[9]))
    for number in range(copies):
        world.target.append((f"again {number}", world.expected[5].copy(), dict(world.metadata[5])))
    assert kinds(investigate(world, tmp_path, impact=False)) == {"swapped": 1, **said}


def test_where_a_row_was_not_looked_at_nobody_says_that_a_copy_is_the_only_one(
    world: World, tmp_path: Path
) -> None:
    world.expected[70] = np.nan
    world.target[5] = (world.ids[5], world.expected[9], dict(world.metadata[9]))
    world.target.append(("again", world.expected[5].copy(), dict(world.metadata[5])))
    diff = investigate(world, tmp_path, impact=False)
    assert (diff.counts["swapped"], diff.counts["duplicate"], diff.counts["mangled_id"]) == (1, 1, 0)
