"""Two vectors that should be one: how are they related?

Pairs come as two float32 matrices, a row a pair, and only pairs whose bytes differ. The answers, from the most certain down:

* NaN or infinity; all zero;
* the expected vector in a narrower number format (float16, bfloat16, an int8 grid), recognised by the grid itself and not by the
  distance, since a float16 copy is closer than many tolerances;
* the same direction within the tolerance: as noise, or with another norm where the length changed and the direction did not;
* a part that is bit for bit right while the rest is zero, or is one block of something else;
* none of these.

What a collection is known to be kept on (`grids.py`) names more copies in int8 than a vector shows by itself.

Cosine distance is computed as ½·|a − e·|a|/|e||² / |a|², which keeps its digits where 1 − a·e would lose all of them. A store
that rounds or normalises changes every vector of a collection, so what most pairs are is settled in as few passes as can be.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.compare.grids import Grid

__all__ = [
    "LEAST_RIGHT",
    "MOST_RIGHT",
    "Comparison",
    "Relation",
    "compare_pairs",
    "compare_ragged",
    "cosine_distances",
    "on_coarse_grid",
]

Matrix = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

# Beyond this cosine distance no number format explains a difference: int8 at 8 dimensions stays below 1e-2.
_FURTHEST_GRID: Final = 2e-2
# Fewer components lie on some grid by chance.
_FEWEST_FOR_GRID: Final = 8
# Pairs whose distances are taken together: both sides in double precision stay in the cache of a core.
_AT_ONCE: Final = 128
# What a number in float16 may have no bits below, and the largest; every such number is a multiple of the smallest.
_BELOW_FLOAT16: Final = np.uint32(0x1FFF)
_LARGEST_FLOAT16, _STEPS_OF_ONE = np.float32(65504), np.float32(2.0**24)
# So many components are looked at first.
_GLANCE: Final = 32
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
    INT8 = 5
    NON_FINITE = 6
    ZERO = 7
    PART_ZERO = 8
    PART_OTHER = 9
    WRONG = 10
    UNUSABLE = 11

    @property
    def benign(self) -> bool:
        return Relation.EQUAL <= self <= Relation.INT8


# What a row is called where a known grid says nothing better.
_IF_NOT_ON_GRID: Final = (Relation.NOISE, Relation.NORMALISED, Relation.WRONG)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Arrays over k pairs: `relation` uint8, `distance` float64 (cosine; NaN where it has none), `right` float32 (the share of
    informative components that are bit for bit right), `start` and `stop` int32 (the block of components that is not)."""

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
    count = len(expected)
    relation = np.full(count, Relation.WRONG, np.uint8)
    right = np.zeros(count, np.float32)
    start, stop = np.zeros(count, np.int32), np.zeros(count, np.int32)
    if not count:
        return Comparison(relation, np.zeros(0), right, start, stop)
    distance, ratio = _distances_and_ratios(expected, actual)
    finite, usable = np.ones(count, np.bool_), np.ones(count, np.bool_)
    zero, blank = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    # Two vectors that are finite and not zero have a distance.
    odd = np.flatnonzero(np.isnan(distance))
    finite[odd], usable[odd] = (np.isfinite(side[odd]).all(axis=1) for side in (actual, expected))
    zero[odd] = finite[odd] & ~actual[odd].any(axis=1)
    blank[odd] = usable[odd] & ~expected[odd].any(axis=1)
    rows = np.flatnonzero(distance <= max(tolerance, _FURTHEST_GRID))
    if len(rows):
        relation[rows] = _near(
            _some(expected, rows), _some(actual, rows), distance[rows], ratio[rows], tolerance
        )
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
        _parts(expected[parts], actual[parts], parts, relation, right, start, stop, grid)
    relation[blank & zero] = Relation.EQUAL
    relation[~usable] = Relation.UNUSABLE
    # In value: a zero that lost its sign is the same zero.
    same = np.flatnonzero(distance == 0)
    relation[same[(expected[same] == actual[same]).all(axis=1)]] = Relation.EQUAL
    return Comparison(relation, distance, right, start, stop)


def _some(matrix: Matrix, rows: npt.NDArray[np.intp]) -> Matrix:
    """These ascending rows; without a copy where they are all."""
    return matrix if len(rows) == len(matrix) else matrix[rows]


