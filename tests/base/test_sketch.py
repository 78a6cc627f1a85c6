"""A sketch is the vector's own: what stands beside it in a batch, and how long it is, change nothing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from vecforensics.sketch import NO_DIRECTION, reach, sketch


def steps(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    return sketch(vectors).view(np.uint8).reshape(len(vectors), 8).astype(np.int64)


@pytest.mark.parametrize("dimension", [2, 16, 384])
def test_alone_or_among_thousands_and_at_any_length(dimension: int) -> None:
    vectors = np.random.default_rng(3).normal(size=(1_700, dimension)).astype(np.float32)
    together = steps(vectors)
    some = [0, 511, 512, 1_023, 1_024, 1_699]
    alone = np.vstack([steps(vectors[row : row + 1]) for row in some])
    assert (together > 0).all()
    assert np.abs(together[some] - alone).max() <= reach(0, dimension)
    assert np.abs(together - steps(vectors * np.float32(1e-3))).max() <= reach(0, dimension)


def test_what_has_no_direction_says_so_and_harms_no_neighbour() -> None:
    vectors = np.ones((600, 4), np.float32)
    vectors[3] = 0
    vectors[4, 1], vectors[5, 2], vectors[550, 0] = np.nan, np.inf, -np.inf
    found = sketch(vectors)
    assert np.flatnonzero(found == NO_DIRECTION).tolist() == [3, 4, 5, 550]
    assert len(set(found[found != NO_DIRECTION].tolist())) == 1
    assert sketch(vectors[:0]).tolist() == []


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e-23, 1e-17, 1e-14, 1e14, 1e18, 1e19, 1e20, 1e30, 1e37])
@pytest.mark.parametrize("dimension", [2, 16, 384])
def test_no_finite_length_is_too_great_or_too_small(dimension: int, scale: float) -> None:
    vectors = np.random.default_rng(3).normal(size=(700, dimension))
    vectors *= scale / np.abs(vectors).max()
    usual = steps((vectors / scale).astype(np.float32))
    # Some alone are what they are among others of a usual length, and all of them together.
    kept = vectors.astype(np.float32)
    mixed = (vectors / scale).astype(np.float32)
    mixed[::7] = kept[::7]
    with np.errstate(all="ignore"):
        squares = np.einsum("ij,ij->i", mixed, mixed)
    assert np.abs(steps(kept) - usual).max() <= reach(0, dimension)
    assert np.abs(steps(mixed) - usual).max() <= reach(0, dimension)
    assert (sketch(mixed, squares) == sketch(mixed)).all()
    kept[5] = 0
    assert np.flatnonzero(sketch(kept) == NO_DIRECTION).tolist() == [5]
