"""A whole collection by one running row number a side, over buckets that stay where they are.

The second pass asks questions that cross buckets. It numbers the rows of a side through, bucket after bucket, and asks for ids,
digests or vectors of the few rows it needs; each bucket is mapped when it is asked for first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vecforensics import arrow_columns as arrow
from vecforensics.diff.compare.grids import Grid
from vecforensics.diff.compare.joining import Standing
from vecforensics.diff.vectors import MappedVectors
from vecforensics.evidence import Evidence, FrozenCollection

__all__ = ["Index", "Places", "Side", "Sides"]

T = TypeVar("T")
Index = npt.NDArray[np.int64]
# Row numbers of a whole side, int32 where that is wide enough: four bytes a row that are there all the time.
Places = npt.NDArray[np.signedinteger[Any]]

# What Arrow can count of a text column in one piece, whose offsets are int32.
_MOST_BYTES: Final = 2**31 - 1
# Integer columns stand in some fifty pieces a bucket and are asked for a dozen times each: so many bytes of a side are put
# together once, which is what a collection of 100,000 rows asks for. More would be felt in memory sooner than in time.
_KEPT_BYTES: Final = 2**22


@dataclass
class Side:
    """One side of one collection. `offsets` int64 (buckets + 1): the running number of each bucket's first row. `workers`: how
    many threads a sweep over all rows may use."""

    evidence: Evidence
    collection: str
    name: str
    offsets: Index
    workers: int = 1
    _columns: dict[tuple[str, int], npt.NDArray[Any]] = field(default_factory=dict)
    _vectors: dict[int, MappedVectors] = field(default_factory=dict)

    @classmethod
    def of(cls, evidence: Evidence, collection: str, name: str, workers: int = 1) -> Side:
        """One side, `source` or `target`."""
        buckets = range(evidence.collection(collection).buckets)
        counts = [evidence.table(collection, name, bucket).num_rows for bucket in buckets]
        return cls(evidence, collection, name, np.r_[0, np.cumsum(counts)].astype(np.int64), workers)

    @property
    def rows(self) -> int:
        return int(self.offsets[-1])

    @property
    def buckets(self) -> int:
        return len(self.offsets) - 1

    def table(self, bucket: int) -> pa.Table:
        return self.evidence.table(self.collection, self.name, bucket)

    def vectors(self, bucket: int) -> MappedVectors:
        if bucket not in self._vectors:
            self._vectors[bucket] = MappedVectors(self.table(bucket))
        return self._vectors[bucket]

    def each(self, of_bucket: Callable[[int], T]) -> list[T]:
        """What `of_bucket` makes of each bucket, on `workers` threads."""
        with ThreadPoolExecutor(self.workers, thread_name_prefix="sweep") as pool:
            return list(pool.map(of_bucket, range(self.buckets)))

    def number(self, bucket: int, rows: npt.NDArray[np.integer[Any]]) -> Index:
        """Running numbers of rows of one bucket."""
        numbers: Index = rows.astype(np.int64) + self.offsets[bucket]
        return numbers

    def split(self, numbers: Index) -> Iterator[tuple[int, npt.NDArray[np.intp], Index]]:
        """For each bucket that holds some of `numbers`: the bucket, where in `numbers` they stand, and their rows in it."""
        if bool((numbers[1:] >= numbers[:-1]).all()):
            edges = np.searchsorted(numbers, self.offsets).tolist()
            for bucket, (first, last) in enumerate(pairwise(edges)):
                if first < last:
                    yield bucket, np.arange(first, last), numbers[first:last] - self.offsets[bucket]
            return
        owner = np.searchsorted(self.offsets, numbers, "right") - 1
        order = np.argsort(owner, kind="stable")
        bounds = np.searchsorted(owner[order], np.arange(self.buckets + 1))
        for bucket in range(self.buckets):
            places = order[bounds[bucket] : bounds[bucket + 1]]
            if len(places):
                yield bucket, places, numbers[places] - self.offsets[bucket]

    def texts(self, column: str, numbers: Index) -> pa.Array:
        """A text column of some rows, in their order; `large_string` where it was read from more than 2 GB."""
        if 4 * len(numbers) > self.rows:
            # Most rows: the whole column costs less than sorting them by bucket.
            chunks = [chunk for bucket in range(self.buckets) for chunk in self.table(bucket)[column].chunks]
            return _in_one_piece(chunks).take(arrow.numbers(numbers))
        parts, places = [], []
        for bucket, place, rows in self.split(numbers):
            parts.append(arrow.whole(self.table(bucket)[column]).take(arrow.numbers(rows)))
            places.append(place)
        if not parts:
            return arrow.texts([])
        if len(parts) == 1:
            return parts[0]
        back = np.empty(len(numbers), np.int64)
        back[np.concatenate(places)] = np.arange(len(numbers))
        joined = _in_one_piece(parts)
        del parts
        return joined.take(arrow.numbers(back))

    def text(self, column: str, numbers: Index) -> list[str | None]:
        """The same as Python's text."""
        found: list[str | None] = self.texts(column, numbers).to_pylist()
        return found

    def column(self, name: str, bucket: int) -> npt.NDArray[Any]:
        """An integer column of one bucket, not to be written to; nulls as 0."""
        held = self._columns.get((name, bucket))
        if held is None:
            held = arrow.as_numpy(arrow.whole(self.table(bucket)[name]))
            if sum(column.nbytes for column in list(self._columns.values())) + held.nbytes <= _KEPT_BYTES:
                self._columns[name, bucket] = held
        return held

    def integers(self, column: str, numbers: Index | None = None) -> npt.NDArray[Any]:
        """An integer column of some rows, or of all; nulls as 0."""
        if numbers is None:
            parts = [self.column(column, bucket) for bucket in range(self.buckets)]
            return np.concatenate(parts) if parts else np.empty(0, np.uint64)
        dtype = self.table(0)[column].type.to_pandas_dtype()
        found = np.zeros(len(numbers), dtype)
        for bucket, places, rows in self.split(numbers):
            found[places] = self.column(column, bucket)[rows]
        return found

    def largest(self, column: str) -> int:
        """The largest value of a column without negative ones; 0 where there is no row."""
        return max(int(self.column(column, bucket).max(initial=0)) for bucket in range(self.buckets))

    @property
    def lacks_vectors(self) -> bool:
        """Whether some rows have no vector, or one that is not finite."""
        return any(not self.column("digest", bucket).all() for bucket in range(self.buckets))

    def take(self, numbers: Index) -> npt.NDArray[np.float32]:
        """Vectors of some rows, float32 (k, dimension). Rows without a vector of the right length are NaN."""
        found = np.empty((len(numbers), self.dimension), np.float32)
        for bucket, places, rows in self.split(numbers):
            vectors = self.vectors(bucket)
            there = vectors.present[rows]
            found[places[there]] = vectors.take(rows[there])
            found[places[~there]] = np.nan
        return found

    @property
    def dimension(self) -> int:
        table = self.table(0)
        return int(table.schema.field("vector").type.list_size) if "vector" in table.schema.names else 0

    def blocks(
        self, rows: int, buckets: Sequence[int] | None = None
    ) -> Iterator[tuple[Index, npt.NDArray[np.float32]]]:
        """All rows that have a vector, in blocks of at most `rows`: their running numbers and their vectors."""
        for bucket in range(self.buckets) if buckets is None else buckets:
            vectors = self.vectors(bucket)
            there = np.flatnonzero(vectors.present)
            for start in range(0, len(there), rows):
                part = there[start : start + rows]
                yield self.number(bucket, part), vectors.take(part)


