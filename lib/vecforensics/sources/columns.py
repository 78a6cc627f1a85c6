"""From Arrow columns to source batches: the part that CSV and Parquet share. No Python loop over vectors; metadata, which is
JSON text by contract, is spelt out row by row only where the case names metadata columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.arrow_columns import (
    as_numpy,
    encoded,
    id_text,
    numbers,
    present,
    split_vectors,
    text,
    texts,
)
from vecforensics.arrow_values import beyond_four_digits, counts_time, values_of
from vecforensics.case import Source
from vecforensics.errors import SourceError
from vecforensics.records import canonical_json, metadata_json, source_schema
from vecforensics.sources.parents import NOTHING_KNOWN, DoubleIds, from_doubles, from_texts, unknown
from vecforensics.sources.rows import text_value

__all__ = ["source_batch", "wanted_columns"]


def wanted_columns(source: Source, vector: str | None) -> list[str]:
    """The columns to read, each once: what is not named in the case is never read."""
    named = [
        source.id,
        *source.text,
        *source.metadata,
        *source.depends_on.values(),
        *filter(None, (source.version, vector)),
    ]
    return list(dict.fromkeys(named))


def source_batch(
    raw: pa.RecordBatch,
    source: Source,
    vector: str | None,
    dimension: int | None,
    path: Path,
    first_row: int,
    *,
    doubles: Mapping[str, DoubleIds] = NOTHING_KNOWN,
    typed: bool = True,
) -> pa.RecordBatch:
    """`raw` as a source batch. `first_row`: the number of its first row in the file, for messages; `dimension`: of `vector`;
    `doubles`: by parent collection, whether its ids are doubles; `typed`: whether text in `raw` was text in the file as well."""
    where = f"{path}, rows {first_row} to {first_row + raw.num_rows - 1}"
    columns = {name: raw.column(index) for index, name in enumerate(raw.schema.names)}
    arrays = [
        id_text(columns[source.id], SourceError, where=where),
        _text(columns, source, path, first_row),
        _metadata(raw, source),
        _scalar(columns[source.version], where) if source.version else pa.nulls(raw.num_rows, pa.string()),
        *(
            _parent(columns[name], where, doubles.get(parent, unknown), typed)
            for parent, name in source.depends_on.items()
        ),
    ]
    if vector is not None:
        arrays.append(split_vectors(columns[vector], dimension or 0, SourceError, where=where)[0])
    return pa.RecordBatch.from_arrays(
        arrays, schema=source_schema(source.depends_on, dimension if vector is not None else None)
    )


def _text(columns: dict[str, pa.Array], source: Source, path: Path, first_row: int) -> pa.Array:
    if not source.text:
        return texts([""] * len(columns[source.id]))
    parts = []
    for name in source.text:
        column = columns[name]
        if column.null_count:
            row = first_row + int(np.flatnonzero(~present(column))[0])
            raise SourceError(
                f"row {row}: the text column {name!r} is null",
                where=str(path),
                hint="Fill it, or leave the column out of source.text",
            )
        is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        spell = canonical_json if counts_time(column.type) else text_value
        parts.append(column.cast(pa.string()) if is_text else texts(spell(v) for v in values_of(column)))
    return parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, source.join)


def _metadata(raw: pa.RecordBatch, source: Source) -> pa.Array:
    """What `metadata_json` makes of each row's fields, put together from what it makes of each field's distinct values: metadata
    repeats itself (a plan, a country), and spelling it out is dear.
    """
    names = sorted(set(source.metadata))
    if not names:
        return texts(["{}"] * raw.num_rows)
    members = [
        _spelt(raw.column(name), f"{',' if place else '{'}{canonical_json(name)}:")
        for place, name in enumerate(names)
    ]
    return pc.binary_join_element_wise(*members, text("}"), text(""))


def _spelt(column: pa.Array, head: str) -> pa.Array:
    """`head` and, behind it, each value as JSON, null included."""
    kind = column.type
    if pa.types.is_nested(kind):
        return texts(head + metadata_json(value) for value in values_of(column))
    if pa.types.is_floating(kind):
        # By their bits: 0.0 and -0.0 are spelt differently.
        column = column.view({16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[kind.bit_width])
    distinct = encoded(column)
    values = distinct.dictionary.view(kind) if pa.types.is_floating(kind) else distinct.dictionary
    spelt = texts(head + metadata_json(value) for value in [*values_of(values), None])
    return spelt.take(numbers(as_numpy(distinct.indices, len(values))))


def _parent(column: pa.Array, where: str, doubles: DoubleIds, typed: bool) -> pa.Array:
    """Text for a parent's id; null stays null."""
    if pa.types.is_floating(column.type):
        return from_doubles(column, doubles)
    ids = _scalar(column, where)
    return ids if typed else from_texts(ids, doubles)


def _scalar(column: pa.Array, where: str) -> pa.Array:
    """Text for a single value; null stays null."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_nested(column.type):
        raise SourceError(
            f"a column of type {column.type} holds no single values",
            where=where,
            hint="Name a column of text or numbers",
        )
    if pa.types.is_floating(column.type):
        return texts(None if v is None else repr(v) for v in column.to_pylist())
    return _moments(column) if counts_time(column.type) else pc.cast(column, pa.string())


def _moments(column: pa.Array) -> pa.Array:
    """Times as Arrow spells them, which takes a fiftieth of the time; those that it spells wrong, or not at all, as metadata."""
    try:
        spelt = pc.cast(column, pa.string())
    except pa.ArrowInvalid:  # a zone that nobody knows
        return texts(values_of(column))
    far = beyond_four_digits(column)
    return pc.if_else(numbers(far), texts(values_of(column)), spelt) if far.any() else spelt
