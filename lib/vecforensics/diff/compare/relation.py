"""Two vectors that should be one: how are they related?

Pairs come as two float32 matrices, a row a pair, and only pairs whose bytes differ. The answers, from the most certain down:

* NaN or infinity; all zero;
* the expected vector in a narrower number format (float16, bfloat16, an int8 grid), recognised by the grid itself (`formats.py`);
* the same direction within the tolerance: as noise, or with another norm where the length changed and the direction did not;
* a part that is bit for bit right while the rest is zero, or is one block of something else;
* none of these.

A short or sparse vector may be the same in float16 and in bfloat16 (`EITHER16`). A store keeps one format, and so the other
vectors of the collection decide (`explain/wrong_rows.py`).

What a collection is known to be kept on (`grids.py`) names more copies in int8 than a vector shows by itself.

Cosine distance is computed as ½·|a − e·|a|/|e||² / |a|², which keeps its digits where 1 − a·e would lose all of them.

A store that rounds or normalises changes every vector of a collection. So what most pairs then are is settled at a glance, in as
few passes over them as can be, and only the others, all together, are looked at closely.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.compare.formats import (
    GLANCE,
    on_bfloat16,
    on_float16,
    on_int8,
    or_all,
    some_rows,
    within_scaled,
)
from vecforensics.diff.compare.grids import Grid
from vecforensics.diff.vectors import rows_at_once

__all__ = [
    "LEAST_RIGHT",
    "MOST_RIGHT",
    "Comparison",
    "Relation",
    "compare_pairs",
    "compare_rows",
    "cosine_distances",
    "stretches",
]

Matrix = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
Take = Callable[[Rows], Matrix]
"""Some pairs' vectors, by the ascending numbers of the pairs."""

# Beyond this cosine distance no number format explains a difference: int8 at 8 dimensions stays below 1e-2.
_FURTHEST_GRID: Final = 2e-2
# Pairs whose distances are taken together. Both sides in double precision stay in the cache of a core; fewer, and two threads
# wait for Python's lock longer than they compute.
_AT_ONCE: Final = 256
# By what share, and by how much, a component may be off in a format, whether the store rounds or cuts off.
_OF_FLOAT16: Final = (2.0**-10, 2.0**-24)
_OF_BFLOAT16: Final = (2.0**-7, 0.0)
# Beyond this distance a pair may be a copy in int8.
_ROUNDED: Final = 1e-9
# A part counts as right from this share of the components that say anything. Fewer are right by chance in sparse vectors; more
# need not be asked for, since the rest has to be nothing, or to be found in another record.
LEAST_RIGHT: Final = 0.05
# Beside more than that a block of something else is a handful of changed components, which is drift.
MOST_RIGHT: Final = 0.95


class Relation(IntEnum):
    """How an actual vector stands to the expected one."""

    EQUAL = 0
    NOISE = 1
    NORMALISED = 2
    FLOAT16 = 3
    BFLOAT16 = 4
    EITHER16 = 5
    INT8 = 6
    NON_FINITE = 7
    ZERO = 8
    PART_ZERO = 9
    PART_OTHER = 10
    WRONG = 11
    UNUSABLE = 12

    @property
    def benign(self) -> bool:
        return Relation.EQUAL <= self <= Relation.INT8


