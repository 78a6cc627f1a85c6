"""What a target's metadata say of its writing: the fields that a writer left there beside the record's own.

A few field names are taken for the writer's, unless the case file lists them as data of the source. What counts is a record's
first write. Several rows may stand under its id: then the smallest number and the earliest time are the first write's, but only
where each row has one, and times have an earliest only if all of them name a zone, or none does. Batch and worker are those of
the row that the record is compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vecforensics import arrow_columns as arrow
from vecforensics.diff.compare.json_columns import loaded, metadata_columns
from vecforensics.diff.rows import Field
from vecforensics.diff.sides import Index, Side, Sides
from vecforensics.diff.writing.log_writes import PLAIN_FIELDS
from vecforensics.diff.writing.moments import NEVER, times, zoneless

__all__ = [
    "SEQUENCE_FIELDS",
    "TIME_FIELDS",
    "WRITERS_FIELDS",
    "Part",
    "as_field",
    "earliest",
    "of_several_workers",
    "smallest",
    "told_by_metadata",
]

TIME_FIELDS: Final = ("written_at", "inserted_at", "upserted_at", "migrated_at", "ingested_at", "indexed_at")
SEQUENCE_FIELDS: Final = ("seq", "sequence", "write_seq", "lsn")
# So many rows of the target are asked which fields a writer left in them: those with the smallest hashes of their ids.
_LOOKED_AT: Final = 4096
WRITERS_FIELDS: Final = frozenset({*TIME_FIELDS, *SEQUENCE_FIELDS, *PLAIN_FIELDS})


def told_by_metadata(sides: Sides, strays: Index | None) -> dict[str, list[Part]]:
    """By field, what each bucket's rows hold there. With `strays`, the target rows that stand under no record's id, the rows
    asked for are those of the target instead of the source."""
    ours = set(sides.frozen.metadata)
    wanted = [name for name in (*SEQUENCE_FIELDS, *TIME_FIELDS, *PLAIN_FIELDS) if name not in ours]
    sample = "\n".join(filter(None, _some_metadata(sides.target, strays)))
    parts: dict[str, list[Part]] = {name: [] for name in wanted if f'"{name}"' in sample}
    if not parts:
        return {}
    for bucket in range(sides.target.buckets):
        table = sides.target.table(bucket)
        columns = metadata_columns(table["metadata"])
        if strays is None:
            rows, own = sides.records(bucket), sides.standing(bucket).own
        else:
            rows = sides.target.number(bucket, np.arange(table.num_rows))
            own = np.ones(table.num_rows, np.bool_)
        for name, some in parts.items():
            if name in columns:
                some.append(Part.of(rows, own, columns[name]))
    return parts


def _some_metadata(target: Side, strays: Index | None) -> list[str | None]:
    """The metadata of some rows of the target, and of some of the strays, if there are any: the names of the fields there say
    whether all rows are worth reading. Which rows these are neither the order of the scan nor the number of buckets decides."""
    some = _smallest(target, _first(target))
    if strays is not None:
        some = np.concatenate([some, _smallest(target, strays)])
    return target.text("metadata", some)


def _first(target: Side) -> Index:
    """The running rows with the smallest hashes of their ids, more than are looked at where many stand under one id."""
    rows, hashes = np.empty(0, np.int64), np.empty(0, np.uint64)
    limit = np.iinfo(np.uint64).max
    for bucket in range(target.buckets):
        held = target.column("id_hash", bucket)
        near = np.flatnonzero(held <= limit)
        rows, hashes = np.r_[rows, target.number(bucket, near)], np.r_[hashes, held[near]]
        if len(hashes) > _LOOKED_AT:
            limit = np.partition(hashes, _LOOKED_AT - 1)[_LOOKED_AT - 1]
            kept = hashes <= limit
            rows, hashes = rows[kept], hashes[kept]
    return rows


def _smallest(target: Side, rows: Index) -> Index:
    """Those of some running rows with the smallest hashes of their ids; of one id those whose vectors have the smallest."""
    if len(rows) <= _LOOKED_AT:
        return rows
    order = np.lexsort((target.integers("digest", rows), target.integers("id_hash", rows)))
    return rows[order[:_LOOKED_AT]]


@dataclass(frozen=True, slots=True)
class Part:
    """One field of one bucket. Of each target row that stands for one of the rows asked for: which (`rows`), whether it is that
    one's `own` and no further one, and the number of its value among `values`, -1 where it has none."""

    rows: npt.NDArray[np.int64]
    own: npt.NDArray[np.bool_]
    codes: npt.NDArray[np.int64]
    values: list[Any]

    @classmethod
    def of(cls, rows: npt.NDArray[np.int64], own: npt.NDArray[np.bool_], column: pa.Array) -> Part:
        distinct = arrow.encoded(column)
        codes = arrow.as_numpy(distinct.indices, -1).astype(np.int64)
        kept = rows >= 0
        return cls(rows[kept], own[kept], codes[kept], loaded(distinct.dictionary))


def smallest(
    parts: list[Part], read: Callable[[list[Any]], npt.NDArray[Any]], rows: int, unknown: Any
) -> Any:
    """What `read` makes of each value, by row; of several the smallest, and that is what is unknown."""
    found = np.full(rows, unknown)
    for part in parts:
        values = np.append(read(part.values), unknown)[part.codes]
        found[part.rows[part.own]] = values[part.own]
        np.minimum.at(found, part.rows[~part.own], values[~part.own])
    return found


def earliest(parts: list[Part], rows: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The earliest time by row, and whether it names no zone; unknown where only some of several do."""
    found: npt.NDArray[np.int64] = smallest(parts, times, rows, NEVER)
    without: npt.NDArray[np.bool_] = smallest(parts, zoneless, rows, np.False_)
    zoned = smallest(parts, lambda values: ~zoneless(values), rows, np.False_)
    found[~without & ~zoned] = NEVER
    return found, without


def of_several_workers(parts: list[Part], rows: int) -> npt.NDArray[np.bool_]:
    """Which rows have further ones under their id that another worker wrote."""
    numbers: dict[str, int] = {}
    worker, several = np.full(rows, -1), np.zeros(rows, np.bool_)
    codes = [
        np.array([*(numbers.setdefault(str(value), len(numbers)) for value in part.values), -1])[part.codes]
        for part in parts
    ]
    for part, code in zip(parts, codes, strict=True):
        worker[part.rows[part.own]] = code[part.own]
    for part, code in zip(parts, codes, strict=True):
        further = ~part.own
        row = part.rows[further]
        several[row[worker[row] != code[further]]] = True
    return several


def as_field(parts: list[Part], rows: int) -> Field:
    """The values of the rows themselves as text."""
    return Field.joined(
        rows,
        [
            (part.rows[part.own], Field(part.codes[part.own], arrow.texts(map(str, part.values))))
            for part in parts
        ],
    )
