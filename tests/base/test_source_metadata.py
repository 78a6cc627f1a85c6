"""A source's metadata, spelt from columns, is what its rows would be spelt as one by one."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecforensics.case import Source
from vecforensics.records import metadata_json
from vecforensics.sources.columns import source_batch

CELLS = {
    "text": (pa.string(), st.text()),
    "whole": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "real": (pa.float64(), st.floats()),
    "narrow": (pa.float32(), st.floats(width=32)),
    "flag": (pa.bool_(), st.booleans()),
    "day": (pa.date32(), st.dates()),
    "list": (pa.list_(pa.int64()), st.lists(st.none() | st.integers(0, 3), max_size=3)),
    'struct "é"': (pa.struct([("b", pa.string()), ("a", pa.int64())]), st.just({"b": "x", "a": None})),
}


def metadata(raw: pa.RecordBatch, fields: tuple[str, ...]) -> list[str]:
    raw = raw.append_column("key", pa.array([str(n) for n in range(raw.num_rows)]))
    source = Source(uri="any.parquet", id="key", metadata=fields)
    return list(source_batch(raw, source, None, None, Path("any.parquet"), 0)["metadata"].to_pylist())


@given(st.data())
def test_every_type_of_value_alone_and_beside_others(data: st.DataObject) -> None:
    fields = data.draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, unique=True))
    count = data.draw(st.integers(1, 6))
    raw = pa.RecordBatch.from_arrays(
        [
            pa.array(
                data.draw(st.lists(st.none() | CELLS[name][1], min_size=count, max_size=count)),
                CELLS[name][0],
            )
            for name in fields
        ],
        names=fields,
    )
    assert metadata(raw, tuple(fields)) == [metadata_json(row) for row in raw.to_pylist()]


@pytest.mark.parametrize(
    ("column", "spelt"),
    [
        (pa.array([0.0, -0.0, None, float("nan"), 1e16]), ["0.0", "-0.0", "null", "NaN", "1e+16"]),
        (pa.array(np.array([1.5, -0.0], np.float16)), ["1.5", "-0.0"]),
        (pa.array([2**62, None, 2**62]).dictionary_encode(), [str(2**62), "null", str(2**62)]),
        (pa.array([decimal.Decimal("1.10"), decimal.Decimal("2.00")]), ["1.1", "2.0"]),
        (pa.array([decimal.Decimal(2**70), decimal.Decimal(0)]), [str(2**70), "0"]),
        (pa.array([decimal.Decimal("0.12345678901234567890")]), ['"0.12345678901234567890"']),
        (pa.array([datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)]), ['"2026-01-02T00:00:00+00:00"']),
        (pa.array([datetime.datetime(2026, 1, 2, 3, 4, 5, 600)]), ['"2026-01-02T03:04:05.000600"']),
        (pa.array([datetime.time(3, 4)]), ['"03:04:00"']),
        (pa.nulls(2), ["null", "null"]),
    ],
)
def test_values_that_a_dictionary_could_mix_up_or_lose(column: pa.Array, spelt: list[str]) -> None:
    raw = pa.RecordBatch.from_arrays([column], names=["field"])
    assert metadata(raw, ("field",)) == [f'{{"field":{value}}}' for value in spelt]


def test_a_field_that_is_named_twice_stands_there_once() -> None:
    raw: Any = pa.RecordBatch.from_pydict({"plan": ["free", "pro"]})
    assert metadata(raw, ("plan", "plan")) == ['{"plan":"free"}', '{"plan":"pro"}']
