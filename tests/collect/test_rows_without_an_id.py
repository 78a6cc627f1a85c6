"""A target row whose id is null: the damage that is looked for, and one that no repair can reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from vecforensics.arrow_columns import fixed_vectors
from vecforensics.case import Target, load_case
from vecforensics.errors import SourceError, TargetError
from vecforensics.findings import Verdict
from vecforensics.investigation import Investigation
from vecforensics.run_folder import RunFolder
from vecforensics.stores import open_writer

IDS = [f"r{number}" for number in range(30)]
VECTORS = np.random.default_rng(5).normal(size=(30, 8)).astype(np.float32)
STORES = ["parquet", "lancedb"]


def rows(ids: list[Any], vectors: np.ndarray = VECTORS) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.string()), "vector": fixed_vectors(vectors)})


def fill(folder: Path, store: str, table: pa.Table) -> str:
    if store == "parquet":
        (folder / "t").mkdir()
        pq.write_table(table, folder / "t" / "c.parquet")
    else:
        lancedb.connect(folder / "t").create_table("c", table)
    return f"{store}:t"


def held(folder: Path, store: str) -> list[str | None]:
    table = (
        pq.read_table(folder / "t" / "c.parquet")
        if store == "parquet"
        else lancedb.connect(folder / "t").open_table("c").to_arrow()
    )
    return list(table["id"].to_pylist())


def begun(folder: Path, store: str, table: pa.Table, source: pa.Table | None = None, **more: Any) -> Investigation:  # fmt: skip
    source = source if source is not None else rows(IDS)
    named = source.append_column("body", pa.array([f"text {one}" for one in source["id"].to_pylist()]))
    pq.write_table(named, folder / "s.parquet")
    case = {
        "case": "nameless",
        "collections": {
            "c": {
                "source": {"uri": "s.parquet", "id": "id", "text": ["body"]},
                "target": {"uri": fill(folder, store, table), "collection": "c"},
                "expected": {"column": "vector"},
            }
        },
        **more,
    }
    (folder / "case.yaml").write_text(yaml.safe_dump(case))
    one = load_case(folder / "case.yaml")
    return Investigation(one, RunFolder.begin(folder / "case.yaml", one, folder / "reports"))


def found(inv: Investigation) -> list[tuple[str, str | None, str | None]]:
    return sorted(
        (row["kind"], row["source_id"], row["target_id"])
        for row in inv.diff(impact=False).table.to_pylist()
        if row["severity"] == "corrupt"
    )


@pytest.mark.parametrize("store", STORES)
def test_a_row_that_lost_its_id_is_a_mangled_one_and_a_note_says_how_many(tmp_path: Path, store: str) -> None:
    inv = begun(tmp_path, store, rows([None, *IDS[1:]]))
    assert found(inv) == [("mangled_id", "r0", "null")]
    assert inv.collect().collections["c"].notes == (
        "1 row has no id (null) in the target; it is shown under the id 'null', and must be removed by hand",
    )


@pytest.mark.parametrize("store", STORES)
def test_a_row_under_the_text_null_beside_it_is_another_row(tmp_path: Path, store: str) -> None:
    stranger = np.r_[VECTORS, -VECTORS[:2]]
    inv = begun(tmp_path, store, rows([*IDS, None, "null"], stranger))
    assert found(inv) == [("orphan", None, "null"), ("orphan", None, "null")]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("beside", [[], ["null"]], ids=["alone", "beside the text"])
def test_a_repair_mends_the_record_and_says_what_has_to_go_by_hand(
    tmp_path: Path, store: str, beside: list[str]
) -> None:
    table = rows([None, *IDS[1:], *beside], np.r_[VECTORS, -VECTORS[: len(beside)]])
    inv = begun(tmp_path, store, table)
    inv.diff(impact=False)
    plan = inv.migrate("plan")
    assert dict(plan.planned["c"]) == {"upsert": 1, "delete": 0, "quarantine": 1}
    assert "remove it by hand" in str(plan)
    outcome = inv.migrate("repair")
    assert "remove it by hand" in str(outcome)
    assert outcome.verdict is Verdict.CORRUPT
    assert sorted(held(tmp_path, store), key=str) == sorted([None, *IDS, *beside], key=str)


@pytest.mark.parametrize("store", STORES)
def test_a_record_whose_own_id_is_null_is_not_told_from_a_row_without_one(tmp_path: Path, store: str) -> None:
    inv = begun(tmp_path, store, rows([None, *IDS[1:]]), source=rows(["null", *IDS[1:]]))
    assert inv.diff(impact=False).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("store", STORES)
def test_a_second_look_cannot_ask_for_it_and_does_not_take_it_for_gone(tmp_path: Path, store: str) -> None:
    inv = begun(tmp_path, store, rows([*IDS, None], np.r_[VECTORS, -VECTORS[:1]]), settle_s=3600)
    assert ("orphan", None, "null") in found(inv)


@pytest.mark.parametrize("store", STORES)
def test_what_stands_under_the_text_null_is_all_that_a_store_finds_there(tmp_path: Path, store: str) -> None:
    uri = fill(tmp_path, store, rows([None, "null", "a"], VECTORS[:3]))
    writer = open_writer(Target(uri=uri, collection="c"), tmp_path)
    assert writer.describe("c").without_id == 1
    assert writer.fetch("c", ["null", "a"])["id"].to_pylist() == ["null", "a"]
    assert writer.preimage("c", ["null"])["id"].to_pylist() == ["null"]
    writer.delete("c", ["null"])
    assert held(tmp_path, store) == [None, "a"]


@pytest.mark.parametrize("store", STORES)
def test_a_column_without_any_id_is_the_wrong_column(tmp_path: Path, store: str) -> None:
    inv = begun(tmp_path, store, rows([None] * 30))
    with pytest.raises(TargetError, match="none of 30 rows has an id"):
        inv.collect()


def test_a_source_without_an_id_is_refused_as_ever(tmp_path: Path) -> None:
    inv = begun(tmp_path, "parquet", rows(IDS), source=rows([None, *IDS[1:]]))
    with pytest.raises(SourceError, match="has no id"):
        inv.collect()


def test_nulls_are_counted_where_the_footer_does_not_say(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    pq.write_table(rows([None, *IDS[1:]]), tmp_path / "t" / "c.parquet", write_statistics=False)
    writer = open_writer(Target(uri="parquet:t", collection="c"), tmp_path)
    assert writer.describe("c").without_id == 1
