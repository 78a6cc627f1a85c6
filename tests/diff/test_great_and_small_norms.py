"""Vectors whose length cannot be squared in single precision, in a store that rounds, are named like all others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World
from test_stores_that_change_vectors import bfloat16, int8


def noise(vector: np.ndarray) -> np.ndarray:
    return (vector * (1 + 1e-6 * np.random.default_rng(len(vector)).normal(size=len(vector)))).astype(
        np.float32
    )


@pytest.mark.parametrize("scale", [1e-30, 1e-23, 1e-17, 1e-10, 1, 1e10, 1e15, 1e20, 1e30])
@pytest.mark.parametrize("store", [bfloat16, int8, noise])
def test_whose_a_vector_is_does_not_depend_on_its_length(
    tmp_path: Path, store: Callable[[np.ndarray], np.ndarray], scale: float
) -> None:
    world = World.make(count=300, dimension=32)
    world.parents = [None] * 300
    world.expected = (world.expected.astype(np.float64) * scale).astype(np.float32)
    for row in range(300):
        world.vector(row, store(world.expected[row]))
    one, other, renamed, cut, partner = world.take(5)
    world.vector(one, store(world.expected[other]))
    world.vector(other, store(world.expected[one]))
    world.vector(cut, store(np.r_[world.expected[cut][:16], world.expected[partner][16:]]))
    at = world.place(world.ids[renamed])
    world.target[at] = ("new", *world.target[at][1:])
    rows = investigate(world, tmp_path, impact=False).table.to_pylist()
    named = {
        row["source_id"]: (row["kind"], row["partner_id"] or row["target_id"])
        for row in rows
        if "whole_collection" not in json.loads(row["detail"])
    }
    assert named == {
        world.ids[one]: ("swapped", world.ids[other]),
        world.ids[other]: ("swapped", world.ids[one]),
        world.ids[renamed]: ("mangled_id", "new"),
        world.ids[cut]: ("partial", world.ids[partner]),
    }
