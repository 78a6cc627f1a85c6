"""Metadata by column: the JSON texts of a bucket, read by Arrow's own reader instead of one after the other.

Arrow gives each field one type. Where the types of a field do not agree from row to row there are no typed columns, and the
texts are read one by one.

What a value is spelt like must not depend on what else its bucket holds. Beside one 2.5 Arrow reads every 3 as 3.0, so a whole
number is spelt without a point, whichever it was; and beyond 2^53, where a double no longer holds every whole number, the texts
are read one by one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics import arrow_columns as arrow

__all__ = ["loaded", "metadata_columns", "or_empty", "typed_columns"]

# What JSON escapes inside a text; a text without any of these is quoted by two quotation marks.
_ESCAPED: Final = r'["\\\x00-\x1f]'
# From here on a double may be another number than the text said.
_INEXACT: Final = 2.0**53


def metadata_columns(texts: pa.ChunkedArray | pa.Array) -> dict[str, pa.Array]:
    """The top-level fields of JSON objects as columns of the same length, values as canonical JSON text, save that a whole number
    has no point (`3`, also for 3.0); nulls where absent.

    Text, numbers and booleans only.
    """
    filled = or_empty(arrow.whole(texts) if isinstance(texts, pa.ChunkedArray) else texts)
    if not arrow.repeats(filled):
        return _columns_of(filled)
    distinct = filled.dictionary_encode()
    return {
        name: _spread(column, distinct.indices) for name, column in _columns_of(distinct.dictionary).items()
    }


def _spread(column: pa.Array, indices: pa.Array) -> pa.DictionaryArray:
    """The values of distinct texts at every row that has the text."""
    one = arrow.encoded(column)
    return pa.DictionaryArray.from_arrays(one.indices.take(indices), one.dictionary)


def _columns_of(texts: pa.Array) -> dict[str, pa.Array]:
    columns = typed_columns(texts)
    if columns is None or any(map(_inexact, columns.values())):
        return _columns_by_python(texts)
    spelt = {name: _spelt(column) for name, column in columns.items()}
    return {name: column for name, column in spelt.items() if column is not None}


def or_empty(texts: pa.Array) -> pa.Array:
    """JSON texts; an empty object where there is none."""
    return pc.coalesce(texts, arrow.text("{}")) if texts.null_count else texts


def typed_columns(texts: pa.Array) -> dict[str, pa.Array] | None:
    """The top-level fields of JSON objects as Arrow columns of one type each, null where absent or null; None where a field has
    values of several types, or a text is no JSON object on one line. A field with whole numbers and others is a double."""
    if not len(texts):
        return {}
    table = _read(texts, {})
    if table is not None:
        # Texts that look like a time stamp would lose their spelling.
        stamps = {
            item.name: pa.string()
            for item in table.schema
            if pa.types.is_timestamp(item.type) or pa.types.is_date(item.type) or pa.types.is_time(item.type)
        }
        if stamps:
            table = _read(texts, stamps)
    if table is None:
        return None
    return {name: arrow.whole(table[name]) for name in table.schema.names}


def _read(texts: pa.Array, types: Mapping[str, pa.DataType]) -> pa.Table | None:
    import pyarrow.json as pj

    lines = pc.binary_join_element_wise(texts, arrow.text("\n"), arrow.text(""))
    parse = pj.ParseOptions(
        explicit_schema=pa.schema(list(types.items())) if types else None, newlines_in_values=False
    )
    read = pj.ReadOptions(use_threads=False, block_size=2**26)
    try:
        table = pj.read_json(pa.BufferReader(lines.buffers()[2]), read, parse)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError):
        return None
    return table if table.num_rows == len(texts) else None


def _inexact(column: pa.Array) -> bool:
    """Whether a column of doubles may have lost digits of a whole number."""
    if not pa.types.is_floating(column.type):
        return False
    return bool((np.abs(arrow.as_numpy(column)) >= _INEXACT).any())


def _spelt(column: pa.Array) -> pa.Array | None:
    """A typed column as canonical JSON text; None for lists and objects."""
    kind = column.type
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return pc.cast(column, pa.string())
    if pa.types.is_string(kind):
        encoded = column.dictionary_encode()
        return pa.DictionaryArray.from_arrays(encoded.indices, _quoted(encoded.dictionary))
    if pa.types.is_floating(kind):
        encoded = column.dictionary_encode()
        spelt = map(_of_number, encoded.dictionary.to_pylist())
        return pa.DictionaryArray.from_arrays(encoded.indices, arrow.texts(spelt))
    return None


def _of_number(value: float) -> str:
    if value.is_integer() and abs(value) < _INEXACT:
        return str(int(value))
    # What JSON's encoder writes, in a sixth of its time; an infinity (1e400) has a name of its own there.
    return repr(value) if math.isfinite(value) else json.dumps(value)


def _quoted(texts: pa.Array) -> pa.Array:
    if not arrow.flags(pc.match_substring_regex(texts, _ESCAPED)).any():
        return pc.binary_join_element_wise(arrow.text('"'), texts, arrow.text('"'), arrow.text(""))
    return arrow.texts(json.dumps(text, ensure_ascii=False) for text in texts.to_pylist())


def loaded(texts: pa.Array) -> list[Any]:
    """The values of JSON texts, which hold no null; all by one call of the reader."""
    values: list[Any] = json.loads("[" + ",".join(texts.to_pylist()) + "]")
    return values


def _columns_by_python(texts: pa.Array) -> dict[str, pa.Array]:
    values: dict[str, list[str | None]] = {}
    rows = texts.to_pylist()
    for number, text in enumerate(rows):
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if not isinstance(record, dict):
            continue
        for key, value in record.items():
            if isinstance(value, list | dict) or value is None:
                continue
            spelt = _of_number(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
            values.setdefault(key, [None] * len(rows))[number] = spelt
    return {key: arrow.texts(column) for key, column in values.items()}
