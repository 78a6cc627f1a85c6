"""Ten records with real 1,536-dimensional text-embedding-ada-002 vectors, expected by column."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from real_cases import begun, needs

from vecforensics.arrow_columns import fixed_vectors
from vecforensics.case import Target
from vecforensics.findings import Verdict
from vecforensics.investigation import Investigation
from vecforensics.stores import open_writer


def case(folder: Path, vectors: np.ndarray) -> Investigation:
    data = needs("jeopardy_ada002.json")
    file = folder / "case.yaml"
    file.write_text(f"""\
case: jeopardy
collections:
  questions:
    source: {{uri: "{data}", id: Question, text: [Question, Answer], metadata: [Category]}}
    target: {{uri: "lancedb:target", collection: questions}}
    expected: {{column: vector}}
""")
    rows = json.loads(data.read_text())
    writer = open_writer(Target(uri="lancedb:target", collection="questions"), folder)
    writer.create("questions", vectors.shape[1])
    metadata = [json.dumps({"Category": row["Category"]}) for row in rows]
    ids = [row["Question"] for row in rows]
    writer.upsert("questions", pa.table({"id": ids, "vector": fixed_vectors(vectors), "metadata": metadata}))
    return begun(file)


@pytest.fixture
def vectors() -> np.ndarray:
    rows = json.loads(needs("jeopardy_ada002.json").read_text())
    return np.array([row["vector"] for row in rows], np.float32)


def test_the_vectors_as_they_are_are_clean(tmp_path: Path, vectors: np.ndarray) -> None:
    found = case(tmp_path, vectors).diff()
    assert found.verdict is Verdict.CLEAN
    assert found.rows_checked == 10


def test_two_swapped_vectors_are_named_and_the_rest_is_fine(tmp_path: Path, vectors: np.ndarray) -> None:
    swapped = vectors.copy()
    swapped[[2, 7]] = swapped[[7, 2]]
    found = case(tmp_path, swapped).diff()
    ids = [row["Question"] for row in json.loads(needs("jeopardy_ada002.json").read_text())]
    pairs = {(row["source_id"], row["partner_id"]) for row in found.of_kind("swapped").to_pylist()}
    assert pairs == {(ids[2], ids[7]), (ids[7], ids[2])}
    assert found.rows_corrupt == 2


def test_float16_copies_are_benign(tmp_path: Path, vectors: np.ndarray) -> None:
    found = case(tmp_path, vectors.astype(np.float16).astype(np.float32)).diff()
    assert found.verdict is Verdict.CLEAN
    assert found.counts["quantised"] > 0
