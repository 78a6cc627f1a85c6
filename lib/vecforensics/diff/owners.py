"""Whose vector is this? The narrow second pass, over eight bytes a record and not over vectors.

First by digest: the few vectors in question are looked up among the digests of all expected vectors, and every hit is compared
byte for byte. What finds no owner there may be an owner's vector with a difference (float noise, a normalised or a narrower
copy), so a second look goes by `sketch.py`: only records whose sketch lies next to that of the vector in question are read and
compared. A cell is the upper half of each byte of a sketch; a vector in question is looked for in every cell that its reach
touches. Records that expect the same vector are compared once.

A sketch only proposes candidates; what counts is `compare.compare_pairs`.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.compare import Relation, compare_pairs
from vecforensics.diff.sides import Index, Side
from vecforensics.sketch import DIRECTIONS, NO_DIRECTION, reach, sketch

__all__ = ["Owners", "find_owners"]

_BLOCK: Final = 512
# How far a copy may be from its owner, as a share of its length: bfloat16 and int8 go furthest.
_DIFFERENCE: Final = 2e-2
_MOST_PAIRS: Final = 1_000_000
# Owners that are told apart by nothing but their place (identical expected vectors): this many around the row are considered.
_NEAREST: Final = 8
_CELL: Final = np.uint64(0xF0F0_F0F0_F0F0_F0F0)
# Which cells are asked for at all, by a hash of 22 bits: 4 MB that stay in the processor's cache.
_FILTER_BITS: Final = 22
_SPREAD: Final = np.uint64(0x9E37_79B9_7F4A_7C15)

Hashes = npt.NDArray[np.uint64]


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
    digests: Hashes,
    places: Index,
    tolerance: float,
) -> Owners:
    """All records whose expected vector is one of `vectors` (m, d), exactly or within what `compare_pairs` calls benign.

    `digests` uint64 (m,) of those vectors (0: unknown); `places` int64 (m,): a source row number near which an owner is likelier,
    used where more than a few records expect the same vector.
    """
    asked = np.flatnonzero(digests != 0)
    pair, row = _expecting(source, digests[asked], places[asked])
    query = asked[pair]
    same = _same(source, row, vectors, query)
    query, row = query[same], row[same]
    unowned = np.ones(len(vectors), np.bool_)
    unowned[query] = False
    near, digest, distance = _alike(source, vectors, np.flatnonzero(unowned), tolerance)
    pair, near_row = _expecting(source, digest, places[near])
    return Owners(
        np.r_[query, near[pair]],
        np.r_[row, near_row],
        np.r_[np.ones(len(query), np.bool_), np.zeros(len(pair), np.bool_)],
        np.r_[np.zeros(len(query)), distance[pair]],
    )


def _expecting(source: Side, digests: Hashes, places: Index) -> tuple[npt.NDArray[np.int64], Index]:
    """Pairs (number in `digests`, running source row): the records that expect a vector of this digest, at most `_NEAREST` on
    either side of the place."""
    wanted = np.unique(digests)
    if not len(wanted):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    keys, rows = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    asked = _Filter(wanted)
    for bucket in range(source.buckets):
        held = source.column("digest", bucket)
        maybe = asked.maybe(held)
        at = np.minimum(np.searchsorted(wanted, held[maybe]), len(wanted) - 1)
        hit = wanted[at] == held[maybe]
        keys.append(at[hit])
        rows.append(source.number(bucket, maybe[hit]))
    key, row = np.concatenate(keys), np.concatenate(rows)
    if not len(key):
        return key, row
    position = source.integers("position", row).astype(np.int64)
    order = np.lexsort((position, key))
    key, row, position = key[order], row[order], position[order]
    of = np.searchsorted(wanted, digests)
    low, high = np.searchsorted(key, of), np.searchsorted(key, of, "right")
    # The window of `_NEAREST` owners on either side of the place.
    spread = np.int64(max(position.max(), places.max())) + 2
    middle = np.searchsorted(key * spread + position, of * spread + places)
    low, high = np.maximum(low, middle - _NEAREST), np.minimum(high, middle + _NEAREST)
    counts = np.maximum(high - low, 0)
    return np.repeat(np.arange(len(digests)), counts), row[_ranges(low, counts)]


def _same(
    source: Side, row: Index, vectors: npt.NDArray[np.float32], query: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Whether record and vector of each pair are the same bit for bit."""
    same = np.zeros(len(row), np.bool_)
    for start in range(0, len(row), _BLOCK):
        part = slice(start, start + _BLOCK)
        one, other = source.take(row[part]), vectors[query[part]]
        same[part] = (one.view(np.uint32) == other.view(np.uint32)).all(axis=1)
    return same


