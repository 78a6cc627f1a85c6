"""Times that Arrow holds and Python does not: far years, nanoseconds, zones that nobody knows."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecforensics.arrow_values import beyond_four_digits, values_of
from vecforensics.case import Source
from vecforensics.metadata_rule import moment
from vecforensics.sources.columns import source_batch
from vecforensics.stores.protocol import Columns
from vecforensics.stores.shape import as_target_batch

INFINITY = 2**63 - 1
YEAR_10000_S = 253_402_300_800
US, UTC = pa.timestamp("us"), pa.timestamp("us", "UTC")


@pytest.mark.parametrize(
    ("kind", "count", "spelt"),
    [
        (US, INFINITY, "+294247-01-10T04:00:54.775807"),
        (UTC, INFINITY, "+294247-01-10T04:00:54.775807+00:00"),
        (UTC, -INFINITY, "-290308-12-21T19:59:05.224193+00:00"),
        (US, YEAR_10000_S * 10**6, "+010000-01-01T00:00:00"),
        (US, YEAR_10000_S * 10**6 - 1, "9999-12-31T23:59:59.999999"),
        (pa.timestamp("s"), INFINITY, "+292277026596-12-04T15:30:07"),
        (pa.timestamp("s"), -62_167_219_200, "0000-01-01T00:00:00"),
        (pa.timestamp("s"), -62_167_219_201, "-000001-12-31T23:59:59"),
        (pa.timestamp("s", "Europe/Berlin"), YEAR_10000_S - 1, "9999-12-31T23:59:59+00:00"),
        (pa.timestamp("ns"), 1, "1970-01-01T00:00:00.000000001"),
        (pa.timestamp("ns", "Europe/Berlin"), 5_001, "1970-01-01T01:00:00.000005001+01:00"),
        (pa.timestamp("us", "+05:30"), 0, "1970-01-01T05:30:00+05:30"),
        (pa.timestamp("us", "Mars/Phobos"), 0, "1970-01-01T00:00:00+00:00"),
        (pa.date32(), 2**31 - 1, "+5881580-07-11"),
        (pa.date32(), -(2**31), "-5877641-06-23"),
        (pa.date64(), 86_400_000 * 3, "1970-01-04"),
        (pa.time64("ns"), 5_001, "00:00:00.000005001"),
        (pa.time64("us"), 25 * 3600 * 10**6, "25:00:00"),
        (pa.time32("s"), -1, "-00:00:01"),
        (pa.duration("s"), INFINITY, f"{INFINITY * 10**9} ns"),
        (pa.duration("ns"), 5_001, "5001 ns"),
        (pa.duration("us"), 90_000_000, "0:01:30"),
    ],
)
def test_a_count_of_time_has_one_spelling(kind: pa.DataType, count: int, spelt: str) -> None:
    column = pa.array([count, None, 0], pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind)
    assert values_of(column)[:2] == [spelt, None]
    assert values_of(column.slice(1)) == values_of(column)[1:]
    inside: list[tuple[pa.DataType, Any, Any]] = [
        (pa.list_(kind), [count, None], [spelt, None]),
        (pa.large_list(kind), [count], [spelt]),
        (pa.list_(kind, 2), [count, count], [spelt, spelt]),
        (pa.struct([("a", kind), ("b", pa.string())]), {"a": count, "b": "x"}, {"a": spelt, "b": "x"}),
        (pa.map_(pa.string(), kind), [("k", count)], [("k", spelt)]),
        (pa.list_(pa.struct([("a", kind)])), [None, {"a": count}], [None, {"a": spelt}]),
    ]
    plain = pa.int32() if kind.bit_width == 32 else pa.int64()
    for nested, held, told in inside:
        text = str(nested).replace(str(kind), str(plain))
        layout = next(one for one in _layouts(plain) if str(one) == text)
        assert values_of(pa.array([None, held], layout).view(nested)) == [None, told]


def _layouts(plain: pa.DataType) -> list[pa.DataType]:
    return [
        pa.list_(plain),
        pa.large_list(plain),
        pa.list_(plain, 2),
        pa.struct([("a", plain), ("b", pa.string())]),
        pa.map_(pa.string(), plain),
        pa.list_(pa.struct([("a", plain)])),
    ]


ZONES = st.sampled_from([None, "UTC", "Europe/Berlin", "America/New_York", "+05:30"])


@given(st.lists(st.none() | st.datetimes(datetime.datetime(1, 1, 3), datetime.datetime(9999, 12, 29))), ZONES)
def test_what_python_holds_is_spelt_as_python_spells_it(
    values: list[datetime.datetime | None], zone: str | None
) -> None:
    column = pa.array(values, US).cast(pa.int64()).view(pa.timestamp("us", zone))
    held = column.to_pylist()
    assert values_of(column) == [None if one is None else one.isoformat() for one in held]
    for text, one in zip(values_of(column), held, strict=True):
        named = moment(text)
        assert one is None or (named is not None and named.zoned == (zone is not None))


@given(st.integers(-INFINITY, INFINITY), st.sampled_from(["s", "ms", "us", "ns"]), ZONES)
def test_a_far_time_stamp_is_read_as_the_moment_that_it_is(count: int, unit: str, zone: str | None) -> None:
    [text] = values_of(pa.array([count], pa.int64()).view(pa.timestamp(unit, zone)))
    named = moment(text)
    assert named is not None
    assert named.ns == count * 10 ** {"s": 9, "ms": 6, "us": 3, "ns": 0}[unit]


@pytest.mark.parametrize("kind", [US, UTC, pa.timestamp("us", "Mars/Phobos"), pa.date32()])
def test_versions_and_texts_of_far_times_are_read(kind: pa.DataType) -> None:
    days = kind == pa.date32()
    # Arrow counts years in 16 bits: 67560 would read 2024.
    far = 24_643_000 if days else 2_069_820_432_000 * 10**6
    counts = pa.array([far, None, 0], pa.int32() if days else pa.int64())
    raw = pa.RecordBatch.from_pydict({"key": pa.array(["a", "b", "c"]), "at": counts.view(kind)})
    assert beyond_four_digits(counts.view(kind)).tolist() == [True, False, False]
    batch = source_batch(raw, Source(uri="x.parquet", id="key", version="at"), None, None, Path("x"), 0)
    first, second, third = (moment(text) for text in batch.column("version").to_pylist())
    assert second is None
    assert first is not None
    assert third is not None
    assert (first.ns, third.ns) == (far * 10**9 * 86_400 if days else far * 1000, 0)
    texts = source_batch(
        raw.slice(0, 1), Source(uri="x.parquet", id="key", text=("at",)), None, None, Path("x"), 0
    )
    assert texts.column("text")[0].as_py().startswith('"+0')


def test_far_times_in_columns_of_a_target_are_read() -> None:
    stamp = pa.array([INFINITY, None], pa.int64()).view(pa.timestamp("us", "Mars/Phobos"))
    vector = pa.array([[1.0], [2.0]], pa.list_(pa.float32(), 1))
    spread = pa.table({"id": ["a", "b"], "vector": vector, "until": stamp, "plan": ["x", "y"]})
    struct = pa.StructArray.from_arrays([pa.array(["x", "y"]), stamp], ["plan", "until"])
    held = pa.table({"id": ["a", "b"], "vector": vector, "metadata": struct})
    for table in (spread, held):
        assert as_target_batch(table, Columns(), 1, where="t").column("metadata").to_pylist() == [
            '{"plan":"x","until":"+294247-01-10T04:00:54.775807+00:00"}',
            '{"plan":"y","until":null}',
        ]
