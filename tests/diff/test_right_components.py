"""A component is right up to a factor and rounding only where a store may have brought these about."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World

from vecforensics.diff import Diff
from vecforensics.diff.explain.not_finite import not_finite_parts
from vecforensics.diff.explain.partial_copies import owners_of_blocks


def said(diff: Diff) -> dict[str, tuple[str, dict[str, Any]]]:
    return {row["source_id"]: (row["kind"], json.loads(row["detail"])) for row in diff.table.to_pylist()}


def plain_world(dimension: int = 64) -> World:
    world = World.make(count=200, dimension=dimension)
    world.parents = [None] * 200
    return world


def test_of_a_negated_vector_nothing_is_right(tmp_path: Path) -> None:
    world = plain_world()
    cut, changed, mixed = world.take(3)
    world.vector(cut, np.r_[-world.expected[cut][:32], np.zeros(32)])
    world.vector(changed, np.r_[-world.expected[changed][:63], 0.5])
    world.vector(mixed, np.r_[-world.expected[mixed][:32], world.rng.normal(size=32)])
    found = said(investigate(world, tmp_path, impact=False))
    assert {kind for kind, _ in found.values()} == {"drifted"}
    assert len(found) == 3
    assert all(detail.get("right", 0) == 0 for _, detail in found.values())


@pytest.mark.parametrize("great", [1e4, -1e4, 1e12])
def test_beside_one_enormous_component_what_is_wrong_is_not_right(tmp_path: Path, great: float) -> None:
    world = plain_world()
    anothers, noise, negated, right = world.take(4)
    for row, vector in (
        (anothers, world.expected[0]),
        (noise, world.rng.normal(size=64)),
        (negated, -world.expected[negated]),
        (right, world.expected[right]),
    ):
        changed = vector.astype(np.float32).copy()
        changed[3], changed[5] = np.nan, great
        world.vector(row, changed)
    found = said(investigate(world, tmp_path, impact=False))
    assert {kind for kind, _ in found.values()} == {"non_finite"}
    others = {row: found[world.ids[row]][1]["others"] for row in (anothers, noise, negated, right)}
    assert others.pop(right) == "partly right"
    assert set(others.values()) == {"not right"}
    assert found[world.ids[noise]][1]["right"] == 0


def test_of_bytes_in_the_wrong_order_nothing_is_right() -> None:
    expected = np.random.default_rng(3).normal(size=(400, 64)).astype(np.float32)
    odd = expected.byteswap()
    odd = odd[~np.isfinite(odd).all(axis=1)]
    wanted = expected[~np.isfinite(expected.byteswap()).all(axis=1)]
    assert len(odd) > 20
    details = [detail for _, detail in not_finite_parts(wanted, odd)]
    assert {detail["others"] for detail in details} == {"not right"}
    assert {detail["right"] for detail in details} == {0}


class Listed:
    """A side whose records come in some order, some at a time."""

    def __init__(self, vectors: np.ndarray, order: list[int]) -> None:
        self.rows, self._vectors, self._order = len(vectors), vectors, order

    def blocks(self, rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for row in self._order:
            yield np.array([row]), self._vectors[[row]]

    def integers(self, column: str, rows: np.ndarray) -> np.ndarray:
        assert column == "position"
        return rows


def test_of_owners_that_are_nearly_equal_the_first_in_the_source_is_named_in_whatever_order_they_are_read() -> (
    None
):
    """Similarities 0.8e-6 apart: each is as good as the next one, and the last is not as good as the first."""
    block = np.zeros(16, np.float32)
    block[0] = 1
    near = np.repeat(block[None], 3, axis=0)
    near[:, 1] = np.sqrt(2 * np.array([1.6e-6, 0.8e-6, 0]))
    own, one = np.array([99]), np.array([0])
    found = {
        int(
            owners_of_blocks(Listed(near, list(order)), own, block[None], one, one + 16, np.array([1e-3]))[0][
                0
            ]
        )
        for order in permutations(range(3))
    }
    assert len(found) == 1
