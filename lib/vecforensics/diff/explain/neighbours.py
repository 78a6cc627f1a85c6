"""Vectors that stand alone: far from their nearest neighbours, where those are near to theirs.

Without expected vectors nobody can say where a vector should point. But embeddings of records that have anything in common lie
together, and a vector that was made of noise, of a broken text or by another model usually falls between them. For each vector
the mean distance to its ten nearest is set against the same figure of those ten (the local outlier factor of Breunig et al. 2000,
with mean distances instead of reachabilities). Two things have to be extreme at once, by robust standard deviations: that ratio,
and the distance itself. The first alone would accuse the ordinary neighbours of a clump of copies, the second alone a sparse but
regular corner of the space.

Directions are compared, not lengths. The search is exact, blocked, over all vectors or, beyond a budget, over a sample of them:
the smallest hashes of their bytes, the same on every machine. In a space without clusters every vector stands equally alone and
nothing is seen; a record that is one of a kind looks like noise, which is why this is a suspicion and no finding of damage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.sides import Index, Side

__all__ = ["Lonely", "find_lonely"]

_NEAREST: Final = 10
_MOST: Final = 10_000
# Multiplications for all pairs: about a second a core.
_BUDGET: Final = 4e10
_BLOCK: Final = 512
# In 824 clean sets, clustered or not, normalised or not, of 120 to 10,000 vectors, none was beyond 5.5 in 16 or more dimensions;
# in eight dimensions some clusters have such borders by chance.
_FAR: Final = 7.0
_LEAST_RATIO: Final = 1.25
_FEWEST_DIMENSIONS: Final = 16


@dataclass(frozen=True, slots=True)
class Lonely:
    """`rows`: running target rows whose vectors stand alone, all holders of each; `ratio`: how many times farther from their
    nearest than those are from theirs; `usual`: the median of that; `looked_at` of `vectors` different vectors were searched."""

    rows: Index
    ratio: npt.NDArray[np.float64]
    usual: float
    looked_at: int
    vectors: int


def find_lonely(side: Side) -> Lonely:
    """The vectors of a side that stand alone among the others."""
    digests = side.integers("digest")
    # One of each: copies of one vector are each other's nearest, which says nothing.
    values, first = np.unique(digests, return_index=True)
    first = first[values != 0].astype(np.int64)
    most = int(min(_MOST, np.sqrt(_BUDGET / max(side.dimension, 1))))
    rows = first[:most]
    nothing = Lonely(np.empty(0, np.int64), np.empty(0), 1.0, 0, len(first))
    if len(rows) < 5 * _NEAREST or side.dimension < _FEWEST_DIMENSIONS:
        return nothing
    vectors = side.take(rows)
    length = np.linalg.norm(vectors.astype(np.float64), axis=1)
    usable = np.isfinite(length) & (length > 0)
    rows = rows[usable]
    unit = (vectors[usable] / length[usable, None]).astype(np.float32)
    if len(rows) < 5 * _NEAREST:
        return nothing
    distance, nearest = _nearest(unit)
    # Distances below a thousandth of the usual one are copies but for noise; they are no measure of anything.
    floor = max(float(np.median(distance)) * 1e-3, 1e-9)
    ratio = np.maximum(distance, floor) / np.maximum(np.median(distance[nearest], axis=1), floor)
    far = (
        (_deviations(np.log(ratio)) > _FAR)
        & (_deviations(distance) > _FAR)
        & (ratio > _LEAST_RATIO * np.median(ratio))
    )
    lonely = digests[rows[far]]
    # Which of several holders was looked at says only how the store lists its rows.
    holders = np.flatnonzero(np.isin(digests, lonely)).astype(np.int64)
    # The smallest digests were looked at, smallest first.
    place = np.searchsorted(lonely, digests[holders])
    return Lonely(holders, ratio[far][place], float(np.median(ratio)), len(rows), len(first))


def _nearest(
    unit: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """(mean distance to the ten nearest others, float64 (n,); which they are, (n, 10)) of unit vectors (n, d)."""
    count = len(unit)
    distance = np.empty(count)
    nearest = np.empty((count, _NEAREST), np.intp)
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        similar = unit[start:stop] @ unit.T
        similar[np.arange(stop - start), np.arange(start, stop)] = -2
        best = np.argpartition(similar, count - _NEAREST, axis=1)[:, count - _NEAREST :]
        held = np.take_along_axis(similar, best, axis=1).astype(np.float64)
        nearest[start:stop] = best
        distance[start:stop] = np.sqrt(np.maximum(2 - 2 * held, 0)).mean(axis=1)
    return distance, nearest


def _deviations(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How many robust standard deviations (median absolute deviation) each value lies above the median."""
    usual = np.median(values)
    spread = 1.4826 * float(np.median(np.abs(values - usual)))
    above: npt.NDArray[np.float64] = (values - usual) / max(spread, 1e-9)
    return above
