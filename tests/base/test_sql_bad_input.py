"""A database that cannot be used as the source: one line, exit 2, and neither user nor password in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sql_shop import database, one_line, shop

SHOP = ["CREATE TABLE items (id TEXT, body TEXT, raw, flag)", "CREATE VIEW shown AS SELECT * FROM items"]


FILL = "INSERT INTO items VALUES ('1', 'x', 1, 1), ({}, {}, {}, 1)"


BROKEN: dict[str, tuple[str, str, str]] = {
    "no table named": ("", "", "source.table is not given. Name one. Tables and views there: items, shown"),
    "no such table": ("", "table: itmes", "has no table 'itmes'. Tables and views there: items, shown"),
    "no such schema": ("", "table: other.items", "has no table 'other.items'. Tables and views there"),
    "no such column": (
        "",
        "table: items, metadata: [kind]",
        "no column 'kind'. Columns there: id, body, raw, flag",
    ),
    "a null id": (
        FILL.format("NULL", "'y'", "1"),
        "table: items, version: body",
        "the first row has null for an id. An id is text or a number",
    ),
    "an id of bytes": (
        FILL.format("x'00'", "'y'", "1"),
        "table: items",
        "'id' holds bytes. Leave the column out",
    ),
    "a null text": (
        FILL.format("'2'", "NULL", "1"),
        "table: items, text: [body]",
        "the row with the id '2': the text column 'body' is null. Fill it, or leave the column out",
    ),
    "metadata of bytes": (
        FILL.format("'2'", "'y'", "x'00'"),
        "table: shown, metadata: [raw]",
        "the row with the id '2': 'raw' holds bytes. Leave the column out, or read a view that spells them as text",
    ),
    "text that is not UTF-8": (
        FILL.format("'2'", "CAST(x'ff' AS TEXT)", "1"),
        "table: items, text: [body]",
        "breaks off behind the row with the id '1' (Could not decode to UTF-8",
    ),
    "an id twice": (FILL.format("'1'", "'y'", "1"), "table: items", "'1'"),
    "no rows": ("", "table: items", "there are no records in it"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_table_that_cannot_be_read(tmp_path: Path, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    fill, more, message = BROKEN[fault]
    database(tmp_path / "shop.sqlite", *SHOP, *filter(None, [fill]))
    assert message in one_line(shop(tmp_path, "sqlite:///shop.sqlite", more), capsys)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sqlite:///none.sqlite", "there is no such file. Check source.uri"),
        ("sqlite://", "names no SQLite file. Write sqlite:///PATH"),
        ("sqlite:///:memory:", "names no SQLite file"),
        ("sqlite:///shop.sqlite?mode=rw", "names no SQLite file"),
        ("sqlite:///case.yaml", "(file is not a database)"),
        (
            "oracle+oracledb://db.example/shop",
            "the driver oracledb is not installed. Install it: pip install 'oracledb'",
        ),
        (
            "mysql+pymysql://db.example/shop",
            "the driver pymysql is not installed. Install it: pip install 'PyMySQL'",
        ),
        ("mysql+aiomysql://db.example/shop", "aiomysql is an asynchronous driver"),
        ("mssql://db.example/shop?PWD=hunter2", "a password or key may stand behind the ? of source.uri"),
        ("postgresql://db.example:p0rt/shop", "is no database URL. Write DIALECT://HOST:PORT/NAME"),
        (
            "dbase://db.example/shop",
            "unknown URI scheme 'dbase'. Known: a path, file://PATH, or the SQLAlchemy URL",
        ),
    ],
)
def test_a_url_that_cannot_be_used(
    tmp_path: Path, uri: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    database(tmp_path / "shop.sqlite", *SHOP)
    said = one_line(shop(tmp_path, uri, "table: items"), capsys)
    assert message in said
    assert "hunter2" not in said
    assert not (tmp_path / "none.sqlite").exists()


@pytest.mark.parametrize(
    "uri",
    [
        "mysql+pymysql://alice:hunter2@db.example/shop",
        "mysql+pymysql://alice:hun@ter2@db.example/shop",
        "mysql+pymysql://ali/ce:hunter2@db.example/shop",
        "dbase://alice:hunter2@db.example/shop",
        "mssql://db.example/shop?UID=alice&PWD=hunter2",
    ],
)
def test_user_and_password_of_a_variable_are_in_no_message(
    tmp_path: Path, uri: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", uri)
    said = one_line(shop(tmp_path, "env:DATABASE_URL", "table: items"), capsys)
    assert not any(secret in said for secret in ("alice", "ali/ce", "hunter2", "ter2"))


def test_what_a_driver_says_is_shown_without_user_and_password() -> None:
    from sqlalchemy import create_engine

    from vecforensics.sources.databases import Database

    shown = Database(create_engine("sqlite://"), "db", ("bob", "hunter2 x", "hunter2%20x"))
    said = "user 'eve'@'10.0.0.1' and\n\tbob (not bobby) at bob:hunter2 x@db, hunter2%20x"
    assert shown.reason(OSError(said)) == "user … and … (not bobby) at …:…@db, …"
    assert len(shown.reason(OSError("x" * 9_999))) < 300


def test_without_sqlalchemy_the_extra_is_named_and_a_file_is_read_as_ever(tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text('{"id": 1}\n')
    (tmp_path / "bar.py").write_text(
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "from pathlib import Path\n"
        "from vecforensics.case import Source; from vecforensics.sources import open_source\n"
        "for uri in ('items.jsonl', 'sqlite:///shop.sqlite', 's3://bucket/x.csv'):\n"
        "    try: print(len(list(open_source(Source(uri=uri, id='id', table='items'), Path('.')).scan())))\n"
        "    except Exception as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "bar.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    one, two, three = done.stdout.splitlines()
    assert one == "1"
    assert (
        two == "a database as the source needs the extra [sql]. Install it: pip install 'vecforensics[sql]'"
    )
    assert three.startswith("s3://…: unknown URI scheme 's3'")


def test_sqlalchemy_is_not_imported_for_a_file(tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text('{"id": 1}\n')
    program = (
        "import sys; from pathlib import Path; import vecforensics.collect\n"
        "from vecforensics.case import Source; from vecforensics.sources import open_source\n"
        "list(open_source(Source(uri='items.jsonl', id='id'), Path('.')).scan())\n"
        "print('sqlalchemy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
