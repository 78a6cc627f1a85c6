"""What the source's types leave open: a CSV's cells have none, JSON has neither time stamps nor decimals."""

from __future__ import annotations

import csv
import datetime
import decimal
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from metadata_rules import ABSENT, CSV, DECIMAL, PLAIN, STAMP, both, drift

from vecforensics.arrow_columns import fixed_vectors
from vecforensics.case import load_case
from vecforensics.diff import Diff
from vecforensics.investigation import Investigation
from vecforensics.metadata_rule import MetadataRule, moment
from vecforensics.run_folder import RunFolder


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        *[("0", 0), ("0", 0.0), ("0.25", 0.25), ("0.250", 0.25), ("-1", -1), (" 5", 5), ("1e3", 1000)],
        *[("1E3", 1000.0), (".5", 0.5), ("5.", 5), ("5.0", 5), ("-0", 0), ("9007199254740993", 2**53 + 1)],
        *[("0.1", 0.1), ("0.10000000000000000555", 0.1), ("12345678901234567.25", 12345678901234567.25)],
        *[("true", True), ("True", True), ("TRUE", True), ("t", True), ("1", True), (" true", True)],
        *[("false", False), ("False", False), ("FALSE", False), ("f", False), ("0", False)],
        *[(None, None), (None, ""), ("", None), (None, ABSENT), ("", ABSENT), ("x", "x"), ("007", "007")],
        *[('["a", 1]', ["a", 1]), ('{"b": 1, "a": null}', {"a": None, "b": 1}), ("null", "null")],
        *[("2024-01-01 10:00:00", "2024-01-01T10:00:00"), ("2024-01-01", "2024-01-01T00:00:00")],
        *[("2024-01-01 10:00:00+00", "2024-01-01T10:00:00.000Z"), ("NaN", "NaN")],
        *[("NaN", float("nan")), ("nan", float("nan")), ("inf", float("inf")), ("-Infinity", float("-inf"))],
    ],
)  # fmt: skip
def test_what_a_cell_spells_is_the_same(cell: str | None, value: Any) -> None:
    assert both(CSV, cell, value) == {}


@pytest.mark.parametrize(
    ("cell", "value", "form"),
    [
        ("007", 7, "leading zeros lost"),
        ("+49", 49, "read as a whole number"),
        ("00", 0, "leading zeros lost"),
        ("9007199254740993", 2**53, "read as a floating-point number"),
        ("9007199254740993", float(2**53), "read as a floating-point number"),
        ("1.0", "1", "read as a floating-point number"),
        ("no", False, None),
        ("yes", True, None),
        ("T", True, None),
        ("2", True, None),
        ("0.1", 0.10000000149011612, "float→single precision"),
        ("2024-01-01", "2024-01-01T00:00:00Z", "zone added"),
        ("1_000", 1000, "thousands separators"),
        ("1,000", 1000, "thousands separators"),
        ("NA", None, None),
        (" ", None, None),
        ("x", ABSENT, None),
        ("0", ABSENT, None),
        ("2024-01-01 10:00:00", "2024-01-01T10:00:00Z", "zone added"),
        ("2024-01-01T10:00:00Z", "2024-01-01T10:00:00", "zone lost"),
        ("2024-01-01 10:00:00", "2024-01-01", "time of day lost"),
        ("[1]", [2], None),
        ("Ada ", "Ada", "space"),
        ("true", 1, None),
    ],
)
def test_what_a_cell_does_not_spell_is_changed(cell: str, value: Any, form: str | None) -> None:
    found = both(CSV, cell, value)
    assert found["change"] == ("missing" if value is ABSENT else "changed")
    assert (found.get("form"), found.get("types")) == (form, None)


@pytest.mark.parametrize("value", ["null", "None", "NaN", 0, False, "nan"])
def test_an_empty_cell_is_no_word_and_no_number(value: Any) -> None:
    assert both(CSV, None, value)["change"] in ("changed", "retyped")


CELLS = st.one_of(
    st.none(),
    st.sampled_from(["", "0", "1", "007", "0.250", "1e3", "+5", " 5", "true", "True", "f", "no", "x", "[1]"]),
    st.sampled_from(["2024-01-01", "2024-01-01 10:00:00", "2024-01-01T10:00:00Z", "2024-02-30 10:00:00"]),
    st.sampled_from(["2024-01-01T11:00:00+01:00", "2024-01-01 10:00:00.0000001", "0999-01-01 10:00:00"]),
    st.integers(-(2**60), 2**60).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)  # fmt: skip
