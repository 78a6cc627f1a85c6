"""A case file that names another model than the one that made the target: the diff asks about that before anything else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecforensics.arrow_columns import fixed_vectors
from vecforensics.case import load_case
from vecforensics.collect import collect
from vecforensics.diff import Diff, diff_vectors
from vecforensics.run_folder import RunFolder

ASKED = (
    "the target's vectors have 8 numbers and the expected ones 16: is the model behind `expected` in the case file (hashing-16) "
    "the one that made them?"
)
CASE = """\
case: OTHER-1
collections:
  things:
    source: {uri: things.jsonl, id: id, text: [name]}
    target: {uri: "parquet:target.parquet", collection: things}
"""


def compared(
    folder: Path, lengths: list[int], expected: str = "    expected: {embedder: hashing-16}\n"
) -> Diff:
    """The diff of a target whose n-th row holds so many numbers."""
    rows = "".join(json.dumps({"id": str(n), "name": f"thing {n}"}) + "\n" for n in range(len(lengths)))
    (folder / "things.jsonl").write_text(rows)
    vectors = pa.array([np.full(one, 0.5).tolist() for one in lengths], pa.list_(pa.float32()))
    if len(set(lengths)) == 1:
        vectors = fixed_vectors(np.full((len(lengths), lengths[0]), 0.5, np.float32))
    ids = [str(n) for n in range(len(lengths))]
    pq.write_table(pa.table({"id": ids, "vector": vectors}), folder / "target.parquet")
    (folder / "case.yaml").write_text(CASE + expected)
    case = load_case(folder / "case.yaml")
    run = RunFolder.begin(folder / "case.yaml", case, folder / "reports")
    collect(case, run)
    return diff_vectors(case, run)


@pytest.mark.parametrize("lengths", [[8] * 30, [8] * 20 + [16] * 10, [16] * 9 + [8] * 21])
def test_it_asks_for_the_model_where_most_vectors_have_another_length(
    tmp_path: Path, lengths: list[int]
) -> None:
    diff = compared(tmp_path, lengths)
    assert diff.collections["things"].notes[0] == ASKED
    assert ASKED in str(diff)
    written = json.loads((diff.path / "findings.json").read_text())
    assert written["collections"]["things"]["notes"][0] == ASKED


@pytest.mark.parametrize("lengths", [[16] * 30, [16] * 20 + [8] * 10])
def test_some_vectors_of_another_length_are_damage_and_no_question(
    tmp_path: Path, lengths: list[int]
) -> None:
    assert not any("numbers" in note for note in compared(tmp_path, lengths).collections["things"].notes)


def test_without_expected_vectors_there_is_nothing_to_ask(tmp_path: Path) -> None:
    assert not any("numbers" in note for note in compared(tmp_path, [8] * 30, "").collections["things"].notes)