def _near(
    expected: Matrix,
    actual: Matrix,
    distance: npt.NDArray[np.float64],
    ratio: npt.NDArray[np.float64],
    tolerance: float,
) -> npt.NDArray[np.uint8]:
    """The relation of pairs that point almost the same way."""
    found = np.full(len(expected), Relation.WRONG, np.uint8)
    close = distance <= tolerance
    # Noise of relative size δ turns a vector by δ and stretches it by about δ/√d; a rescaled copy is stretched and not turned.
    stretch = np.abs(ratio - 1)
    rescaled = close & (stretch > 1e-6) & (stretch > 10 * np.sqrt(2 * distance))
    large = close & (stretch > max(1e-3, np.sqrt(2 * tolerance)))
    found[close] = Relation.NOISE
    found[rescaled | large] = Relation.NORMALISED
    scale = ratio[:, None].astype(np.float32)
    named = np.zeros(len(expected), np.bool_)
    for grid, relation in ((_on_float16, Relation.FLOAT16), (_on_bfloat16, Relation.BFLOAT16)):
        rows = np.flatnonzero(~named)
        rows = rows[grid(_some(actual, rows))]
        step = np.float32(2.0**-10 if relation is Relation.FLOAT16 else 2.0**-7)
        floor = np.float32(2.0**-24 if relation is Relation.FLOAT16 else 0)
        fits = _within(_some(actual, rows), _some(expected, rows), step, floor)
        left = rows[~fits]
        fits[~fits] = _within(actual[left], expected[left] * scale[left], step * 2, floor)
        found[rows[fits]] = relation
        named[rows[fits]] = True
    rows = np.flatnonzero(~named & (distance > 1e-9))
    if len(rows):
        fits = _on_int8(expected[rows], actual[rows])
        left = rows[~fits]
        fits[~fits] = _on_int8(expected[left] * scale[left], actual[left])
        found[rows[fits]] = Relation.INT8
    return found


def on_coarse_grid(actual: Matrix) -> Flags:
    """Which vectors lie on a grid so coarse that a copy on it is far from its original: bfloat16, or 256 levels."""
    with np.errstate(all="ignore"):
        flags: Flags = _on_bfloat16(actual) | _on_int8(actual, actual)
    return flags


def _on_float16(actual: Matrix) -> Flags:
    # By bits and not by conversion, which takes twice as long, and eight times where no vector is on the grid.
    flags: Flags = ((actual.view(np.uint32) & _BELOW_FLOAT16) == 0).all(axis=1)
    rows = np.flatnonzero(flags)
    with np.errstate(over="ignore"):
        steps = np.abs(_some(actual, rows)) * _STEPS_OF_ONE
    flags[rows] = ((np.rint(steps) == steps) & (steps <= _LARGEST_FLOAT16 * _STEPS_OF_ONE)).all(axis=1)
    return flags


def _on_bfloat16(actual: Matrix) -> Flags:
    flags: Flags = ((actual.view(np.uint32) & np.uint32(0xFFFF)) == 0).all(axis=1)
    return flags


def _within(actual: Matrix, expected: Matrix, relative: np.float32, floor: np.float32) -> Flags:
    flags: Flags = (np.abs(actual - expected) <= np.abs(expected) * relative + floor).all(axis=1)
    return flags


def _on_int8(expected: Matrix, actual: Matrix) -> Flags:
    """Whether `actual` lies on at most 256 evenly spaced levels and each component is the nearest level or its neighbour.

    The step is not known: it is the scale of a symmetric or affine code of this vector, or, with a scale shared by the whole
    collection, the smallest gap between two of its components.

    Where `expected` lies on a grid about as wide itself (counts of words do, before and after an edit), only the nearest level
    will do: a code rounds by half a step, an edit moves by a whole one.
    """
    low, high = actual.min(axis=1), actual.max(axis=1)
    peak = np.maximum(np.abs(low), np.abs(high))
    spread = high - low
    nothing = np.zeros(len(actual), np.float32)
    fits = np.zeros(len(actual), np.bool_)
    with np.errstate(all="ignore"):
        for step, origin, levels in (
            (peak / 127, nothing, 1),
            (peak / 128, nothing, 1),
            (spread / 255, low, 1),
            # A step that is only guessed must be fine, or any short vector would lie on some grid.
            (_smallest_gap(actual, spread), low, 32),
        ):
            rows = np.flatnonzero((spread <= step * 256.5) & (spread >= step * levels) & (step > 0))
            # Most vectors are on no grid, and a few components show it.
            for few in (_GLANCE, None):
                level = (actual[rows, :few] - origin[rows, None]) / step[rows, None]
                rows = rows[(np.abs(level - np.round(level)) <= 0.02).all(axis=1)]
            error = np.abs(actual[rows] - expected[rows]).max(axis=1, initial=0)
            fits[rows] |= error <= step[rows] * 0.51
            rows = rows[(error > step[rows] * 0.51) & (error <= step[rows] * 1.01)]
            fits[rows] |= ~_on_grid_like(expected[rows], step[rows])
    fine: Flags = fits & (spread > 0) & (actual.shape[1] >= _FEWEST_FOR_GRID)
    return fine


