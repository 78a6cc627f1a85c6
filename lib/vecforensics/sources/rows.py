"""From rows, as objects of Python, to source batches: the part that JSON, JSON Lines and databases share.

A column may be a dotted path (`user.id`). A value's type is kept in metadata and lost in ids, which become text as they are
written. What cannot be a record is refused with its place: no id, an id that is an object, a text that is null.

The length of vectors is the one that most records have. Counting it means to read everything once more, and most of that is
decoding numbers. So a few records all over the source are looked at, and all of them only where some have another length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any

import pyarrow as pa

from vecforensics.arrow_columns import split_vectors, usual_length
from vecforensics.case import Source
from vecforensics.errors import SourceError
from vecforensics.list_lengths import commonest
from vecforensics.records import canonical_json, metadata_json, source_schema
from vecforensics.sources.parents import DoubleIds, from_double, unknown

__all__ = ["ABSENT", "batches_of_rows", "look_up", "text_value"]

ABSENT = object()

# One record in so many is looked at beyond the first batch: no stretch that could be most of a source is shorter.
_LOOKED_AT = 64

Rows = Callable[[int], Iterable[tuple[str, Any]]]
"""Of a source each n-th record, with its place: all of them for 1."""


def look_up(row: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, or ABSENT. A key that itself holds the dots wins."""
    if path in row:
        return row[path]
    value: Any = row
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return ABSENT
        value = value[part]
    return value


def text_value(value: Any) -> str:
    """A value as the text that is embedded: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else canonical_json(value)


def batches_of_rows(
    rows: Rows,
    source: Source,
    vector: str | None,
    doubles: Mapping[str, DoubleIds],
    where: str,
    batch_rows: int,
) -> Iterator[pa.RecordBatch]:
    """Source batches from (place, object) pairs. A place is for messages: "line 12"; `where`: the source, likewise; `doubles`: by
    parent collection, whether its ids are doubles."""
    chunk: list[tuple[str, Mapping[str, Any]]] = []
    unseen = {
        *source.text,
        *source.metadata,
        *source.depends_on.values(),
        *filter(None, (source.version, vector)),
    }
    keys: list[str] = []
    dimension: int | None = None
    for place, row in rows(1):
        if not isinstance(row, Mapping):
            raise SourceError(
                f"{place} is no object but {type(row).__name__}",
                where=where,
                hint="Each record is an object",
            )
        if not keys:
            keys = list(row)
        unseen = {name for name in unseen if look_up(row, name) is ABSENT} if unseen else unseen
        chunk.append((place, row))
        if len(chunk) == batch_rows:
            if vector is not None and dimension is None:
                dimension = _length_of_most(rows, (row for _, row in chunk), vector)
            yield _batch(chunk, source, vector, doubles, where, dimension)
            chunk = []
    if chunk:
        yield _batch(chunk, source, vector, doubles, where, dimension)
    if keys and unseen:
        raise SourceError(
            f"no record has the column {min(unseen)!r}",
            where=where,
            hint=f"Columns of the first record: {', '.join(keys)}",
        )


def _length_of_most(rows: Rows, first: Iterable[Mapping[str, Any]], vector: str) -> int:
    """The length that most vectors of a source have of which `first` are not all records."""
    counts = _lengths(first, vector) + _lengths((row for _, row in rows(_LOOKED_AT)), vector)
    return commonest(counts if len(counts) == 1 else _lengths((row for _, row in rows(1)), vector))


def _lengths(rows: Iterable[Any], vector: str) -> Counter[int]:
    """How many vectors there are of each length. What is no record, or no vector, is somebody else's to refuse."""
    vectors = (look_up(row, vector) for row in rows if isinstance(row, Mapping))
    return Counter(len(one) for one in vectors if isinstance(one, list) and one)


def _batch(
    chunk: list[tuple[str, Mapping[str, Any]]],
    source: Source,
    vector: str | None,
    doubles: Mapping[str, DoubleIds],
    where: str,
    dimension: int | None,
) -> pa.RecordBatch:
    columns: list[list[Any]] = [
        [_id(row, source.id, place, where) for place, row in chunk],
        [_text(row, source, place, where) for place, row in chunk],
        [metadata_json({name: _or_none(look_up(row, name)) for name in source.metadata}) for _, row in chunk],
        [_scalar(row, source.version, place, where) for place, row in chunk],
        *(
            [_parent(row, column, place, where, doubles.get(parent, unknown)) for place, row in chunk]
            for parent, column in source.depends_on.items()
        ),
    ]
    try:
        arrays = [pa.array(column, pa.string()) for column in columns]
        if vector is not None:
            lists = pa.array([_or_none(look_up(row, vector)) for _, row in chunk], pa.list_(pa.float32()))
            dimension = usual_length(lists) if dimension is None else dimension
            arrays.append(split_vectors(lists, dimension, SourceError, where=where)[0])
    except UnicodeEncodeError as error:
        raise SourceError(
            f"between {chunk[0][0]} and {chunk[-1][0]} stands half a surrogate pair ({error.reason})",
            where=where,
            hint="Write the file again as valid UTF-8",
        ) from None
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise SourceError(
            f"the column {vector!r} holds something that is no list of numbers ({error})",
            where=f"{where}, {chunk[0][0]} to {chunk[-1][0]}",
            hint="Check expected.column in the case file",
        ) from None
    return pa.RecordBatch.from_arrays(
        arrays, schema=source_schema(source.depends_on, dimension if vector is not None else None)
    )


def _id(row: Mapping[str, Any], column: str, place: str, where: str) -> str:
    value = look_up(row, column)
    if value is ABSENT:
        raise SourceError(
            f"{place} has no id column {column!r}",
            where=where,
            hint=f"Set source.id to one of: {', '.join(map(str, row))}",
        )
    if value is None or isinstance(value, bool | Mapping | list | date | time):
        raise SourceError(
            f"{place} has {canonical_json(value)} for an id",
            where=where,
            hint="An id is text or a number",
        )
    return repr(value) if isinstance(value, int | float) else _spelt(value)


def _text(row: Mapping[str, Any], source: Source, place: str, where: str) -> str:
    parts = []
    for column in source.text:
        value = look_up(row, column)
        if value is None or value is ABSENT:
            raise SourceError(
                f"{place}: the text column {column!r} is null",
                where=where,
                hint="Fill it, or leave the column out of source.text",
            )
        parts.append(text_value(value))
    return source.join.join(parts)


def _parent(row: Mapping[str, Any], column: str, place: str, where: str, doubles: DoubleIds) -> str | None:
    value = look_up(row, column)
    return from_double(value, doubles) if isinstance(value, float) else _scalar(row, column, place, where)


def _scalar(row: Mapping[str, Any], column: str | None, place: str, where: str) -> str | None:
    value = ABSENT if column is None else look_up(row, column)
    if value is None or value is ABSENT:
        return None
    if isinstance(value, Mapping | list):
        raise SourceError(
            f"{place}: {column!r} is no single value",
            where=where,
            hint="Name a column of text or numbers",
        )
    return _spelt(value)


def _spelt(value: Any) -> str:
    """A single value as text. What only a database has: a decimal with all its digits and no exponent, a time as ISO 8601."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date | time):
        return value.isoformat()
    return value if isinstance(value, str) else canonical_json(value)


def _or_none(value: Any) -> Any:
    return None if value is ABSENT else value
