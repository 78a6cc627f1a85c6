"""A CSV has no types: a repair writes its cells in the types in which the target holds the others."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from vecforensics.arrow_columns import fixed_vectors
from vecforensics.case import load_case
from vecforensics.findings import Verdict
from vecforensics.investigation import Investigation
from vecforensics.metadata_rule import MetadataRule
from vecforensics.migrate.cells import Cells
from vecforensics.records import FieldType
from vecforensics.run_folder import RunFolder

VECTORS = np.random.default_rng(6).normal(size=(40, 8)).astype(np.float32)
TYPED: list[dict[str, Any]] = [
    {"age": n, "score": n / 4, "active": n % 2 == 0, "zip": f"{n:05d}", "note": None if n % 3 else "x"}
    for n in range(40)
]
FIELDS = list(TYPED[0])


def begun(folder: Path, store: str, held: list[dict[str, Any]]) -> Investigation:
    """A CSV of 40 records, of which the target lacks the last and holds another vector under the first."""
    with (folder / "s.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["id", "body", *FIELDS, "emb"])
        for n, row in enumerate(TYPED):
            cells = [str(row[one]).lower() if one == "active" else row[one] for one in FIELDS]
            out.writerow([n, f"text {n}", *cells, json.dumps(VECTORS[n].tolist())])
    ids = [str(n) for n in range(39)]
    vectors = np.r_[-VECTORS[:1], VECTORS[1:39]]
    (folder / "t").mkdir()
    if store == "parquet":
        columns = {"id": ids, "vector": fixed_vectors(vectors), "metadata": [json.dumps(row) for row in held]}
        pq.write_table(pa.table(columns), folder / "t" / "c.parquet")
    else:
        spread = {name: [row[name] for row in held] for name in FIELDS}
        lancedb.connect(folder / "t").create_table(
            "c", pa.table({"id": ids, "vector": fixed_vectors(vectors), **spread})
        )
    case = {
        "case": "cells",
        "collections": {
            "c": {
                "source": {"uri": "s.csv", "id": "id", "text": ["body"], "metadata": FIELDS},
                "target": {"uri": f"{store}:t", "collection": "c"},
                "expected": {"column": "emb"},
            }
        },
    }
    (folder / "case.yaml").write_text(yaml.safe_dump(case))
    one = load_case(folder / "case.yaml")
    return Investigation(one, RunFolder.begin(folder / "case.yaml", one, folder / "reports"))


def standing(folder: Path, store: str) -> dict[str, Any]:
    if store == "parquet":
        table = pq.read_table(folder / "t" / "c.parquet")
        rows = map(json.loads, table["metadata"].to_pylist())
    else:
        table = lancedb.connect(folder / "t").open_table("c").to_arrow()
        rows = iter(table.select(FIELDS).to_pylist())
    return dict(zip(table["id"].to_pylist(), rows, strict=True))


@pytest.mark.parametrize("store", ["parquet", "lancedb"])
def test_mended_rows_hold_the_types_of_all_others(tmp_path: Path, store: str) -> None:
    inv = begun(tmp_path, store, TYPED[:39])
    diff = inv.diff(impact=False)
    assert {kind for kind, count in diff.counts.items() if count} == {"missing", "drifted"}
    assert inv.migrate("repair").verdict is Verdict.CLEAN
    held = standing(tmp_path, store)
    assert [held[str(n)] for n in range(40)] == TYPED
    assert [repr(held[n]["age"]) for n in ("0", "39")] == ["0", "39"]


def test_where_the_target_holds_text_cells_stay_text(tmp_path: Path) -> None:
    texts = [
        row | {name: str(row[name]) for name in ("age", "score")}
        | {"active": str(row["active"]).lower(), "note": row["note"] or ""}
        for row in TYPED
    ]  # fmt: skip
    inv = begun(tmp_path, "parquet", texts[:39])
    inv.diff(impact=False)
    assert inv.migrate("repair").verdict is Verdict.CLEAN
    held = standing(tmp_path, "parquet")
    assert [held["0"], held["39"]] == [texts[0], texts[39]]


@pytest.mark.parametrize(
    ("cell", "held", "written"),
    [
        ("5", {"int": 9, "text": 1}, 5),
        ("5", {"float": 9}, 5.0),
        ("5.5", {"int": 9}, 5.5),
        ("007", {"int": 9}, "007"),
        ("x", {"int": 9}, "x"),
        ("1e999", {"float": 9}, "1e999"),
        ("9007199254740993", {"float": 9}, "9007199254740993"),
        ("1", {"bool": 9}, True),
        ("f", {"bool": 9}, False),
        ("no", {"bool": 9}, "no"),
        ('["a"]', {"structure": 2}, ["a"]),
        ("[", {"structure": 2}, "["),
        ("5", {"text": 9, "int": 3}, "5"),
        ("5", {"nothing": 9}, "5"),
        (None, {"empty": 2, "nothing": 1}, ""),
        ("", {"empty": 1, "nothing": 2}, None),
        (None, {}, None),
    ],
)
def test_a_cell_in_the_type_of_its_field(cell: str | None, held: dict[str, int], written: Any) -> None:
    cells = Cells(MetadataRule(types={"a": FieldType.UNTYPED}), {"a": Counter(held)})
    found = cells.typed({"a": cell, "b": "5"})
    assert repr(found) == repr({"a": written, "b": "5"})
