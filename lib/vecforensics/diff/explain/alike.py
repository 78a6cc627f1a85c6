"""Whose vector is this, with a difference? Copies that float noise, a norm or a narrower number format has changed.

No vector is read that need not be. A sketch (`sketch.py`) says roughly where an expected vector points; half of each byte is the
name of a cell, and a vector in question is looked for in every cell that its reach touches: a wide reach for a vector that lies
on a coarse grid (bfloat16, int8), a narrow one for all others. Where a cell is crowded, because texts or a whole collection are
much alike, its records are read once and sorted into cells a hundred times finer; where even such a cell is crowded, only the
records nearest in the source are compared: copies come from nearby more often than from afar, and everything stays linear.

All this only proposes; what counts is `compare.compare_pairs`. What is crowded is counted over the whole collection, so that the
number of buckets decides nothing. (Grids of cells for near neighbours: Bentley, Weide and Yao 1980.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.compare.formats import on_coarse_grid
from vecforensics.diff.compare.grids import Grid
from vecforensics.diff.compare.relation import Relation, compare_pairs, cosine_distances
from vecforensics.diff.lookup import Filter, Hashes, find, ranges
from vecforensics.diff.sides import Index, Side
from vecforensics.sketch import DIRECTIONS, NO_DIRECTION, out_of_range, project, reach, sketch

__all__ = ["Alike", "find_alike"]

# How far a copy may be from its owner, as a share of its length: rounding in single precision, float16; noise; bfloat16 and int8.
_ROUNDING: Final = 1e-5
_HALF: Final = 6e-4
_NARROW: Final = 1e-3
_WIDE: Final = 2e-2
# With one scale for the collection a short vector may move by more than any other copy does, and is looked for no farther away.
_WIDEST: Final = 0.1
_CELL_STEPS: Final = 8
# More records than this in a cell, and a finer one is asked; more in a finer one, and only so many of them are compared.
_CROWDED: Final = 1024
_NEAREST: Final = 32
_BLOCK: Final = 512
_MOST_PAIRS: Final = 1_000_000
_SPREAD: Final = np.uint64(0x9E37_79B9_7F4A_7C15)

Numbers = npt.NDArray[np.int64]
Alike = tuple[Numbers, Hashes, npt.NDArray[np.float64]]
"""Which vector in question, the digest of an expected vector that it is a benign copy of, and their cosine distance."""

_NOTHING: Final[Alike] = (np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0))


def find_alike(
    source: Side,
    vectors: npt.NDArray[np.float32],
    queries: Numbers,
    places: Index,
    tolerance: float,
    grid: Grid | None = None,
) -> Alike:
    """The benign copies among `vectors` (m, d), of which only `queries` (numbers) are in question. `places` int64 (m,): the
    position in the source near which an owner is likelier. Each pair of vector and digest stands once."""
    own = np.concatenate(
        [sketch(vectors[queries[at : at + _BLOCK]]) for at in range(0, max(len(queries), 1), _BLOCK)]
    )
    queries, own = queries[own != NO_DIRECTION], own[own != NO_DIRECTION]
    if not len(queries):
        return _NOTHING
    search = _Search(source, vectors, queries, places[queries], own, tolerance, grid)
    probes = search.coarse_probes()
    counts = search.counted(probes, search.coarse)
    crowded = counts > _CROWDED
    # A wide reach covers all of a crowd, however fine the cells are.
    near = crowded & search.wide[probes.query]
    dense = probes.chosen(crowded & ~near)
    found = [
        search.compared(probes.chosen(~crowded), search.coarse),
        search.compared(probes.chosen(near), search.coarse, counts[near]),
    ]
    asking = np.unique(dense.query)
    # The nearer the copy, the finer the cells in which it can still be told from the crowd.
    for difference in (_ROUNDING, _HALF, search.narrow):
        if len(asking):
            finely = search.fine(np.unique(dense.key), difference)
            probes = search.fine_probes(asking, difference)
            found.append(search.compared(probes, finely, search.counted(probes, finely)))
            asking = np.setdiff1d(asking, np.searchsorted(queries, found[-1][0]))
    return _distinct(_joined(found))


def _joined(parts: Iterable[Alike]) -> Alike:
    query, digest, distance = (np.concatenate(column) for column in zip(_NOTHING, *parts, strict=True))
    return query, digest, distance


def _distinct(found: Alike) -> Alike:
    """The same vector may be expected by several records, and a record be met in several cells."""
    query, digest, distance = found
    order = np.lexsort((distance, digest, query))
    query, digest, distance = query[order], digest[order], distance[order]
    fresh = np.ones(len(query), np.bool_)
    fresh[1:] = (query[1:] != query[:-1]) | (digest[1:] != digest[:-1])
    return query[fresh], digest[fresh], distance[fresh]


@dataclass(frozen=True, slots=True)
class _Probes:
    """Cells to look into: `key` uint64 (k,), and the place in the search's queries of the vector that asks."""

    key: Hashes
    query: Numbers

    def chosen(self, which: npt.NDArray[np.bool_]) -> _Probes:
        return _Probes(self.key[which], self.query[which])