NUMBERS = st.one_of(st.integers(-3, 1001), st.sampled_from([0.25, 5.0, 1e300, 2**53, 2**53 + 1, 2.0**53]))


@st.composite
def spelt(draw: st.DrawFn) -> list[tuple[Any, Any]]:
    """Cells, and values of mostly one type beside them, many of which the cells spell."""
    cells = draw(st.lists(CELLS, min_size=1, max_size=12))
    kind = draw(st.sampled_from(["number", "truth", "text", "any"]))
    values = {
        "number": st.one_of(st.none(), NUMBERS),
        "truth": st.one_of(st.none(), st.booleans()),
        "text": CELLS,
        "any": st.one_of(CELLS, NUMBERS, st.booleans(), st.just([1])),
    }[kind]
    pairs: list[tuple[Any, Any]] = []
    for cell in cells:
        value = draw(values | st.just(ABSENT))
        if cell and kind == "number" and draw(st.booleans()):
            try:
                value = draw(st.sampled_from([float(cell), int(float(cell))]))
            except (ValueError, OverflowError):
                value = 0
        pairs.append((cell, value))
    return pairs


@given(pairs=spelt())
@settings(max_examples=400, deadline=None)
def test_cells_by_column_are_cells_row_by_row(pairs: list[tuple[Any, Any]]) -> None:
    assert drift(CSV, pairs, by_column=True) == drift(CSV, pairs, by_column=False)


MOMENTS = st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2100, 1, 1))
STAMPS = st.builds(
    lambda at, zone, between, cut: at.replace(
        tzinfo=zone, microsecond=0 if cut else at.microsecond
    ).isoformat(between),
    st.sampled_from([datetime.datetime(2024, 1, 1, 12), datetime.datetime(2024, 1, 1, 13)]) | MOMENTS,
    st.sampled_from([None, datetime.UTC, datetime.timezone(datetime.timedelta(hours=1))]),
    st.sampled_from(["T", " "]),
    st.booleans(),
)
ODD_STAMPS = st.sampled_from(["2024-01-01", "2024-01-01T12:00:00Z", "2024-01-01T12:00:00.000Z", None, "", "soon"])  # fmt: skip


@given(pairs=st.lists(st.tuples(STAMPS | ODD_STAMPS, STAMPS | ODD_STAMPS), min_size=1, max_size=8))
@settings(max_examples=300, deadline=None)
@pytest.mark.parametrize("rule", [STAMP, CSV], ids=["time stamp", "cell"])
def test_time_stamps_by_column_are_time_stamps_row_by_row(
    rule: MetadataRule, pairs: list[tuple[Any, Any]]
) -> None:
    assert drift(rule, pairs, by_column=True) == drift(rule, pairs, by_column=False)


@given(
    pairs=st.lists(
        st.tuples(
            st.sampled_from([None, 0.25, 5, 5.0, 2**60, "0.1234567890123456789"]),
            st.sampled_from([None, 0.25, 5, 5.0, 2**60, float(2**60), 0.12345678901234568, "5", True]),
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=200, deadline=None)
def test_decimals_by_column_are_decimals_row_by_row(pairs: list[tuple[Any, Any]]) -> None:
    assert drift(DECIMAL, pairs, by_column=True) == drift(DECIMAL, pairs, by_column=False)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2024-01-01T13:00:00+01:00", "2024-01-01T12:00:00Z"),
        ("2024-01-01T13:00:00+01:00", "2024-01-01 13:00:00+01:00"),
        ("2024-01-01T12:00:00+00:00", "2024-01-01T12:00:00.000Z"),
        ("2024-01-01T12:00:00.500000+00:00", "2024-01-01T12:00:00.5Z"),
        ("2024-01-01T12:00:00", "2024-01-01 12:00"),
        ("2024-01-01T12:00:00.000000001", "2024-01-01 12:00:00.000000001"),
    ],
)
def test_one_instant_spelt_twice_is_one_value(one: str, other: str) -> None:
    assert both(STAMP, one, other) == {}


