"""Learn from many rows together whether a store keeps a collection in int8, and on what grid.

A sample of the rows that differ (`diff/store_habits.py`) is held against three suppositions: a scale drawn from each vector by
one of the usual rules; one scale for the collection; else one for each component.

A shared step is read off the values: laid out along a line they bunch at its multiples, and the Fourier transform of their
histogram has a peak there, however many stray values lie between, wherever the line begins. How far copies are from what was
expected bounds the step beforehand, a straight line through level and value refines it. What counts in the end is how many rows
of the sample the grid explains in every component: at least `FEWEST`, and at least half. Vectors that lay on the grid before
they were stored (counts of words) prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from vecforensics.diff.compare.grids import (
    ON_LEVEL,
    ROUNDINGS,
    ROW_SCALES,
    Grid,
    Rounding,
    row_levels,
    unit,
)
from vecforensics.diff.compare.relation import cosine_distances

__all__ = ["FEWEST", "learn_grid"]

Wide = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.float32]

FEWEST: Final = 16
"""So many rows must lie on a grid before it is believed."""

# A grid is read off the rows that are no farther away than so many times what is usual, and held against all.
_USUAL: Final = 10
# What explains none of some rows, or not a quarter of some more, is looked at no further: half of all are needed in the end.
_PEEK, _GLANCE = 32, 256
# Values that a step is read off: more of one line tell no more; fewer tell nothing, or, where all of them are on it, enough.
_MOST_ON_A_LINE: Final = 8192
_FEWEST_ON_A_LINE, _ENOUGH_ON_A_LINE = 6, 32
# The median of what rounding takes away is a quarter of the step, of what cutting off takes away a half; a third of the rows may
# be something else. The histogram: four bins to such a median, 256 steps of eight medians wide, with room for the transform.
_STEPS: Final = (1.2, 8.0)
_BINS, _ROOM = 8192, 65536
_BIN: Final = 0.25
# How many of the values must bunch, and how many of them need no better line; how many peaks are looked at; how many lines are
# held against whole rows.
_BUNCHED, _NEARLY_ALL = 0.4, 0.97
_CANDIDATES, _LIKELIEST = 16, 3
# What rounds changes the length of vectors by less than this; where most are longer than expected by more, they are codes.
_MULTIPLIED: Final = 1.5
# Levels between the smallest and the largest value: fewer are no int8, more neither.
_LEVELS: Final = (32, 256)


class Reference(NamedTuple):
    """What may have been put on a grid, float64 (k, d): the expected vectors, at `length_one` or not, times `factor`."""

    length_one: bool
    factor: float
    vectors: Wide


def learn_grid(expected: npt.NDArray[np.float32], actual: npt.NDArray[np.float32]) -> Grid | None:
    """The grid that at least half of the rows of `actual` (k, d) were put on, `FEWEST` or more, with `expected` (k, d) before."""
    best, most = None, max(FEWEST, (len(expected) + 1) // 2) - 1
    distance = cosine_distances(expected, actual)
    usual = distance <= _USUAL * _quantile(distance[np.isfinite(distance)], 0.5)
    held = actual.astype(np.float64)
    references = list(_references(expected, held, usual))
    peek, glance = (slice(None, None, -(-len(actual) // some)) for some in (_PEEK, _GLANCE))
    # Where one scale explains nearly all rows, a scale for each component would too.
    for grids in (
        chain(_by_row(expected[peek], held[peek]), _by_collection(references, held, usual)),
        _by_component(references, held, usual),
    ):
        for grid in grids:
            if not all(
                grid.holds(expected[some], actual[some]).mean() >= share
                for some, share in ((peek, 1 / _PEEK), (glance, 1 / 4))
            ):
                continue
            explained = int(grid.holds(expected, actual).sum())
            if explained > most:
                best, most = grid, explained
        if most >= _NEARLY_ALL * len(expected):
            break
    return best


def _by_row(expected: Matrix, held: Wide) -> Iterator[Grid]:
    """A scale for each vector by any rule by which one of these few lies on levels."""
    nothing = np.empty(0)
    for scale in ROW_SCALES:
        for length_one, wanted in ((False, expected.astype(np.float64)), (True, unit(expected))):
            if not _on_line(held, *row_levels(scale, wanted)).all(axis=1).any():
                continue
            for rounding in ROUNDINGS:
                yield Grid(nothing, nothing, _ends(-np.inf), _ends(np.inf), scale, length_one, rounding)


def _by_collection(references: list[Reference], held: Wide, usual: Flags) -> Iterator[Grid]:
    for reference in references:
        wanted = reference.vectors
        telling = (wanted != 0) & usual[:, None]
        for step, origin in _lines(wanted[telling], held[telling]):
            yield from _with_ends(np.array([step]), np.array([origin]), reference, held)


def _by_component(references: list[Reference], held: Wide, usual: Flags) -> Iterator[Grid]:
    for reference in references:
        lines = []
        for column, values in zip(reference.vectors[usual].T, held[usual].T, strict=True):
            line = _best_line(column, values)
            if line is None:
                break
            lines.append(line)
        else:
            step, origin = np.array(lines).T
            yield from _with_ends(step, origin, reference, held)


def _references(expected: Matrix, held: Wide, usual: Flags) -> Iterator[Reference]:
    """What may have been put on a grid: the vectors as they are, and at length one where that is something else; and these so
    many times as long as the usual ones of `held` are, where the store gives back its codes and not what they stand for."""
    wide, scaled = expected.astype(np.float64), unit(expected)
    made = [Reference(False, 1.0, wide)]
    if np.abs(scaled - wide).max(initial=0) > 1e-6:
        made.append(Reference(True, 1.0, scaled))
    yield from made
    # Codes are whole numbers, which a few rows show.
    some = held[usual][:_PEEK]
    if np.count_nonzero(some == np.rint(some)) <= _BUNCHED * some.size:
        return
    for one in made:
        for factor in _factors(one.vectors[usual], held[usual]):
            yield Reference(one.length_one, factor, one.vectors * factor)


def _factors(wanted: Wide, held: Wide) -> Iterator[float]:
    """What vectors may have been multiplied by before they became whole numbers; nothing where they are no longer than before."""
    telling = (wanted * held > 0) & np.isfinite(wanted)
    wanted, held = np.abs(wanted[telling]), np.abs(held[telling])
    if not len(held) or float((wanted * held).sum()) < _MULTIPLIED * float((wanted * wanted).sum()):
        return
    for rounding in (Rounding.NEAREST, Rounding.TO_ZERO):
        # Each component allows the factors of an interval; the middle of where most intervals overlap.
        least, most = ROUNDINGS[rounding]
        ends = np.r_[(held + least) / wanted, (held + most) / wanted]
        order = np.argsort(ends, kind="stable")
        over = np.cumsum(np.where(order < len(held), 1, -1)).argmax()
        yield float(ends[order[over : over + 2]].mean())


def _with_ends(step: Wide, origin: Wide, reference: Reference, held: Wide) -> Iterator[Grid]:
    """The grid with each way to round, and with its ends where something was cut off at them."""
    wanted = reference.vectors
    level = (held - origin) / step
    on_it = (np.abs(level - np.rint(level)) <= ON_LEVEL).all(axis=1)
    if not on_it.any():
        return
    wanted, held = wanted[on_it], held[on_it]
    # One line for the collection, or one for each component.
    axis = None if len(step) == 1 else 0
    top, bottom = np.atleast_1d(held.max(axis=axis)), np.atleast_1d(held.min(axis=axis))
    # Eight bits have no more levels.
    full = np.rint((top - bottom) / step) >= _LEVELS[1] - 1
    for rounding, (least, most) in ROUNDINGS.items():
        mirrored = rounding is Rounding.TO_ZERO
        over = np.where(mirrored & (top < 0), -least, most) + ON_LEVEL / 2
        under = np.where(mirrored & (bottom < 0), most, -least) + ON_LEVEL / 2
        above = (wanted > top + over * step) & (held >= top - ON_LEVEL * step)
        below = (wanted < bottom - under * step) & (held <= bottom + ON_LEVEL * step)
        yield Grid(
            step,
            origin,
            np.where(full | below.any(axis=axis), bottom, -np.inf),
            np.where(full | above.any(axis=axis), top, np.inf),
            unit=reference.length_one,
            rounding=rounding,
            bottom=bottom,
            top=top,
            factor=reference.factor,
        )


def _ends(value: float) -> Wide:
    return np.array([value])


def _best_line(wanted: Wide, held: Wide) -> tuple[float, float] | None:
    """The step and origin of one component."""
    if np.ptp(held) == 0 and np.array_equal(wanted, held):
        return max(abs(float(held[0])), 1e-30) * 1e-5, float(held[0])
    # A component that is zero nearly everywhere says most by its other values, and what becomes of zero only once.
    pairs = np.unique(wanted + 1j * held)
    return next(iter(_lines(pairs.real, pairs.imag)), None)


def _lines(wanted: Wide, held: Wide) -> list[tuple[float, float]]:
    """Steps and origins of lines of levels that many of the values `held` lie on, the likeliest first."""
    wanted, held = wanted[:_MOST_ON_A_LINE], held[:_MOST_ON_A_LINE]
    if len(held) < _FEWEST_ON_A_LINE:
        return []
    away = np.abs(wanted - held)
    cut_off = ((held == held.max()) & (wanted > held)) | ((held == held.min()) & (wanted < held))
    lines: dict[tuple[float, float], int] = {}
    for guesses in _guesses(held, away):
        for line in filter(None, (_refined(held, guess) for guess in guesses)):
            step, _ = line
            copies = held[_on_line(held, *line) & (cut_off | (away <= 1.01 * step))]
            needed = _BUNCHED if len(held) >= _ENOUGH_ON_A_LINE else 1.0
            if (
                len(copies) < needed * len(held)
                or not _LEVELS[0] <= np.rint(np.ptp(copies) / step) <= _LEVELS[1]
            ):
                continue
            if not _lies_on(wanted[away > 0.05 * step], *line):
                lines[line] = len(copies)
        if max(lines.values(), default=0) >= _NEARLY_ALL * len(held):
            break
    return sorted(lines, key=lambda line: (-lines[line], -line[0]))[:_LIKELIEST]


def _guesses(held: Wide, away: Wide) -> Iterator[list[float]]:
    """What the step may be, the cheapest guesses first. `away`: how far each value is from what was expected."""
    # Where both ends of the scale are in use they give it away, however few the values between.
    peak = float(np.abs(held).max())
    yield [float(np.ptp(held)) / 255, peak / 127, peak / 128]
    # The median misleads where much was cut off at the ends, and where few different values are.
    for share, times in ((0.5, 1.0), (0.25, 2.0), (0.95, 0.5)):
        usual = times * _quantile(away, share)
        if usual > 0:
            yield _bunched(held, usual)


def _bunched(held: Wide, usual: float) -> list[float]:
    """Steps, of `_STEPS` times what is usually lost, at which the values bunch."""
    place = np.rint((held - _quantile(held, 0.5)) / (usual * _BIN)) + _BINS // 2
    inside = place[(place >= 0) & (place < _BINS)].astype(np.int64)
    power = np.abs(np.fft.rfft(np.bincount(inside, minlength=_BINS), _ROOM))
    # Wave number n is a step of `_ROOM * _BIN / n` times `usual`.
    first, last = int(_ROOM * _BIN / _STEPS[1]), int(_ROOM * _BIN / _STEPS[0])
    seen = power[first : last + 1]
    peaks = first + 1 + np.flatnonzero((seen[1:-1] >= seen[:-2]) & (seen[1:-1] > seen[2:]))
    peaks = peaks[power[peaks] >= max(0.8 * seen.max(), _BUNCHED * len(held))]
    peaks = peaks[np.argsort(-power[peaks], kind="stable")][:_CANDIDATES]
    guesses: list[float] = (usual * _ROOM * _BIN / peaks).tolist()
    return guesses


def _refined(held: Wide, step: float) -> tuple[float, float] | None:
    """A straight line through levels and values, from a first guess of the step; None where there is none."""
    if step <= 0:
        return None
    middle = _quantile(held, 0.5)
    turn = np.exp(2j * np.pi * (held - middle) / step).sum()
    origin = middle + float(np.angle(turn)) / (2 * np.pi) * step
    for near in (0.2, 0.1, 0.05, ON_LEVEL, ON_LEVEL):
        level = np.rint((held - origin) / step)
        on_it = np.abs(held - origin - level * step) <= near * step
        if not on_it.any() or not np.ptp(level[on_it]):
            return None
        number, value = level[on_it] - level[on_it].mean(), held[on_it]
        step = float((number * value).sum() / (number * number).sum())
        origin = float(value.mean() - step * level[on_it].mean())
    return step, origin


def _on_line(values: Wide, step: float | Wide, origin: float | Wide) -> Flags:
    level = (values - origin) / step
    return np.asarray(np.abs(level - np.rint(level)) <= ON_LEVEL)


def _lies_on(moved: Wide, step: float, origin: float) -> bool:
    """Whether most values that were moved lay on the line before: no code does that, an edit does."""
    return bool(2 * np.count_nonzero(_on_line(moved, step, origin)) >= max(len(moved), 1))


def _quantile(values: Wide, share: float) -> float:
    """The value below which this share of them lies. `numpy.quantile` loads a package of masked arrays, which takes longer than
    all the rest here."""
    if not len(values):
        return 0.0
    at = int(share * (len(values) - 1))
    return float(np.partition(values, at)[at])