Rows = Callable[[int], tuple[Numbers, Hashes]]
"""The rows of a bucket that count, and the cell of each."""


class _Search:
    """One search over all records for the owners of some vectors."""

    def __init__(
        self,
        source: Side,
        vectors: npt.NDArray[np.float32],
        queries: Numbers,
        places: Index,
        own: Hashes,
        tolerance: float,
        grid: Grid | None,
    ) -> None:
        self.source, self.vectors, self.queries, self.places, self.own = source, vectors, queries, places, own
        self.tolerance, self.grid = tolerance, grid
        dimension = vectors.shape[1]
        # A wide tolerance widens both reaches.
        self.narrow = max(_NARROW, 1.5 * float(np.sqrt(2 * tolerance)))
        widest = max(_WIDE, self.narrow)
        blocks = range(0, len(queries), _BLOCK)
        self.wide = np.concatenate([on_coarse_grid(vectors[queries[at : at + _BLOCK]]) for at in blocks])
        difference = np.where(self.wide, widest, self.narrow)
        if grid is not None:
            # The shorter a vector, the coarser the grid of all is for it.
            share = np.concatenate([grid.reach(vectors[queries[at : at + _BLOCK]]) for at in blocks])
            self.wide |= share > self.narrow
            difference = np.maximum(difference, np.minimum(share, _WIDEST))
        self.steps = reach(difference, dimension)
        # A copy that moves by δ of its length moves by δ²/2 in cosine distance; fourfold, for what is not random about it.
        self.furthest = (2 * difference**2).astype(np.float32)
        # A reach must not touch more than two cells along a direction.
        self.cell = _CELL_STEPS
        while self.cell < 2 * int(self.steps.max()) and self.cell < 256:
            self.cell *= 2
        self.last = source.largest("position")

    def coarse_probes(self) -> _Probes:
        """The cells of sketches that each vector's reach touches."""
        bytes_of = self.own.view(np.uint8).reshape(-1, DIRECTIONS).astype(np.int64)
        low = np.maximum(bytes_of - self.steps[:, None], 0) // self.cell
        high = np.minimum(bytes_of + self.steps[:, None], 255) // self.cell
        width = np.uint64(self.cell)
        return _touched(
            low,
            high,
            lambda keys, part, axis: keys | (part * width) << np.uint64(8 * axis),
            np.arange(len(low)),
        )

    def coarse(self, bucket: int) -> tuple[Numbers, Hashes]:
        """All rows of a bucket by the cells of their sketches."""
        upper = np.uint64(0x0101_0101_0101_0101 * (256 - self.cell))
        cells: Hashes = self.source.column("sketch", bucket) & upper
        return np.arange(len(cells)), cells

    def fine_probes(self, asking: Numbers, difference: float) -> _Probes:
        """The cells of exact projections that copies with this difference from these vectors may lie in."""
        seen, cell, moved = _seen(self.vectors[self.queries[asking]], difference)
        return _touched(
            np.floor((seen - moved) / cell).astype(np.int64),
            np.floor((seen + moved) / cell).astype(np.int64),
            _mixed,
            asking,
        )

    def fine(self, crowded: Hashes, difference: float) -> Rows:
        """The rows that stand in crowded cells, by finer ones. Read once a bucket, and kept: sixteen bytes a row."""
        wanted, kept = Filter(crowded), dict[int, tuple[Numbers, Hashes]]()

        def of_bucket(bucket: int) -> tuple[Numbers, Hashes]:
            if bucket not in kept:
                _, cells = self.coarse(bucket)
                rows = wanted.maybe(cells)
                rows = rows[find(crowded, cells[rows])[1]]
                keys = np.zeros(len(rows), np.uint64)
                for start in range(0, len(rows), _BLOCK):
                    part = slice(start, start + _BLOCK)
                    seen, cell, _ = _seen(self.source.vectors(bucket).take(rows[part]), difference)
                    for axis, column in enumerate(np.floor(seen / cell).astype(np.int64).T):
                        keys[part] = _mixed(keys[part], column.view(np.uint64), axis)
                kept[bucket] = rows, keys
            return kept[bucket]

        return of_bucket

    def counted(self, probes: _Probes, rows_of: Rows) -> Numbers:
        """How many records stand in each probed cell."""
        keys = np.unique(probes.key)
        asked = Filter(keys)

        def of_bucket(bucket: int) -> Numbers:
            _, cells = rows_of(bucket)
            at, hit = find(keys, cells[asked.maybe(cells)])
            return np.bincount(at[hit], minlength=len(keys))

        total = sum(self.source.each(of_bucket), np.zeros(len(keys), np.int64))
        counts: Numbers = total[np.searchsorted(keys, probes.key)]
        return counts

    def compared(self, probes: _Probes, rows_of: Rows, counts: Numbers | None = None) -> Alike:
        """The benign copies among all pairs of a record and a probe of its cell. `counts`: where a cell holds more than
        `_NEAREST` records, only so many of the nearest in the source."""
        if not len(probes.key):
            return _NOTHING
        radius = np.full(len(probes.key), self.last + 1)
        if counts is not None:
            # Where a crowd is spread evenly, so many positions on either side hold `_NEAREST` of it.
            share = _NEAREST * (self.last + 1) // (2 * np.maximum(counts, 1)) + 1
            radius = np.where(counts > _NEAREST, share, radius)
        keys = np.unique(probes.key)
        asked = Filter(keys)

        def of_bucket(bucket: int) -> Alike:
            rows, cells = rows_of(bucket)
            maybe = asked.maybe(cells)
            at, hit = find(keys, cells[maybe])
            rows, at = rows[maybe[hit]], at[hit]
            positions = self.source.column("position", bucket)[rows]
            meetings = self._meetings(keys, at, positions, probes, radius)
            return _joined(self._confirmed(bucket, rows[row], query) for row, query in meetings)

        return _joined(self.source.each(of_bucket))

    def _meetings(
        self, keys: Hashes, at: Numbers, positions: Numbers, probes: _Probes, radius: Numbers
    ) -> Iterator[tuple[Numbers, Numbers]]:
        """Pairs (number of a row, query) that share a cell and stand within the radius, some hundred thousand at a time."""
        # Rows by cell and, within one, by position, so that what is near is a range.
        spread = np.int64(self.last + 2)
        code = at * spread + positions
        order = np.argsort(code, kind="stable")
        code = code[order]
        base = np.searchsorted(keys, probes.key) * spread
        place = self.places[probes.query]
        low = np.searchsorted(code, base + np.clip(place - radius, 0, spread - 1))
        high = np.searchsorted(code, base + np.clip(place + radius, 0, spread - 1), "right")
        counts = np.maximum(high - low, 0)
        asking = np.flatnonzero(counts)
        ends = np.cumsum(counts[asking])
        start = 0
        while start < len(asking):
            done = ends[start - 1] if start else 0
            stop = max(int(np.searchsorted(ends, done + _MOST_PAIRS, "right")), start + 1)
            part = asking[start:stop]
            yield order[ranges(low[part], counts[part])], np.repeat(probes.query[part], counts[part])
            start = stop

    def _confirmed(self, bucket: int, row: Numbers, query: Numbers) -> Alike:
        """Which of the pairs are benign copies: by sketch, by direction, then as `compare_pairs` sees them."""
        held = self.source.column("sketch", bucket)[row]
        apart = held.view(np.uint8).astype(np.int16) - self.own[query].view(np.uint8)
        close = (np.abs(apart).reshape(-1, DIRECTIONS) <= self.steps[query][:, None]).all(axis=1)
        row, query = row[close], query[close]
        stored, digests = self.source.vectors(bucket), self.source.column("digest", bucket)
        found = []
        for start in range(0, len(row), _BLOCK):
            rows, asking = row[start : start + _BLOCK], query[start : start + _BLOCK]
            expected, actual = stored.take(rows), self.vectors[self.queries[asking]]
            near = _direction_apart(expected, actual) <= self.furthest[asking]
            near &= digests[rows] != 0
            compared = compare_pairs(expected[near], actual[near], self.tolerance, self.grid)
            good = compared.relation <= Relation.INT8
            found.append(
                (self.queries[asking[near]][good], digests[rows[near]][good], compared.distance[good])
            )
        return _joined(found)


