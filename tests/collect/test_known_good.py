"""A backup that is not as good as its name: one id over several vectors, vectors of another length, rows without an id."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecforensics.case import Target, load_case
from vecforensics.collect import known_good
from vecforensics.diff import Diff, diff_vectors
from vecforensics.findings import Verdict
from vecforensics.investigation import Investigation
from vecforensics.run_folder import RunFolder
from vecforensics.stores import open_reader

IDS = [f"d{n}" for n in range(40)]
VECTORS = np.random.default_rng(5).normal(size=(len(IDS), 6)).astype(np.float32)
Row = tuple[str | None, Sequence[float] | None]
RIGHT: list[Row] = list(zip(IDS, VECTORS.tolist(), strict=True))
CASE = """\
case: backup
collections:
  docs:
    source: {uri: docs.jsonl, id: id, text: [body]}
    target: {uri: "parquet:target", collection: docs}
    expected: {uri: "parquet:backup", collection: docs}
settle_s: 0
"""


def store(path: Path, rows: Sequence[Row]) -> None:
    path.parent.mkdir(exist_ok=True)
    ids, vectors = zip(*rows, strict=True)
    table = {"id": pa.array(ids, pa.string()), "vector": pa.array(vectors, pa.list_(pa.float32()))}
    pq.write_table(pa.table(table), path)


def compared(folder: Path, backup: Sequence[Row], target: Sequence[Row] = RIGHT) -> Diff:
    (folder / "docs.jsonl").write_text(
        "".join(json.dumps({"id": one, "body": f"text {one}"}) + "\n" for one in IDS)
    )
    store(folder / "target" / "docs.parquet", target)
    store(folder / "backup" / "docs.parquet", backup)
    (folder / "case.yaml").write_text(CASE)
    case = load_case(folder / "case.yaml")
    run = RunFolder.begin(folder / "case.yaml", case, folder / "reports")
    Investigation(case, run).collect()
    diff = diff_vectors(case, run, workers=1, impact=False)
    # Whoever reads only the terminal, or only the file, is told as well.
    written = json.loads((run.path / "findings.json").read_text())["collections"]["docs"]["notes"]
    assert written == list(diff.collections["docs"].notes)
    assert all(note in str(diff) for note in written)
    return diff


def known(folder: Path, backup: Sequence[Row]) -> known_good.KnownGood:
    store(folder / "backup" / "docs.parquet", backup)
    uri = "parquet:backup"
    return known_good.KnownGood(open_reader(Target(uri=uri, collection="docs"), folder), "docs")


SWAPPED = [(one, VECTORS[8].tolist()) if one == "d7" else (one, vector) for one, vector in RIGHT]


@pytest.mark.parametrize("target", [RIGHT, SWAPPED], ids=["right target", "wrong target"])
@pytest.mark.parametrize("first", [True, False], ids=["wrong one first", "wrong one last"])
def test_an_id_over_two_vectors_has_none_that_is_expected(
    tmp_path: Path, target: list[Row], first: bool
) -> None:
    again: list[Row] = [("d7", VECTORS[8].tolist())]
    diff = compared(tmp_path, again + RIGHT if first else RIGHT + again, target)
    assert (diff.verdict, diff.rows_checked, diff.counts["unchecked"]) == (Verdict.UNKNOWN, len(IDS) - 1, 1)
    [note] = diff.collections["docs"].notes
    assert note == (
        "parquet:backup: 1 id of 'docs' stands over vectors that differ, and none of them is expected; leave only the right one "
        "there"
    )


def test_copies_that_are_equal_in_bytes_are_as_good_as_one(tmp_path: Path) -> None:
    diff = compared(tmp_path, RIGHT + RIGHT[3:9])
    assert (diff.verdict, diff.rows_checked, diff.collections["docs"].notes) == (Verdict.CLEAN, len(IDS), ())


@pytest.mark.parametrize("empty", [None, []], ids=["null", "empty"])
@pytest.mark.parametrize("first", [True, False], ids=["it first", "it last"])
def test_a_row_without_a_vector_does_not_hide_the_one_that_has_it(
    tmp_path: Path, empty: list[float] | None, first: bool
) -> None:
    again: list[Row] = [("d7", empty)]
    diff = compared(tmp_path, again + RIGHT if first else RIGHT + again)
    assert (diff.verdict, diff.rows_checked, diff.collections["docs"].notes) == (Verdict.CLEAN, len(IDS), ())


@pytest.mark.parametrize("first", [True, False], ids=["it first", "it last"])
def test_a_vector_of_another_length_is_another_vector(tmp_path: Path, first: bool) -> None:
    again: list[Row] = [("d7", VECTORS[7][:5].tolist())]
    diff = compared(tmp_path, again + RIGHT if first else RIGHT + again)
    assert (diff.rows_checked, diff.counts["unchecked"]) == (len(IDS) - 1, 1)
    [note] = diff.collections["docs"].notes
    assert "1 id of 'docs' stands over vectors that differ" in note


def test_vectors_of_another_length_than_most_are_counted(tmp_path: Path) -> None:
    diff = compared(tmp_path, [*((one, vector[:5]) for one, vector in RIGHT[:9] if vector), *RIGHT[9:]])
    assert (diff.rows_checked, diff.counts["wrong_dimension"]) == (len(IDS) - 9, 0)
    [note] = diff.collections["docs"].notes
    assert note == (
        "parquet:backup: 9 vectors of 'docs' have another length than most, 6: not expected of any record"
    )


@pytest.mark.parametrize("together", [1, 5, 1_000])
@pytest.mark.parametrize("alike", [True, False], ids=["one hash for all", "a hash each"])
def test_all_ids_that_differ_are_found_whatever_is_looked_at_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int, alike: bool
) -> None:
    monkeypatch.setattr(known_good, "_TOGETHER", together)
    if alike:
        monkeypatch.setattr(known_good, "hash_text", lambda ids: np.full(len(ids), 7, np.uint64))
    nan = [float("nan"), *[0.0] * 5]
    twice: list[Row] = [("nan", nan), ("nan", nan), ("zero", [0.0] * 6), ("zero", [0.0] * 5 + [-0.0])]
    swapped: list[Row] = [(IDS[n], VECTORS[n + 1].tolist()) for n in range(10, 20)]
    rows = RIGHT + twice + swapped + RIGHT
    order = np.random.default_rng(together).permutation(len(rows))
    with known(tmp_path, [rows[n] for n in order]) as good:
        found = good.vectors(pa.array([*IDS, "nan", "zero"])).to_pylist()
        [note] = good.notes
    assert [row is None for row in found] == [10 <= n < 20 or n == len(IDS) + 1 for n in range(len(IDS) + 2)]
    assert found[:10] + found[20:-2] == [VECTORS[n].tolist() for n in range(40) if not 10 <= n < 20]
    assert "11 ids of 'docs' stand over vectors that differ" in note


def test_rows_without_an_id_are_nobodys(tmp_path: Path) -> None:
    with known(tmp_path, [(None, VECTORS[0].tolist()), (None, VECTORS[1].tolist()), *RIGHT]) as good:
        assert good.vectors(pa.array(["null", "d3"])).to_pylist() == [None, VECTORS[3].tolist()]
        assert good.notes == ()


def test_a_record_whose_id_is_the_word_null_keeps_its_vector(tmp_path: Path) -> None:
    with known(tmp_path, [("null", VECTORS[0].tolist()), *RIGHT]) as good:
        assert good.vectors(pa.array(["null"])).to_pylist() == [VECTORS[0].tolist()]


def test_a_backup_without_a_single_vector_expects_none(tmp_path: Path) -> None:
    with known(tmp_path, [(one, None) for one in (*IDS, *IDS)]) as good:
        assert good.vectors(pa.array(["d3", "nowhere"])).null_count == 2
        assert good.notes == ()
