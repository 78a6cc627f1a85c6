"""What is the same in float16 and in bfloat16 is called what the collection is kept in, and all of it is one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World
from test_stores_that_change_vectors import bfloat16, float16, normalised

from vecforensics.diff.compare.relation import Relation, compare_pairs


def to_nearest(vector: np.ndarray) -> np.ndarray:
    bits = np.asarray(vector, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


FORMATS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "float16": ("float16", float16),
    "normalised, then float16": ("float16", lambda vector: float16(normalised(vector))),
    "bfloat16": ("bfloat16", to_nearest),
    "bfloat16, cut off": ("bfloat16", bfloat16),
    "normalised, then bfloat16": ("bfloat16", lambda vector: to_nearest(normalised(vector))),
}


def vectors(shape: str) -> np.ndarray:
    rng = np.random.default_rng(3)
    if shape == "short":
        return rng.normal(size=(600, 3)).astype(np.float32)
    # Six words a text, of which some occur twice or three times.
    counts = np.zeros((600, 96))
    for row in counts:
        row[rng.choice(96, 6, replace=False)] = rng.integers(1, 4, 6)
    return (1.7 * counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("shape", ["short", "sparse"])
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("buckets", [1, 64])
def test_a_collection_of_short_or_sparse_vectors_is_one_line(
    tmp_path: Path, name: str, shape: str, buckets: int
) -> None:
    said, store = FORMATS[name]
    expected = vectors(shape)
    world = World.make(count=600, dimension=expected.shape[1])
    world.parents = [None] * 600
    world.expected[:] = expected
    for row in range(600):
        world.vector(row, store(expected[row]).astype(np.float32))
    changed = sum((one != vector).any() for one, (_, vector, _) in zip(expected, world.target, strict=True))
    [line] = investigate(world, tmp_path, buckets=buckets, impact=False).table.to_pylist()
    assert line["kind"] == "quantised"
    assert json.loads(line["detail"]) == {"format": said, "rows": changed, "whole_collection": True}


@pytest.mark.parametrize("store", [bfloat16, to_nearest])
def test_one_vector_by_itself_is_bfloat16_where_it_is_farther_off_than_float16_can_be(
    store: Callable[[np.ndarray], np.ndarray],
) -> None:
    expected = np.random.default_rng(1).normal(size=(500, 384)).astype(np.float32)
    assert (compare_pairs(expected, store(expected), 1e-6).relation == Relation.BFLOAT16).all()
    # Half of the components lie on both grids already.
    expected[:, ::2] = store(expected[:, ::2])
    assert (compare_pairs(expected, store(expected), 1e-6).relation == Relation.BFLOAT16).all()
    assert (compare_pairs(expected, float16(expected), 1e-6).relation == Relation.FLOAT16).all()


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_a_further_row_is_in_the_format_of_the_others(tmp_path: Path, name: str) -> None:
    """A short vector that is the same in both, beside the record's own that is exact."""
    said, store = FORMATS[name]
    world = World.make(count=200, dimension=3)
    world.parents = [None] * 200
    for row in range(200):
        world.vector(row, store(world.expected[row]).astype(np.float32))
    same = np.array([1.0001, 0.5, 0.25], np.float32)
    world.expected[7] = same
    world.vector(7, same)
    world.target.append((world.ids[7], store(same).astype(np.float32), dict(world.metadata[7])))
    [copy] = investigate(world, tmp_path, impact=False).of_kind("duplicate").to_pylist()
    assert json.loads(copy["detail"]) == {"form": "same id", "vector": f"its own as {said}"}
