"""Columns of vectors and ids, whatever a stranger's writer made of them: also sliced, null, empty and odd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vecforensics import arrow_columns
from vecforensics.arrow_columns import (
    as_numpy,
    fixed_vectors,
    id_text,
    is_vector_type,
    matrix_of,
    present,
    split_vectors,
    texts,
    usual_length,
)
from vecforensics.errors import TargetError

numbers = st.floats(width=32, allow_nan=False)
lists = st.lists(st.none() | st.lists(numbers, max_size=4), max_size=8)


def split(column: pa.Array, dimension: int) -> tuple[list[Any], list[Any]]:
    fixed, ragged = split_vectors(column, dimension, TargetError, where="w")
    assert fixed.type == pa.list_(pa.float32(), dimension)
    fixed.validate(full=True)
    ragged.validate(full=True)
    return fixed.to_pylist(), ragged.to_pylist()


@given(lists, st.integers(0, 4))
@example([[1.0, 2.0], None, [], [1.0]], 2)
@example([None, None], 0)
@example([], 3)
def test_every_row_stands_in_exactly_one_of_the_two(rows: list[list[float] | None], dimension: int) -> None:
    fixed, ragged = split(pa.array(rows, pa.list_(pa.float32())), dimension)

    for row, right, odd in zip(rows, fixed, ragged, strict=True):
        if row is not None and len(row) == dimension and dimension:
            assert (right, odd) == (row, None)
        else:
            assert (right, odd) == (None, row or [])


@given(st.lists(st.none() | st.lists(numbers, min_size=3, max_size=3), max_size=8), st.integers(0, 4))
def test_fixed_size_lists_with_nulls_also_where_sliced(rows: list[list[float] | None], start: int) -> None:
    column = pa.array(rows, pa.list_(pa.float32(), 3)).slice(start)
    fixed, ragged = split(column, 3)

    assert fixed == rows[start:]
    assert ragged == [[] if row is None else None for row in rows[start:]]


def test_sliced_and_large_lists() -> None:
    rows = [[1.0, 2.0], [3.0], [4.0, 5.0], [6.0, 7.0]]
    for kind in (pa.list_(pa.float64()), pa.large_list(pa.float64())):
        assert split(pa.array(rows, kind).slice(1, 2), 2) == ([None, [4.0, 5.0]], [[3.0], None])


def test_a_fixed_size_other_than_the_collections() -> None:
    assert split(pa.array([[1.0, 2.0, 3.0]], pa.list_(pa.float32(), 3)), 2) == ([None], [[1.0, 2.0, 3.0]])


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.list_(pa.string()), pa.float32(), pa.list_(pa.list_(pa.float32()))]
)
def test_what_is_no_vector(kind: pa.DataType) -> None:
    assert not is_vector_type(kind)
    with pytest.raises(TargetError, match="the vector column has the type"):
        split_vectors(pa.nulls(1, kind), 2, TargetError, where="w")


@pytest.mark.parametrize(
    ("rows", "length"),
    [
        ([], 0),
        ([None], 0),
        ([[], []], 0),
        ([[1.0], [1.0, 2.0], [3.0, 4.0]], 2),
        ([[], None, [], [1.0, 2.0]], 2),
    ],
)
def test_the_usual_length(rows: list[list[float] | None], length: int) -> None:
    assert usual_length(pa.array(rows, pa.list_(pa.float32()))) == length


@given(st.lists(st.none() | st.integers(0, 2**64 - 1), max_size=20), st.integers(0, 9))
def test_numbers_go_to_numpy_and_back(values: list[int | None], start: int) -> None:
    column = pa.array(values, pa.uint64()).slice(start)
    there, valid = as_numpy(column, 7), present(column)

    assert there.tolist() == [7 if value is None else value for value in values[start:]]
    assert valid.tolist() == [value is not None for value in values[start:]]
    back = arrow_columns.numbers(there, valid)
    back.validate(full=True)
    assert back.equals(column)


def test_what_may_be_null_all_through() -> None:
    assert as_numpy(pa.nulls(3, pa.int32())).tolist() == [0, 0, 0]
    assert not present(pa.nulls(3)).any()
    assert arrow_columns.numbers(np.array([True, False])).to_pylist() == [True, False]
    assert texts(["é", None]).to_pylist() == ["é", None]


def test_a_matrix_as_a_column() -> None:
    matrix = np.arange(6, dtype=np.float64).reshape(3, 2)[:, ::-1]
    column = fixed_vectors(matrix, np.array([False, True, False]))

    assert column.to_pylist() == [[1.0, 0.0], None, [5.0, 4.0]]


@pytest.mark.parametrize(
    ("ids", "spelt"),
    [
        (pa.array(["01", " a "]), ["01", " a "]),
        (pa.array(["a"], pa.large_string()), ["a"]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array([-1], pa.int8()), ["-1"]),
        (pa.array([1.0, 1e16, 0.1]), ["1.0", "1e+16", "0.1"]),
        (pa.array(["x", "x"]).dictionary_encode(), ["x", "x"]),
        (pa.array(["skip", "a"]).slice(1), ["a"]),
    ],
)
def test_ids_are_spelt_out(ids: pa.Array, spelt: list[str]) -> None:
    assert id_text(ids, TargetError, where="w").to_pylist() == spelt


def test_a_null_id_is_named_by_its_row() -> None:
    with pytest.raises(TargetError, match="w: row 1 has no id"):
        id_text(pa.array(["a", None]), TargetError, where="w")


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 2), pa.list_(pa.float64(), 2)]
)
def test_a_null_inside_a_vector_is_nan_whatever_the_list_promises(kind: pa.DataType) -> None:
    column = pa.array([[1, 2], [3, None], None, [None, 4]], kind)
    vectors, ragged = split_vectors(column, 2, TargetError, where="here")
    held = matrix_of(vectors)
    assert np.isnan(held).tolist()[:2] == [[False, False], [False, True]]
    assert np.isnan(held[3]).tolist() == [True, False]
    assert present(vectors).tolist() == [True, True, False, True]
    assert ragged.to_pylist()[:2] == [None, None]