def _on_grid_like(vectors: Matrix, step: npt.NDArray[np.float32]) -> Flags:
    """Whether each vector lies on evenly spaced levels of its own, half to twice `step` apart."""
    low = vectors.min(axis=1)
    gap = _smallest_gap(vectors, vectors.max(axis=1) - low)
    level = (vectors - low[:, None]) / gap[:, None]
    flags: Flags = (np.abs(level - np.round(level)) <= 0.02).all(axis=1)
    return flags & (gap >= step / 2) & (gap <= step * 2)


def _smallest_gap(actual: Matrix, spread: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The smallest distance between two different components of each vector, where it may be a step of 256; else infinity."""
    smallest = np.full(len(actual), np.inf, np.float32)
    rows = np.arange(len(actual))
    # A gap between some components that is below a step of 256 rules the vector out.
    for few in (_GLANCE, None):
        gaps = np.diff(np.sort(actual[rows, :few], axis=1), axis=1)
        gaps[gaps <= spread[rows, None] * np.float32(1e-4)] = np.inf
        gap = gaps.min(axis=1, initial=np.inf)
        may_be = gap * np.float32(256.5) >= spread[rows]
        rows, gap = rows[may_be], gap[may_be]
    smallest[rows] = gap
    return smallest


def _parts(
    expected: Matrix,
    actual: Matrix,
    rows: npt.NDArray[np.intp],
    relation: npt.NDArray[np.uint8],
    right: npt.NDArray[np.float32],
    start: npt.NDArray[np.int32],
    stop: npt.NDArray[np.int32],
    grid: Grid | None,
) -> None:
    """Find the rows of which a part is right; writes into the result arrays at `rows`."""
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
        is_block[is_block] = _blocks(wrong[is_block], telling[is_block]) == 1
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
    for flags, name in (
        (is_zero, Relation.PART_ZERO),
        (is_block, Relation.PART_OTHER),
    ):
        relation[rows[flags]] = name
    right[rows] = share
    start[rows] = first
    stop[rows] = np.where(wrong.any(axis=1), last, 0)


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
        scaled = wanted * factor[:, None]
        equal[rows] = np.abs(held - scaled) <= np.abs(scaled) * 4e-6
    return equal


def _blocks(wrong: Flags, telling: Flags) -> npt.NDArray[np.int64]:
    """In how many separate blocks the wrong components stand, components that say nothing left out."""
    state = np.where(wrong, np.int8(1), np.where(telling, np.int8(0), np.int8(-1)))
    # Carry the last telling state over the silent ones.
    index = np.where(state >= 0, np.arange(state.shape[1]), 0)
    np.maximum.accumulate(index, axis=1, out=index)
    carried = np.maximum(np.take_along_axis(state, index, axis=1), 0)
    begins = np.diff(carried, axis=1, prepend=np.int8(0)) == 1
    count: npt.NDArray[np.int64] = begins.sum(axis=1)
    return count


def compare_ragged(
    expected: Matrix, rows: list[npt.NDArray[np.float32]], tolerance: float
) -> list[dict[str, Any]]:
    """What vectors of a wrong length are: for each row its `length`, the expected one, a `form` and how much is `right`.

    `form` is `empty`, `truncated` (a prefix of the expected vector), `padded` (the expected vector and more behind it) or
    `other`.
    """
    details: list[dict[str, Any]] = [{} for _ in rows]
    width = expected.shape[1]
    by_length: dict[int, list[int]] = {}
    for number, row in enumerate(rows):
        by_length.setdefault(len(row), []).append(number)
    for length, members in by_length.items():
        common = min(length, width)
        if not common:
            for number in members:
                details[number] = {"length": length, "expected_length": width, "form": "empty", "right": 0.0}
            continue
        actual = np.stack([rows[number] for number in members])
        wanted = expected[members]
        share = (actual[:, :common] == wanted[:, :common]).sum(axis=1) / width
        same = _same_beginning(wanted[:, :common], actual[:, :common], tolerance)
        rest_zero = np.asarray(~actual[:, common:].any(axis=1))
        for at, number in enumerate(members):
            form = "other" if not same[at] else "truncated" if length < width else "padded"
            detail: dict[str, Any] = {
                "length": length,
                "expected_length": width,
                "form": form,
                "right": round(float(common / width if same[at] else share[at]), 4),
            }
            if form == "padded":
                detail["padding"] = "zero" if rest_zero[at] else "other"
            details[number] = detail
    return details


def _same_beginning(wanted: Matrix, held: Matrix, tolerance: float) -> Flags:
    """Whether the components that both vectors of a pair have are the same within the tolerance."""
    if wanted.shape[1] > 1:
        return np.asarray(cosine_distances(wanted, held) <= tolerance)
    # One component has no direction but its sign. What turns a longer vector by the tolerance changes it by so much.
    one, other = wanted[:, 0].astype(np.float64), held[:, 0].astype(np.float64)
    return np.asarray((np.abs(other - one) <= np.sqrt(2 * tolerance) * np.abs(one)) & (one != 0))