def _seen(
    vectors: npt.NDArray[np.float32], difference: float
) -> tuple[npt.NDArray[np.float64], float, float]:
    """Projections (n, 8), the width of a fine cell, and how far a copy with this difference moves in a projection."""
    moved = min(difference, 6 * difference / float(np.sqrt(vectors.shape[1])))
    return project(vectors).astype(np.float64), 4 * moved, moved


def _touched(
    low: Numbers, high: Numbers, fold: Callable[[Hashes, Hashes, int], Hashes], asking: Numbers
) -> _Probes:
    """The names of all cells between `low` and `high` (k, 8), which are at most two along each direction; `fold` makes a name."""
    keys, rows = np.zeros(len(low), np.uint64), np.arange(len(low))
    for axis in range(DIRECTIONS):
        below, above = low[rows, axis].view(np.uint64), high[rows, axis].view(np.uint64)
        two = np.flatnonzero(below != above)
        keys = np.r_[fold(keys, below, axis), fold(keys[two], above[two], axis)]
        rows = np.r_[rows, rows[two]]
    return _Probes(keys, asking[rows])


def _mixed(keys: Hashes, part: Hashes, axis: int) -> Hashes:
    del axis
    return keys * _SPREAD + part


def _direction_apart(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """About the cosine distance of each pair, less what single precision may be wrong by."""
    with np.errstate(all="ignore"):
        product = np.einsum("ij,ij->i", one, other)
        squares, others = np.einsum("ij,ij->i", one, one), np.einsum("ij,ij->i", other, other)
        # Each root by itself: the product of two squares is out of range long before they are.
        apart: npt.NDArray[np.float32] = 1 - product / (np.sqrt(squares) * np.sqrt(others)) - np.float32(2e-6)
    rows = np.union1d(out_of_range(one, squares), out_of_range(other, others))
    if len(rows):
        apart[rows] = cosine_distances(one[rows], other[rows])
    return apart
