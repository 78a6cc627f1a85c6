"""Narrower number formats, recognised by the grid on which all components of a vector lie.

The grid tells a copy from noise however close the copy is: a float16 copy is nearer than many tolerances.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = [
    "GLANCE",
    "on_bfloat16",
    "on_coarse_grid",
    "on_float16",
    "on_int8",
    "or_all",
    "some_rows",
    "within_scaled",
]

Matrix = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

_BELOW_BFLOAT16: Final = np.uint32(0xFFFF)
# What a number in float16 may have no bits below; every such number is a multiple of the smallest, and this many of it at most.
_BELOW_FLOAT16: Final = np.uint32(0x1FFF)
_STEPS_OF_ONE: Final = np.float32(2.0**24)
_MOST_STEPS: Final = np.float32(65504) * _STEPS_OF_ONE
# Fewer components lie on some grid by chance.
_FEWEST_FOR_GRID: Final = 8
# So many components are looked at first.
GLANCE: Final = 32


def some_rows(matrix: Matrix, rows: npt.NDArray[np.integer[Any]]) -> Matrix:
    """These ascending rows; without a copy where they are all."""
    return matrix if len(rows) == len(matrix) else matrix[rows]


def or_all(flags: Flags) -> npt.NDArray[np.intp]:
    """The rows that are flagged, or all of them where most are: to look at a few more costs less than a copy of the others."""
    return np.arange(len(flags)) if 4 * np.count_nonzero(flags) > 3 * len(flags) else np.flatnonzero(flags)


def on_coarse_grid(actual: Matrix) -> Flags:
    """Which vectors lie on a grid so coarse that a copy on it is far from its original: bfloat16, or 256 levels."""
    with np.errstate(all="ignore"):
        flags: Flags = on_bfloat16(actual) | on_int8(actual, actual)
    return flags


def on_float16(actual: Matrix) -> Flags:
    """Which vectors hold nothing but numbers of float16."""
    # By bits and not by conversion, which takes twice as long, and eight times where no vector is on the grid.
    flags: Flags = ((actual.view(np.uint32) & _BELOW_FLOAT16) == 0).all(axis=1)
    rows = or_all(flags)
    with np.errstate(over="ignore"):
        steps = some_rows(actual, rows) * _STEPS_OF_ONE
    flags[rows] &= (np.rint(steps) == steps).all(axis=1)
    if steps.max(initial=0) > _MOST_STEPS or steps.min(initial=0) < -_MOST_STEPS:
        flags[rows] &= (np.abs(steps) <= _MOST_STEPS).all(axis=1)
    return flags


def on_bfloat16(actual: Matrix) -> Flags:
    """Which vectors hold nothing but numbers of bfloat16."""
    # Most vectors are on no such grid, and a few components show it.
    flags: Flags = ((actual[:, :GLANCE].view(np.uint32) & _BELOW_BFLOAT16) == 0).all(axis=1)
    if flags.any():
        rows = or_all(flags)
        flags[rows] &= ((some_rows(actual, rows).view(np.uint32) & _BELOW_BFLOAT16) == 0).all(axis=1)
    return flags


def _within(actual: Matrix, expected: Matrix, relative: np.float32, floor: np.float32) -> Flags:
    away, allowed = actual - expected, np.abs(expected)
    np.abs(away, out=away)
    allowed *= relative
    allowed += floor
    return np.asarray((away <= allowed).all(axis=1))


def within_scaled(
    actual: Matrix,
    expected: Matrix,
    ratio: npt.NDArray[np.float64],
    relative: float,
    floor: float,
) -> Flags:
    """Which vectors are, in every component, no farther from the expected ones than a share of it and `floor`; or are so where
    each expected vector is first made `ratio` times as long (NaN: not asked), which is known about as well as a component is, so
    that twice the share is allowed."""
    fits = _within(actual, expected, np.float32(relative), np.float32(floor))
    left = np.flatnonzero(~fits & ~np.isnan(ratio))
    if len(left):
        scaled = expected[left] * ratio[left, None].astype(np.float32)
        fits[left] = _within(actual[left], scaled, np.float32(2 * relative), np.float32(floor))
    return fits


def on_int8(expected: Matrix, actual: Matrix) -> Flags:
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
            for few in (GLANCE, None):
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
    for few in (GLANCE, None):
        gaps = np.diff(np.sort(actual[rows, :few], axis=1), axis=1)
        gaps[gaps <= spread[rows, None] * np.float32(1e-4)] = np.inf
        gap = gaps.min(axis=1, initial=np.inf)
        may_be = gap * np.float32(256.5) >= spread[rows]
        rows, gap = rows[may_be], gap[may_be]
    smallest[rows] = gap
    return smallest
