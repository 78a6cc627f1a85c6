"""What a row of a store holds beside its id, its vector and the metadata fields that are written: it outlives the row's being
written again.

An owner keeps more beside a vector than a case file names: a counter in a column, a tag in the metadata. `unnamed` cuts that out
of rows in the store's own columns, so types stay what they are; `whole_rows` puts it beside what is written.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.records import metadata_json
from vecforensics.stores.protocol import Columns
from vecforensics.stores.shape import is_text, own_columns

__all__ = ["as_object", "unnamed", "whole_rows"]


def unnamed(rows: pa.Table, columns: Columns, fields: Collection[str]) -> pa.Table:
    """Of rows in a store's own columns what is neither id nor vector nor one of the metadata `fields`.

    Metadata in one JSON text lose those fields and keep the others; where no field is named the text stays to the last character.
    A text that is no JSON object stays whole.
    """
    names = rows.schema.names
    if columns.metadata not in names:
        return rows.select([one for one in names if one not in (columns.id, columns.vector, *fields)])
    rest = rows.select([one for one in names if one not in (columns.id, columns.vector)])
    at = rest.schema.get_field_index(columns.metadata)
    kind = rest.schema.field(at).type
    if is_text(kind) and fields:
        texts = [_without(text, fields) for text in rest.column(at).to_pylist()]
        return rest.set_column(at, rest.schema.field(at), pa.array(texts, kind))
    if pa.types.is_struct(kind):
        held = rest.column(at).combine_chunks()
        left = [one for one in kind if one.name not in fields]
        if not left:
            return rest.remove_column(at)
        parts = [held.field(kind.get_field_index(one.name)) for one in left]
        struct = pa.StructArray.from_arrays(parts, fields=left, mask=held.is_null())
        return rest.set_column(at, columns.metadata, struct)
    return rest


def whole_rows(
    batch: pa.Table, kept: pa.Table | None, columns: Columns, schema: pa.Schema, *, where: str
) -> pa.Table:
    """`batch` (id, vector, metadata) in all columns of a store, and beside it what was `kept`, row for row (`unnamed`; null where
    nothing stood). Raises TargetError where a row has no place in them."""
    kept = kept if kept is not None else pa.table({})
    held = schema.field(columns.metadata).type if columns.metadata in schema.names else pa.null()
    written = {key for text in batch.column("metadata").to_pylist() for key in json.loads(text or "{}")}
    if is_text(held) and columns.metadata in kept.column_names:
        pairs = zip(
            batch.column("metadata").to_pylist(), kept.column(columns.metadata).to_pylist(), strict=True
        )
        at = batch.schema.get_field_index("metadata")
        batch = batch.set_column(at, "metadata", pa.array([_joined(*one) for one in pairs], pa.string()))
    new = own_columns(batch, columns, schema, where=where)
    ours = {columns.id, columns.vector, *([columns.metadata] if is_text(held) else written)}

    def filled(one: pa.Field) -> pa.ChunkedArray | pa.Array:
        if one.name in ours:
            return new.column(one.name)
        if one.name == columns.metadata and one.name in new.column_names:
            return _struct(new.column(one.name), kept, one, written)
        return _of(kept, one, batch.num_rows)

    return pa.table([filled(one) for one in schema], schema=schema)


def as_object(text: str | None) -> dict[str, Any] | None:
    """The JSON object that a text spells, an empty one where there is no text; None where it is none."""
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _without(text: str | None, fields: Collection[str]) -> str | None:
    held = as_object(text)
    if text is None or held is None:
        return text
    return _spelt({name: value for name, value in held.items() if name not in fields})


def _joined(written: str | None, kept: str | None) -> str | None:
    """Metadata as they will stand: what is written, and beside it what was kept."""
    if not kept:
        return written
    if written in (None, "{}"):
        return kept
    beside = as_object(kept)
    return _spelt({**beside, **json.loads(written)}) if beside else written


def _spelt(metadata: Mapping[str, Any]) -> str:
    """As JSON text. Half a character, which JSON can name and UTF-8 cannot hold, is named again."""
    return metadata_json(metadata).encode("utf-8", "backslashreplace").decode()


def _struct(new: pa.ChunkedArray, kept: pa.Table, field: pa.Field, written: Collection[str]) -> pa.Array:
    """A column of structs: the fields that are written, and the others as they were kept."""
    column = new.combine_chunks()
    if not written:
        # Where nothing stood, a struct without values: LanceDB cannot write a null one.
        before = _one(_of(kept, field, len(new)))
        rows = pa.array(range(len(new)), pa.int64())
        either = pc.if_else(before.is_valid(), rows, pc.add(rows, len(new)))
        return pa.concat_arrays([before, column]).take(either)
    held = kept.column(field.name).combine_chunks() if field.name in kept.column_names else None
    parts = []
    for at, one in enumerate(field.type):
        if held is None or one.name in written or held.type.get_field_index(one.name) < 0:
            parts.append(column.field(at))
        else:
            parts.append(held.field(one.name).cast(one.type))
    return pa.StructArray.from_arrays(parts, fields=list(field.type))


def _one(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _of(kept: pa.Table, field: pa.Field, rows: int) -> pa.ChunkedArray | pa.Array:
    if field.name not in kept.column_names:
        return pa.nulls(rows, field.type)
    return kept.column(field.name).cast(field.type)