def _in_one_piece(chunks: list[pa.Array]) -> pa.Array:
    """Pieces of a text column end to end."""
    if sum(chunk.nbytes for chunk in chunks) > _MOST_BYTES:
        chunks = [chunk.cast(pa.large_string()) for chunk in chunks]
    return pa.concat_arrays(chunks)


@dataclass
class Sides:
    """Source and target of one collection, and what its store makes of every vector, where that has been learnt: the `grid` that
    it keeps them on, and the `noise` by which each component may be off.

    Which record each row of the target stands for is worked out once, bucket by bucket, and kept in five bytes a row.
    """

    frozen: FrozenCollection
    source: Side
    target: Side
    grid: Grid | None = None
    noise: float = 0.0
    _standing: dict[int, Standing] = field(default_factory=dict)

    @classmethod
    def of(cls, evidence: Evidence, collection: str, workers: int = 1) -> Sides:
        """Both sides of a collection of the evidence."""
        source, target = (Side.of(evidence, collection, name, workers) for name in ("source", "target"))
        return cls(evidence.collection(collection), source, target)

    def standing(self, bucket: int) -> Standing:
        """Which record of a bucket each row of its target stands for, and which rows are the records' own."""
        if bucket not in self._standing:
            self._standing[bucket] = Standing.of(self.source.table(bucket), self.target.table(bucket))
        return self._standing[bucket]

    def records(self, bucket: int) -> Index:
        """The running source row that each target row of a bucket stands for, -1 for none."""
        record = self.standing(bucket).record
        return np.where(record >= 0, self.source.number(bucket, record), -1)

    def records_of(self, target: Index) -> Index:
        """The same of some running target rows."""
        found = np.full(len(target), -1, np.int64)
        for bucket, places, rows in self.target.split(target):
            found[places] = self.records(bucket)[rows]
        return found

    def own_rows(self) -> Index:
        """The running target row that is each running source row's own, -1 where there is none."""
        found = np.full(self.source.rows, -1, np.int64)
        for bucket in range(self.target.buckets):
            own = np.flatnonzero(self.standing(bucket).own)
            found[self.records(bucket)[own]] = self.target.number(bucket, own)
        return found

    def others(self) -> Index:
        """The running target rows that are no record's own: strays, and further rows under a record's id."""
        none = [np.empty(0, np.int64)]
        return np.concatenate(
            none
            + [
                self.target.number(bucket, np.flatnonzero(~self.standing(bucket).own))
                for bucket in range(self.target.buckets)
            ]
        )
