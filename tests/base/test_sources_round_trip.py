"""The same records through four formats: ids, texts and vectors come out as they went in, whatever they look like."""

from __future__ import annotations

import csv
import gzip
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vecforensics.case import Source
from vecforensics.sources import open_source

Rows = Sequence[dict[str, Any]]


def write_csv(path: Path, rows: Rows) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)


def write_json(path: Path, rows: Rows) -> None:
    path.write_text(json.dumps(list(rows)), encoding="utf-8")


def write_jsonl(path: Path, rows: Rows) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_parquet(path: Path, rows: Rows) -> None:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


WRITERS: dict[str, Callable[[Path, Rows], None]] = {
    ".csv": write_csv,
    ".json": write_json,
    ".jsonl": write_jsonl,
    ".parquet": write_parquet,
}
# What a conversion to numbers, a trim, a case fold or a quote would change.
ODD = [
    "1",
    "01",
    "1.0",
    "1e5",
    "nan",
    "NaN",
    "null",
    "None",
    "true",
    "",
    " ",
    " 1 ",
    "9007199254740993",
    "a,b",
    'a"b',
    "a'b",
]
ODD += [
    "a\nb",
    "a\r\nb",
    "\r",
    "é",
    "e\u0301",
    "ß",
    "日本",
    "🙂",
    "\u202e",
    "\x00",
    "\ufeff",
    "-0",
    "+1",
    "=1+1",
    "\\N",
    "#",
]
ids = st.lists(
    st.sampled_from(ODD) | st.text(st.characters(codec="utf-8"), max_size=12), min_size=1, max_size=8
)


def scanned(path: Path, source: Source, **more: Any) -> pa.Table:
    return pa.Table.from_batches(open_source(source, path.parent, **more).scan(batch_rows=3))


