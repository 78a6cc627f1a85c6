"""SQLite databases, sources and cases over them, for the tests of databases as sources."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecforensics.case import Source
from vecforensics.cli import main
from vecforensics.errors import SourceError
from vecforensics.sources import open_source

__all__ = ["CASE", "database", "one_line", "refusal", "scanned", "shop"]

CASE = """\
case: shop
collections:
  items:
    source: {uri: "%s", id: id, %s}
    target: {uri: "parquet:target", collection: items}
"""


def database(path: Path, *statements: str, rows: tuple[str, Sequence[Sequence[Any]]] | None = None) -> Path:
    """An SQLite file; `rows`: an INSERT statement and what goes into it."""
    made = sqlite3.connect(path)
    for statement in statements:
        made.execute(statement)
    if rows is not None:
        made.executemany(*rows)
    made.commit()
    made.close()
    return path


def scanned(
    folder: Path, vector: str | None = None, batch_rows: int = 3, **source: Any
) -> list[dict[str, Any]]:
    wanted = Source(**{"uri": "sqlite:///shop.sqlite", "table": "items", "id": "id", **source})
    batches = list(open_source(wanted, folder, vector=vector).scan(batch_rows))
    return pa.Table.from_batches(batches).to_pylist()


def refusal(folder: Path, vector: str | None = None, **source: Any) -> str:
    with pytest.raises(SourceError) as refused:
        scanned(folder, vector, **source)
    assert "\n" not in str(refused.value)
    assert refused.value.hint
    return str(refused.value)


def shop(folder: Path, uri: str, more: str) -> Path:
    (folder / "target").mkdir(exist_ok=True)
    vectors = pa.array([[1.0] * 4] * 2, pa.list_(pa.float32(), 4))
    pq.write_table(pa.table({"id": ["1", "2"], "vector": vectors}), folder / "target" / "items.parquet")
    (folder / "case.yaml").write_text(CASE % (uri, more))
    return folder / "case.yaml"


def one_line(case: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What `collect` says of a case that it refuses: one line, exit 2, nothing left."""
    assert main(["collect", str(case), "--out", str(case.parent / "reports")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("vecforensics: ")
    assert err.count("\n") == 1
    assert not list((case.parent / "reports").glob("*/*")) if (case.parent / "reports").exists() else True
    return err
