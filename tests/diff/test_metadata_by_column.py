"""Metadata of many rows is looked at by column first: the same findings as row by row, whatever the rows hold."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecforensics.diff.compare import metadata
from vecforensics.diff.compare.json_columns import loaded, metadata_columns, typed_columns
from vecforensics.diff.compare.metadata import drift_of_rows
from vecforensics.metadata_rule import MetadataRule
from vecforensics.records import metadata_json

FIELDS = ("a", "b", 'odd "name"', "ü")
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(0, 3),
    st.sampled_from([0.5, 1.0, 1e300, 3.0]),
    st.sampled_from(["", "x", "x\n", '"', "\\", "2026-01-01T00:00:00Z", "2026-01-01", "10:00:00", "NaN", "true", "é"]),
    st.lists(st.sampled_from(["x", 1, 1.0]), max_size=2),
    st.fixed_dictionaries({"k": st.sampled_from([1, 1.0, "1"])}),
    st.dictionaries(st.sampled_from(FIELDS), st.sampled_from([1, None]), max_size=2),
)  # fmt: skip
RECORDS = st.dictionaries(st.sampled_from([*FIELDS, "batch"]), VALUES, max_size=4)
# One type a field, as most collections have it: only then are there columns to look at.
PLAIN = st.fixed_dictionaries(
    {},
    optional={
        "a": st.one_of(st.none(), st.integers(0, 3)),
        "b": st.sampled_from(["x", "y", "2026-01-01T00:00:00Z", None]),
        'odd "name"': st.sampled_from([0.5, 1.0, 1, 2]),
        "ü": st.booleans(),
        "batch": st.integers(0, 99),
    },
)
# What a target says beside the fields may call something by a field's own name.
INSIDE = st.fixed_dictionaries(
    {},
    optional={
        "a": st.integers(0, 3),
        "ü": st.none(),
        "list": st.lists(st.fixed_dictionaries({}, optional={"b": st.none()}), max_size=2),
    },
)


Pair = tuple[dict[str, Any], dict[str, Any]]


def pairs(records: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[list[Pair]]:
    return st.lists(st.tuples(records, records), min_size=1, max_size=12)


@st.composite
def without_some_nulls(draw: st.DrawFn) -> list[Pair]:
    """What a target keeps that drops some of the nulls and says more than it was given."""
    return [
        (
            row,
            {key: value for key, value in row.items() if value is not None or draw(st.booleans())}
            | {"extra": draw(INSIDE)},
        )
        for row in draw(st.lists(PLAIN, min_size=1, max_size=12))
    ]


def column(rows: list[dict[str, Any]]) -> pa.ChunkedArray:
    return pa.chunked_array([[metadata_json(row) for row in rows]], pa.string())


@pytest.mark.parametrize("store", ["parquet", "pinecone"])
@given(rows=pairs(PLAIN) | pairs(RECORDS) | without_some_nulls())
@settings(max_examples=150, deadline=None)
def test_drift_by_column_is_drift_row_by_row(store: str, rows: list[Pair]) -> None:
    source, target = column([one for one, _ in rows]), column([other for _, other in rows])
    numbers = np.arange(len(rows), dtype=np.int32)
    rule = MetadataRule.of({"store": store})
    with patch.object(metadata, "_BY_COLUMN", 10**9):
        row_by_row = drift_of_rows(source, target, numbers, numbers, FIELDS, rule)
    with patch.object(metadata, "_BY_COLUMN", 1):
        by_column = drift_of_rows(source, target, numbers, numbers, FIELDS, rule)
    assert by_column == row_by_row


def test_three_that_became_a_double_is_seen_among_doubles() -> None:
    source = column([{"a": 3}, {"a": 0.5}] * 200)
    target = column([{"a": 3.0, "batch": 1}, {"a": 0.5, "batch": 1}] * 200)
    numbers = np.arange(400, dtype=np.int32)
    drift = drift_of_rows(source, target, numbers, numbers, ("a",), MetadataRule())
    assert sorted(drift) == list(range(0, 400, 2))
    assert {one["a"]["types"] for one in drift.values()} == {"int→float"}


@pytest.mark.parametrize("extra", [{"a": 1}, [{"a": 1}], {"deep": {"a": None}}])
def test_a_null_that_was_dropped_is_seen_where_something_else_holds_a_key_of_that_name(extra: Any) -> None:
    source = column([{"a": None, "b": "x"}] * 400)
    target = column([{"a": None, "b": "x", "extra": extra}] + [{"b": "x", "extra": extra}] * 399)
    numbers = np.arange(400, dtype=np.int32)
    drift = drift_of_rows(source, target, numbers, numbers, ("a", "b"), MetadataRule())
    assert drift == {row: {"a": {"change": "missing", "expected": None}} for row in range(1, 400)}


@pytest.mark.parametrize("rows", [4, 400])
@pytest.mark.parametrize("held", ['"plan=free"', '"{\\"a\\": 3}"', "[1]", "3", "true", '""'])
def test_metadata_that_cannot_be_read_says_so_and_is_not_only_missing(rows: int, held: str) -> None:
    source = column([{"a": 3}] * rows)
    target = pa.chunked_array([pa.array([held] + ['{"a":3}'] * (rows - 2) + ["{}"])])
    numbers = np.arange(rows, dtype=np.int32)
    drift = drift_of_rows(source, target, numbers, numbers, ("a",), MetadataRule())
    missing = {"change": "missing", "expected": 3}
    assert drift == {
        0: {"a": missing | {"form": "since the row's metadata is no JSON object"}},
        rows - 1: {"a": missing},
    }


@given(st.lists(PLAIN, min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_columns_spell_values_as_json_does(rows: list[dict[str, Any]]) -> None:
    columns = metadata_columns(column(rows))
    for name in FIELDS:
        spelt = columns[name].to_pylist() if name in columns else [None] * len(rows)
        values = [None if text is None else json.loads(text) for text in spelt]
        assert values == [row.get(name) for row in rows]


@pytest.mark.parametrize("beside", [[], [2.5], [2.5, "text"], [1e300]])
def test_a_whole_number_is_spelt_alike_whatever_stands_beside_it(beside: list[Any]) -> None:
    values = [3, 3.0, -0.0, 2**53 - 1, 2**53 + 1]
    columns = metadata_columns(column([{"a": value} for value in [*values, *beside]]))
    assert columns["a"].to_pylist()[:5] == ["3", "3", "0", "9007199254740991", "9007199254740993"]


def test_a_time_stamp_keeps_its_spelling() -> None:
    texts = pa.array(['{"at":"2026-01-01 10:00:00"}', '{"at":"2026-01-01T10:00:00Z"}'])
    typed = typed_columns(texts)
    assert typed is not None
    assert typed["at"].to_pylist() == ["2026-01-01 10:00:00", "2026-01-01T10:00:00Z"]
    assert loaded(metadata_columns(texts)["at"]) == ["2026-01-01 10:00:00", "2026-01-01T10:00:00Z"]


def test_metadata_that_is_no_json_object_is_called_so_and_not_only_missing() -> None:
    first = np.zeros(1, np.int32)
    source, target = (pa.chunked_array([[text]]) for text in ('{"plan":"free"}', "plan=free"))
    found = drift_of_rows(source, target, first, first, ("plan",), MetadataRule())
    assert found == {
        0: {
            "plan": {
                "change": "missing",
                "expected": "free",
                "form": "since the row's metadata is no JSON object",
            }
        }
    }
