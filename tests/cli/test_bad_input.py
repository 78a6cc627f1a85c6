"""Unusable input on the command line: one line (what, where, what next), exit 2, nothing half-written, never a traceback."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecforensics.cli import main
from vecforensics.run_folder import RunFolder

CASE = """\
case: small
collections:
  items:
    source: {uri: items.jsonl, id: id, text: [body], metadata: [kind]}
    target: {uri: "parquet:target", collection: items}
    expected: {embedder: hashing-16}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [{"id": str(n), "body": f"text {n}", "kind": "a"} for n in range(3)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "case.yaml").write_text(CASE)
    (tmp_path / "target").mkdir()
    vectors = pa.array([[1.0] * 16] * 3, pa.list_(pa.float32(), 16))
    pq.write_table(
        pa.table({"id": ["0", "1", "2"], "vector": vectors}), tmp_path / "target" / "items.parquet"
    )
    return tmp_path


def case(folder: Path, old: str, new: str) -> None:
    assert old in CASE
    (folder / "case.yaml").write_text(CASE.replace(old, new))


def bomb(folder: Path) -> None:
    """A file of some 100 KB whose rows would unfold to 400 MB: one long text, referred to by a dictionary."""
    rows = 20_000
    table = pa.table(
        {
            "id": [str(n) for n in range(rows)],
            "body": pa.DictionaryArray.from_arrays([0] * rows, ["x" * 20_000]),
        }
    )
    pq.write_table(table, folder / "items.parquet")
    case(folder, "items.jsonl, id: id, text: [body], metadata: [kind]", "items.parquet, id: id, text: [body]")


def sqlite(path: Path) -> None:
    path.unlink(missing_ok=True)
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE items (id TEXT, body TEXT, kind TEXT)")
    database.commit()
    database.close()


def backup(folder: Path, rows: dict[str, list[Any]], columns: str) -> None:
    """A known-good store with these columns; `columns`: what the case file says of them."""
    pq.write_table(pa.table(rows), folder / "backup.parquet")
    case(folder, "embedder: hashing-16", f'uri: "parquet:backup.parquet", collection: items{columns}')


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no case file": (lambda f: (f / "case.yaml").unlink(), "there is no such case file"),
    "no source file": (lambda f: (f / "items.jsonl").unlink(), "there is no such file"),
    "no id column": (lambda f: case(f, "id: id,", "id: item_id,"), "no id column 'item_id'"),
    "an id twice": (lambda f: (f / "items.jsonl").write_text('{"id":1,"body":"x","kind":1}\n' * 2), "'1'"),
    "a broken line": (
        lambda f: (f / "items.jsonl").write_text('{"id":1,"body":"x","kind":1}\n{oops\n'),
        "line 2 is no JSON",
    ),
    "a null text": (
        lambda f: (f / "items.jsonl").write_text('{"id":1,"body":null,"kind":1}\n'),
        "'body' is null",
    ),
    "a Parquet bomb": (bomb, "decompression bomb"),
    "a case id that climbs": (lambda f: case(f, "case: small", "case: ../../etc"), "case.yaml:1"),
    "an unknown key": (lambda f: case(f, "expected:", "expectd:"), "unknown key 'collections.items.expectd'"),
    "an unknown scheme": (lambda f: case(f, "parquet:target", "ftp:target"), "unknown URI scheme 'ftp'"),
    "a store that has to be exported": (
        lambda f: case(f, "parquet:target", "qdrant:my-collection"),
        "Any other store is read through an export to Parquet: docs/export.md has the code for Chroma",
    ),
    "a source that is an SQLite database": (
        lambda f: (
            sqlite(f / "items.sqlite"),
            case(f, "items.jsonl", "items.sqlite"),
        ),
        'In the case file, and relative to it, write uri: "sqlite:///items.sqlite" and table: NAME',
    ),
    "a database with another ending": (
        lambda f: sqlite(f / "items.jsonl"),
        'write uri: "sqlite:///items.jsonl" and table: NAME',
    ),
    "a backup with other columns": (
        lambda f: backup(f, {"key": ["0"], "embedding": [[1.0] * 16]}, ""),
        "has no column 'id'. Set expected.id and expected.vector to one of: key, embedding",
    ),
    "a backup without vectors": (
        lambda f: backup(f, {"id": ["0"], "vector": ["none"]}, ""),
        "Set expected.vector to the column that holds the vectors",
    ),
    "a backup that is not there": (
        lambda f: case(f, "embedder: hashing-16", 'uri: "parquet:backup", collection: items'),
        "Check expected.uri in the case file",
    ),
    "a column of a backup that is none": (
        lambda f: case(f, "embedder: hashing-16", "embedder: hashing-16, vector: embedding"),
        "id and vector name the columns of a store, and go with uri",
    ),
    "an empty source": (lambda f: (f / "items.jsonl").write_text(""), "no records"),
    "no store": (lambda f: shutil.rmtree(f / "target"), "there is no such file or folder"),
    "no target": (lambda f: (f / "target" / "items.parquet").unlink(), "there is no 'items'.parquet"),
    "a misspelt collection": (
        lambda f: case(f, "collection: items", "collection: itmes"),
        "Check target.collection; collections there: items",
    ),
    "a parent that is no collection": (
        lambda f: case(f, "metadata: [kind]", "depends_on: {people: kind}"),
        "no collection 'people'",
    ),
    "two ways to expect": (lambda f: case(f, "hashing-16}", "hashing-16, column: v}"), "exactly one of"),
    "not YAML": (lambda f: (f / "case.yaml").write_text("case: [\n"), "case.yaml:"),
    "a key twice": (lambda f: (f / "case.yaml").write_text(CASE + "case: other\n"), "stands twice"),
}


