"""Whose vector is this? The narrow second pass.

First by digest: the few vectors in question are looked up among the digests of all expected vectors, eight bytes a row, and
every hit is compared byte for byte. What finds no owner there may be an owner's vector with a difference (float noise, a
normalised or a narrower copy), so a second look compares directions: each vector is projected on a few fixed directions, the
first projections cut space into cells, and only vectors of the same or the next cell are compared in full. A vector that
differs by δ from its owner moves by about δ/√d in each projection, so the cells can be narrow.

The projections are pseudo-random with a fixed seed and only propose candidates; what counts is `compare.compare_pairs`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.compare import Relation, compare_pairs
from vecforensics.diff.sides import Index, Side

__all__ = ["Owners", "find_owners", "project"]

_DIRECTIONS: Final = 8
_CELL_AXES: Final = 4
_BLOCK: Final = 512
# How far a copy may be from its owner, as a share of its length: float16 and float noise first, then bfloat16 and int8.
_NARROW: Final = 1e-3
_WIDE: Final = 2e-2
_MOST_PAIRS: Final = 2_000_000
# Owners that are told apart by nothing but their place (identical expected vectors): this many around the row are considered.
_NEAREST: Final = 8


@dataclass(frozen=True, slots=True)
class Owners:
    """Candidate pairs: `query` (which vector), `owner` (running source row number), `exact` (byte for byte), `distance`."""

    query: npt.NDArray[np.int64]
    owner: Index
    exact: npt.NDArray[np.bool_]
    distance: npt.NDArray[np.float64]


def find_owners(
    source: Side,
    vectors: npt.NDArray[np.float32],
    digests: npt.NDArray[np.uint64],
    places: Index,
    tolerance: float,
) -> Owners:
    """All records whose expected vector is one of `vectors` (m, d), exactly or within what `compare_pairs` calls benign.

    `digests` uint64 (m,) of those vectors (0: unknown); `places` int64 (m,): a source row number near which an owner is likelier,
    used where more than a few records expect the same vector.
    """
    exact = _by_digest(source, vectors, digests, places)
    open_queries = np.ones(len(vectors), np.bool_)
    open_queries[exact.query] = False
    with np.errstate(all="ignore"):
        open_queries &= np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)
    rest = np.flatnonzero(open_queries)
    if not len(rest):
        return exact
    near = _by_direction(source, vectors[rest], tolerance)
    return Owners(
        np.r_[exact.query, rest[near.query]],
        np.r_[exact.owner, near.owner],
        np.r_[exact.exact, near.exact],
        np.r_[exact.distance, near.distance],
    )


def _by_digest(
    source: Side, vectors: npt.NDArray[np.float32], digests: npt.NDArray[np.uint64], places: Index
) -> Owners:
    wanted = np.unique(digests[digests != 0])
    found_key, found_row = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    if len(wanted):
        for bucket in range(source.buckets):
            column = source.table(bucket)["digest"].combine_chunks()
            held = column.fill_null(0).to_numpy()
            at = np.minimum(np.searchsorted(wanted, held), len(wanted) - 1)
            rows = np.flatnonzero(wanted[at] == held)
            found_key.append(at[rows])
            found_row.append(source.number(bucket, rows))
    key, row = np.concatenate(found_key), np.concatenate(found_row)
    if not len(key):
        empty = np.empty(0, np.int64)
        return Owners(empty, empty, np.empty(0, np.bool_), np.empty(0))
    position = source.integers("position", row)
    order = np.lexsort((position, key))
    key, row, position = key[order], row[order], position[order]
    query = np.flatnonzero((digests != 0) & np.isin(digests, wanted[np.unique(key)]))
    query_key = np.searchsorted(wanted, digests[query])
    low, high = np.searchsorted(key, query_key), np.searchsorted(key, query_key, "right")
    # The window of `_NEAREST` owners on either side of the row's own place.
    spread = np.int64(position.max()) + 2
    middle = np.searchsorted(key * spread + position, query_key * spread + places[query])
    low, high = np.maximum(low, middle - _NEAREST), np.minimum(high, middle + _NEAREST)
    counts = high - low
    pair_query = np.repeat(query, counts)
    pair_row = row[_ranges(low, counts)]
    same = np.zeros(len(pair_query), np.bool_)
    for start in range(0, len(pair_query), _BLOCK):
        part = slice(start, start + _BLOCK)
        same[part] = (
            source.take(pair_row[part]).view(np.uint32) == vectors[pair_query[part]].view(np.uint32)
        ).all(axis=1)
    kept = np.flatnonzero(same)
    return Owners(pair_query[kept], pair_row[kept], np.ones(len(kept), np.bool_), np.zeros(len(kept)))


def _ranges(starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """start, start + 1, … for each start, `counts` numbers each."""
    inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    ranges: npt.NDArray[np.int64] = np.repeat(starts, counts) + inside
    return ranges


@lru_cache(maxsize=8)
def _directions(dimension: int) -> npt.NDArray[np.float32]:
    drawn = np.random.default_rng(20_261_124).normal(size=(dimension, _DIRECTIONS))
    directions: npt.NDArray[np.float32] = (drawn / np.linalg.norm(drawn, axis=0)).astype(np.float32)
    return directions


def project(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The directions of vectors (n, d) seen along eight fixed axes, float32 (n, 8); NaN for a zero vector."""
    with np.errstate(all="ignore"):
        length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        seen: npt.NDArray[np.float32] = (vectors @ _directions(vectors.shape[1])) / length[:, None]
    return seen


