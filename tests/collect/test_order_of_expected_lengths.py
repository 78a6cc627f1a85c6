"""Vectors of two lengths, each in one stretch: which stands first decides nothing, neither in a source nor in LanceDB."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecforensics.case import Source, load_case
from vecforensics.diff import diff_vectors
from vecforensics.errors import SourceError
from vecforensics.investigation import Investigation
from vecforensics.run_folder import RunFolder
from vecforensics.sources import open_source
from vecforensics.stores import Columns
from vecforensics.stores.lancedb import LanceReader, LanceWriter
from vecforensics.stores.shape import as_target_batch

# More short rows than a batch of any reader holds.
ROWS, SHORT, LENGTH = 20_000, 8_500, 6
IDS = [f"id-{n:05d}" for n in range(ROWS)]
VECTORS = np.random.default_rng(5).normal(size=(ROWS, LENGTH)).astype(np.float32).round(3)
RIGHT: list[list[float] | None] = VECTORS.tolist()
CUT: list[list[float] | None] = [row[:2] for row in VECTORS[:SHORT].tolist()] + RIGHT[SHORT:]
BARE: list[list[float] | None] = [None if n % 2 else [] for n in range(SHORT)] + RIGHT[SHORT:]
LISTS = pa.list_(pa.float32())
# LanceDB itself refuses lists of several lengths only in a column called "vector".
COLUMNS = Columns(vector="lists")
KINDS = [".parquet", ".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".csv.gz"]
CASE = """\
case: lengths
collections:
  things:
    source: {uri: URI, id: id, text: [id]}
    target: {uri: "parquet:target", collection: things}
    expected: {column: vector}
