"""Which of several earlier versions a vector is: the highest by the order that collect found, numbers as numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World

from vecforensics.diff import Diff


@pytest.fixture
def edited() -> World:
    """Of record 5 the versions 0009 and 00010 expect one vector, of which 10 is the higher one and "0009" the larger text."""
    world = World.make(count=60)
    world.parents = [None] * 60
    old = world.rng.normal(size=(12, world.dimension)).astype(np.float32)
    old[10] = old[9]
    world.earlier = [
        (world.ids[5 if number in (9, 10) else 20 + number], old[number]) for number in range(12)
    ]
    return world


def only(diff: Diff, kind: str) -> dict[str, Any]:
    (row,) = diff.of_kind(kind).to_pylist()
    return {**row, **json.loads(row["detail"])}


def test_a_stale_vector_of_versions_nine_and_ten_is_said_to_be_of_ten(edited: World, tmp_path: Path) -> None:
    edited.vector(5, edited.earlier[9][1])
    assert only(investigate(edited, tmp_path, impact=False), "stale")["version"] == "00010"


def test_a_stale_vector_under_a_mangled_id_is_said_to_be_of_version_ten(
    edited: World, tmp_path: Path
) -> None:
    text, _, metadata = edited.target[5]
    edited.target[5] = (text.upper(), edited.earlier[9][1], metadata)
    assert only(investigate(edited, tmp_path, impact=False), "stale")["version"] == "00010"


@pytest.mark.parametrize("buckets", [1, 5])
def test_another_records_earlier_vector_is_said_to_be_of_version_ten(
    edited: World, tmp_path: Path, buckets: int
) -> None:
    edited.vector(7, edited.earlier[9][1])
    row = only(investigate(edited, tmp_path, buckets=buckets, impact=False), "swapped")
    assert (row["partner_id"], row["form"], row["version"]) == (edited.ids[5], "earlier version", "00010")
