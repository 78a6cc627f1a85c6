"""From a store's own columns to the target batch, without a Python loop over vectors.

Stores differ in three ways only: how wide their numbers are (float16, float64), whether a row of another length can lie among
the others, and whether metadata is one JSON text or spread over columns. Each is resolved here once for all adapters.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.errors import TargetError
from vecforensics.records import canonical_json, target_schema
from vecforensics.stores.protocol import Columns

__all__ = [
    "as_target_batch",
    "fixed_vectors",
    "id_text",
    "is_vector_type",
    "list_dimension",
    "spread_metadata",
    "usual_length",
]


def list_dimension(kind: pa.DataType) -> int:
    """The length that a vector column promises, 0 where its lists may have any length."""
    return int(kind.list_size) if pa.types.is_fixed_size_list(kind) else 0


def is_vector_type(kind: pa.DataType) -> bool:
    """Whether a column holds lists of numbers."""
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return False
    return bool(pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))


def usual_length(lists: pa.Array | pa.ChunkedArray) -> int:
    """The length that most of these lists have, 0 where there are none."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    sizes, counts = np.unique(lengths, return_counts=True)
    return int(sizes[counts.argmax()]) if len(sizes) else 0


def fixed_vectors(
    matrix: np.ndarray[Any, Any], mask: np.ndarray[Any, Any] | None = None
) -> pa.FixedSizeListArray:
    """An (n, d) float32 matrix as an Arrow fixed-size list column; rows where `mask` is true become null."""
    flat = np.ascontiguousarray(matrix, dtype=np.float32).reshape(-1)
    nulls = None if mask is None else pa.array(mask)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), matrix.shape[1], mask=nulls)


def id_text(column: pa.Array, *, where: str) -> pa.Array:
    """Ids as text. Integers are spelt out; a null or a type that has no one spelling is refused."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise TargetError(
            f"row {row} has no id", where=where, hint="Name the column that holds the ids: target.id"
        )
    if pa.types.is_string(kind):
        return column
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_integer(kind):
        return pc.cast(column, pa.string())
    if pa.types.is_floating(kind):
        return pa.array([repr(value) for value in column.to_pylist()], pa.string())
    raise TargetError(
        f"ids of type {kind} have no one spelling as text", where=where, hint="Store ids as text"
    )


def as_target_batch(
    table: pa.Table | pa.RecordBatch, columns: Columns, dimension: int, *, where: str
) -> pa.RecordBatch:
    """One batch of a store's rows as a target batch. `dimension`: the collection's; other lengths go to `ragged`."""
    batch = table.combine_chunks().to_batches()[0] if isinstance(table, pa.Table) else table
    names = batch.schema.names
    vector, ragged = _vectors(batch.column(names.index(columns.vector)), dimension, where)
    return pa.RecordBatch.from_arrays(
        [
            id_text(batch.column(names.index(columns.id)), where=where),
            vector,
            ragged,
            _metadata(batch, columns),
        ],
        schema=target_schema(dimension),
    )


def _vectors(column: pa.Array, dimension: int, where: str) -> tuple[pa.Array, pa.Array]:
    """The column in two: rows of the right length as a fixed-size list, all others as plain lists."""
    if not is_vector_type(column.type):
        raise TargetError(
            f"the vector column has the type {column.type}",
            where=where,
            hint="Name the right one: target.vector",
        )
    ragged_type = pa.list_(pa.float32())
    if list_dimension(column.type) == dimension and dimension:
        flat = pc.cast(
            column.flatten() if not column.null_count else _filled(column), pa.float32(), safe=False
        )
        mask = column.is_null() if column.null_count else None
        fixed = pa.FixedSizeListArray.from_arrays(flat, dimension, mask=mask)
        if mask is None:
            return fixed, pa.nulls(len(column), ragged_type)
        empty = pa.scalar([], ragged_type)
        return fixed, pc.if_else(mask, empty, pa.nulls(len(column), ragged_type))
    lists = column.cast(ragged_type, safe=False)
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    right = (lengths == dimension) & (dimension > 0)
    matrix = np.zeros((len(column), dimension), np.float32)
    if right.any():
        good = pc.filter(lists, pa.array(right))
        matrix[right] = pc.list_flatten(good).to_numpy(zero_copy_only=False).reshape(-1, dimension)
    others = pc.if_else(
        pa.array(right), pa.scalar(None, ragged_type), pc.coalesce(lists, pa.scalar([], ragged_type))
    )
    return fixed_vectors(matrix, None if right.all() else ~right), others


def _filled(column: pa.Array) -> pa.Array:
    """The values under a fixed-size list, the slots of null rows included (as whatever lies there)."""
    size = column.type.list_size
    return column.values.slice(column.offset * size, len(column) * size)


def _metadata(batch: pa.RecordBatch, columns: Columns) -> pa.Array:
    """Metadata as canonical JSON: from one JSON text or struct column, or from all columns that have no other role."""
    names = batch.schema.names
    if columns.metadata in names:
        column = batch.column(names.index(columns.metadata))
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            return pa.array([_canonical(text) for text in column.to_pylist()], pa.string())
        return pa.array(
            [None if value is None else canonical_json(value) for value in column.to_pylist()], pa.string()
        )
    rest = [name for name in names if name not in (columns.id, columns.vector) and not name.startswith("_")]
    if not rest:
        return pa.nulls(batch.num_rows, pa.string())
    return pa.array([canonical_json(row) for row in batch.select(rest).to_pylist()], pa.string())


def _canonical(text: str | None) -> str | None:
    """JSON text with one spelling; what is no JSON object is kept as a JSON string, for the diff to judge."""
    if text is None:
        return None
    try:
        return canonical_json(json.loads(text))
    except (ValueError, RecursionError):
        return canonical_json(text)


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
