"""Several rows under one id: what is said of them does not hang on the order in which the store lists them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World

SHUFFLES = range(6)


@pytest.mark.parametrize("expected", [True, False])
@pytest.mark.parametrize("broken", ["NaN", "short", "nothing"])
def test_two_rows_of_the_same_broken_bytes_agree(tmp_path: Path, broken: str, expected: bool) -> None:
    world = World.make(count=100, dimension=8)
    vectors: dict[str, Any] = {
        "NaN": np.where(np.arange(8) == 3, np.nan, world.expected[7]),
        "short": world.expected[7][:5],
        "nothing": np.empty(0),
    }
    for row in (7, 9):
        world.vector(row, vectors[broken])
        text, vector, metadata = world.target[row]
        world.target.append((text, vector.copy(), dict(metadata)))
    # A third row under the one id, which differs from the two in its last number.
    text, vector, metadata = world.target[9]
    other = np.append(vector[:-1], np.float32(2.5)).astype(np.float32)
    world.target.append((text, other, dict(metadata)))
    diff = investigate(world, tmp_path, impact=False, expected=expected)
    details = [(row["source_id"], json.loads(row["detail"])) for row in diff.of_kind("duplicate").to_pylist()]
    assert [detail for text, detail in details if text == world.ids[7]] == [{"form": "same id"}]
    assert {"form": "same id", "vector": "another"} in [
        detail for text, detail in details if text == world.ids[9]
    ]