# What a row is called where a known grid says nothing better.
_IF_NOT_ON_GRID: Final = (Relation.NOISE, Relation.NORMALISED, Relation.WRONG)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Arrays over k pairs: `relation` uint8, `distance` float64 (cosine; NaN where it has none), `right` float32 (the share of
    telling components that are right: bit for bit, or up to one factor where hardly any are, or on the grid that is known),
    `start` and `stop` int32 (the block of components that is not)."""

    relation: npt.NDArray[np.uint8]
    distance: npt.NDArray[np.float64]
    right: npt.NDArray[np.float32]
    start: npt.NDArray[np.int32]
    stop: npt.NDArray[np.int32]


def cosine_distances(expected: Matrix, actual: Matrix) -> npt.NDArray[np.float64]:
    """Cosine distance of each pair, float64 (k,); NaN where a vector is zero or not finite."""
    return _distances_and_ratios(expected, actual)[0]


def _distances_and_ratios(
    expected: Matrix, actual: Matrix
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The cosine distances, and how many times as long as the expected vectors the actual ones are."""
    distance, ratio = np.empty(len(expected)), np.empty(len(expected))
    with np.errstate(all="ignore"):
        for start in range(0, len(expected), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            one, other = expected[part].astype(np.float64), actual[part].astype(np.float64)
            square = np.einsum("ij,ij->i", other, other)
            ratio[part] = np.sqrt(square / np.einsum("ij,ij->i", one, one))
            one *= ratio[part, None]
            one -= other
            distance[part] = 0.5 * np.einsum("ij,ij->i", one, one) / square
    distance[~np.isfinite(distance)] = np.nan
    return distance, ratio


def compare_pairs(expected: Matrix, actual: Matrix, tolerance: float, grid: Grid | None = None) -> Comparison:
    """Relate each row of `actual` (k, d) to the same row of `expected` (k, d). `tolerance`: cosine distance. `grid`: what the
    collection is kept on, where that is known."""
    return compare_rows(
        lambda rows: some_rows(expected, rows),
        lambda rows: some_rows(actual, rows),
        expected.shape,
        tolerance,
        grid,
    )


def compare_rows(
    expected: Take, actual: Take, shape: tuple[int, ...], tolerance: float, grid: Grid | None = None
) -> Comparison:
    """The same for vectors that are fetched when they are looked at; `shape`: (k, d)."""
    count, dimension = shape
    relation = np.full(count, Relation.WRONG, np.uint8)
    distance, ratio = np.empty(count), np.empty(count)
    settled = np.zeros(count, np.bool_)
    for part in _portions(np.arange(count), dimension):
        one, other = expected(part), actual(part)
        distance[part], ratio[part] = _distances_and_ratios(one, other)
        relation[part], settled[part] = _at_a_glance(
            one, other, distance[part], ratio[part], tolerance, grid is not None
        )
    compared = Comparison(
        relation,
        distance,
        np.zeros(count, np.float32),
        np.zeros(count, np.int32),
        np.zeros(count, np.int32),
    )
    furthest = max(tolerance, _FURTHEST_GRID)
    for part in _portions(np.flatnonzero(~settled), dimension):
        _look_closely(compared, part, expected(part), actual(part), ratio[part], furthest, grid)
    return compared


def _portions(rows: Rows, dimension: int) -> Iterator[Rows]:
    step = rows_at_once(dimension)
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def _at_a_glance(
    expected: Matrix,
    actual: Matrix,
    distance: npt.NDArray[np.float64],
    ratio: npt.NDArray[np.float64],
    tolerance: float,
    on_grid: bool,
) -> tuple[npt.NDArray[np.uint8], Flags]:
    """The relation of each pair as far as direction, length and the formats of floating point tell it, and for which pairs there
    is no other. `on_grid`: the collection is kept on a grid, so that what looks like noise may be its rounding."""
    found = np.full(len(expected), Relation.WRONG, np.uint8)
    close = distance <= tolerance
    # Noise of relative size δ turns a vector by δ and stretches it by about δ/√d; a rescaled copy is stretched and not turned.
    with np.errstate(invalid="ignore"):
        stretch = np.abs(ratio - 1)
        rescaled = close & (stretch > 1e-6) & (stretch > 10 * np.sqrt(2 * distance))
        large = close & (stretch > max(1e-3, np.sqrt(2 * tolerance)))
    found[close] = Relation.NOISE
    found[rescaled | large] = Relation.NORMALISED
    near = distance <= max(tolerance, _FURTHEST_GRID)
    brain = _copies(expected, actual, ratio, near, on_bfloat16, *_OF_BFLOAT16)
    # A bfloat16 of usual size is a float16 as well, but few of its roundings are as small as those of float16.
    maybe, rows = near & ~brain, np.flatnonzero(brain)
    if len(rows):
        begin = actual[rows, :GLANCE], expected[rows, :GLANCE]
        maybe[rows] = within_scaled(*begin, ratio[rows], *_OF_FLOAT16)
    half = _copies(expected, actual, ratio, maybe, on_float16, *_OF_FLOAT16)
    found[brain] = Relation.BFLOAT16
    found[half] = Relation.FLOAT16
    found[brain & half] = Relation.EITHER16
    settled = brain | half
    if not on_grid:
        settled |= close & (distance <= _ROUNDED)
    # Perhaps the same in value.
    settled &= distance != 0
    return found, settled


def _copies(
    expected: Matrix,
    actual: Matrix,
    ratio: npt.NDArray[np.float64],
    asked: Flags,
    on_format: Callable[[Matrix], Flags],
    step: float,
    floor: float,
) -> Flags:
    """Which of the pairs in question are copies in a format: on its grid, and within its step in every component."""
    copies = asked.copy()
    if copies.any():
        rows = or_all(copies)
        copies[rows] &= on_format(some_rows(actual, rows))
    if copies.any():
        rows = or_all(copies)
        one, other = some_rows(expected, rows), some_rows(actual, rows)
        copies[rows] &= within_scaled(other, one, np.where(copies, ratio, np.nan)[rows], step, floor)
    return copies


def _look_closely(
    compared: Comparison,
    pairs: Rows,
    expected: Matrix,
    actual: Matrix,
    ratio: npt.NDArray[np.float64],
    furthest: float,
    grid: Grid | None,
) -> None:
    """What no glance has settled; writes into `compared` at `pairs`, whose relation is what the glance said. `furthest`: the
    cosine distance up to which a pair may be a copy in int8."""
    count = len(pairs)
    relation, distance = compared.relation[pairs], compared.distance[pairs]
    finite, usable = np.ones(count, np.bool_), np.ones(count, np.bool_)
    zero, blank = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    # Two vectors that are finite and not zero have a distance.
    odd = np.flatnonzero(np.isnan(distance))
    finite[odd], usable[odd] = (np.isfinite(side[odd]).all(axis=1) for side in (actual, expected))
    with np.errstate(invalid="ignore"):  # a NaN may be a signalling one
        zero[odd] = finite[odd] & ~actual[odd].any(axis=1)
        blank[odd] = usable[odd] & ~expected[odd].any(axis=1)
    rows = np.flatnonzero((distance > _ROUNDED) & (distance <= furthest))
    if len(rows):
        fits = on_int8(expected[rows], actual[rows])
        left = np.flatnonzero(~fits)
        scaled = expected[rows[left]] * ratio[rows[left], None].astype(np.float32)
        fits[left] = on_int8(scaled, actual[rows[left]])
        relation[rows[fits]] = Relation.INT8
    if grid is not None:
        rows = np.flatnonzero(finite & usable & np.isin(relation, _IF_NOT_ON_GRID))
        held = grid.holds(expected[rows], actual[rows])
        relation[rows[held]] = Relation.INT8
        # The level that stands for zero, in every component, is zero, unless it is what the store makes of this vector.
        zero[rows] = ~held & grid.nothing(actual[rows]).all(axis=1)
    relation[zero] = Relation.ZERO
    relation[~finite] = Relation.NON_FINITE
    parts = np.flatnonzero((relation == Relation.WRONG) & usable & ~blank)
    if len(parts):
        relation[parts] = _parts(compared, pairs[parts], expected[parts], actual[parts], grid)
    relation[blank & zero] = Relation.EQUAL
    relation[~usable] = Relation.UNUSABLE
    # In value: a zero that lost its sign is the same zero.
    same = np.flatnonzero(distance == 0)
    relation[same[(expected[same] == actual[same]).all(axis=1)]] = Relation.EQUAL
    compared.relation[pairs] = relation


def _parts(
    compared: Comparison, pairs: Rows, expected: Matrix, actual: Matrix, grid: Grid | None
) -> npt.NDArray[np.uint8]:
    """Which of the pairs are right in part, and how much of all is right; that is written into `compared` at `pairs`."""
    with np.errstate(all="ignore"):
        equal = _equal_up_to_scale(expected, actual)
        # A component that is zero on both sides says nothing: sparse embeddings agree on most of them.
        telling = (expected != 0) | (actual != 0)
        told = np.maximum(telling.sum(axis=1), 1)
        good = equal & telling
        wrong = ~equal & telling
        share = good.sum(axis=1) / told
        some = (good.sum(axis=1) >= 2) & wrong.any(axis=1) & (share >= LEAST_RIGHT)
        rest_zero = ~(wrong & (actual != 0)).any(axis=1)
        is_zero = some & rest_zero
        is_block = some & ~is_zero & (share <= MOST_RIGHT)
        is_block[is_block] = stretches(wrong[is_block], ~telling[is_block]) == 1
        if grid is not None:
            # One component in some hundred is right by chance: no proof beside a block of something, but beside nothing.
            held = (expected != 0) | ~grid.nothing(actual)
            kept = grid.right(expected, actual) & held
            lost = held & ~kept
            cut = (kept.sum(axis=1) >= 2) & lost.any(axis=1) & ~(lost & ~grid.nothing(actual)).any(axis=1)
            cut &= ~is_zero & ~is_block & (kept.sum(axis=1) >= LEAST_RIGHT * held.sum(axis=1))
            is_zero |= cut
            wrong[cut] = lost[cut]
            share[cut] = kept[cut].sum(axis=1) / held[cut].sum(axis=1)
    width = expected.shape[1]
    first = wrong.argmax(axis=1)
    last = width - wrong[:, ::-1].argmax(axis=1)
    compared.right[pairs] = share
    compared.start[pairs] = first
    compared.stop[pairs] = np.where(wrong.any(axis=1), last, 0)
    relation = np.full(len(pairs), Relation.WRONG, np.uint8)
    relation[is_zero] = Relation.PART_ZERO
    relation[is_block] = Relation.PART_OTHER
    return relation


def _equal_up_to_scale(expected: Matrix, actual: Matrix) -> Flags:
    """Which components are right: bit for bit, or, where next to none is, up to one factor for the whole vector.

    A store that normalises on writing rescales also what it was given in part.
    """
    equal: Flags = expected == actual
    telling = (expected != 0) & (actual != 0)
    told = telling.sum(axis=1)
    few = (equal & telling).sum(axis=1) <= LEAST_RIGHT * np.maximum(told, 1)
    rows = np.flatnonzero(few & (told >= 4))
    if len(rows):
        held, wanted = actual[rows], expected[rows]
        # What tells nothing is sorted behind the rest, and the middle of the rest is taken.
        quotient = np.sort(np.where(telling[rows], held / wanted, np.inf), axis=1)
        at, middle = np.arange(len(rows)), told[rows] // 2
        factor = (quotient[at, middle] + quotient[at, (told[rows] - 1) // 2]) / 2
        # No store that normalises turns a vector round.
        some = factor > 0
        held, scaled = held[some], wanted[some] * factor[some, None]
        equal[rows[some]] = np.abs(held - scaled) <= np.abs(scaled) * 4e-6
    return equal


def stretches(flags: Flags, silent: Flags) -> npt.NDArray[np.int64]:
    """In how many stretches the flags of each row (n, d) stand, int64 (n,); components that say nothing are left out."""
    # Carry the last component that says something over the silent ones.
    index = np.where(silent, 0, np.arange(flags.shape[1]))
    np.maximum.accumulate(index, axis=1, out=index)
    carried = np.take_along_axis(flags & ~silent, index, axis=1)
    begins = carried[:, :1].astype(np.int64).sum(axis=1) + (carried[:, 1:] & ~carried[:, :-1]).sum(axis=1)
    count: npt.NDArray[np.int64] = begins
    return count
