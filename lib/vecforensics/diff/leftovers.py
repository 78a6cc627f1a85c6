"""Vectors that are no record's as a whole: one block of another's, or the same stranger under many ids."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.compare import cosine_distances
from vecforensics.diff.sides import Index, Sides
from vecforensics.sketch import project

__all__ = ["block_owners", "nobodys_groups"]

_BLOCK: Final = 4096
_MOST_BLOCKS: Final = 4000
# Nearly the same stranger: this cosine distance is float noise in 32 bits, far below the distance of any two texts.
_SAME: Final = 1e-6
_CELL: Final = 1e-3


def block_owners(
    sides: Sides,
    source: Index,
    target: Index,
    start: npt.NDArray[np.int32],
    stop: npt.NDArray[np.int32],
    pairs: Index,
) -> dict[int, int]:
    """Pair → the record whose expected vector holds the wrong block of that pair, bit for bit; for at most 4,000 pairs.

    The block's largest component is compared first, over all records at once; the few records that have it are compared in full.
    """
    pairs = pairs[:_MOST_BLOCKS]
    if not len(pairs):
        return {}
    actual = sides.target.take(target[pairs])
    columns = np.arange(actual.shape[1])
    inside = (columns >= start[pairs][:, None]) & (columns < stop[pairs][:, None])
    probe = np.where(inside, np.abs(actual), -1).argmax(axis=1)
    probed = actual[np.arange(len(pairs)), probe]
    found: dict[int, int] = {}
    position: dict[int, int] = {}
    by_column = {int(column): np.flatnonzero(probe == column) for column in np.unique(probe)}
    for numbers, block in sides.source.blocks(_BLOCK):
        for column, members in by_column.items():
            values = block[:, column]
            for row in np.flatnonzero(np.isin(values, probed[members])).tolist():
                for member in members[probed[members] == values[row]].tolist():
                    pair = int(pairs[member])
                    piece = slice(int(start[pair]), int(stop[pair]))
                    owner = int(numbers[row])
                    if owner == source[pair] or not (block[row, piece] == actual[member, piece]).all():
                        continue
                    place = int(sides.source.integers("position", np.array([owner]))[0])
                    if pair not in found or place < position[pair]:
                        found[pair], position[pair] = owner, place
    return found


def nobodys_groups(sides: Sides, target: Index) -> list[npt.NDArray[np.intp]]:
    """Groups of rows (places in `target`) that hold one vector, the same bit for bit or but for float noise."""
    if len(target) < 2:
        return []
    digests = sides.target.integers("digest", target)
    values, inverse, counts = np.unique(digests, return_inverse=True, return_counts=True)
    groups = {
        int(key): np.flatnonzero(inverse == key) for key in np.flatnonzero((counts >= 2) & (values != 0))
    }
    label = np.full(len(target), -1)
    for key, members in groups.items():
        label[members] = key
    alone = np.flatnonzero(label < 0)
    fresh = len(values)
    for members in _nearly_same(sides, target, alone):
        label[members] = fresh
        fresh += 1
    _join_stragglers(sides, target, label)
    return [np.flatnonzero(label == key) for key in np.unique(label[label >= 0])]


def _nearly_same(sides: Sides, target: Index, rows: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
    """Groups of three or more rows that point the same way but for float noise: in one cell of all projections, then compared."""
    if len(rows) < 3:
        return []
    seen = np.concatenate(
        [
            project(sides.target.take(target[rows[start : start + _BLOCK]]))
            for start in range(0, len(rows), _BLOCK)
        ]
    )
    cells = np.round(np.nan_to_num(seen) / _CELL).astype(np.int64)
    _, inverse, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    groups = []
    for key in np.flatnonzero(counts >= 3).tolist():
        members = rows[np.flatnonzero(inverse == key)]
        vectors = sides.target.take(target[members])
        close = cosine_distances(np.broadcast_to(vectors[0], vectors.shape).copy(), vectors) <= _SAME
        if close.sum() >= 3:
            groups.append(members[close])
    return groups


def _join_stragglers(sides: Sides, target: Index, label: npt.NDArray[np.int64]) -> None:
    """Rows just across the border of a cell, or of a group that is otherwise bit for bit the same."""
    alone = np.flatnonzero(label < 0)
    keys = np.unique(label[label >= 0])
    for key in keys[:64].tolist():
        if not len(alone):
            return
        first = sides.target.take(target[np.flatnonzero(label == key)[:1]])
        for start in range(0, len(alone), _BLOCK):
            part = alone[start : start + _BLOCK]
            vectors = sides.target.take(target[part])
            close = cosine_distances(np.broadcast_to(first, vectors.shape).copy(), vectors) <= _SAME
            label[part[close]] = key
        alone = alone[label[alone] < 0]
