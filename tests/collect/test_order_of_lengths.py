"""Rows of two lengths in one column: which of them stand first decides nothing, neither with expected vectors nor without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecforensics.case import Target, load_case
from vecforensics.collect.freeze import EvidenceWriter
from vecforensics.diff import Diff, diff_vectors
from vecforensics.evidence import Evidence
from vecforensics.investigation import Investigation
from vecforensics.parquet_files import ParquetRows
from vecforensics.records import source_schema
from vecforensics.run_folder import RunFolder
from vecforensics.stores import Columns, open_reader
from vecforensics.stores.shape import as_target_batch

ROWS, SHORT, LENGTH = 3_000, 1_300, 8
IDS = [f"id-{n:05d}" for n in range(ROWS)]
VECTORS = np.random.default_rng(3).normal(size=(ROWS, LENGTH)).astype(np.float32)
RIGHT: list[list[float] | None] = VECTORS.tolist()
CUT: list[list[float] | None] = [row[: LENGTH // 2] for row in VECTORS[:SHORT].tolist()] + RIGHT[SHORT:]
CASE = """\
case: lengths
collections:
  things:
    source: {uri: things.parquet, id: id, text: [text]}
    target: {uri: "parquet:target", collection: things}
    EXPECTED
settle_s: 0
"""
COLUMN = "expected: {column: vector}"
BACKUP = 'expected: {uri: "parquet:backup", collection: things}'


def dump(path: Path, rows: list[list[float] | None], order: list[int] | None = None, **how: int) -> None:
    """A Parquet file of `rows` in the `order`, as they are if there is none."""
    at = order if order is not None else list(range(len(rows)))
    path.parent.mkdir(exist_ok=True, parents=True)
    vectors = pa.array([rows[n] for n in at], pa.list_(pa.float32()))
    pq.write_table(pa.table({"id": [IDS[n] for n in at], "vector": vectors}), path, **how)


def compared(folder: Path, target: list[int], *, expected: str, backup: list[int] | None = None) -> Diff:
    """The diff of a target that was cut, its rows in the order `target`, or of a right one and a backup that was cut."""
    source = {"id": IDS, "text": IDS, "vector": pa.array(RIGHT, pa.list_(pa.float32()))}
    if expected != COLUMN:
        del source["vector"]
    pq.write_table(pa.table(source), folder / "things.parquet")
    dump(folder / "target" / "things.parquet", CUT if backup is None else RIGHT, target)
    if backup is not None:
        dump(folder / "backup" / "things.parquet", CUT, backup)
    (folder / "case.yaml").write_text(CASE.replace("EXPECTED", expected))
    case = load_case(folder / "case.yaml")
    run = RunFolder.begin(folder / "case.yaml", case, folder / "reports")
    Investigation(case, run).collect()
    return diff_vectors(case, run, workers=1, impact=False)


FIRST, LAST = list(range(ROWS)), list(range(ROWS))[::-1]


@pytest.mark.parametrize("order", [FIRST, LAST], ids=["short rows first", "short rows last"])
@pytest.mark.parametrize("expected", [COLUMN, ""], ids=["expected", "nothing expected"])
def test_only_rows_of_another_length_have_the_wrong_dimension(
    tmp_path: Path, order: list[int], expected: str
) -> None:
    diff = compared(tmp_path, order, expected=expected)
    assert diff.counts["wrong_dimension"] == diff.rows_corrupt == SHORT
    assert diff.collections["things"].dimension == LENGTH


@pytest.mark.parametrize("order", [FIRST, LAST], ids=["short rows first", "short rows last"])
def test_a_backup_expects_the_length_that_most_of_its_vectors_have(tmp_path: Path, order: list[int]) -> None:
    diff = compared(tmp_path, FIRST, expected=BACKUP, backup=order)
    assert (diff.counts["wrong_dimension"], diff.rows_checked) == (0, ROWS - SHORT)


@pytest.mark.parametrize("usual", [LENGTH // 2, 0])
def test_a_target_whose_usual_length_is_wrong_is_frozen_as_if_it_were_right(
    tmp_path: Path, usual: int
) -> None:
    odd: list[list[float | None] | None] = [
        None,
        [],
        [float("nan")] * LENGTH,
        [1.0, None, *[0.0] * (LENGTH - 2)],
    ]
    rows = [*RIGHT[:5], *CUT[:9], *odd]
    right, other = frozen(tmp_path / "right", rows, LENGTH), frozen(tmp_path / "other", rows, usual)
    assert right.collection("things").digests == other.collection("things").digests
    assert target_of(right) == target_of(other)


def frozen(folder: Path, rows: list[list[float] | None], usual: int) -> Evidence:
    """A target with `rows`, whose store takes `usual` for their length; `LENGTH` is expected."""
    target = pa.table({"id": IDS[: len(rows)], "vector": pa.array(rows, pa.list_(pa.float32()))})
    source = pa.RecordBatch.from_pylist(
        [{"id": IDS[0], "text": "", "metadata": "{}", "vector": RIGHT[0]}], schema=source_schema([], LENGTH)
    )
    with EvidenceWriter(folder, buckets=1) as writer:
        writer.source("things", [source], expected="column vector")
        writer.target("things", [as_target_batch(target, Columns(), usual, where="here")])
        return writer.finish()


def target_of(evidence: Evidence) -> str:
    """All that is frozen of the target, NaN equal to NaN."""
    return repr(evidence.bucket("things", 0).target.to_pylist())


def described(path: Path) -> int:
    """The dimension that a store of one file says."""
    return (
        open_reader(Target(uri=f"parquet:{path}", collection="things"), path.parent)
        .describe("things")
        .dimension
    )


@pytest.mark.parametrize("row_group_size", [ROWS, 500])
@pytest.mark.parametrize("order", [FIRST, LAST])
def test_a_store_has_the_length_of_most_of_its_rows(
    tmp_path: Path, order: list[int], row_group_size: int
) -> None:
    dump(tmp_path / "things.parquet", CUT, order, row_group_size=row_group_size)
    assert described(tmp_path / "things.parquet") == LENGTH


@pytest.mark.parametrize("order", [FIRST, LAST])
def test_of_lengths_that_are_equally_many_the_shorter_is_the_usual_one(
    tmp_path: Path, order: list[int]
) -> None:
    half = [row[:4] for row in VECTORS[: ROWS // 2].tolist()] + RIGHT[ROWS // 2 :]
    dump(tmp_path / "things.parquet", half, order)
    assert described(tmp_path / "things.parquet") == LENGTH // 2


@pytest.mark.parametrize("order", [FIRST, LAST])
@pytest.mark.parametrize("write_statistics", [True, False])
def test_rows_without_a_vector_have_no_say(tmp_path: Path, order: list[int], write_statistics: bool) -> None:
    few: list[list[float] | None] = [None if n % 2 else [] for n in range(ROWS - 9)] + RIGHT[ROWS - 9 :]
    dump(tmp_path / "things.parquet", few, order, write_statistics=write_statistics)
    assert described(tmp_path / "things.parquet") == LENGTH
    dump(tmp_path / "none.parquet", few[: ROWS - 9], write_statistics=write_statistics)
    assert described(tmp_path / "none.parquet") == 0


def test_a_store_whose_file_is_written_anew_says_the_new_length(tmp_path: Path) -> None:
    path = tmp_path / "things.parquet"
    dump(path, RIGHT)
    reader = open_reader(Target(uri=f"parquet:{path}", collection="things"), tmp_path)
    assert reader.describe("things").dimension == LENGTH
    path.unlink()
    dump(path, [row[:3] for row in VECTORS.tolist()])
    assert reader.describe("things").dimension == 3


@pytest.mark.parametrize("wrong", [0, 40])
def test_where_nearly_all_rows_have_one_length_no_row_is_read_for_it_but_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: int
) -> None:
    dump(tmp_path / "things.parquet", RIGHT[wrong:] + CUT[:wrong])

    def never(*_: object) -> None:
        raise AssertionError("rows were read")

    monkeypatch.setattr(ParquetRows, "batches", never)
    assert described(tmp_path / "things.parquet") == LENGTH
