"""Vectors of which a part is right, in a store that keeps no vector as it was given.

Where vectors are kept bit for bit, `relation.py` sees such a part by its bits. A store that normalises, or keeps float16,
bfloat16 or int8, leaves no bit as it was: a part is right there where it is the expected one up to one common factor and the
rounding of the row's own number format. The factor is read off each quarter of the vector in turn, since nobody knows which
part is right.

Where a whole collection is known to be kept on one grid, that grid says which components are right; where all its vectors are
known to be off by some noise, what is off by no more is right.

What stands in the rest decides: nothing, or one block that points, within that rounding, as the same block of another record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.compare.formats import on_bfloat16, on_float16
from vecforensics.diff.compare.grids import Grid
from vecforensics.diff.compare.relation import LEAST_RIGHT, MOST_RIGHT
from vecforensics.diff.lookup import find
from vecforensics.diff.sides import Index, Side
from vecforensics.diff.vectors import lengths

__all__ = ["PartlyRight", "coarseness", "owners_of_blocks", "partly_right", "right_components"]

Matrix = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

# Components of a foreign block that are right by chance, within the coarsest rounding.
_MOST_CHANCE: Final = 0.2
_SHORTEST_BLOCK: Final = 4
_EXACT, _COARSE = 1e-5, 1e-3
# No farther, as a share of its length, than this does a shared grid move the block of another record by which it is to be known.
_FARTHEST: Final = 0.1
# Multiplications that looking for the owners of blocks may cost: about a second a core.
_BUDGET: Final = 4e10
_ROWS: Final = 4096
_DIGITS: Final = 6
_NOWHERE: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class PartlyRight:
    """Arrays over k pairs: `zero`, `block` (the rest is nothing; the rest is one block of something), `share` of the telling
    components that are right, `start` and `stop` of what is not, `coarse`: the cosine distance that the rounding allows."""

    zero: Flags
    block: Flags
    share: npt.NDArray[np.float64]
    start: npt.NDArray[np.int64]
    stop: npt.NDArray[np.int64]
    coarse: npt.NDArray[np.float64]


def partly_right(
    expected: Matrix, actual: Matrix, grid: Grid | None = None, noise: float = 0.0
) -> PartlyRight:
    """Which of the pairs (k, d), all finite, are right in part up to a factor and rounding. `grid`, `noise`: the collection's."""
    width = expected.shape[1]
    right, best, coarse = right_components(expected, actual, grid, noise)
    something = actual != 0 if grid is None else ~grid.nothing(actual)
    telling = (expected != 0) | something
    good, wrong = right & telling, ~right & telling
    share = good.sum(axis=1) / np.maximum(telling.sum(axis=1), 1)
    some = (best >= max(_SHORTEST_BLOCK, LEAST_RIGHT * width)) & (share >= LEAST_RIGHT) & wrong.any(axis=1)
    start = wrong.argmax(axis=1)
    stop = width - wrong[:, ::-1].argmax(axis=1)
    columns = np.arange(width)
    inside = (columns >= start[:, None]) & (columns < stop[:, None])
    chance = (good & inside).sum(axis=1) <= _MOST_CHANCE * (telling & inside).sum(axis=1)
    zero = some & ~(wrong & something).any(axis=1)
    block = some & ~zero & chance & (share <= MOST_RIGHT)
    block &= stop - start >= _SHORTEST_BLOCK
    return PartlyRight(zero, block, share, start, stop, coarse)


