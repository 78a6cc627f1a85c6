"""The rows of a collection in source order, with everything they may cluster by, for the hot spots and the impact."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.arrow_columns import as_numpy, encoded, whole
from vecforensics.diff.collected import KINDS, FoundColumns
from vecforensics.diff.compare.json_columns import metadata_columns
from vecforensics.diff.id_order import narrow, words
from vecforensics.diff.rows import KIND_BIT, Field, LookedAt, RowDimensions
from vecforensics.diff.sides import Index, Places, Side, Sides
from vecforensics.diff.writing.writes import Writes
from vecforensics.records import PARENT_PREFIX

__all__ = [
    "EvidenceIds",
    "EvidenceVectors",
    "joined_field",
    "looked_at",
    "row_dimensions",
    "source_fields",
    "source_order",
    "with_findings",
]

_NONE: Final = np.empty(0, np.int64)


def source_order(sides: Sides) -> Places:
    """Running source rows in the order of the source, (n,)."""
    source = sides.source
    # Positions are row numbers of the source, with gaps where earlier versions stood: each row is put in its place, none sorted.
    last = max(int(source.column("position", bucket).max(initial=-1)) for bucket in range(source.buckets))
    rows = np.full(last + 1, -1, narrow(source.rows))
    for bucket in range(source.buckets):
        position = source.column("position", bucket)
        rows[position] = source.number(bucket, np.arange(len(position)))
    return rows if len(rows) == source.rows else rows[rows >= 0]


def row_dimensions(name: str, sides: Sides, writes: Writes, order: Places) -> RowDimensions:
    """Everything known of each record, in source order, but no findings yet."""
    fields = {key: Field(given.codes[order], given.values) for key, given in writes.fields.items()}
    fields.update(source_fields(sides, order))
    return RowDimensions(name, np.zeros(len(order), np.uint32), fields, EvidenceIds(sides.source, order))


@dataclass(frozen=True)
class EvidenceIds:
    """`rows.Ids` of the running rows `order` of a side, read where they are needed."""

    side: Side
    order: Places

    def __call__(self, rows: npt.NDArray[Any]) -> pa.Array:
        return self.side.texts("id", self.order[rows])

    def lengths(self) -> npt.NDArray[np.int32]:
        return self._of_all(np.int32, lambda ids: as_numpy(pc.binary_length(ids)))

    def words(self, at: int) -> npt.NDArray[np.uint64]:
        return self._of_all(np.uint64, lambda ids: words(ids, at))

    def _of_all(self, kind: type, what: Callable[[pa.StringArray], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = np.empty(self.side.rows, kind)
        row = 0
        for bucket in range(self.side.buckets):
            for chunk in self.side.table(bucket)["id"].chunks:
                found[row : row + len(chunk)] = what(chunk)
                row += len(chunk)
        ordered: npt.NDArray[Any] = found[self.order]
        return ordered


def with_findings(
    rows: RowDimensions, found: FoundColumns, order: Places, looked_at: npt.NDArray[np.uint8] | None = None
) -> RowDimensions:
    """The same records, and which kinds each shows. `looked_at`: how far the vector of each running source row was."""
    kinds = np.zeros(len(order), np.uint32)
    bits = np.array([1 << KIND_BIT[kind] for kind in KINDS], np.uint32)[found.kind]
    known = found.source >= 0
    np.bitwise_or.at(kinds, found.source[known], bits[known])
    return replace(rows, kinds=kinds[order], looked_at=None if looked_at is None else looked_at[order])


def looked_at(sides: Sides, drawn: Index | None, mangled: Index) -> npt.NDArray[np.uint8] | None:
    """How far the vectors of all running source rows were looked at (`rows.LookedAt`), None where all were compared. `drawn`:
    those in the sample, if there is one; `mangled`: those that stand under another id, which are compared in any case."""
    source = sides.source
    if sides.frozen.expected is None:
        return np.full(source.rows, LookedAt.ALONE, np.uint8)
    expected = [source.column("digest", bucket) != 0 for bucket in range(source.buckets)]
    if drawn is None and all(some.all() for some in expected):
        return None
    far = np.where(np.concatenate(expected), LookedAt.COMPARED, LookedAt.ALONE).astype(np.uint8)
    if drawn is not None:
        seen = np.zeros(source.rows, np.bool_)
        seen[drawn] = seen[mangled] = True
        far[~seen] = LookedAt.NOT
    return far


def source_fields(sides: Sides, order: Places) -> dict[str, Field]:
    """What the source says of each record, in source order: its metadata and its parents."""
    names = [f"metadata:{name}" for name in sides.frozen.metadata]
    names += [f"parent:{name}" for name in sides.frozen.parents]

    def of_bucket(bucket: int) -> list[pa.DictionaryArray]:
        """The fields of one bucket; encoded at once, since the texts take many times the room."""
        table = sides.source.table(bucket)
        known = metadata_columns(table["metadata"]) if sides.frozen.metadata else {}
        absent = pa.nulls(table.num_rows, pa.string())
        columns = [known.get(name, absent) for name in sides.frozen.metadata]
        columns += [whole(table[PARENT_PREFIX + name]) for name in sides.frozen.parents]
        return [_narrowed(encoded(column)) for column in columns]

    with ThreadPoolExecutor(max(sides.source.workers - 1, 1), thread_name_prefix="fields") as pool:
        parts = list(pool.map(of_bucket, range(sides.source.buckets)))
    fields = {
        name: joined_field(list(column), order)
        for name, column in zip(names, zip(*parts, strict=True), strict=True)
    }
    return fields


def _narrowed(column: pa.DictionaryArray) -> pa.DictionaryArray:
    """The same with indices as short as its few values allow; all buckets wait for the last one."""
    wide = len(column.dictionary) > np.iinfo(np.int16).max
    return (
        column if wide else pa.DictionaryArray.from_arrays(column.indices.cast(pa.int16()), column.dictionary)
    )


def joined_field(parts: list[pa.DictionaryArray], order: npt.NDArray[Any]) -> Field:
    """Encodings of buckets as one; the dictionary is sorted, so that the number of buckets leaves no trace."""
    values = pa.concat_arrays([part.dictionary.cast(pa.string()) for part in parts]).unique().drop_null()
    values = values.take(pc.sort_indices(values))
    kind = np.min_scalar_type(-len(values) - 1)
    codes = []
    for part in parts:
        lookup = as_numpy(pc.index_in(part.dictionary.cast(pa.string()), values), -1)
        indices = as_numpy(part.indices, -1)
        codes.append(np.append(lookup, -1).astype(kind)[indices])
    return Field(np.concatenate(codes)[order], values)


class EvidenceVectors:
    """`rows.CollectionVectors` over the evidence: vectors by place in source order, read where they are needed.

    `excused`: running source rows that count as they should be, whatever was frozen, and `excused_strays`: running target rows
    that are no record's and count as gone.
    """

    def __init__(
        self, name: str, sides: Sides, order: Places, excused: Index = _NONE, excused_strays: Index = _NONE
    ) -> None:
        self.collection = name
        self.dimension = sides.source.dimension
        self.rows = sides.source.rows
        self._sides, self._order = sides, order
        self._excused = np.isin(order, excused) if len(excused) else np.zeros(len(order), np.bool_)
        self._excused_strays = excused_strays

    def expected(self, rows: Index) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        # The digest is 0 where a vector is absent or not finite.
        usable = np.asarray(self._digests[0][self._order[rows]] != 0)
        return self._sides.source.take(self._order[rows]), usable

    def actual(self, rows: Index) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        target = self._targets[self._order[rows]]
        vectors = np.full((len(rows), self.dimension), np.nan, np.float32)
        there = np.flatnonzero(target >= 0)
        held = self._sides.target
        vectors[there] = held.take(target[there])
        present = np.zeros(len(rows), np.bool_)
        for bucket, places, inside in held.split(target[there]):
            present[there[places]] = held.vectors(bucket).present[inside]
        settled = np.flatnonzero(self._excused[rows])
        if len(settled):
            vectors[settled], present[settled] = self.expected(rows[settled])
        return vectors, present

    def same(self, rows: Index) -> npt.NDArray[np.bool_]:
        source, target = self._digests
        held = self._targets[self._order[rows]]
        wanted = source[self._order[rows]]
        # A row without a target counts as held by the last one here, and is taken out again.
        alike: npt.NDArray[np.bool_] = (wanted != 0) & (held >= 0)
        if len(target):
            alike &= wanted == target[held]
        alike |= self._excused[rows] & (wanted != 0)
        return alike

    def further_owners(self) -> Index:
        return self._further[1]

    def further(self, rows: Index) -> npt.NDArray[np.float32]:
        return self._sides.target.take(self._further[0][rows])

    @cached_property
    def _further(self) -> tuple[Index, Index]:
        """The running target rows that are no record's own and can be returned, and by place in source order the record under
        whose id each stands, -1 for none. They are in the order of their bytes, which is the same however a store lists them."""
        rows = self._sides.others()
        digests = self._digests[1][rows]
        # The digest is 0 where a vector is absent or not finite.
        kept = (digests != 0) & ~np.isin(rows, self._excused_strays)
        rows, digests = rows[kept], digests[kept]
        record = self._sides.records_of(rows)
        place = np.full(self.rows + 1, -1, np.int64)
        place[self._order] = np.arange(self.rows)
        owner = place[record]
        kept = ~(np.append(self._excused, False)[owner])
        order = np.lexsort((owner[kept], digests[kept]))
        return rows[kept][order], owner[kept][order]

    @cached_property
    def _digests(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        return self._sides.source.integers("digest"), self._sides.target.integers("digest")

    @cached_property
    def _targets(self) -> Index:
        """The running target row of each running source row, -1 where there is none."""
        return self._sides.own_rows()
