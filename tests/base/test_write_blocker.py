"""The write blocker: what collect, diff and reproduce hold has nothing that changes a store, by type and at run time."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from vecforensics.case import Target
from vecforensics.stores import VectorReader, VectorWriter, open_reader, open_writer

KINDS = ["lancedb:store", "parquet:store"]
CHANGING = {"create", "upsert", "append", "delete", "restore", "optimize", "drop"}


def public(thing: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(thing, inspect.isfunction) if not name.startswith("_")}


def test_what_a_writer_adds_is_what_changes_something() -> None:
    assert public(VectorReader) & CHANGING == set()
    assert {"create", "upsert", "delete"} <= public(VectorWriter) - public(VectorReader)


@pytest.mark.parametrize("uri", KINDS)
def test_a_reader_has_no_method_that_writes(tmp_path: Path, uri: str) -> None:
    target = Target(uri=uri, collection="c")
    open_writer(target, tmp_path).create("c", 3)
    reader = open_reader(target, tmp_path)

    assert not isinstance(reader, VectorWriter)
    assert public(type(reader)) & CHANGING == set()
    assert "no write method" in reader.write_blocked()


@pytest.mark.parametrize("uri", KINDS)
def test_reading_changes_no_byte_of_the_store(tmp_path: Path, uri: str) -> None:
    target = Target(uri=uri, collection="c")
    open_writer(target, tmp_path).create("c", 3)
    before = {p: p.read_bytes() for p in sorted((tmp_path / "store").rglob("*")) if p.is_file()}
    reader = open_reader(target, tmp_path)
    (
        reader.collections(),
        reader.describe("c"),
        list(reader.scan("c")),
        reader.fetch("c", ["x"]),
        reader.freshness("c"),
    )

    assert {p: p.read_bytes() for p in sorted((tmp_path / "store").rglob("*")) if p.is_file()} == before


def test_the_type_checker_refuses_a_write_through_a_reader(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from pathlib import Path\n"
        "from vecforensics.case import Target\n"
        "from vecforensics.stores import open_reader\n"
        "reader = open_reader(Target(uri='lancedb:x', collection='c'), Path())\n"
        "reader.delete('c', ['1'])\n"
    )
    lib = Path(inspect.getfile(VectorReader)).parents[2]
    # As `make test` has just checked the library, so that its cache holds.
    command = [sys.executable, "-m", "mypy", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=lib.parent)

    assert done.returncode == 1
    assert 'program.py:5: error: "VectorReader" has no attribute "delete"' in done.stdout
