"""Whose are the finite components of a vector that holds NaN or infinity, where they are not the record's own?

No digest and no sketch of the whole can say, so the vectors in question are held against all expected ones: one product of
matrices gives all similarities over the finite components alone, whatever the holes. What points the same way is compared
component by component, as parts of vectors are (`partial_copies.py`). An owner is named where it is the only one.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.explain.partial_copies import coarseness, right_components
from vecforensics.diff.sides import Index, Side, Sides

__all__ = ["owners_of_rests"]

Matrix = npt.NDArray[np.float32]
_Pointing = tuple[Index, Index, npt.NDArray[np.float32]]
"""Which vector in question, the running source row that points its way, and how similar they are."""

_NOTHING: Final[_Pointing] = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))

# Four components that are right bit for bit are nobody else's by chance; up to a factor and rounding it takes more.
_FEWEST_EQUAL, _FEWEST_NEAR = 4, 8
# Multiplications that the search may cost: about a second a core.
_BUDGET: Final = 4e10
_ROWS: Final = 4096
_TOGETHER: Final = 256
# So many records that point the same way are compared in full; more of them are a crowd in which none is the only one.
_CLOSEST: Final = 8


def owners_of_rests(sides: Sides, own: Index, target: Index) -> tuple[Index, int]:
    """The record that expects the finite components of each of these target rows (k,), -1 for none; how many rows were left out.

    `own`: the record under which each row stands, which is no answer. The first in the source are looked for first.
    """
    source, owner = sides.source, np.full(len(own), -1, np.int64)
    asked = np.argsort(source.integers("position", own), kind="stable")
    most = int(_BUDGET / (2 * source.rows * source.dimension))
    for start in range(0, min(len(asked), most), _TOGETHER):
        part = asked[start : min(start + _TOGETHER, most)]
        actual = sides.target.take(target[part])
        finite = np.isfinite(actual)
        held = np.where(finite, actual, np.float32(0))
        enough = (held != 0).sum(axis=1) >= _FEWEST_EQUAL
        part, held, finite = part[enough], held[enough], finite[enough]
        query, row = _pointing_there(source, held, finite)
        other = row != own[part[query]]
        query, row = query[other], row[other]
        exact, near = _agreeing(source.take(row), held[query], finite[query], sides.noise)
        # Bit for bit says more than nearly.
        for agreeing in (near, exact):
            count = np.bincount(query[agreeing], minlength=len(part))
            owner[part[count > 1]] = -1
            only = agreeing & (count == 1)[query]
            owner[part[query[only]]] = row[only]
    return owner, max(len(asked) - most, 0)


def _pointing_there(source: Side, held: Matrix, finite: npt.NDArray[np.bool_]) -> tuple[Index, Index]:
    """Pairs (number of a vector, running source row): the records, some few each, that point its way in its finite components."""
    # The squares of great components are beyond single precision.
    wide = held.astype(np.float64)
    unit = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32).T
    counted = finite.astype(np.float32).T
    # What single precision adds to the distance of two vectors that are one.
    reach = (coarseness(held) + 1e-5).astype(np.float32)

    def of_bucket(bucket: int) -> _Pointing:
        found = []
        for numbers, vectors in source.blocks(_ROWS, [bucket]):
            with np.errstate(all="ignore"):
                similar = np.nan_to_num((vectors @ unit) / np.sqrt((vectors * vectors) @ counted), nan=-2)
            row, query = np.nonzero(1 - similar <= reach)
            found.append(_closest(source, [(query, numbers[row], similar[row, query])]))
        return _closest(source, found)

    query, row, _ = _closest(source, source.each(of_bucket))
    return query, row


def _closest(source: Side, parts: list[_Pointing]) -> _Pointing:
    """The `_CLOSEST` rows of each query; among equals those first in the source."""
    query, row, score = (np.concatenate(column) for column in zip(_NOTHING, *parts, strict=True))
    order = np.lexsort((source.integers("position", row), -score.round(5), query))
    query, row, score = query[order], row[order], score[order]
    kept = np.arange(len(query)) - np.searchsorted(query, query) < _CLOSEST
    return query[kept], row[kept], score[kept]


def _agreeing(
    expected: Matrix, held: Matrix, finite: npt.NDArray[np.bool_], noise: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Of pairs (k, d): are the finite components the same; are they the same up to a factor, rounding and noise?"""
    wanted = np.where(finite, expected, np.float32(0))
    exact = np.asarray((wanted == held).all(axis=1))
    right, some, _ = right_components(wanted, held, noise=noise)
    telling = (wanted != 0) | (held != 0)
    return exact, exact | ((right | ~telling).all(axis=1) & (some >= _FEWEST_NEAR))