@pytest.mark.parametrize(
    ("one", "other", "form"),
    [
        ("2024-01-01T13:00:00+01:00", "2024-01-01T13:00:00", "zone lost"),
        ("2024-01-01T13:00:00+01:00", "2024-01-01 12:00:00", "zone lost"),
        ("2024-01-01T13:00:00+01:00", "2024-01-01T13:00:00Z", "zone replaced"),
        ("2024-01-01T13:00:00+01:00", "2024-01-01T13:00:01+01:00", None),
        ("2024-01-01T13:00:00+01:00", "2024-01-01", "time of day lost"),
        ("2024-01-01T00:00:00", "2024-01-01", "time of day lost"),
        ("2024-01-01T13:00:00.123456Z", "2024-01-01T13:00:00.123Z", "fractions of a second cut off"),
        ("2024-01-01T13:00:00.5Z", "2024-01-01T13:00:00", "zone lost and fractions of a second cut off"),
        ("2024-01-01T13:00:00", "2024-01-01T13:00:00Z", "zone added"),
        ("2024-01-01T13:00:00", "soon", None),
    ],
)
def test_what_a_time_stamp_lost_is_said(one: str, other: str, form: str | None) -> None:
    found = both(STAMP, one, other)
    assert (found["change"], found.get("form")) == ("changed", form)


def test_text_that_names_the_same_instant_is_still_another_text() -> None:
    found = both(MetadataRule(), "2024-01-01T13:00:00+01:00", "2024-01-01T12:00:00Z")
    assert (found["change"], found["form"]) == ("changed", "another spelling of the moment")


@pytest.mark.parametrize(
    ("actual", "form"),
    [
        ("2024-01-01T00:00:00", "time of day added"),
        ("2024-01-01 00:00:00+02:00", "time of day and zone added"),
        ("2024-01-01T01:00:00", None),
    ],
)
def test_what_was_added_to_a_date_is_said(actual: str, form: str | None) -> None:
    assert both(PLAIN, "2024-01-01", actual).get("form") == form


@pytest.mark.parametrize("number", [1704110420, 1704110420000, 1704110420.0])
def test_a_time_stamp_that_became_a_count_is_another_type(number: float) -> None:
    found = both(STAMP, "2024-01-01T12:00:20+00:00", number)
    assert found["change"] == "retyped"
    assert found["types"].startswith("time stamp→")


def test_a_decimal_as_text_is_another_type_and_named_as_what_it_was() -> None:
    assert both(DECIMAL, 0.75, "0.75")["types"] == "decimal→text"
    assert both(DECIMAL, 0.75, 0.7)["change"] == "changed"
    assert both(DECIMAL, 5.0, 5) == both(DECIMAL, "0.1234567890123456789", 0.12345678901234568) == {}


