"""NaN, an infinity and -0.0 in metadata: a repair writes the numbers that they are, and what stands there then is in order."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from vecforensics.arrow_columns import fixed_vectors
from vecforensics.case import load_case
from vecforensics.findings import Verdict
from vecforensics.investigation import Investigation
from vecforensics.run_folder import RunFolder

VECTORS = np.random.default_rng(7).normal(size=(12, 8)).astype(np.float32)
SCORES = [math.nan, math.inf, -0.0, 0.5] * 3


def begun(folder: Path) -> Investigation:
    case = {
        "case": "numbers",
        "collections": {
            "c": {
                "source": {"uri": "s.parquet", "id": "id", "text": ["id"], "metadata": ["score"]},
                "target": {"uri": "parquet:t", "collection": "c"},
                "expected": {"column": "emb"},
            }
        },
    }
    (folder / "case.yaml").write_text(yaml.safe_dump(case))
    one = load_case(folder / "case.yaml")
    return Investigation(one, RunFolder.begin(folder / "case.yaml", one, folder / "reports"))


@pytest.mark.parametrize("spread", [False, True])
def test_what_became_text_or_null_is_mended_to_the_number_that_it_was(tmp_path: Path, spread: bool) -> None:
    ids = [f"u{n}" for n in range(12)]
    source = {"id": ids, "score": pa.array(SCORES, pa.float64()), "emb": fixed_vectors(VECTORS)}
    pq.write_table(pa.table(source), tmp_path / "s.parquet")
    held: list[Any] = list(SCORES)
    held[0], held[1] = (None, None) if spread else ("NaN", None)
    held[2] = 0.0
    metadata = (
        {"score": pa.array(held, pa.float64())}
        if spread
        else {"metadata": [json.dumps({"score": one}) for one in held]}
    )
    (tmp_path / "t").mkdir()
    target = {"id": ids, "vector": fixed_vectors(VECTORS), **metadata}
    pq.write_table(pa.table(target), tmp_path / "t" / "c.parquet")
    inv = begun(tmp_path)
    diff = inv.diff(impact=False)
    assert sorted(diff.of_kind("metadata_drift")["source_id"].to_pylist()) == ["u0", "u1"]
    assert inv.migrate("repair").verdict is Verdict.CLEAN
    table = pq.read_table(tmp_path / "t" / "c.parquet")
    rows = (
        table["score"].to_pylist()
        if spread
        else [json.loads(one)["score"] for one in table["metadata"].to_pylist()]
    )
    found = dict(zip(table["id"].to_pylist(), rows, strict=True))
    assert math.isnan(found["u0"])
    assert found["u1"] == math.inf
    assert begun(tmp_path).diff(impact=False).verdict is Verdict.CLEAN
