"""Eight bytes that say roughly where a vector points, so that a copy of it can be looked for without reading vectors.

Eight fixed pseudo-random directions see a vector; what each sees, divided by the vector's length, is rounded to a byte, in
sixteenths of what an arbitrary vector of that dimension shows (its standard deviation is 1/√d). A vector that differs from
another by a share δ of its length moves by about δ/√d in each direction, so that two sketches within `reach(δ)` of one another in
every byte *may* be copies, and two that are not, are none. (Random projections: Johnson and Lindenstrauss 1984; the bytes
are cells of locality-sensitive hashing, Datar et al. 2004.)

A sketch only proposes. It is rounded from a product that another machine may round otherwise in its last digit, hence the one
step of play in `reach`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["DIRECTIONS", "NO_DIRECTION", "out_of_range", "project", "reach", "sketch"]

DIRECTIONS: Final = 8
NO_DIRECTION: Final = np.uint64(0)
"""The sketch of a vector that is zero or not finite, and of one that is not there."""

_STEPS: Final = 16
# From here down the squares of single components lose digits that the sum needs, or vanish.
_LEAST_SQUARE: Final = np.float32(1e-30)


@lru_cache(maxsize=8)
def _directions(dimension: int) -> npt.NDArray[np.float32]:
    drawn = np.random.default_rng(20_261_124).normal(size=(dimension, DIRECTIONS))
    directions: npt.NDArray[np.float32] = (drawn / np.linalg.norm(drawn, axis=0)).astype(np.float32)
    # BLAS takes a fifth less time to lay out a matrix whose columns are whole.
    return np.asfortranarray(directions)


def project(
    vectors: npt.NDArray[np.float32], squares: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """The directions of vectors (n, d) seen along eight fixed axes, float32 (n, 8) in [-1, 1]; NaN for a zero vector. `squares`:
    their lengths squared, where these are known."""
    with np.errstate(all="ignore"):
        if squares is None:
            squares = np.einsum("ij,ij->i", vectors, vectors)
        lengths: npt.NDArray[np.float32] = np.sqrt(squares)
        directions = _directions(vectors.shape[1])
        seen: npt.NDArray[np.float32] = (vectors @ directions) / lengths[:, None]
        rows = out_of_range(vectors, squares)
        if len(rows):
            wide = vectors[rows].astype(np.float64)
            seen[rows] = (wide @ directions) / np.sqrt(np.einsum("ij,ij->i", wide, wide))[:, None]
    return seen


def out_of_range(vectors: npt.NDArray[np.float32], squares: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
    """The rows, zero ones left out, whose length squared is too great or too small for single precision."""
    rows = np.flatnonzero(~((squares >= _LEAST_SQUARE) & (squares < np.inf)))
    return rows[vectors[rows].any(axis=1)] if len(rows) else rows


def sketch(
    vectors: npt.NDArray[np.float32], squares: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.uint64]:
    """The sketch of each vector (n, d), uint64 (n,), one byte a direction; `NO_DIRECTION` where it has none."""
    seen = project(vectors, squares)
    scale = np.float32(_STEPS * np.sqrt(vectors.shape[1]))
    with np.errstate(all="ignore"):
        steps = np.clip(np.rint(seen * scale) + 128, 1, 255)
    steps[~np.isfinite(seen).all(axis=1)] = 0
    found: npt.NDArray[np.uint64] = steps.astype(np.uint8).view(np.uint64)[:, 0]
    return found


def reach(difference: npt.NDArray[np.float64] | float, dimension: int) -> npt.NDArray[np.int64]:
    """How many steps the sketches of two vectors may be apart in one byte where they differ by `difference` of their length."""
    moved = np.minimum(difference, 6 * np.asarray(difference) / np.sqrt(dimension))
    steps: npt.NDArray[np.int64] = np.floor(moved * _STEPS * np.sqrt(dimension)).astype(np.int64) + 1
    return steps