def _by_direction(source: Side, vectors: npt.NDArray[np.float32], tolerance: float) -> Owners:
    """Owners of vectors that are nobody's byte for byte. One sweep over the expected vectors; a narrow one first where many rows
    are in question, so that the wide one has few left."""
    if len(vectors) <= 20_000:
        return _sweep(source, vectors, np.arange(len(vectors)), tolerance, _WIDE)
    near = _sweep(source, vectors, np.arange(len(vectors)), tolerance, _NARROW)
    rest = np.setdiff1d(np.arange(len(vectors)), near.query)[:20_000]
    wide = _sweep(source, vectors, rest, tolerance, _WIDE)
    return Owners(
        *(np.r_[getattr(near, name), getattr(wide, name)] for name in ("query", "owner", "exact", "distance"))
    )


def _sweep(
    source: Side,
    vectors: npt.NDArray[np.float32],
    which: npt.NDArray[np.int64],
    tolerance: float,
    difference: float,
) -> Owners:
    dimension = vectors.shape[1]
    reach = np.float32(min(difference, 6 * difference / np.sqrt(dimension)))
    axes = min(_CELL_AXES, dimension)
    seen = project(vectors[which])
    cell = max(4 * reach, np.float32(0.25 / np.sqrt(dimension)))
    keys, owner_of_key = _cells(seen[:, :axes], cell, reach)
    order = np.argsort(keys, kind="stable")
    keys, owner_of_key = keys[order], owner_of_key[order]

    def of_bucket(bucket: int) -> list[tuple[npt.NDArray[np.int64], Index, npt.NDArray[np.float64]]]:
        pairs = []
        for numbers, block in source.blocks(_BLOCK, [bucket]):
            there = project(block)
            own = _combine(np.floor(there[:, :axes] / cell))
            low = np.searchsorted(keys, own)
            # Most rows are in nobody's cell; only for the others is it worth asking how many are.
            hit = np.flatnonzero((keys[np.minimum(low, len(keys) - 1)] == own) & np.isfinite(there[:, 0]))
            if not len(hit):
                continue
            counts = np.searchsorted(keys, own[hit], "right") - low[hit]
            place = np.repeat(hit, counts)
            query = owner_of_key[_ranges(low[hit], counts)]
            for start in range(0, len(place), _MOST_PAIRS):
                row, candidate = place[start : start + _MOST_PAIRS], query[start : start + _MOST_PAIRS]
                close = (np.abs(there[row] - seen[candidate]) <= reach).all(axis=1)
                row, candidate = row[close], candidate[close]
                if len(row):
                    kept_row, kept, distance = _confirmed(block, row, vectors, which[candidate], tolerance)
                    pairs.append((kept, numbers[kept_row], distance))
        return pairs

    if not len(keys):
        pairs = []
    elif source.workers > 1 and source.buckets > 1:
        with ThreadPoolExecutor(source.workers, thread_name_prefix="owners") as pool:
            pairs = [pair for part in pool.map(of_bucket, range(source.buckets)) for pair in part]
    else:
        pairs = [pair for bucket in range(source.buckets) for pair in of_bucket(bucket)]
    if not pairs:
        empty = np.empty(0, np.int64)
        return Owners(empty, empty, np.empty(0, np.bool_), np.empty(0))
    found, owner, distance = (np.concatenate(column) for column in zip(*pairs, strict=True))
    return Owners(found, owner, np.zeros(len(found), np.bool_), distance)


def _confirmed(
    block: npt.NDArray[np.float32],
    row: npt.NDArray[np.int64],
    vectors: npt.NDArray[np.float32],
    query: npt.NDArray[np.int64],
    tolerance: float,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    kept = [np.empty(0, np.int64)]
    distances = [np.empty(0)]
    for start in range(0, len(row), _BLOCK):
        part = slice(start, start + _BLOCK)
        compared = compare_pairs(block[row[part]], vectors[query[part]], tolerance)
        good = np.flatnonzero(compared.relation <= Relation.INT8)
        kept.append(good + start)
        distances.append(compared.distance[good])
    places = np.concatenate(kept)
    return row[places], query[places], np.concatenate(distances)


def _cells(
    seen: npt.NDArray[np.float32], cell: np.float32, reach: np.float32
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """The keys of all cells within `reach` of each row, at most two along each axis, and the row that each key belongs to."""
    low, high = np.floor((seen - reach) / cell), np.floor((seen + reach) / cell)
    keys, rows = [], []
    count, axes = seen.shape
    for corner in range(2**axes):
        upper = [(corner >> axis) & 1 for axis in range(axes)]
        chosen = np.where(np.array(upper, bool), high, low)
        fresh = np.ones(count, np.bool_)
        for axis in range(axes):
            if upper[axis]:
                fresh &= high[:, axis] != low[:, axis]
        keys.append(_combine(chosen[fresh]))
        rows.append(np.flatnonzero(fresh))
    return np.concatenate(keys), np.concatenate(rows)


def _combine(cells: npt.NDArray[np.float32]) -> npt.NDArray[np.uint64]:
    """One number for the cell coordinates of each row."""
    key = np.zeros(len(cells), np.uint64)
    with np.errstate(all="ignore"):
        for axis in range(cells.shape[1]):
            key = key * np.uint64(0x9E3779B97F4A7C15) + cells[:, axis].astype(np.int64).view(np.uint64)
    return key
