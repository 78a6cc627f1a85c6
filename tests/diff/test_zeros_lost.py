"""`0000` that lost its zeros looks like a lost id; and no record stands under two ids."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World

from vecforensics.diff import Diff


def padded(first: int = 0, count: int = 60) -> World:
    """Records `0000`, `0001`, … and each row under its number."""
    world = World.make(count=count, seed=3)
    world.parents = [None] * count
    rename(world, [f"{number:04d}" for number in range(first, first + count)])
    world.target = [(str(int(text)), vector, held) for text, vector, held in world.target]
    return world


def rename(world: World, ids: list[str]) -> None:
    world.ids = ids
    world.row_of = {text: row for row, text in enumerate(ids)}
    world.target = [(text, *held) for text, (_, *held) in zip(ids, world.target, strict=True)]


def kinds(diff: Diff) -> dict[str, int]:
    return dict(Counter(diff.table["kind"].to_pylist()))


def mangled(diff: Diff) -> list[tuple[str, str, str]]:
    """(record, the id it stands under, conversion), in the order of the records."""
    rows = diff.of_kind("mangled_id").to_pylist()
    return sorted(
        (row["source_id"], row["target_id"], json.loads(row["detail"])["conversion"]) for row in rows
    )


@pytest.mark.parametrize("expected", [True, False])
def test_the_first_of_a_padded_set_lost_its_zeros_like_all_others(tmp_path: Path, expected: bool) -> None:
    world = padded()
    diff = investigate(world, tmp_path, impact=False, expected=expected)
    assert mangled(diff) == [(text, str(int(text)), "leading zeros lost") for text in world.ids]
    assert not {"missing", "orphan"} & kinds(diff).keys()


def test_neighbours_vectors_exchanged_under_ids_without_zeros_are_each_record_once(tmp_path: Path) -> None:
    world = padded()
    world.target = [
        (text, *world.target[row ^ 1][1:]) for row, (text, _vector, _held) in enumerate(world.target)
    ]
    diff = investigate(world, tmp_path, impact=False)
    assert mangled(diff) == [(text, str(int(text)), "leading zeros lost") for text in world.ids]
    assert kinds(diff) == {"mangled_id": 60, "swapped": 60}


@pytest.mark.parametrize("rows", [[7], [7, 8]], ids=["no record of zeros", "several rows"])
def test_a_zero_that_is_a_lost_id_still_says_nothing(tmp_path: Path, rows: list[int]) -> None:
    world = padded(first=len(rows) % 2)
    for row in rows:
        world.target[row] = ("0", *world.target[row][1:])
    if len(rows) > 1:
        del world.target[0]
    diff = investigate(world, tmp_path, impact=False)
    lost = [(world.ids[row], "0", "id lost") for row in rows]
    assert [one for one in mangled(diff) if one[1] == "0"] == lost


def test_a_zero_is_no_other_record_where_the_ids_kept_their_zeros(tmp_path: Path) -> None:
    world = World.make(count=60, seed=3)
    world.parents = [None] * 60
    rename(world, [f"{number:04d}" for number in range(60)])
    world.target[7] = ("0", *world.target[7][1:])
    del world.target[0]
    diff = investigate(world, tmp_path, impact=False)
    assert mangled(diff) == [("0007", "0", "id lost")]
    assert diff.of_kind("missing")["source_id"].to_pylist() == ["0000"]


@pytest.mark.parametrize("beside", ["00", "0.0"])
def test_a_zero_that_two_records_may_have_become_is_neither_by_its_id(tmp_path: Path, beside: str) -> None:
    world = padded()
    ids = [*world.ids[:-1], beside]
    held = world.target[:-1]
    rename(world, ids)
    world.target = held
    diff = investigate(world, tmp_path, impact=False, expected=False)
    # Its metadata say which, and then it is known how `0` came about.
    assert [one for one in mangled(diff) if one[1] == "0"] == [("0000", "0", "leading zeros lost")]
    assert diff.of_kind("missing")["source_id"].to_pylist() == [beside]


def test_a_stray_over_the_vector_of_a_record_under_a_mangled_id_is_its_copy(tmp_path: Path) -> None:
    world = World.make(count=60, seed=3)
    world.parents = [None] * 60
    rename(world, [f"User{number}" for number in range(60)])
    rows = list(world.target)
    world.target[10] = ("user10", *rows[11][1:])
    world.target[11] = ("user11", *rows[12][1:])
    world.target.append(("stray", np.array(rows[10][1]), rows[10][2]))
    diff = investigate(world, tmp_path, impact=False)
    assert mangled(diff) == [("User10", "user10", "case"), ("User11", "user11", "case")]
    [copy] = diff.of_kind("duplicate").to_pylist()
    assert (copy["source_id"], copy["target_id"]) == ("User10", "stray")
