"""Targets in the columns of whoever made them: repaired in those columns, and put back to the last bit, types included."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from migration_faults import Faults
from migration_scene import CASE, DIMENSION, Scene

from vecforensics.diff import diff_vectors
from vecforensics.errors import ToolFailed
from vecforensics.findings import Verdict
from vecforensics.migrate import check_ledger

WITHOUT_METADATA = CASE.replace("metadata: [likes, pinned], ", "").replace("metadata: [plan], ", "")
COLLECTIONS = ("posts", "users")


def vectors(kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(1, "vector", table.column("vector").cast(kind))


def spread(table: pa.Table) -> pa.Table:
    """Metadata with a column for each field."""
    rows = [json.loads(text) for text in table.column("metadata").to_pylist()]
    return pa.table(
        {
            "id": table.column("id"),
            "vector": table.column("vector"),
            **{name: [row[name] for row in rows] for name in rows[0]},
        }
    )


def owned(table: pa.Table) -> pa.Table:
    """Columns of the owner's own around ours, one of them a dictionary, and a note of pandas on the schema."""
    numbers = pa.array(range(len(table)), pa.int32())
    shards = pa.array(["a", "b"] * len(table)).slice(0, len(table)).dictionary_encode()
    return (
        table.add_column(0, "made", numbers)
        .append_column("shard", shards.cast(pa.string()))
        .append_column("__index_level_0__", numbers)
        .replace_schema_metadata({"pandas": "{}", "owner": "somebody"})
    )


def strict(table: pa.Table) -> pa.Table:
    """Columns that hold no null, and texts of 64-bit length."""
    fields = [
        pa.field("id", pa.large_string(), nullable=False),
        pa.field("vector", table.schema.field("vector").type, nullable=False),
        pa.field("metadata", pa.large_string(), nullable=False),
    ]
    return table.cast(pa.schema(fields))


def whole_number_ids(table: pa.Table) -> pa.Table:
    return table.set_column(0, "id", table.column("id").cast(pa.int64()))


def without_metadata(table: pa.Table) -> pa.Table:
    return table.drop_columns(["metadata"])


SHAPES: dict[str, tuple[Callable[[pa.Table], pa.Table], str]] = {
    "no metadata column, none asked for": (without_metadata, WITHOUT_METADATA),
    "no metadata column, though asked for": (without_metadata, CASE),
    "metadata spread over columns": (spread, CASE),
    "columns of the owner": (owned, CASE),
    "strict columns": (strict, CASE),
    "whole numbers as ids": (whole_number_ids, CASE),
    "lists of any length": (vectors(pa.list_(pa.float32())), CASE),
    "doubles": (vectors(pa.list_(pa.float64(), DIMENSION)), CASE),
    "half precision": (vectors(pa.list_(pa.float16(), DIMENSION)), CASE),
}


def strangers(folder: Path, shape: str) -> Scene:
    """A target in that shape: one row is another's, one is missing, one stands for nobody."""
    change, case = SHAPES[shape]
    scene = Scene.make(folder, case=case)
    (folder / "target").mkdir(exist_ok=True)
    for collection in COLLECTIONS:
        rows = scene.right_rows(collection)
        held = [(rows[0][0], rows[1][1], rows[0][2]), *rows[1:-1], ("777", rows[2][1], rows[2][2])]
        table = pa.table(
            {
                "id": [row[0] for row in held],
                "vector": pa.array([row[1].tolist() for row in held], pa.list_(pa.float32(), DIMENSION)),
                "metadata": [row[2] for row in held],
            }
        )
        pq.write_table(change(table), folder / "target" / f"{collection}.parquet")
    scene.collect_again()
    return scene


def files(scene: Scene) -> dict[str, pa.Table]:
    return {
        name: pq.read_table(scene.folder / "target" / f"{name}.parquet").sort_by("id") for name in COLLECTIONS
    }


def same(one: dict[str, pa.Table], other: dict[str, pa.Table]) -> bool:
    return all(
        one[name].equals(other[name]) and one[name].schema.equals(other[name].schema, check_metadata=True)
        for name in COLLECTIONS
    )


@pytest.mark.parametrize("mode", ["repair", "apply"])
@pytest.mark.parametrize("shape", SHAPES)
def test_repaired_in_its_own_columns_and_put_back_to_the_last_bit(
    tmp_path: Path, shape: str, mode: str
) -> None:
    scene = strangers(tmp_path, shape)
    before = files(scene)
    diff = diff_vectors(scene.case, scene.run)
    assert diff.verdict is Verdict.CORRUPT
    done = scene.migrate(mode)
    assert (done.verdict, done.quarantined) == (Verdict.CLEAN, [])
    after = files(scene)
    for name in COLLECTIONS:
        added = [field.name for field in after[name].schema if field.name not in before[name].schema.names]
        assert added == (["metadata"] if shape == "no metadata column, though asked for" else [])
    scene.migrate("rollback")
    assert same(files(scene), before)


