"""What the diff keeps of every source record, narrow enough for a hundred million of them.

The search for hot spots asks "do the wrong rows cluster?", the impact "what do the wrong rows cost?". Both see a collection
in *source order*: row `i` is the i-th record of the source. A row costs four bytes for its kinds and one to four for each
field; its id and its vectors stay in the evidence and are fetched for the few rows that are named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.arrow_columns import as_numpy, numbers, texts
from vecforensics.diff.id_order import words
from vecforensics.findings import SEVERITY, Kind, Severity

__all__ = [
    "CORRUPT_MASK",
    "KIND_BIT",
    "CollectionVectors",
    "Field",
    "Ids",
    "LookedAt",
    "RowDimensions",
    "TextIds",
]

KIND_BIT: Final[Mapping[Kind, int]] = {kind: bit for bit, kind in enumerate(Kind)}
CORRUPT_MASK: Final = np.uint32(
    sum(1 << KIND_BIT[kind] for kind in Kind if SEVERITY[kind] is Severity.CORRUPT)
)


class LookedAt(IntEnum):
    """How far a vector was looked at: it was not in the sample, it was seen but nothing is expected of it, or it was compared."""

    NOT = 0
    ALONE = 1
    COMPARED = 2


@dataclass(frozen=True)
class Field:
    """One dimension of the rows, dictionary encoded: `codes` (n,), signed, -1 where unknown; `values` the text of each code."""

    codes: npt.NDArray[Any]
    values: pa.Array

    @classmethod
    def of(cls, column: pa.StringArray) -> Field:
        """One text a row, null where it is unknown."""
        distinct = column.dictionary_encode()
        return cls(as_numpy(distinct.indices, -1), distinct.dictionary)

    @classmethod
    def joined(cls, rows: int, parts: Sequence[tuple[npt.NDArray[Any] | slice, Field]]) -> Field:
        """One field of `rows` rows from parts, each with the rows that it tells of. Where several tell of a row the first of them
        counts that knows it. The values are sorted, so that the number of parts leaves no trace."""
        values = pa.concat_arrays([part.values for _, part in parts] or [texts([])]).unique()
        values = values.take(pc.sort_indices(values))
        codes = np.full(rows, -1, np.int32)
        for at, part in reversed(parts):
            place = as_numpy(pc.index_in(part.values, values)).astype(np.int32)
            told = np.append(place, np.int32(-1))[part.codes]
            codes[at] = np.where(told >= 0, told, codes[at])
        return cls(codes, values)


class Ids(Protocol):
    """The ids of a collection in source order, in texts for some rows and in eight bytes at a time for all."""

    def __call__(self, rows: npt.NDArray[Any]) -> pa.Array:
        """The ids of these rows, in their order."""

    def lengths(self) -> npt.NDArray[np.int32]:
        """Of each id, in bytes."""

    def words(self, at: int) -> npt.NDArray[np.uint64]:
        """Bytes `at` to `at + 7` of each id as one number that sorts as they do, zeros beyond its end."""


@dataclass(frozen=True)
class TextIds:
    """`Ids` of texts in memory."""

    texts: pa.Array

    def __call__(self, rows: npt.NDArray[Any]) -> pa.Array:
        return self.texts.take(numbers(np.asarray(rows, np.int64)))

    def lengths(self) -> npt.NDArray[np.int32]:
        return as_numpy(pc.binary_length(self.texts))

    def words(self, at: int) -> npt.NDArray[np.uint64]:
        return words(self.texts, at)


@dataclass(frozen=True)
class RowDimensions:
    """A collection in source order: which kinds each record shows, and everything that they may cluster by.

    `kinds` uint32 (n,), one bit a kind (`KIND_BIT`); `fields` by name: `batch`, `worker`, `written_at`, `namespace`,
    `metadata:<name>`, `parent:<collection>`; `note`: what a reader must know of a choice of rows; `looked_at` uint8 (n,): how far
    the vector of each was, if it has one (`LookedAt`), None where all were compared.
    """

    collection: str
    kinds: npt.NDArray[np.uint32]
    fields: Mapping[str, Field]
    ids: Ids
    note: str = ""
    looked_at: npt.NDArray[np.uint8] | None = None

    def chosen(self, places: npt.NDArray[np.int64]) -> RowDimensions:
        """Some of the rows, in their order."""
        return replace(
            self,
            kinds=self.kinds[places],
            fields={name: Field(given.codes[places], given.values) for name, given in self.fields.items()},
            ids=TextIds(self.ids(places)),
            looked_at=None if self.looked_at is None else self.looked_at[places],
        )


class CollectionVectors(Protocol):
    """The vectors of one collection by row number in source order, read where they are needed."""

    @property
    def collection(self) -> str: ...
    @property
    def dimension(self) -> int: ...
    @property
    def rows(self) -> int: ...

    def expected(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Float32 (k, dimension), and for each row whether it has an expected vector."""

    def actual(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Float32 (k, dimension), and for each row whether the target holds a vector of that length under its id."""

    def same(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """For each row whether the target surely holds the expected vector, bit for bit; `actual` need not be read then."""

    def further_owners(self) -> npt.NDArray[np.int64]:
        """Int64 (m,): of each further row of the target that a search may return, and that is no record's own, the record under
        whose id it stands, -1 where that is no record's."""

    def further(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Float32 (k, dimension): the vectors of some of these further rows."""
