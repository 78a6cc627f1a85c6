"""Between a store's own columns and the target batch.

Stores differ in three ways only: how wide their numbers are (float16, float64), whether a row of another length can lie among
the others, and whether metadata is one JSON text or spread over columns. Each is resolved here once for all adapters.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.arrow_columns import id_text, is_vector_type, split_vectors, text, texts
from vecforensics.arrow_values import counts_time, rows_of, values_of
from vecforensics.errors import TargetError
from vecforensics.records import NO_ID, metadata_json, target_schema
from vecforensics.stores.protocol import Columns

__all__ = ["as_target_batch", "is_text", "own_columns", "some_have_ids"]

_HALF_A_CHARACTER: Final = re.compile("[\ud800-\udfff]")


def as_target_batch(
    table: pa.Table | pa.RecordBatch, columns: Columns, dimension: int, *, where: str
) -> pa.RecordBatch:
    """One batch of a store's rows as a target batch. `dimension`: the collection's; other lengths go to `ragged`."""
    batch = table.combine_chunks().to_batches()[0] if isinstance(table, pa.Table) else table
    names = batch.schema.names
    vector, ragged = split_vectors(
        batch.column(names.index(columns.vector)), dimension, TargetError, where=where
    )
    return pa.RecordBatch.from_arrays(
        [
            pc.fill_null(
                id_text(batch.column(names.index(columns.id)), TargetError, where=where, nulls_allowed=True),
                text(NO_ID),
            ),
            vector,
            ragged,
            _metadata(batch, columns),
        ],
        schema=target_schema(dimension),
    )


def some_have_ids(without: int, rows: int, columns: Columns, *, where: str) -> int:
    """`without`, the number of rows whose id is null. Raises TargetError where none of `rows` has one: it is the wrong column."""
    if without == rows > 0:
        raise TargetError(
            f"none of {rows:,} rows has an id: the column {columns.id!r} is null throughout",
            where=where,
            hint=f"Set {columns.section}.id to the column that holds the ids",
        )
    return without


def _metadata(batch: pa.RecordBatch, columns: Columns) -> pa.Array:
    """Metadata as canonical JSON: from one JSON text or struct column, or from all columns that have no other role."""
    names = batch.schema.names
    if columns.metadata in names:
        column = batch.column(names.index(columns.metadata))
        if is_text(column.type):
            # Metadata repeats itself (a plan, a country): each text is spelt once a batch.
            encoded = column.dictionary_encode()
            spelt = [_canonical(text) for text in encoded.dictionary.to_pylist()]
            return texts(spelt).take(encoded.indices)
        return texts(None if value is None else metadata_json(value) for value in values_of(column))
    rest = [name for name in names if name not in (columns.id, columns.vector) and not name.startswith("_")]
    if not rest:
        return pa.nulls(batch.num_rows, pa.string())
    return texts(metadata_json(row) for row in rows_of(batch.select(rest)))


def _canonical(text: str | None) -> str | None:
    """JSON text with one spelling; what is no JSON object is kept as a JSON string, for the diff to judge.

    JSON can name half a surrogate pair, which UTF-8 cannot hold: it becomes the six characters by which it was named.
    """
    if text is None:
        return None
    try:
        spelt = metadata_json(json.loads(text))
    except (ValueError, RecursionError):
        return metadata_json(text)
    return spelt if spelt.isascii() else _HALF_A_CHARACTER.sub(lambda half: f"\\\\u{ord(half[0]):04x}", spelt)


def own_columns(batch: pa.Table, columns: Columns, schema: pa.Schema, *, where: str) -> pa.Table:
    """Our rows in a store's own columns: metadata as one JSON text, or each key in the column of its name, where absent keys
    become null. Columns beside id, vector and one JSON text are left out. Raises TargetError where a row has no place in them."""
    spelt = batch.column("metadata")
    if columns.metadata in schema.names and is_text(schema.field(columns.metadata).type):
        filled = {columns.metadata: spelt}
    else:
        rows = [json.loads(text) if text else {} for text in spelt.to_pylist()]
        if columns.metadata in schema.names:
            rows = [{columns.metadata: row} for row in rows]
        filled = {name: [row.get(name) for row in rows] for name in schema.names}
        lost = sorted(
            {key for row in rows for key, value in row.items() if value is not None} - filled.keys()
        )
        if lost:
            raise TargetError(
                f"no column for the metadata field {lost[0]!r}",
                where=where,
                hint="Add it to the target, or leave the field out of the case file",
            )
    filled |= {columns.id: batch.column("id"), columns.vector: batch.column("vector")}
    fields = [field for field in schema if field.name in filled]
    return pa.table(
        [_fitted(filled[field.name], field, where=where) for field in fields],
        schema=pa.schema(fields, schema.metadata),
    )


def _fitted(
    values: pa.ChunkedArray | list[Any], field: pa.Field, *, where: str
) -> pa.ChunkedArray | pa.Array:
    try:
        if not isinstance(values, list):
            return values.cast(field.type, safe=not is_vector_type(field.type))
        if counts_time(field.type) and all(isinstance(value, str | None) for value in values):
            # Metadata spell times as text.
            return pa.array(values, pa.string()).cast(field.type)
        return pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise TargetError(
            f"what is to be written does not fit the column {field.name!r} ({error})",
            where=where,
            hint="Mend the source or the target",
        ) from None


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of that type holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