def test_what_the_owner_keeps_beside_a_vector_outlives_a_repair(tmp_path: Path) -> None:
    scene = strangers(tmp_path, "columns of the owner")
    before = {row["id"]: row for row in files(scene)["users"].to_pylist()}
    diff_vectors(scene.case, scene.run)
    scene.migrate("repair")
    for row in files(scene)["users"].to_pylist():
        was = before.get(row["id"], {"made": None, "shard": None, "__index_level_0__": None})
        assert {name: row[name] for name in ("made", "shard", "__index_level_0__")} == {
            name: was[name] for name in ("made", "shard", "__index_level_0__")
        }


def test_a_metadata_column_that_somebody_filled_meanwhile_stays_at_the_rollback(tmp_path: Path) -> None:
    scene = strangers(tmp_path, "no metadata column, though asked for")
    diff_vectors(scene.case, scene.run)
    scene.migrate("repair")
    scene.put("users", [("888", scene.right_rows("users")[0][1], '{"by":"somebody else"}')])
    back = scene.migrate("rollback")
    assert back.conflicts == []
    rows = {row["id"]: row for row in files(scene)["users"].to_pylist()}
    assert rows["888"]["metadata"] == '{"by":"somebody else"}'
    assert {row["metadata"] for one, row in rows.items() if one != "888"} == {None}
    assert "metadata" not in files(scene)["posts"].schema.names


def without_column(scene: Scene, store: str) -> None:
    """Users right but one, in columns of which none is called `plan`."""
    rows = scene.right_rows("users")
    table = pa.table(
        {
            "id": [row[0] for row in rows],
            "vector": pa.array(
                [rows[1][1].tolist(), *(row[1].tolist() for row in rows[1:])],
                pa.list_(pa.float32(), DIMENSION),
            ),
            "shard": ["a"] * len(rows),
        }
    )
    scene.put("posts", scene.right_rows("posts")[1:])
    (scene.folder / "target").mkdir(exist_ok=True)
    if store == "parquet":
        pq.write_table(table, scene.folder / "target" / "users.parquet")
    else:
        import lancedb

        lancedb.connect(str(scene.folder / "target")).create_table("users", table)
    scene.collect_again()
    diff_vectors(scene.case, scene.run)


def add_column(scene: Scene, store: str) -> None:
    if store == "parquet":
        file = scene.folder / "target" / "users.parquet"
        table = pq.read_table(file)
        pq.write_table(table.append_column("plan", pa.nulls(len(table), pa.string())), file)
    else:
        import lancedb

        table = lancedb.connect(str(scene.folder / "target")).open_table("users")
        table.add_columns([pa.field("plan", pa.string())])


@pytest.mark.parametrize("store", ["parquet", "lancedb"])
def test_a_field_that_has_no_column_is_found_before_anything_is_written(tmp_path: Path, store: str) -> None:
    scene = Scene.make(tmp_path, store=store)
    without_column(scene, store)
    before = scene.dump()
    with pytest.raises(ToolFailed, match=r"refuses every record \(no column for the metadata field 'plan'\)"):
        scene.migrate("repair")
    assert scene.dump() == before
    add_column(scene, store)
    assert scene.migrate("repair").verdict is Verdict.CLEAN
    assert check_ledger(scene.run.ledger_sqlite) == ""


def test_broken_off_half_way_the_same_command_goes_on_and_both_can_be_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = strangers(tmp_path, "no metadata column, none asked for")
    before = files(scene)
    diff_vectors(scene.case, scene.run)
    with monkeypatch.context() as patch:
        posts = {row[1].tobytes() for row in scene.right_rows("posts")}

        def is_post(row: dict[str, Any]) -> str:
            return "no room" if np.array(row["vector"], np.float32).tobytes() in posts else ""

        Faults(refuses=is_post).install(patch)
        with pytest.raises(ToolFailed, match="refuses every record"):
            scene.migrate("repair")
    assert not same(files(scene), before)
    undone = scene.copy(tmp_path.with_name(tmp_path.name + "-undone"))
    undone.migrate("rollback")
    assert same(files(undone), before)
    assert scene.migrate("repair").verdict is Verdict.CLEAN
    scene.migrate("rollback")
    assert same(files(scene), before)
