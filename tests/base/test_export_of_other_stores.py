"""Stores that are read through an export: what the case file says of the store that an export comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecforensics.case import load_case
from vecforensics.errors import CaseError
from vecforensics.investigation import investigate

CASE = """\
case: exported
collections:
  items:
    source: {uri: items.jsonl, id: id, text: [body], metadata: [count, plan]}
    target: {uri: "parquet:export", collection: items%s}
    expected: {column: embedding}
"""


def exported_case(folder: Path, said: str) -> Path:
    """A record whose plan is null and whose count is whole, as Pinecone gives it back."""
    row = {"id": "a", "body": "text", "count": 3, "plan": None, "embedding": [1.0, 0.5]}
    (folder / "items.jsonl").write_text(json.dumps(row) + "\n")
    (folder / "export").mkdir(exist_ok=True)
    held = {"id": ["a"], "vector": [[1.0, 0.5]], "metadata": [json.dumps({"count": 3.0})]}
    pq.write_table(pa.table(held), folder / "export" / "items.parquet")
    (folder / "case.yaml").write_text(CASE % said)
    return folder / "case.yaml"


@pytest.mark.parametrize(
    ("said", "drifted"),
    [("", 1), (", exported_from: pinecone", 0), (", exported_from: chroma", 1)],  # Chroma keeps whole numbers
)
def test_what_the_exported_store_does_by_nature_is_no_finding_where_the_case_names_it(
    tmp_path: Path, said: str, drifted: int
) -> None:
    inv = investigate(exported_case(tmp_path, said), tmp_path / "reports")
    assert inv.diff().counts["metadata_drift"] == drifted


def test_a_store_that_is_no_export_cannot_come_from_another(tmp_path: Path) -> None:
    file = exported_case(tmp_path, ", exported_from: pinecone")
    file.write_text(file.read_text().replace("parquet:", "lancedb:"))
    with pytest.raises(CaseError, match=r"case.yaml:5.*exported_from is for an export, parquet:PATH"):
        load_case(file)


def test_a_store_without_habits_of_its_own_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="'chroma', 'milvus' or 'pinecone'"):
        load_case(exported_case(tmp_path, ", exported_from: pincone"))