@pytest.mark.parametrize("ending", WRITERS)
@given(ids=ids)
@example(ids=ODD)
@settings(max_examples=30, deadline=None)
def test_text_ids_survive(ending: str, ids: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"records{ending}"
        rows = [{"key": one, "body": f"<{one}>", "parent": one} for one in ids]
        WRITERS[ending](path, rows)
        source = Source(uri=path.name, id="key", text=("body",), depends_on={"users": "parent"})
        table = scanned(path, source)

        assert table.column("id").to_pylist() == ids
        assert table.column("text").to_pylist() == [f"<{one}>" for one in ids]
        assert table.column("parent:users").to_pylist() == ids


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".parquet"])
@given(ids=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=6))
@example(ids=[2**53 + 1, -0, 2**63 - 1])
@settings(max_examples=20, deadline=None)
def test_whole_numbers_are_spelt_out_to_the_last_digit(ending: str, ids: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"records{ending}"
        WRITERS[ending](path, [{"key": one, "body": "x", "parent": one} for one in ids])
        source = Source(
            uri=path.name, id="key", text=("body",), version="parent", depends_on={"users": "parent"}
        )
        table = scanned(path, source)

        spelt = [str(one) for one in ids]
        assert table.column("id").to_pylist() == spelt
        assert table.column("parent:users").to_pylist() == spelt
        assert table.column("version").to_pylist() == spelt


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".parquet"])
def test_numbers_with_a_fraction_keep_their_spelling(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"records{ending}"
    WRITERS[ending](path, [{"key": 1.0, "body": "x"}, {"key": 0.1, "body": "y"}, {"key": 1e22, "body": "z"}])
    table = scanned(path, Source(uri=path.name, id="key", text=("body",)))

    assert table.column("id").to_pylist() == ["1.0", "0.1", "1e+22"]


@pytest.mark.parametrize("ending", WRITERS)
def test_the_same_records_give_the_same_table(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"records{ending}"
    rows = [{"key": f"r{n}", "a": f"one {n}", "b": "two", "tag": "t", "at": f"{n:03}"} for n in range(10)]
    WRITERS[ending](path, rows)
    source = Source(uri=path.name, id="key", text=("a", "b"), join=" | ", metadata=("tag",), version="at")
    table = scanned(path, source)

    assert table.column("text").to_pylist() == [f"one {n} | two" for n in range(10)]
    assert set(table.column("metadata").to_pylist()) == {'{"tag":"t"}'}
    assert table.column("version").to_pylist() == [f"{n:03}" for n in range(10)]
    assert [batch.num_rows for batch in open_source(source, tmp_path).scan(batch_rows=3)] == [3, 3, 3, 1]


@pytest.mark.parametrize("ending", WRITERS)
def test_expected_vectors_of_the_source(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"records{ending}"
    vectors = np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4)
    as_lists = [[float(x) for x in row] for row in vectors]
    rows = [{"key": str(n), "v": json.dumps(v) if ending == ".csv" else v} for n, v in enumerate(as_lists)]
    WRITERS[ending](path, rows)
    table = scanned(path, Source(uri=path.name, id="key"), vector="v")

    assert table.schema.field("vector").type == pa.list_(pa.float32(), 4)
    assert np.array_equal(np.array(table.column("vector").to_pylist(), np.float32), vectors)
    assert table.column("text").to_pylist() == [""] * 5


@pytest.mark.parametrize("ending", [".csv", ".json", ".jsonl"])
def test_gzipped_files_read_the_same(tmp_path: Path, ending: str) -> None:
    plain = tmp_path / f"records{ending}"
    WRITERS[ending](plain, [{"key": "01", "body": "x"}, {"key": "02", "body": "y"}])
    packed = tmp_path / f"packed{ending}.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))

    assert scanned(packed, Source(uri=packed.name, id="key", text=("body",))) == scanned(
        plain, Source(uri=plain.name, id="key", text=("body",))
    )


def test_tab_separated_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "records.tsv"
    path.write_bytes("\ufeffkey\tbody\n007\tx, y\n".encode())

    assert scanned(path, Source(uri=path.name, id="key", text=("body",))).column("id").to_pylist() == ["007"]


def test_dotted_paths_reach_into_objects_unless_a_key_holds_the_dots(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    write_jsonl(path, [{"user": {"id": 7}, "body": {"de": "hallo"}, "a.b": 1, "a": {"b": 2}}])
    table = scanned(path, Source(uri=path.name, id="user.id", text=("body.de",), metadata=("a.b",)))

    assert table.to_pylist() == [{"id": "7", "text": "hallo", "metadata": '{"a.b":1}', "version": None}]


def test_a_table_inside_a_json_object(tmp_path: Path) -> None:
    path = tmp_path / "dump.json"
    path.write_text('{"data": {"users": [{"id": 1}, {"id": 2}]}, "total": 2}')

    assert scanned(path, Source(uri=path.name, id="id", table="data.users")).column("id").to_pylist() == [
        "1",
        "2",
    ]


def test_metadata_keeps_its_types_where_the_format_has_types(tmp_path: Path) -> None:
    row = {
        "key": "1",
        "i": 1,
        "f": 1.0,
        "b": True,
        "t": "true",
        "n": None,
        "l": [1, "x"],
        "o": {"z": 1, "a": 2},
    }
    path = tmp_path / "records.jsonl"
    write_jsonl(path, [row])
    (kept,) = (
        scanned(path, Source(uri=path.name, id="key", metadata=tuple(list(row)[1:])))
        .column("metadata")
        .to_pylist()
    )

    assert kept == '{"b":true,"f":1.0,"i":1,"l":[1,"x"],"n":null,"o":{"a":2,"z":1},"t":"true"}'


def test_only_named_columns_are_read(tmp_path: Path) -> None:
    for ending, write in WRITERS.items():
        path = tmp_path / f"records{ending}"
        write(path, [{"key": "1", "body": "x", "password": "hunter2"}])
        shown = str(
            scanned(path, Source(uri=path.name, id="key", text=("body",), metadata=("body",))).to_pylist()
        )
        assert "hunter2" not in shown
        assert "'1'" in shown
