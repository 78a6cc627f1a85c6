"""A component is right up to a factor and rounding only where a store may have brought these about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from planted_run import investigate
from planted_world import World

from vecforensics.diff import Diff


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
