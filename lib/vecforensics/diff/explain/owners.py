"""Whose vector is this? The narrow second pass, over eight bytes a record and not over vectors.

By digest: the few vectors in question are looked up among the digests of all expected vectors, and every hit is compared byte for
byte. What finds no owner there may be an owner's vector with a difference (float noise, a normalised or a narrower copy):
`alike.py` looks for those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.compare.grids import Grid
from vecforensics.diff.explain.alike import find_alike
from vecforensics.diff.lookup import Filter, Hashes, find, ranges
from vecforensics.diff.sides import Index, Side

__all__ = ["NEAREST", "Owners", "find_owners", "how_many_expect", "owners_among"]

_BLOCK: Final = 512
# Owners that are told apart by nothing but their place (identical expected vectors): this many around the row are considered.
NEAREST: Final = 8


@dataclass(frozen=True, slots=True)
class Owners:
    """Candidate pairs: `query` (which vector), `owner` (running source row number), `exact` (byte for byte), `distance`."""

    query: npt.NDArray[np.int64]
    owner: Index
    exact: npt.NDArray[np.bool_]
    distance: npt.NDArray[np.float64]

    @classmethod
    def joined(cls, parts: Sequence[Owners]) -> Owners:
        """The pairs of all parts, of the same queries."""
        columns = ("query", "owner", "exact", "distance")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))

    def kept(self, which: npt.NDArray[np.bool_]) -> Owners:
        """Only these of the pairs."""
        return Owners(self.query[which], self.owner[which], self.exact[which], self.distance[which])

    def of(self, first: int, stop: int) -> Owners:
        """The pairs of the queries from `first` to before `stop`, these numbered from nought."""
        mine = self.kept((self.query >= first) & (self.query < stop))
        return replace(mine, query=mine.query - first)


def find_owners(
    source: Side,
    vectors: npt.NDArray[np.float32],
    digests: Hashes,
    places: Index,
    tolerance: float,
    grid: Grid | None = None,
) -> Owners:
    """All records whose expected vector is one of `vectors` (m, d), exactly or within what `compare_pairs` calls benign.

    `digests` uint64 (m,) of those vectors (0: unknown); `places` int64 (m,): a position in the source near which an owner is
    likelier, used where more than a few records expect the same vector.
    """
    asked = np.flatnonzero(digests != 0)
    pair, row = _expecting(source, digests[asked], places[asked])
    query = asked[pair]
    same = _same(source, row, vectors, query)
    query, row = query[same], row[same]
    unowned = np.ones(len(vectors), np.bool_)
    unowned[query] = False
    near, digest, distance = find_alike(source, vectors, np.flatnonzero(unowned), places, tolerance, grid)
    pair, near_row = _expecting(source, digest, places[near])
    return Owners(
        np.r_[query, near[pair]],
        np.r_[row, near_row],
        np.r_[np.ones(len(query), np.bool_), np.zeros(len(pair), np.bool_)],
        np.r_[np.zeros(len(query)), distance[pair]],
    )


def _expecting(source: Side, digests: Hashes, places: Index) -> tuple[npt.NDArray[np.int64], Index]:
    """Pairs (number in `digests`, running source row): the records that expect a vector of this digest, at most `NEAREST` on
    either side of the place."""
    wanted = np.unique(digests)
    if not len(wanted):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    asked = Filter(wanted)

    def of_bucket(bucket: int) -> tuple[npt.NDArray[np.int64], Index]:
        held = source.column("digest", bucket)
        maybe = asked.maybe(held)
        at, hit = find(wanted, held[maybe])
        return at[hit], source.number(bucket, maybe[hit])

    key, row = (np.concatenate(column) for column in zip(*source.each(of_bucket), strict=True))
    return _nearest(source, digests, places, wanted, key, row)


def owners_among(source: Side, rows: Index, digests: Hashes, places: Index) -> Owners:
    """Who among some records, each once in `rows`, expects the vectors of these digests (0: unknown): also where many others
    stand nearer to the places, `find_owners` having named these alone."""
    asked = np.flatnonzero(digests != 0)
    wanted = np.unique(digests[asked])
    if not len(wanted) or not len(rows):
        nobody = np.empty(0, np.int64)
        return Owners(nobody, nobody, np.empty(0, np.bool_), np.empty(0))
    held = source.integers("digest", rows)
    at, there = find(wanted, held)
    hit = np.flatnonzero(there)
    query, owner = _nearest(source, digests[asked], places[asked], wanted, at[hit], rows[hit])
    return Owners(asked[query], owner, np.ones(len(query), np.bool_), np.zeros(len(query)))


def _nearest(
    source: Side, digests: Hashes, places: Index, wanted: Hashes, key: npt.NDArray[np.int64], row: Index
) -> tuple[npt.NDArray[np.int64], Index]:
    """Pairs (number in `digests`, running source row): of the records `row`, which expect the vectors of `wanted[key]`, at most
    `NEAREST` on either side of the place."""
    if not len(key):
        return key, row
    position = source.integers("position", row).astype(np.int64)
    order = np.lexsort((position, key))
    key, row, position = key[order], row[order], position[order]
    of = np.searchsorted(wanted, digests)
    low, high = np.searchsorted(key, of), np.searchsorted(key, of, "right")
    # The window of `NEAREST` owners on either side of the place.
    spread = np.int64(max(position.max(), places.max())) + 2
    middle = np.searchsorted(key * spread + position, of * spread + places)
    low, high = np.maximum(low, middle - NEAREST), np.minimum(high, middle + NEAREST)
    counts = np.maximum(high - low, 0)
    return np.repeat(np.arange(len(digests)), counts), row[ranges(low, counts)]


def how_many_expect(source: Side, digests: Hashes) -> npt.NDArray[np.int64]:
    """How many records expect a vector of each digest."""
    wanted = np.unique(digests)
    if not len(wanted):
        return np.empty(0, np.int64)
    asked = Filter(wanted)

    def of_bucket(bucket: int) -> npt.NDArray[np.int64]:
        held = source.column("digest", bucket)
        held = held[asked.maybe(held)]
        at, hit = find(wanted, held)
        return np.bincount(at[hit], minlength=len(wanted))

    total = sum(source.each(of_bucket), np.zeros(len(wanted), np.int64))
    counts: npt.NDArray[np.int64] = total[np.searchsorted(wanted, digests)]
    return counts


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