settle_s: 0
"""


def written(path: Path, vectors: list[Any]) -> Path:
    """A source file in the format of its name; every cell of a CSV stands in quotes."""
    records = [{"id": one, "vector": vector} for one, vector in zip(IDS, vectors, strict=False)]
    match path.suffixes[0]:
        case ".parquet":
            pq.write_table(pa.table({"id": IDS[: len(vectors)], "vector": pa.array(vectors, LISTS)}), path)
            return path
        case ".jsonl":
            content = "".join(json.dumps(one) + "\n" for one in records)
        case ".json":
            content = json.dumps(records)
        case _:
            text = io.StringIO()
            rows = csv.writer(text, quoting=csv.QUOTE_ALL)
            rows.writerows([["id", "vector"], *([one["id"], json.dumps(one["vector"])] for one in records)])
            content = text.getvalue()
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    return path


def right_rows(path: Path) -> list[tuple[int, int]]:
    """Of each batch of a source: the length that it promises, and how many of its vectors have it."""
    reader = open_source(Source(uri=str(path), id="id", text=["id"]), path.parent, vector="vector")
    vectors = [batch["vector"] for batch in reader.scan()]
    return [(one.type.list_size, len(one) - one.null_count) for one in vectors]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("vectors", [CUT, CUT[::-1]], ids=["short rows first", "short rows last"])
def test_a_right_target_is_right_however_the_expected_rows_stand(
    tmp_path: Path, kind: str, vectors: list[list[float] | None]
) -> None:
    written(tmp_path / f"things{kind}", vectors)
    ours = RIGHT if vectors is CUT else RIGHT[::-1]
    (tmp_path / "target").mkdir()
    target = {"id": IDS, "vector": pa.array(ours, LISTS)}
    pq.write_table(pa.table(target), tmp_path / "target" / "things.parquet")
    (tmp_path / "case.yaml").write_text(CASE.replace("URI", f"things{kind}"))
    case = load_case(tmp_path / "case.yaml")
    run = RunFolder.begin(tmp_path / "case.yaml", case, tmp_path / "reports")
    Investigation(case, run).collect()
    diff = diff_vectors(case, run, workers=1, impact=False)
    assert (diff.counts["wrong_dimension"], diff.rows_checked) == (0, ROWS - SHORT)


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_batch_without_a_vector_has_no_say(tmp_path: Path, kind: str) -> None:
    found = right_rows(written(tmp_path / f"things{kind}", BARE))
    assert {length for length, _ in found} == {LENGTH}
    assert sum(rows for _, rows in found) == ROWS - SHORT


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [0, 1, 9])
def test_a_short_source_counts_all_that_it_has(tmp_path: Path, kind: str, rows: int) -> None:
    path = written(tmp_path / f"things{kind}", [[1.0], [2.0], None, [], *RIGHT[:5]][:rows])
    assert right_rows(path) == {0: [], 1: [(1, 1)], 9: [(LENGTH, 5)]}[rows]


@pytest.mark.parametrize("kind", [".jsonl", ".csv"])
def test_what_is_broken_far_behind_is_named_by_its_place(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path / f"things{kind}", CUT)
    with path.open("a") as file:
        file.write("{\n" if kind == ".jsonl" else '"a","[1]","more"\n')
    with pytest.raises(SourceError, match=f"{ROWS + 1}|after row"):
        right_rows(path)


def test_of_a_source_with_one_length_few_lines_are_decoded_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "things.jsonl", RIGHT)
    decoded, loads = [0], json.loads

    def counted(line: bytes) -> Any:
        decoded[0] += 1
        return loads(line)

    monkeypatch.setattr("vecforensics.sources.jsonl.json.loads", counted)
    assert sum(rows for _, rows in right_rows(path)) == ROWS
    assert decoded[0] < 1.02 * ROWS


def lance(folder: Path, vectors: list[list[float] | None], columns: Columns = COLUMNS) -> LanceReader:
    """A table `things` with lists of any length, over what stood there under that name."""
    import lancedb

    rows = pa.table({columns.id: IDS[: len(vectors)], columns.vector: pa.array(vectors, LISTS)})
    lancedb.connect(str(folder)).create_table("things", rows, mode="overwrite")
    return LanceReader(folder, columns)


@pytest.mark.parametrize("name", ["lists", "Vec tor", 'it\'s "one"', "array_length(x)"])
@pytest.mark.parametrize("vectors", [CUT, CUT[::-1], BARE], ids=["first", "last", "none first"])
def test_a_table_of_lists_has_the_length_of_most_of_its_rows(
    tmp_path: Path, vectors: list[list[float] | None], name: str
) -> None:
    reader = lance(tmp_path / "db", vectors, Columns(vector=name))
    assert reader.describe("things").dimension == LENGTH
    right = [batch["vector"] for batch in reader.scan("things")]
    assert sum(len(one) - one.null_count for one in right) == ROWS - SHORT
    assert reader.fetch("things", IDS[:1] + IDS[-1:])["vector"].type.list_size == LENGTH


def test_of_lengths_that_are_equally_many_in_a_table_the_shorter_is_the_usual_one(tmp_path: Path) -> None:
    half: list[list[float] | None] = [row[:2] for row in VECTORS[:3_000].tolist()]
    assert lance(tmp_path / "a", half + RIGHT[:3_000]).describe("things").dimension == 2
    assert lance(tmp_path / "b", RIGHT[:3_000] + half).describe("things").dimension == 2


def test_a_table_that_is_made_anew_says_the_new_length(tmp_path: Path) -> None:
    reader = lance(tmp_path / "db", CUT)
    assert reader.describe("things").dimension == LENGTH
    lance(tmp_path / "db", [[1.0, 2.0, 3.0]] * 9)
    assert reader.describe("things").dimension == reader.fetch("things", IDS)["vector"].type.list_size == 3


def test_a_writer_that_fetches_what_it_wrote_does_not_read_the_table_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lance(tmp_path / "db", RIGHT)
    writer = LanceWriter(tmp_path / "db", COLUMNS)
    assert writer.describe("things").dimension == LENGTH

    def never(*_: object) -> None:
        raise AssertionError("the column was read")

    monkeypatch.setattr("vecforensics.stores.lancedb.counted_length", never)
    rows = pa.table({"id": IDS[:9], "lists": pa.array(RIGHT[9:18], LISTS)})
    batch = as_target_batch(rows, COLUMNS, LENGTH, where="here")
    writer.upsert("things", pa.Table.from_batches([batch]))
    assert writer.fetch("things", IDS[:9])["vector"].type.list_size == LENGTH
