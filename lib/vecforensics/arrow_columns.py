"""Columns of ids and vectors as strangers write them, turned into ours without a Python loop over vectors.

Ids become text (integers spelt out, never the other way round). Vectors become fixed-size lists of float32; a row of another
length travels beside them in a list column of its own, so that one odd row does not slow a million good ones.

Between numpy and Arrow go `numbers`, `as_numpy`, `flags`, `present` and `texts`. `pyarrow.array`, `pyarrow.scalar` and `to_numpy`
do the same, but import pandas the first time, which is a third of a second and 40 MB that nobody asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.errors import InputError

__all__ = [
    "as_numpy",
    "encoded",
    "fixed_vectors",
    "flags",
    "id_text",
    "is_vector_type",
    "list_dimension",
    "matrix_of",
    "numbers",
    "present",
    "repeats",
    "split_vectors",
    "text",
    "texts",
    "usual_length",
    "whole",
]

# Rows by which a column is judged to repeat itself.
_LOOKED_AT: Final = 512


def numbers(values: np.ndarray[Any, Any], valid: np.ndarray[Any, Any] | None = None) -> pa.Array:
    """A numpy array of numbers or bool (n,) as an Arrow column, numbers without a copy; where `valid` is false stands null."""
    kind = pa.from_numpy_dtype(values.dtype)
    data = (
        np.packbits(values, bitorder="little") if values.dtype == np.bool_ else np.ascontiguousarray(values)
    )
    bits = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [bits, pa.py_buffer(data)])


def as_numpy(column: pa.Array, null: Any = 0) -> np.ndarray[Any, Any]:
    """A column of numbers as numpy (n,), without a copy where it has no nulls; `null` stands for them."""
    kind = column.type.to_pandas_dtype()
    if not len(column):
        return np.empty(0, kind)
    values = np.frombuffer(column.buffers()[1], kind)[column.offset : column.offset + len(column)]
    return np.where(present(column), values, kind(null)) if column.null_count else values


def flags(column: pa.BooleanArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """A column of bool as numpy (n,); null is false."""
    if not len(column):
        return np.empty(0, np.bool_)
    bits = np.frombuffer(column.buffers()[1], np.uint8)
    values = np.unpackbits(bits, count=column.offset + len(column), bitorder="little")[column.offset :]
    return values.view(np.bool_) & present(column) if column.null_count else values.view(np.bool_)


def present(column: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Bool (n,): which rows are not null."""
    if not column.null_count or column.null_count == len(column):
        return np.full(len(column), not column.null_count)
    bits = np.frombuffer(column.buffers()[0], np.uint8)
    count = column.offset + len(column)
    return np.unpackbits(bits, count=count, bitorder="little")[column.offset :].view(np.bool_)


def texts(values: Iterable[str | None]) -> pa.StringArray:
    """A text column."""
    builder = pa.lib.StringBuilder()
    builder.append_values(values)
    return builder.finish()


def text(value: str) -> pa.StringScalar:
    """One text, for Arrow to set beside a column."""
    return texts([value])[0]


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece; `combine_chunks` copies also where it is in one piece already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def encoded(column: pa.Array) -> pa.DictionaryArray:
    """A column with each distinct value once."""
    return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()


def repeats(column: pa.StringArray) -> bool:
    """Whether texts repeat themselves, as metadata often do, judged by the first of them: worth naming each distinct one once."""
    some = column.slice(0, _LOOKED_AT)
    return 2 * len(some.unique()) <= len(some)


def list_dimension(kind: pa.DataType) -> int:
    """The length that a vector column promises, 0 where its lists may have any length."""
    return int(kind.list_size) if pa.types.is_fixed_size_list(kind) else 0