@pytest.mark.parametrize("verb", ["collect", "diff", "investigate"])
@pytest.mark.parametrize("fault", BROKEN)
def test_one_line_exit_2_and_nothing_left(
    folder: Path, fault: str, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, message = BROKEN[fault]
    spoil(folder)
    assert main([verb, str(folder / "case.yaml"), "--out", str(folder / "reports")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("vecforensics: ")
    assert err.count("\n") == 1
    assert message in err
    assert not list((folder / "reports").glob("*/*")) if (folder / "reports").exists() else True


def test_the_columns_of_a_backup_may_have_other_names(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {"key": ["0", "1", "2"], "embedding": [[1.0] * 16] * 3}
    backup(folder, rows, ", id: key, vector: embedding")
    assert main(["diff", str(folder / "case.yaml"), "--out", str(folder / "reports")]) != 2, (
        capsys.readouterr()
    )
    assert "3 contents checked" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "foo:bar"], "unknown URI scheme 'foo'. Known: lancedb:PATH, parquet:PATH"),
        (["--target", "qdrant:my-index"], "docs/export.md"),
        (["--target", "vectors"], "unknown URI scheme 'vectors'"),
        (["--source", "shop.sqlite"], 'write uri: "sqlite:///shop.sqlite" and table: NAME'),
        (["--source", "shop.xlsx"], "unknown format '.xlsx'. Known: .csv, .tsv"),
    ],
)
def test_init_refuses_what_no_case_could_use(
    folder: Path,
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    sqlite(folder / "shop.sqlite")
    (folder / "shop.xlsx").write_text("PK")
    assert main(["init", "mine", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "mine").exists()


def test_a_good_case_is_collected_and_the_last_line_is_the_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["collect", str(folder / "case.yaml"), "--out", str(folder / "reports")]) == 0
    run = RunFolder.open(capsys.readouterr().out.splitlines()[-1])
    assert run.done("collect")


def test_an_id_that_paints_the_terminal_is_shown_escaped(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = json.dumps({"id": "\x1b[31mred\u202e", "body": "x", "kind": 1})
    (folder / "items.jsonl").write_text(f"{row}\n{row}\n")
    assert main(["collect", str(folder / "case.yaml"), "--out", str(folder / "reports")]) == 2
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert "\u202e" not in err


def test_a_run_folder_that_is_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(folder)]) == 2
    assert "no run folder" in capsys.readouterr().err


def test_a_damaged_journal_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["collect", str(folder / "case.yaml"), "--out", str(folder / "reports")])
    run = RunFolder.open(capsys.readouterr().out.splitlines()[-1])
    run.run_json.write_text('{"format": 1, ')
    assert main(["diff", str(run.path)]) == 2
    assert "is damaged" in capsys.readouterr().err


def test_without_a_verb_the_help_is_printed_as_it_is_laid_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "\nCommands:\n  collect " in err
    assert "\\n" not in err


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("parquet:target", "qdrant:http://u:hunter2@host"),
        ("items.jsonl", "'postgresql://u:hunter2@db/x'"),
        ("{embedder: hashing-16}", "{uri: 'lancedb:s3://u:hunter2@bucket', collection: c}"),
    ],
)
def test_a_password_in_a_case_file_is_refused_and_not_shown(
    folder: Path, old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    case(folder, old, new)
    assert main(["diff", str(folder / "case.yaml"), "--out", str(folder / "reports")]) == 2
    err = capsys.readouterr().err
    assert "uri: a password stands in it" in err
    assert "env:NAME" in err
    assert "hunter2" not in err
    assert not (folder / "reports").exists()


def test_an_error_that_is_not_ours_shows_no_password(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("cannot connect to https://u:hunter2@host")

    monkeypatch.setattr("vecforensics.cli.cli.main", lambda *_, **__: broken())
    assert main(["diff", str(folder / "case.yaml")]) == 2
    assert "https://…@host" in capsys.readouterr().err


def test_a_race_in_a_file_that_is_no_program(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "rows.csv").write_text("id\n1\n")
    assert main(["race", str(folder / "rows.csv")]) == 2
    assert "a migration or embedder is a .py file" in capsys.readouterr().err


def test_an_unknown_verb_and_a_missing_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["frobnicate"]) == 2
    assert main(["collect"]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_a_reader_that_closes_the_pipe_does_not_change_the_exit_code(folder: Path) -> None:
    """`vecforensics … | head -1`: exit 1 means corrupt, and a closed pipe is no corruption."""
    read, write = os.pipe()
    os.close(read)
    command = [
        sys.executable,
        "-m",
        "vecforensics",
        "collect",
        str(folder / "case.yaml"),
        "--out",
        str(folder / "reports"),
    ]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