def _ranges(starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """start, start + 1, … for each start, `counts` numbers each."""
    inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    ranges: npt.NDArray[np.int64] = np.repeat(starts, counts) + inside
    return ranges


class _Filter:
    """Which of many keys may be among a few: no false "no", a few false "maybe"."""

    def __init__(self, keys: Hashes) -> None:
        self._held = np.zeros(2**_FILTER_BITS, np.bool_)
        self._held[self._place(keys)] = True

    def maybe(self, keys: Hashes) -> npt.NDArray[np.int64]:
        """The places in `keys` that are worth a search."""
        return np.flatnonzero(self._held[self._place(keys)])

    @staticmethod
    def _place(keys: Hashes) -> npt.NDArray[np.int64]:
        # Bits of a product only carry upwards, so the upper ones depend on all.
        places: npt.NDArray[np.int64] = ((keys * _SPREAD) >> np.uint64(64 - _FILTER_BITS)).view(np.int64)
        return places


def _alike(
    source: Side, vectors: npt.NDArray[np.float32], queries: npt.NDArray[np.int64], tolerance: float
) -> tuple[npt.NDArray[np.int64], Hashes, npt.NDArray[np.float64]]:
    """Which vector in question (numbers in `vectors`), the digest of an expected vector that it is a benign copy of, and the
    cosine distance between them."""
    own = sketch(vectors[queries])
    queries, own = queries[own != NO_DIRECTION], own[own != NO_DIRECTION]
    steps = reach(_DIFFERENCE, vectors.shape[1])
    cells, of_cell = _cells(own, steps)
    filled = _Filter(cells)

    def of_bucket(bucket: int) -> _Near:
        """The pairs of one bucket, found and confirmed."""
        held = source.column("sketch", bucket)
        digests = source.column("digest", bucket)
        maybe = filled.maybe(held & _CELL)
        # Records that expect the same vector are compared once; 0 stands for a vector that is absent or not finite.
        distinct, first = np.unique(digests[maybe], return_index=True)
        rows = maybe[first[distinct != 0]]
        found = [_NOTHING]
        for row, query in _in_one_cell(held[rows], cells, of_cell):
            row = rows[row]
            apart = held[row].view(np.uint8).astype(np.int16) - own[query].view(np.uint8)
            close = (np.abs(apart).reshape(-1, DIRECTIONS) <= steps).all(axis=1)
            row, query = row[close], queries[query[close]]
            good, distance = _confirmed(source, bucket, row, vectors, query, tolerance)
            found.append((query[good], digests[row[good]], distance))
        return _joined(found)

    if not len(cells):
        return _NOTHING
    with ThreadPoolExecutor(source.workers, thread_name_prefix="owners") as pool:
        query, digest, distance = _joined(list(pool.map(of_bucket, range(source.buckets))))
    # The same expected vector may stand in several buckets.
    order = np.lexsort((distance, digest, query))
    query, digest, distance = query[order], digest[order], distance[order]
    fresh = np.ones(len(query), np.bool_)
    fresh[1:] = (query[1:] != query[:-1]) | (digest[1:] != digest[:-1])
    return query[fresh], digest[fresh], distance[fresh]


_Near = tuple[npt.NDArray[np.int64], Hashes, npt.NDArray[np.float64]]
_NOTHING: Final[_Near] = (np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0))


def _joined(parts: list[_Near]) -> _Near:
    query, digest, distance = (np.concatenate(column) for column in zip(*parts, strict=True))
    return query, digest, distance


def _cells(own: Hashes, steps: int) -> tuple[Hashes, npt.NDArray[np.int64]]:
    """The cells within `steps` of each sketch, at most two along each direction, ascending; and whose cell each is."""
    bytes_of = own.view(np.uint8).reshape(-1, DIRECTIONS).astype(np.int16)
    low = np.maximum(bytes_of - steps, 0).astype(np.uint64) & np.uint64(0xF0)
    high = np.minimum(bytes_of + steps, 255).astype(np.uint64) & np.uint64(0xF0)
    keys, rows = np.zeros(len(own), np.uint64), np.arange(len(own))
    for axis in range(DIRECTIONS):
        shift = np.uint64(8 * axis)
        two = np.flatnonzero(low[rows, axis] != high[rows, axis])
        upper = keys[two] | (high[rows[two], axis] << shift)
        keys = np.r_[keys | (low[rows, axis] << shift), upper]
        rows = np.r_[rows, rows[two]]
    order = np.argsort(keys, kind="stable")
    return keys[order], rows[order]


def _in_one_cell(
    held: Hashes, cells: Hashes, of_cell: npt.NDArray[np.int64]
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Pairs (number in `held`, whose cell) that share a cell, some hundred thousand at a time."""
    own = held & _CELL
    low = np.searchsorted(cells, own)
    counts = np.searchsorted(cells, own, "right") - low
    rows = np.flatnonzero(counts)
    ends = np.cumsum(counts[rows])
    start = 0
    while start < len(rows):
        done = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, done + _MOST_PAIRS, "right")), start + 1)
        part = rows[start:stop]
        yield np.repeat(part, counts[part]), of_cell[_ranges(low[part], counts[part])]
        start = stop


def _confirmed(
    source: Side,
    bucket: int,
    row: npt.NDArray[np.int64],
    vectors: npt.NDArray[np.float32],
    query: npt.NDArray[np.int64],
    tolerance: float,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Which of the pairs (row of the bucket, vector in question) are benign copies, and their distances."""
    kept, distances = [np.empty(0, np.int64)], [np.empty(0)]
    for start in range(0, len(row), _BLOCK):
        part = slice(start, start + _BLOCK)
        compared = compare_pairs(source.vectors(bucket).take(row[part]), vectors[query[part]], tolerance)
        good = np.flatnonzero(compared.relation <= Relation.INT8)
        kept.append(good + start)
        distances.append(compared.distance[good])
    return np.concatenate(kept), np.concatenate(distances)