def matrix_of(vectors: pa.FixedSizeListArray) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A fixed-size list column of float32 without nulls inside as (n, d), not copied; a null row holds whatever lies there."""
    size = vectors.type.list_size
    if not len(vectors) or not size:
        return np.empty((len(vectors), size), np.float32)
    # Not `to_numpy`: it refuses the slots under null rows, which are only ever skipped by the mask.
    start = vectors.values.offset + vectors.offset * size
    flat = np.frombuffer(vectors.buffers()[2], np.float32)[start : start + len(vectors) * size]
    return flat.reshape(len(vectors), size)


def is_vector_type(kind: pa.DataType) -> bool:
    """Whether a column holds lists of numbers."""
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return False
    return bool(pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))


def usual_length(lists: pa.Array | pa.ChunkedArray) -> int:
    """The length that most of these lists have, nulls and empty lists left aside; 0 where there are no others."""
    chunks = lists.chunks if isinstance(lists, pa.ChunkedArray) else [lists]
    lengths = np.concatenate([np.empty(0, np.int64), *map(_lengths, chunks)])
    sizes, counts = np.unique(lengths[lengths > 0], return_counts=True)
    return int(sizes[counts.argmax()]) if len(sizes) else 0


def _lengths(lists: pa.Array) -> np.ndarray[Any, Any]:
    """The length of each list, 0 for a null."""
    return as_numpy(pc.list_value_length(lists))


def _empty_lists(rows: int, valid: np.ndarray[Any, Any] | None = None) -> pa.ListArray:
    """Lists without a number in them; null where `valid` is false."""
    offsets = numbers(np.zeros(rows + 1, np.int32)).buffers()[1]
    bits = None if valid is None else numbers(valid).buffers()[1]
    none = numbers(np.empty(0, np.float32))
    return pa.ListArray.from_buffers(pa.list_(pa.float32()), rows, [bits, offsets], children=[none])


def fixed_vectors(
    matrix: np.ndarray[Any, Any], mask: np.ndarray[Any, Any] | None = None
) -> pa.FixedSizeListArray:
    """An (n, d) float32 matrix as an Arrow fixed-size list column; rows where `mask` is true become null."""
    flat = np.ascontiguousarray(matrix, dtype=np.float32).reshape(-1)
    nulls = None if mask is None else numbers(mask)
    return pa.FixedSizeListArray.from_arrays(numbers(flat), matrix.shape[1], mask=nulls)


def id_text(
    column: pa.Array, error: type[InputError], *, where: str, nulls_allowed: bool = False
) -> pa.Array:
    """Ids as text. Integers are spelt out; a type that has no one spelling is refused, a null too unless `nulls_allowed`."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if column.null_count and not nulls_allowed:
        row = int(np.flatnonzero(~present(column))[0])
        raise error(f"row {row} has no id", where=where, hint="Name the column that holds the ids")
    if pa.types.is_string(kind):
        return column
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_integer(kind):
        return pc.cast(column, pa.string())
    if pa.types.is_floating(kind):
        return texts(None if value is None else repr(value) for value in column.to_pylist())
    if pa.types.is_null(kind) and nulls_allowed:
        return column.cast(pa.string())
    raise error(f"ids of type {kind} have no one spelling as text", where=where, hint="Store ids as text")


def split_vectors(
    column: pa.Array, dimension: int, error: type[InputError], *, where: str
) -> tuple[pa.Array, pa.Array]:
    """The column in two: rows of the right length as a fixed-size list, all others as plain lists."""
    if not is_vector_type(column.type):
        raise error(
            f"the vector column has the type {column.type}",
            where=where,
            hint="Name the column that holds the vectors",
        )
    ragged_type = pa.list_(pa.float32())
    if list_dimension(column.type) == dimension and dimension:
        flat = pc.cast(
            column.flatten() if not column.null_count else _filled(column), pa.float32(), safe=False
        )
        if flat.null_count:
            # A null inside a vector is none of its numbers.
            flat = numbers(as_numpy(flat, np.nan))
        mask = column.is_null() if column.null_count else None
        fixed = pa.FixedSizeListArray.from_arrays(flat, dimension, mask=mask)
        if mask is None:
            return fixed, pa.nulls(len(column), ragged_type)
        return fixed, _empty_lists(len(column), ~present(column))
    lists = column.cast(ragged_type, safe=False)
    if not dimension:
        # No usual length: most rows are empty or null, so none is right.
        return pa.nulls(len(column), pa.list_(pa.float32(), 0)), pc.coalesce(lists, _empty_lists(len(lists)))
    lengths = _lengths(lists)
    right = (lengths == dimension) & (dimension > 0)
    if right.all() and len(column) and not lists.values.null_count:
        # Whole lists of one length one after the other are a fixed-size list already (a null inside one has to become NaN).
        first = lists.offsets[0].as_py()
        flat = lists.values.slice(first, len(column) * dimension)
        return pa.FixedSizeListArray.from_arrays(flat, dimension), pa.nulls(len(column), ragged_type)
    odd = np.flatnonzero(~right)
    others = pc.coalesce(lists.take(numbers(odd)), _empty_lists(len(odd)))
    place = np.cumsum(~right) - 1
    return fixed_vectors(_matrix(lists, right, dimension), ~right), others.take(numbers(place, ~right))


def _matrix(lists: pa.ListArray, right: np.ndarray[Any, Any], dimension: int) -> np.ndarray[Any, Any]:
    """The rows of the right length as float32 (n, d), zeros elsewhere: copied a stretch of neighbours at a time."""
    matrix = np.empty((len(lists), dimension), np.float32)
    matrix[~right] = 0
    flat, offsets = as_numpy(lists.values, np.nan), as_numpy(lists.offsets)
    edges = np.flatnonzero(np.diff(np.r_[False, right, False].astype(np.int8)))
    for start, stop in edges.reshape(-1, 2).tolist():
        values = flat[offsets[start] : offsets[start] + (stop - start) * dimension]
        matrix[start:stop] = values.reshape(-1, dimension)
    return matrix


def _filled(column: pa.Array) -> pa.Array:
    """The values under a fixed-size list, the slots of null rows included (as whatever lies there)."""
    size = column.type.list_size
    return column.values.slice(column.offset * size, len(column) * size)
