"""Metadata of another record: whose they are is said, and how far a run has moved."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from vecforensics.arrow_columns import fixed_vectors
from vecforensics.case import load_case
from vecforensics.diff import Diff
from vecforensics.investigation import Investigation
from vecforensics.run_folder import RunFolder

COUNT = 300
VECTORS = np.random.default_rng(8).normal(size=(COUNT, 8)).astype(np.float32)
METADATA = [{"name": f"n{n}", "age": n % 70} for n in range(COUNT)]


def investigated(folder: Path, held: list[Any], ending: str = ".parquet", metadata: Any = METADATA) -> Diff:
    ids = [str(n) for n in range(COUNT)]
    columns = {"id": ids, "body": [f"text {one}" for one in ids]}
    columns |= {name: [row[name] for row in metadata] for name in metadata[0]}
    if ending == ".parquet":
        table = pa.table({name: pa.array(values) for name, values in columns.items()})
        pq.write_table(table.append_column("emb", fixed_vectors(VECTORS)), folder / "s.parquet")
    else:
        with (folder / "s.csv").open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow([*columns, "emb"])
            out.writerows(zip(*columns.values(), map(json.dumps, VECTORS.tolist()), strict=True))
    texts = [json.dumps(row) for row in held]
    pq.write_table(
        pa.table({"id": ids, "vector": fixed_vectors(VECTORS), "metadata": texts}), folder / "t.parquet"
    )
    case = {
        "case": "whose",
        "collections": {
            "c": {
                "source": {"uri": f"s{ending}", "id": "id", "text": ["body"], "metadata": list(metadata[0])},
                "target": {"uri": "parquet:t.parquet", "collection": "c"},
                "expected": {"column": "emb"},
            }
        },
    }
    (folder / "case.yaml").write_text(yaml.safe_dump(case))
    one = load_case(folder / "case.yaml")
    run = RunFolder.begin(folder / "case.yaml", one, folder / "reports")
    return Investigation(one, run).diff(impact=False)


def said(diff: Diff) -> dict[str, tuple[str | None, dict[str, Any]]]:
    """Record → partner and what is said beside the fields."""
    found = {}
    for row in diff.of_kind("metadata_drift").to_pylist():
        detail = json.loads(row["detail"])
        del detail["fields"]
        found[row["source_id"]] = (row["partner_id"], detail)
    return found


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_every_record_has_its_neighbour_s_metadata(tmp_path: Path, ending: str) -> None:
    found = said(investigated(tmp_path, METADATA[1:] + METADATA[:1], ending))
    run = {"offset": 1, "run": COUNT, "begins_at": 0, "ends_at": COUNT - 1}
    assert found == {str(n): (str(n + 1), run) for n in range(COUNT - 1)} | {
        str(COUNT - 1): ("0", run | {"over_the_end": True})
    }


def test_two_that_were_exchanged_and_one_that_was_copied(tmp_path: Path) -> None:
    held = list(METADATA)
    held[5], held[9], held[20] = held[9], held[5], held[100]
    assert said(investigated(tmp_path, held)) == {
        "5": ("9", {"form": "pair"}),
        "9": ("5", {"form": "pair"}),
        "20": ("100", {"form": "copy"}),
    }


def test_what_several_records_have_is_nobody_s(tmp_path: Path) -> None:
    plans = [{"plan": ["free", "pro"][n % 2], "age": n % 70} for n in range(COUNT)]
    assert said(investigated(tmp_path, plans[1:] + plans[:1], metadata=plans))["0"] == (None, {})


def test_what_no_record_has_is_nobody_s(tmp_path: Path) -> None:
    held = [*METADATA[:7], {"name": "n8", "age": 7}, *METADATA[8:]]
    assert said(investigated(tmp_path, held)) == {"7": (None, {})}


def test_a_row_that_only_lost_types_is_its_own_record_s(tmp_path: Path) -> None:
    held = [{**row, "age": str(row["age"])} for row in METADATA]
    assert set(map(str, said(investigated(tmp_path, held)).values())) == {"(None, {})"}
