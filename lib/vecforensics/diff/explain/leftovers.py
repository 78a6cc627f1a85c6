"""Vectors that are no record's as a whole: one block of another's, or the same stranger under many ids."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.compare.relation import cosine_distances
from vecforensics.diff.lookup import find, portions, ranges
from vecforensics.diff.sides import Index, Sides
from vecforensics.sketch import project

__all__ = ["block_owners", "nobodys_groups"]

_BLOCK: Final = 4096
# Rows of the source times different blocks: what looking up blocks may cost, about half a minute.
_BUDGET: Final = 1_000_000_000
# Nearly the same stranger: this cosine distance is float noise in 32 bits, far below the distance of any two texts.
_SAME: Final = 1e-6
_CELL: Final = 1e-3
_NOWHERE: Final = 1e9
# Among a million vectors of four dimensions some hundred point the same way by chance.
_FEWEST_DIMENSIONS: Final = 8


def block_owners(
    sides: Sides,
    source: Index,
    target: Index,
    start: npt.NDArray[np.int32],
    stop: npt.NDArray[np.int32],
    pairs: Index,
) -> tuple[dict[int, int], int]:
    """Pair → the record whose expected vector holds the wrong block of that pair, bit for bit; how many were not looked up.

    A block is known by the sum of its components' bits, each times a weight of its place, modulo 2^64. The sums of a vector from
    its beginning are laid down once a row; those of any block are then the difference of two of them, so that one sweep over the
    expected vectors serves blocks of all shapes. What agrees is compared in full. Among several owners the one that stands first
    in the source is said. Where the damage has very many shapes only the commonest are looked up.
    """
    if not len(pairs):
        return {}, 0
    shape = start[pairs].astype(np.int64) << 32 | stop[pairs]
    shapes, of_shape, counts = np.unique(shape, return_inverse=True, return_counts=True)
    most = max(_BUDGET // max(sides.source.rows, 1), 1)
    kept = np.sort(np.lexsort((shapes, -counts))[:most])
    wanted = []
    for number in kept.tolist():
        members = pairs[of_shape == number]
        low, high = int(shapes[number] >> 32), int(shapes[number] & 0xFFFFFFFF)
        sums = np.concatenate(
            [
                _running_sums(sides.target.take(target[part]))[:, [low, high]]
                for part in np.split(members, range(_BLOCK, len(members), _BLOCK))
            ]
        )
        key = sums[:, 1] - sums[:, 0]
        order = np.argsort(key, kind="stable")
        wanted.append((low, high, key[order], members[order]))
    hits = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    for numbers, block in sides.source.blocks(_BLOCK):
        sums = _running_sums(block)
        for low, high, keys, members in wanted:
            own = sums[:, high] - sums[:, low]
            first, there = find(keys, own)
            rows = np.flatnonzero(there)
            if not len(rows):
                continue
            many = np.searchsorted(keys, own[rows], "right") - first[rows]
            place = ranges(first[rows], many)
            pair, owner = members[place], np.repeat(numbers[rows], many)
            other = owner != source[pair]
            pair, owner, row = pair[other], owner[other], np.repeat(rows, many)[other]
            same = (block[row, low:high] == sides.target.take(target[pair])[:, low:high]).all(axis=1)
            hits.append((pair[same], owner[same]))
    pair, owner = (np.concatenate(column) for column in zip(*hits, strict=True))
    position = sides.source.integers("position", owner)
    order = np.lexsort((position, pair))
    pair, owner = pair[order], owner[order]
    leading = np.r_[True, pair[1:] != pair[:-1]] if len(pair) else np.empty(0, np.bool_)
    found = dict(zip(pair[leading].tolist(), owner[leading].tolist(), strict=True))
    return found, int(counts.sum() - counts[kept].sum())


@lru_cache(maxsize=8)
def _weights(dimension: int) -> npt.NDArray[np.uint64]:
    drawn = np.random.default_rng(20_261_124).integers(0, 2**63, dimension, np.uint64)
    weights: npt.NDArray[np.uint64] = drawn * np.uint64(2) + np.uint64(1)
    return weights


def _running_sums(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.uint64]:
    """The weighted sums of the bits of the first 0, 1, … d components of each row, uint64 (n, d + 1)."""
    count, dimension = vectors.shape
    sums = np.zeros((count, dimension + 1), np.uint64)
    bits = np.ascontiguousarray(vectors).view(np.uint32)
    np.multiply(bits, _weights(dimension), out=sums[:, 1:])
    np.cumsum(sums[:, 1:], axis=1, out=sums[:, 1:])
    return sums


def nobodys_groups(sides: Sides, target: Index, fewest: int = 3) -> list[npt.NDArray[np.intp]]:
    """Groups of rows (places in `target`) that hold one vector, the same bit for bit, or but for float noise where they are at
    least `fewest`."""
    if len(target) < 2:
        return []
    digests = sides.target.integers("digest", target)
    values, inverse, counts = np.unique(digests, return_inverse=True, return_counts=True)
    group = np.where((counts >= 2) & (values != 0), np.arange(len(values)), np.int64(-1))
    label: npt.NDArray[np.int64] = np.asarray(group)[inverse]
    if sides.target.dimension >= _FEWEST_DIMENSIONS:
        alone = np.flatnonzero(label < 0)
        fresh = len(values)
        for members in _nearly_same(sides, target, alone, fewest):
            label[members] = fresh
            fresh += 1
        _join_stragglers(sides, target, label)
    rows = np.flatnonzero(label >= 0)
    return _apart(rows, label[rows])


def _apart(rows: npt.NDArray[np.intp], label: npt.NDArray[np.integer[Any]]) -> list[npt.NDArray[np.intp]]:
    """The rows of each label, in the order of the labels."""
    order = np.argsort(label, kind="stable")
    return np.split(rows[order], np.flatnonzero(np.diff(label[order])) + 1) if len(rows) else []


def _nearly_same(
    sides: Sides, target: Index, rows: npt.NDArray[np.intp], fewest: int
) -> list[npt.NDArray[np.intp]]:
    """Groups of rows that point the same way but for float noise: in one cell of all projections, then compared."""
    if len(rows) < fewest:
        return []
    # Cells as one number each; two that meet by chance are told apart by their vectors.
    mixed = [
        (
            np.round(_seen(sides, target[rows[at : at + _BLOCK]]) / _CELL).astype(np.int64).view(np.uint64)
            * _weights(8)
        ).sum(axis=1, dtype=np.uint64)
        for at in range(0, len(rows), _BLOCK)
    ]
    _, inverse, counts = np.unique(np.concatenate(mixed), return_inverse=True, return_counts=True)
    groups = []
    full = counts[inverse] >= fewest
    for members in _apart(rows[full], inverse[full]):
        one = sides.target.take(target[members[:1]])
        close = np.empty(len(members), np.bool_)
        for part in portions(len(members), 8 * sides.target.dimension):
            vectors = sides.target.take(target[members[part]])
            close[part] = cosine_distances(np.broadcast_to(one, vectors.shape), vectors) <= _SAME
        if close.sum() >= fewest:
            groups.append(members[close])
    return groups


def _join_stragglers(sides: Sides, target: Index, label: npt.NDArray[np.int64]) -> None:
    """Rows just across the border of a cell, or of a group that is otherwise bit for bit the same."""
    alone = np.flatnonzero(label < 0)
    keys, first = np.unique(label, return_index=True)
    keys, first = keys[keys >= 0], first[keys >= 0]
    if not len(alone) or not len(keys):
        return
    from scipy.spatial import KDTree

    # Vectors that are the same but for noise are seen alike along all axes: an angle of √(2·_SAME) moves none of them farther.
    tree = KDTree(_seen(sides, target[first]))
    reach = float(np.sqrt(2 * _SAME))
    for start in range(0, len(alone), _BLOCK):
        part = alone[start : start + _BLOCK]
        nearest = np.asarray(
            tree.query(_seen(sides, target[part]), k=1, distance_upper_bound=reach * np.sqrt(8))[1]
        )
        near = np.flatnonzero(nearest < len(keys))
        if not len(near):
            continue
        part, group = part[near], nearest[near]
        one, other = sides.target.take(target[first[group]]), sides.target.take(target[part])
        close = cosine_distances(one, other) <= _SAME
        label[part[close]] = keys[group[close]]


def _seen(sides: Sides, target: Index) -> npt.NDArray[np.float64]:
    """Target vectors along the fixed axes, float64 (n, 8); a vector without a direction is far from everything."""
    parts = [project(sides.target.take(target[at : at + _BLOCK])) for at in range(0, len(target), _BLOCK)]
    seen: npt.NDArray[np.float64] = np.concatenate(parts).astype(np.float64)
    # Of a length whose square no float32 can hold infinities are left, with the right signs.
    return np.nan_to_num(seen, nan=_NOWHERE, posinf=_NOWHERE, neginf=-_NOWHERE)
