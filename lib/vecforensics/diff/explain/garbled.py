"""A wrong vector whose components are all there, only not as they were: what was done to it, where that can be told.

Each form lays components of the two sides beside one another, in the order and of the type that it supposes. It is named where
they are then as near as copies of one vector may be (`compare_pairs`): up to a factor, the tolerance and a store's rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from vecforensics.diff.compare.grids import Grid
from vecforensics.diff.compare.relation import Relation, compare_pairs
from vecforensics.diff.vectors import lengths

__all__ = ["garbled"]

Matrix = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

# A cosine distance at which something is near to a vector by chance, whatever counts as the same vector.
_BY_CHANCE: Final = 1e-2
# In fewer dimensions there is more of that, and nothing but the last digits of a float may differ.
_FEWEST: Final = 8
_LAST_DIGITS: Final = 1e-12
# Fewer components than these are found in whatever bits.
_FEWEST_OF_OTHERS: Final = 4
# The cosine over some components before it is asked over all, and over all before they are compared closely. No number format
# turns a vector farther; a known grid, whose ends may have been cut off, does.
_SOME: Final = 16
_ROUGHLY: Final = 0.9
_NEARLY: Final = 0.97
# How far apart, as a share, equal components of two orders may be: float16 rounds by half of it.
_STEP: Final = 2.0**-10


def garbled(
    expected: Matrix, actual: Matrix, tolerance: float, grid: Grid | None = None
) -> list[dict[str, Any]]:
    """For each pair (k, d) how the actual vector was made of the expected one: `form`, and `scale` where it is that many times as
    long; empty where nobody can tell. `tolerance` and `grid` as in `compare_pairs`."""
    said: list[dict[str, Any]] = [{} for _ in expected]
    left = np.ones(len(expected), np.bool_)
    tolerance = min(tolerance, _BY_CHANCE)
    with np.errstate(all="ignore"):
        for form in _FORMS:
            its_grid = grid if form.as_stored else None
            rows = _near(form, expected, actual, left, _NEARLY if its_grid is None else _ROUGHLY)
            if not len(rows):
                continue
            wanted, held = form.laid_out(expected[rows], actual[rows])
            compared = compare_pairs(wanted, held, tolerance, its_grid)
            same = compared.relation <= Relation.INT8
            if wanted.shape[1] < _FEWEST:
                on_grid = (compared.relation == Relation.INT8) & (its_grid is not None)
                same &= (compared.distance <= _LAST_DIGITS) | on_grid
            rescaled = compared.relation == Relation.NORMALISED
            if wanted.shape[1] == 1:
                # A number is a multiple of any other.
                same &= ~rescaled
            ratio = np.where(rescaled, lengths(held) / lengths(wanted), 1)
            _say(said, rows[same], [form.name] * int(same.sum()), ratio[same])
            left[rows[same]] = False
        _name_other_orders(said, expected, actual, np.flatnonzero(left))
    return said


def _say(said: list[dict[str, Any]], rows: Rows, names: list[str], ratio: Wide) -> None:
    for row, name, scale in zip(rows.tolist(), names, ratio.tolist(), strict=True):
        said[row] = {"form": name} if scale == 1 else {"form": name, "scale": float(f"{scale:.4g}")}


class _Form(NamedTuple):
    """`order`: which components of the expected and of the actual vector belong together, in so many dimensions. `change`: what
    makes them alike; `as_stored` where it leaves the actual ones as the store holds them."""

    name: str
    order: Callable[[int], tuple[slice, slice]]
    change: Callable[[Matrix, Matrix], tuple[Matrix, Matrix]]
    as_stored: bool = False

    def laid_out(self, expected: Matrix, actual: Matrix, most: int | None = None) -> tuple[Matrix, Matrix]:
        """The first `most` expected components, and the actual ones that belong to them."""
        ours, theirs = self.order(expected.shape[1])
        wanted, held = expected[:, ours], actual[:, theirs]
        if most is not None and wanted.shape[1] > most:
            wanted, held = wanted[:, :most], held[:, : most * held.shape[1] // wanted.shape[1]]
        return self.change(wanted, held)


def _near(form: _Form, expected: Matrix, actual: Matrix, left: Flags, least: float) -> Rows:
    """Those `left` whose components point about the same way, all of them, and some of them or these nowhere."""
    wanted, held = form.laid_out(expected, actual, _SOME)
    if wanted.shape[1] < (1 if form.as_stored else _FEWEST_OF_OTHERS):
        return np.empty(0, np.intp)
    dot, one, other = _products(wanted, held, np.float32)
    rows = np.flatnonzero(left & ~(dot < _ROUGHLY * np.sqrt(one) * np.sqrt(other)))
    dot, one, other = _products(*form.laid_out(expected[rows], actual[rows]), np.float64)
    return rows[(dot > 0) & (dot >= least * np.sqrt(one * other))]


def _products(one: Matrix, other: Matrix, kind: type[np.float32 | np.float64]) -> tuple[Wide, Wide, Wide]:
    def product(left: Matrix, right: Matrix) -> Wide:
        sums: Wide = np.einsum("ij,ij->i", left, right, dtype=kind)
        return sums

    return product(one, other), product(one, one), product(other, other)


def _as_they_are(dimension: int) -> tuple[slice, slice]:
    return slice(None), slice(None)


def _first_half(dimension: int) -> tuple[slice, slice]:
    whole = dimension if dimension % 2 == 0 else 0
    return slice(whole // 2), slice(whole)


def _unchanged(wanted: Matrix, held: Matrix) -> tuple[Matrix, Matrix]:
    return wanted, held


def _about_the_mean(wanted: Matrix, held: Matrix) -> tuple[Matrix, Matrix]:
    one, other = (side - side.mean(axis=1, keepdims=True, dtype=np.float64) for side in (wanted, held))
    return one.astype(np.float32), other.astype(np.float32)


def _bits(vectors: Matrix) -> npt.NDArray[np.uint32]:
    return np.ascontiguousarray(vectors).view(np.uint32)


def _from_bfloat16(wanted: Matrix, held: Matrix) -> tuple[Matrix, Matrix]:
    return wanted, (_bits(held) >> np.uint32(16)).astype(np.uint16).view(np.float16).astype(np.float32)


def _from_float16(wanted: Matrix, held: Matrix) -> tuple[Matrix, Matrix]:
    codes = held.astype(np.float16).view(np.uint16)
    return wanted, (codes.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _from_whole_numbers(wanted: Matrix, held: Matrix) -> tuple[Matrix, Matrix]:
    """Of 32 bits, with or without a sign."""
    return wanted, _codes(held, 32).astype(np.uint32).view(np.float32)


def _from_short_numbers(wanted: Matrix, held: Matrix) -> tuple[Matrix, Matrix]:
    """Of 16 bits, with or without a sign."""
    return wanted, _codes(held, 16).astype(np.uint16).view(np.float16).astype(np.float32)


def _codes(held: Matrix, bits: int) -> npt.NDArray[np.int64]:
    whole = (held == np.rint(held)) & (np.abs(held) <= 2.0**bits)
    codes: npt.NDArray[np.int64] = np.where(whole, held, 0).astype(np.int64) & (2**bits - 1)
    return codes


_FORMS: Final = (
    _Form("negated", _as_they_are, lambda wanted, held: (-wanted, held), as_stored=True),
    _Form("signs lost", _as_they_are, lambda wanted, held: (np.abs(wanted), held), as_stored=True),
    _Form(
        "components in reverse", lambda _: (slice(None, None, -1), slice(None)), _unchanged, as_stored=True
    ),
    # Whether what went over the end came back or was lost.
    _Form("components moved by 1", lambda _: (slice(None, -1), slice(1, None)), _unchanged),
    _Form("components moved by -1", lambda _: (slice(1, None), slice(None, -1)), _unchanged),
    _Form("a constant added", _as_they_are, _about_the_mean),
    _Form(
        "bytes in another order",
        _as_they_are,
        lambda wanted, held: (wanted, _bits(held).byteswap().view(np.float32)),
    ),
    _Form(
        "doubles read as floats",
        _first_half,
        lambda wanted, held: (wanted, _bits(held).view(np.float64).astype(np.float32)),
    ),
    _Form("float16 read as bfloat16", _as_they_are, _from_bfloat16),
    _Form("bfloat16 read as float16", _as_they_are, _from_float16),
    _Form("floats read as whole numbers", _as_they_are, _from_whole_numbers),
    _Form("float16 read as whole numbers", _as_they_are, _from_short_numbers),
)


def _name_other_orders(said: list[dict[str, Any]], expected: Matrix, actual: Matrix, rows: Rows) -> None:
    """Name those of `rows` whose components are the same in another order; how far they moved where all moved by as much.

    Two vectors of few different values (a handful of words, counted) are such a pair by chance, and have no name here.
    """
    dimension = expected.shape[1]
    if dimension == 1:
        return
    allowed = _STEP if dimension >= _FEWEST else _LAST_DIGITS
    held = np.linalg.norm(actual, axis=1)
    ratio = held / np.linalg.norm(expected, axis=1)
    # Sorting costs more than all the rest, and most vectors have not even the same sum.
    apart = np.abs(actual.sum(axis=1) - ratio * expected.sum(axis=1))
    rows = rows[(apart <= 2 * _STEP * held * np.sqrt(dimension))[rows]]
    ratio = ratio[rows]
    one = expected[rows] * ratio[:, None]
    ordered, stands = np.sort(one, axis=1), np.sort(actual[rows], axis=1)
    different = (np.diff(ordered, axis=1) > allowed * np.abs(ordered[:, 1:])).sum(axis=1) + 1
    same = _agree(ordered, stands, allowed) & (different >= min(dimension, _FEWEST))
    rows, ratio, one = rows[same], ratio[same], one[same]
    if not len(rows):
        return
    spectrum = np.conj(np.fft.rfft(one, axis=1)) * np.fft.rfft(actual[rows], axis=1)
    moved = np.argmax(np.fft.irfft(spectrum, dimension, axis=1), axis=1)
    rolled = np.take_along_axis(one, (np.arange(dimension) - moved[:, None]) % dimension, axis=1)
    by = np.where(2 * moved <= dimension, moved, moved - dimension).tolist()
    names = [
        "components in another order"
        if not together
        else "halves exchanged"
        if 2 * places == dimension
        else f"components moved by {places}"
        for places, together in zip(by, _agree(rolled, actual[rows], allowed).tolist(), strict=True)
    ]
    _say(said, rows, names, np.where(np.abs(ratio - 1) > _STEP, ratio, 1))


def _agree(wanted: Matrix, held: Matrix, allowed: float) -> Flags:
    """Whether rows are the same component by component, but for rounding and for noise of the size of the largest."""
    room = allowed * np.abs(wanted) + 1e-6 * np.abs(wanted).max(axis=1, keepdims=True)
    flags: Flags = (np.abs(held - wanted) <= room).all(axis=1)
    return flags