def right_components(
    expected: Matrix, actual: Matrix, grid: Grid | None = None, noise: float = 0.0
) -> tuple[Flags, npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Which components of finite pairs (k, d) are right up to one factor a row, the rounding of the row's own format and the
    noise of the collection; how many that are not zero; the cosine distance that the rounding allows."""
    right = np.zeros(expected.shape, np.bool_)
    best = np.full(len(expected), -1)
    with np.errstate(all="ignore"):
        relative, absolute, coarse = _rounding(actual)
        if grid is not None and grid.shared:
            right = grid.right(expected, actual)
            coarse = np.maximum(np.minimum(grid.reach(actual), _FARTHEST) ** 2, _COARSE)
            return right, (right & (expected != 0)).sum(axis=1), coarse
        allowed = absolute[:, None] + np.float32(noise)
        for factor in _factors(expected, actual):
            scaled = expected * factor[:, None].astype(np.float32)
            near = np.abs(actual - scaled) <= np.abs(scaled) * relative[:, None] + allowed
            score = (near & (actual != 0)).sum(axis=1)
            better = np.isfinite(factor) & (score > best)
            right[better], best[better] = near[better], score[better]
    return right, best, coarse


def coarseness(actual: Matrix) -> npt.NDArray[np.float64]:
    """The cosine distance that the rounding of each row's own format (k, d) allows."""
    with np.errstate(all="ignore"):
        return _rounding(actual)[2]


def _rounding(
    actual: Matrix,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """By what share, and by how much, a component may be off in the row's own format; the cosine distance that this allows."""
    # A bfloat16 of usual size is a float16 as well, but not the other way round.
    brain = on_bfloat16(actual)
    half = on_float16(actual) & ~brain
    step = np.abs(actual).max(axis=1) / np.float32(127)
    level = actual / step[:, None]
    nearest = np.round(level)
    grid = (np.abs(level - nearest) <= 0.02).all(axis=1) & ~half & ~brain
    # What stands beside one enormous component is next to level 0, and on no grid for that.
    grid &= 2 * np.count_nonzero(nearest, axis=1) > np.count_nonzero(actual, axis=1)
    relative = np.select([half, brain], [np.float32(2**-9), np.float32(2**-6)], np.float32(1e-5))
    # Another record's block may have set the step of an int8 row; a little more than half a step is allowed.
    absolute = np.select([grid, half], [step * np.float32(0.6), np.float32(2**-24)], np.float32(0))
    return relative.astype(np.float32), absolute.astype(np.float32), np.where(grid | brain, _COARSE, _EXACT)


def _factors(expected: Matrix, actual: Matrix) -> list[npt.NDArray[np.float64]]:
    """One for no factor at all, and what each quarter of the vector shows."""
    width = expected.shape[1]
    quotient = np.where((actual != 0) & (expected != 0), actual / expected, np.nan).astype(np.float64)
    factors = [np.ones(len(expected))]
    for quarter in range(4):
        part = quotient[:, quarter * width // 4 : (quarter + 1) * width // 4]
        factor = _medians(part)
        factors.append(np.where(factor > 0, factor, np.nan))
    return factors


def _medians(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The median of each row without its NaN, NaN where there is nothing else; `numpy.nanmedian` takes four times as long."""
    if not rows.shape[1]:
        return np.full(len(rows), np.nan)
    ordered = np.sort(rows, axis=1)  # NaN last
    count = np.count_nonzero(~np.isnan(rows), axis=1)
    row = np.arange(len(rows))
    # Where there is nothing, both are the last NaN.
    medians: npt.NDArray[np.float64] = (ordered[row, (count - 1) // 2] + ordered[row, count // 2]) / 2
    return medians


def owners_of_blocks(
    source: Side,
    own: Index,
    actual: Matrix,
    start: npt.NDArray[np.int64],
    stop: npt.NDArray[np.int64],
    coarse: npt.NDArray[np.float64],
) -> tuple[Index, int]:
    """The record whose expected vector points, in the block of each row, as the row does, -1 for none; how many were left out.

    `own`: the row's own record, which is no answer. The commonest blocks are looked for first, as far as the budget goes.
    """
    found = np.full(len(own), -1, np.int64)
    shapes, of_shape, counts = np.unique(
        np.stack([start, stop], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    of_shape = np.asarray(of_shape).reshape(-1)
    spent, left = 0.0, 0
    for number in np.lexsort((shapes[:, 0], -counts)).tolist():
        members = np.flatnonzero(of_shape == number)
        low, high = shapes[number].tolist()
        spent += float(source.rows) * (high - low) * (len(members) + 8)
        if spent > _BUDGET:
            left += len(members)
            continue
        found[members] = _owners(source, own[members], actual[members, low:high], low, high, coarse[members])
    return found, left


def _owners(
    source: Side, own: Index, block: Matrix, low: int, high: int, coarse: npt.NDArray[np.float64]
) -> Index:
    with np.errstate(all="ignore"):
        unit = (block / lengths(block)[:, None]).astype(np.float32)
    best, owner = np.full(len(own), -2.0), np.full(len(own), -1, np.int64)
    place = np.full(len(own), _NOWHERE)
    for numbers, vectors in source.blocks(_ROWS):
        part = vectors[:, low:high]
        with np.errstate(all="ignore"):
            length = lengths(part).astype(np.float32)
            similar = np.nan_to_num((part @ unit.T) / length[:, None], nan=-2.0)
        at, there = find(numbers, own)
        similar[at[there], np.flatnonzero(there)] = -2
        # What the last digits say hangs on which rows are multiplied together; among equals the first in the source is said.
        similar = similar.round(_DIGITS)
        position = source.integers("position", numbers).astype(np.int64)
        score = similar.max(axis=0)
        first = np.where(similar == score, position[:, None], _NOWHERE).argmin(axis=0)
        better = (score > best) | ((score == best) & (position[first] < place))
        best[better], owner[better] = score[better], numbers[first[better]]
        place[better] = position[first[better]]
    return np.where(1 - best <= coarse, owner, -1)
