"""Between a store's own columns and the target batch.

Stores differ in three ways only: how wide their numbers are (float16, float64), whether a row of another length can lie among
the others, and whether metadata is one JSON text or spread over columns. Each is resolved here once for all adapters.
"""

from __future__ import annotations

import json
import re
from typing import Final

import pyarrow as pa

from vecforensics.arrow_columns import id_text, split_vectors, texts
from vecforensics.errors import TargetError
from vecforensics.records import canonical_json, target_schema
from vecforensics.stores.protocol import Columns

__all__ = ["as_target_batch", "spread_metadata"]

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
            id_text(batch.column(names.index(columns.id)), TargetError, where=where),
            vector,
            ragged,
            _metadata(batch, columns),
        ],
        schema=target_schema(dimension),
    )


def _metadata(batch: pa.RecordBatch, columns: Columns) -> pa.Array:
    """Metadata as canonical JSON: from one JSON text or struct column, or from all columns that have no other role."""
    names = batch.schema.names
    if columns.metadata in names:
        column = batch.column(names.index(columns.metadata))
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            # Metadata repeats itself (a plan, a country): each text is spelt once a batch.
            encoded = column.dictionary_encode()
            spelt = [_canonical(text) for text in encoded.dictionary.to_pylist()]
            return texts(spelt).take(encoded.indices)
        return texts(None if value is None else canonical_json(value) for value in column.to_pylist())
    rest = [name for name in names if name not in (columns.id, columns.vector) and not name.startswith("_")]
    if not rest:
        return pa.nulls(batch.num_rows, pa.string())
    return texts(canonical_json(row) for row in batch.select(rest).to_pylist())


def _canonical(text: str | None) -> str | None:
    """JSON text with one spelling; what is no JSON object is kept as a JSON string, for the diff to judge.

    JSON can name half a surrogate pair, which UTF-8 cannot hold: it becomes the six characters by which it was named.
    """
    if text is None:
        return None
    try:
        spelt = canonical_json(json.loads(text))
    except (ValueError, RecursionError):
        return canonical_json(text)
    return spelt if spelt.isascii() else _HALF_A_CHARACTER.sub(lambda half: f"\\\\u{ord(half[0]):04x}", spelt)


def spread_metadata(batch: pa.Table, columns: Columns, schema: pa.Schema, *, where: str) -> pa.Table:
    """Our rows in a store's own columns: each metadata key goes to the column of its name; absent keys become null."""
    rows = [json.loads(text) if text else {} for text in batch.column("metadata").to_pylist()]
    if columns.metadata in schema.names:
        rows = [{columns.metadata: row} for row in rows]
    arrays = []
    for field in schema:
        if field.name == columns.id:
            arrays.append(batch.column("id").cast(field.type))
        elif field.name == columns.vector:
            arrays.append(batch.column("vector").cast(field.type, safe=False))
        else:
            try:
                arrays.append(pa.array([row.get(field.name) for row in rows], field.type))
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                raise TargetError(
                    f"metadata does not fit the column {field.name!r} ({error})",
                    where=where,
                    hint="Mend the source or the table",
                ) from None
    return pa.table(arrays, schema=schema)