@given(
    st.datetimes(datetime.datetime(1000, 1, 1)),
    st.none() | st.timezones(),
    st.sampled_from("T "),
)
def test_a_moment_is_what_python_reads(
    at: datetime.datetime, zone: datetime.tzinfo | None, between: str
) -> None:
    at = at.replace(tzinfo=zone)
    if (at.utcoffset() or datetime.timedelta()) % datetime.timedelta(minutes=1):
        return
    found = moment(at.isoformat(between))
    assert found is not None
    utc = at if at.tzinfo is not None else at.replace(tzinfo=datetime.UTC)
    since = utc - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    assert found.ns == (since // datetime.timedelta(microseconds=1)) * 1000
    assert found.zoned == (at.tzinfo is not None)


# End to end.


def investigated(folder: Path, source: str, fields: list[str], held: list[dict[str, Any]]) -> Diff:
    ids = [str(number) for number in range(len(held))]
    pq.write_table(
        pa.table(
            {"id": ids, "vector": fixed_vectors(VECTORS[: len(held)]), "metadata": [json.dumps(row) for row in held]}
        ),
        folder / "target.parquet",
    )  # fmt: skip
    case = {
        "case": "types",
        "collections": {
            "c": {
                "source": {"uri": source, "id": "id", "text": ["body"], "metadata": fields},
                "target": {"uri": "parquet:target.parquet", "collection": "c"},
                "expected": {"column": "emb"},
            }
        },
    }
    (folder / "case.yaml").write_text(yaml.safe_dump(case))
    case_file = load_case(folder / "case.yaml")
    return Investigation(
        case_file, RunFolder.begin(folder / "case.yaml", case_file, folder / "reports")
    ).diff()


VECTORS = np.random.default_rng(4).normal(size=(400, 8)).astype(np.float32)
FIELDS = ["age", "active", "score", "joined", "note"]


@pytest.mark.parametrize("rows", [40, 400])
@pytest.mark.parametrize("writer", ["pandas", "text"])
def test_a_csv_migrated_with_types_or_without_is_clean(tmp_path: Path, rows: int, writer: str) -> None:
    cells = [
        [str(n), ["true", "false"][n % 2], str(n / 4), "2024-01-01", "" if n % 5 else "x"]
        for n in range(rows)
    ]
    with (tmp_path / "s.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["id", "body", *FIELDS, "emb"])
        for n, row in enumerate(cells):
            out.writerow([n, f"text {n}", *row, json.dumps(VECTORS[n].tolist())])
    typed = [[n, n % 2 == 0, n / 4, "2024-01-01", "x" if n % 5 == 0 else None] for n in range(rows)]
    held = [dict(zip(FIELDS, row, strict=True)) for row in (typed if writer == "pandas" else cells)]
    held[7] = held[7] | {"age": 8}
    diff = investigated(tmp_path, "s.csv", FIELDS, held)
    assert [row["source_id"] for row in diff.table.to_pylist()] == ["7"]
    assert diff.counts["metadata_drift"] == 1
    assert len([limit for limit in diff.limits if "no types (CSV)" in limit]) == 1


@pytest.mark.parametrize("rows", [40, 400])
@pytest.mark.parametrize("zone", ["Berlin", "UTC", "milliseconds"])
def test_a_typed_parquet_written_as_json_is_clean(tmp_path: Path, rows: int, zone: str) -> None:
    stamps = [datetime.datetime(2024, 1, 1, 12, 0, n % 60, tzinfo=datetime.UTC) for n in range(rows)]
    prices = [decimal.Decimal(n) / 4 for n in range(rows)]
    table = pa.table(
        {
            "id": [str(n) for n in range(rows)],
            "body": [f"text {n}" for n in range(rows)],
            "ts": pa.array(stamps, pa.timestamp("us", "Europe/Berlin")),
            "price": pa.array(prices, pa.decimal128(12, 2)),
            "emb": fixed_vectors(VECTORS[:rows]),
        }
    )
    pq.write_table(table, tmp_path / "s.parquet")
    berlin = datetime.timezone(datetime.timedelta(hours=1))
    spell: dict[str, Callable[[datetime.datetime], str]] = {
        "Berlin": lambda at: at.astimezone(berlin).isoformat(),
        "UTC": lambda at: at.isoformat(),
        "milliseconds": lambda at: at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    }
    held = [{"ts": spell[zone](at), "price": float(price)} for at, price in zip(stamps, prices, strict=True)]
    held[3]["ts"] = stamps[3].replace(tzinfo=None).isoformat()
    diff = investigated(tmp_path, "s.parquet", ["ts", "price"], held)
    (row,) = diff.table.to_pylist()
    assert row["source_id"] == "3"
    assert json.loads(row["detail"])["fields"]["ts"]["form"] == "zone lost"


@pytest.mark.parametrize("zone", [None, "UTC", "Mars/Phobos"])
@pytest.mark.parametrize("rows", [4, 400])
def test_a_time_stamp_beyond_the_years_of_python_is_compared_like_any_other(
    tmp_path: Path, rows: int, zone: str | None
) -> None:
    """PostgreSQL's infinity, the year 10000 and the year 0, in a zone that nobody knows too."""
    counts = [2**63 - 1, 253_402_300_800 * 10**6, -62_167_219_200 * 10**6, 0] * (rows // 4)
    stamps = pa.array(counts, pa.int64()).view(pa.timestamp("us", zone))
    table = pa.table(
        {
            "id": [str(n) for n in range(rows)],
            "body": ["t"] * rows,
            "until": stamps,
            "emb": fixed_vectors(VECTORS[:rows]),
        }
    )
    pq.write_table(table, tmp_path / "s.parquet")
    end = "Z" if zone else ""
    spelt = [
        "+294247-01-10T04:00:54.775807",
        "+010000-01-01 00:00",
        "0000-01-01T00:00:00.000",
        "1970-01-01T00:00:00",
    ]
    held = [{"until": spelt[n % 4] + end} for n in range(rows)]
    held[1]["until"] = "+010000-01-01T00:00:01" + end
    diff = investigated(tmp_path, "s.parquet", ["until"], held)
    assert [row["source_id"] for row in diff.table.to_pylist()] == ["1"]
