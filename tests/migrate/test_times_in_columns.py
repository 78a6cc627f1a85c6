"""A target with columns of times: a repair writes times there, and far ones that stand beside do not stop it."""

from __future__ import annotations

from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from vecforensics.arrow_columns import fixed_vectors
from vecforensics.case import load_case
from vecforensics.case_template import write_case_file
from vecforensics.findings import Verdict
from vecforensics.investigation import Investigation
from vecforensics.run_folder import RunFolder

VECTORS = np.random.default_rng(7).normal(size=(20, 8)).astype(np.float32)
IDS = [f"u{n}" for n in range(20)]
INFINITY = 2**63 - 1


def stamps(counts: list[int], zone: str | None = "UTC") -> pa.Array:
    return pa.array(counts, pa.int64()).view(pa.timestamp("us", zone))


def begun(folder: Path, store: str) -> Investigation:
    case = {
        "case": "times",
        "collections": {
            "c": {
                "source": {"uri": "s.parquet", "id": "id", "text": ["id"], "metadata": ["until", "day"]},
                "target": {"uri": f"{store}:t", "collection": "c"},
                "expected": {"column": "emb"},
            }
        },
    }  # fmt: skip
    (folder / "case.yaml").write_text(yaml.safe_dump(case))
    one = load_case(folder / "case.yaml")
    return Investigation(one, RunFolder.begin(folder / "case.yaml", one, folder / "reports"))


@pytest.mark.parametrize("store", ["lancedb", "parquet"])
def test_times_are_mended_in_their_columns(tmp_path: Path, store: str) -> None:
    days = pa.array([n * 400 for n in range(20)], pa.int32()).view(pa.date32())
    until = [n * 10**15 for n in range(19)] + [INFINITY]
    source = {"id": IDS, "until": stamps(until, "Europe/Berlin"), "day": days}
    pq.write_table(pa.table({**source, "emb": fixed_vectors(VECTORS)}), tmp_path / "s.parquet")
    held = [0, 7, *until[2:]]
    target = pa.table(
        {
            "id": IDS,
            "vector": fixed_vectors(np.r_[-VECTORS[:1], VECTORS[1:]]),
            "until": stamps(held),
            "day": days,
            # Not the case's, kept as it stands.
            "seen": stamps([INFINITY] * 20, None),
        }
    )
    (tmp_path / "t").mkdir()
    if store == "parquet":
        pq.write_table(target, tmp_path / "t" / "c.parquet")
    else:
        lancedb.connect(tmp_path / "t").create_table("c", target)
    inv = begun(tmp_path, store)
    diff = inv.diff(impact=False)
    assert diff.of_kind("metadata_drift")["source_id"].to_pylist() == ["u1"]
    assert inv.migrate("repair").verdict is Verdict.CLEAN
    rows = (
        pq.read_table(tmp_path / "t" / "c.parquet")
        if store == "parquet"
        else lancedb.connect(tmp_path / "t").open_table("c").to_arrow()
    )
    found = dict(zip(rows["id"].to_pylist(), rows["until"].cast(pa.int64()).to_pylist(), strict=True))
    assert found == dict(zip(IDS, until, strict=True))
    assert set(rows["seen"].cast(pa.int64()).to_pylist()) == {INFINITY}
    assert begun(tmp_path, store).diff(impact=False).verdict is Verdict.CLEAN


def test_a_case_file_is_begun_from_a_source_whose_first_time_is_far(tmp_path: Path) -> None:
    table = pa.table({"id": ["a"], "title": ["x"], "until": stamps([INFINITY])})
    pq.write_table(table, tmp_path / "s.parquet")
    written = write_case_file(tmp_path / "my", tmp_path / "s.parquet", "lancedb:t").read_text()
    assert "id, title, until" in written
