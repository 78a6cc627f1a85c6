"""Columns and metadata fields that the case does not name: they outlive a repair, or it does not begin."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from migration_faults import Faults
from migration_scene import CASE, DIMENSION, Scene, user

import vecforensics.migrate as migrate_package
from vecforensics.arrow_columns import fixed_vectors
from vecforensics.cli import main
from vecforensics.diff import diff_vectors
from vecforensics.errors import TargetError, ToolFailed
from vecforensics.evidence import Evidence
from vecforensics.findings import Verdict
from vecforensics.migrate.ledger import Ledger
from vecforensics.migrate.verify import verify_target
from vecforensics.stores.lancedb import LanceWriter

USERS = [user(1000 + number) for number in range(20)]
STORES = ["lancedb", "parquet"]
NOTHING_NAMED = CASE.replace("metadata: [plan], ", "")
Rows = list[dict[str, Any]]


def columns(row: dict[str, Any]) -> dict[str, Any]:
    """A row with a column for each field."""
    return row


def one_text(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its metadata in one JSON text, and one column of the owner beside it."""
    fields = {name: row[name] for name in ("plan", "clicks")}
    return {
        "id": row["id"],
        "vector": row["vector"],
        "metadata": json.dumps(fields, indent=1),
        "seen": row["seen"],
    }


def one_struct(row: dict[str, Any]) -> dict[str, Any]:
    fields = {name: row[name] for name in ("plan", "clicks", "seen")}
    return {"id": row["id"], "vector": row["vector"], "metadata": fields}


SHAPES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "columns": columns,
    "one text": one_text,
    "one struct": one_struct,
}


def right(scene: Scene) -> Rows:
    """The users as they should stand, with what the owner keeps beside them."""
    return [
        {
            "id": one,
            "vector": vector.tolist(),
            "plan": json.loads(text).get("plan"),
            "clicks": 7 * n,
            "seen": f"day {n}",
        }
        for n, (one, vector, text) in enumerate(scene.right_rows("users"))
    ]


def put(scene: Scene, store: str, rows: Rows, collection: str = "users") -> None:
    table = pa.Table.from_pylist(rows)
    vectors = fixed_vectors(np.array([row["vector"] for row in rows], np.float32))
    table = table.set_column(table.schema.get_field_index("vector"), "vector", vectors)
    (scene.folder / "target").mkdir(exist_ok=True)
    if store == "parquet":
        pq.write_table(table, scene.folder / "target" / f"{collection}.parquet")
    else:
        lancedb.connect(scene.folder / "target").create_table(collection, table, mode="overwrite")


def standing(scene: Scene, store: str) -> dict[str, dict[str, Any]]:
    """The users' rows in the store's own columns, by id; read by no code of the package."""
    if store == "parquet":
        rows = pq.read_table(scene.folder / "target" / "users.parquet").to_pylist()
    else:
        rows = lancedb.connect(scene.folder / "target").open_table("users").to_arrow().to_pylist()
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row for row in rows}


def damaged(folder: Path, store: str, shape: str = "columns", case: str = CASE, twice: int = 0) -> Scene:
    """Twenty users: two swapped, one zero, one missing, two under mangled ids; `twice`: one of these under so many of them."""
    scene = Scene.make(folder, store=store, users=USERS, posts=[], case=case)
    put(scene, store, [SHAPES[shape](row) for row in broken(right(scene), twice)])
    scene.writer("posts").create("posts", DIMENSION)
    scene.collect_again()
    diff_vectors(scene.case, scene.run)
    return scene


def broken(rows: Rows, twice: int = 0) -> Rows:
    rows = [dict(row) for row in rows]
    rows[0]["vector"], rows[1]["vector"] = rows[1]["vector"], rows[0]["vector"]
    rows[2]["vector"] = [0.0] * DIMENSION
    rows[4]["id"], rows[5]["id"] = "1004.0", "1.005e3"
    again = [{**rows[4], "id": f" {'0' * n}1004", "clicks": 99} for n in range(twice)]
    return [*rows[:3], *rows[4:], *again]


def beside(row: dict[str, Any], shape: str) -> dict[str, Any]:
    """What the owner keeps beside a user."""
    if shape == "columns":
        return {name: row[name] for name in ("clicks", "seen")}
    fields = json.loads(row["metadata"]) if shape == "one text" else row["metadata"]
    return {"clicks": fields["clicks"], "seen": row.get("seen", fields.get("seen"))}


@pytest.mark.parametrize("mode", ["repair", "apply"])
@pytest.mark.parametrize("named", [CASE, NOTHING_NAMED], ids=["one field named", "none named"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("store", STORES)
def test_it_outlives_a_repair_under_mangled_ids_too(
    tmp_path: Path, store: str, shape: str, named: str, mode: str
) -> None:
    scene = damaged(tmp_path, store, shape, named)
    before = scene.dump()
    done = scene.migrate(mode)
    assert (done.verdict, done.quarantined, done.deleted) == (Verdict.CLEAN, [], 2)
    rows = standing(scene, store)
    meant = {row["id"]: row for row in right(scene)}
    assert rows.keys() == meant.keys()
    for one in meant.keys() - {"1003"}:
        assert beside(rows[one], shape) == {name: meant[one][name] for name in ("clicks", "seen")}, one
        assert np.array_equal(
            np.array(rows[one]["vector"], np.float32), np.array(meant[one]["vector"], np.float32)
        )
    verified = json.loads(scene.run.verification_json.read_text())["beside"]["users"]
    assert verified == {"compared": 5 if mode == "repair" else 19, "changed": 0, "columns": []}
    scene.migrate("rollback")
    assert scene.dump() == before


def test_a_row_that_the_target_lacks_is_written_without_it_and_the_plan_says_so(tmp_path: Path) -> None:
    scene = damaged(tmp_path, "lancedb")
    said = (
        "note: users: 1 row that the target lacks holds nothing in clicks, seen, which the case does not name"
    )
    assert said in str(scene.migrate("plan"))
    assert said in str(scene.migrate("repair"))
    assert beside(standing(scene, "lancedb")["1003"], "columns") == {"clicks": None, "seen": None}


@pytest.mark.parametrize("store", STORES)
def test_rows_that_differ_under_mangled_ids_stop_the_repair_before_anything_is_written(
    tmp_path: Path, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = damaged(tmp_path, store, twice=2)
    before = scene.dump()
    planned = str(scene.migrate("plan"))
    assert "refused without --accept-loss: users: of 1 record not everything can be kept" in planned
    assert ": clicks (several rows stand for one record and differ" in planned
    with pytest.raises(
        TargetError, match="of 1 record not everything can be kept that the case does not name: clicks"
    ):
        scene.migrate("repair")
    assert (scene.dump(), scene.run.ledger_sqlite.exists()) == (before, False)
    assert main(["migrate", str(scene.run.path), "--repair"]) == 2
    told = capsys.readouterr().err
    assert (told.count("\n"), "--accept-loss" in told) == (1, True)
    assert main(["migrate", str(scene.run.path), "--repair", "--accept-loss"]) == 0
    assert "with --accept-loss: users: of 1 record" in capsys.readouterr().out
    rows = standing(scene, store)
    assert (len(rows), beside(rows["1004"], "columns")["clicks"] in (28, 99)) == (20, True)
    scene.migrate("rollback")
    assert scene.dump() == before


def test_a_copy_beside_the_records_own_row_is_removed_and_the_plan_says_what_goes_with_it(
    tmp_path: Path,
) -> None:
    scene = Scene.make(tmp_path, store="lancedb", users=USERS, posts=[])
    rows = right(scene)
    put(scene, "lancedb", [*rows, {**rows[7], "id": "1007.0", "clicks": 1}])
    scene.writer("posts").create("posts", DIMENSION)
    scene.collect_again()
    diff_vectors(scene.case, scene.run)
    done = scene.migrate("repair")
    assert (done.verdict, done.deleted) == (Verdict.CLEAN, 1)
    assert "copies of 1 record are removed that hold other values than the row that stays, in clicks" in str(
        done
    )
    assert standing(scene, "lancedb")["1007"]["clicks"] == 49


@pytest.mark.parametrize("text", ['{"plan": "free", "clicks": 5', "[object Object]"])
@pytest.mark.parametrize("store", STORES)
def test_metadata_that_are_no_object_go_only_on_demand(tmp_path: Path, store: str, text: str) -> None:
    scene = damaged(tmp_path, store, "one text")
    rows = list(standing(scene, store).values())
    rows[0]["metadata"] = text
    put(scene, store, rows)
    scene.collect_again()
    diff_vectors(scene.case, scene.run)
    with pytest.raises(TargetError, match=r"of 1 record not everything .*: metadata \("):
        scene.migrate("repair")
    assert scene.migrate("repair", accept_loss=True).verdict is Verdict.CLEAN


def test_metadata_that_json_and_utf_8_do_not_share_are_kept(tmp_path: Path) -> None:
    scene = damaged(tmp_path, "lancedb", "one text")
    rows = list(standing(scene, "lancedb").values())
    rows[0]["metadata"] = '{"plan":"none","half":"\\ud800","score":NaN,"big":123456789012345678901}'
    put(scene, "lancedb", rows)
    scene.collect_again()
    diff_vectors(scene.case, scene.run)
    assert scene.migrate("repair").verdict is Verdict.CLEAN
    assert (
        standing(scene, "lancedb")[rows[0]["id"]]["metadata"]
        == '{"big":123456789012345678901,"half":"\\ud800","plan":"free","score":NaN}'
    )


def test_metadata_that_are_no_object_stay_where_no_field_is_named(tmp_path: Path) -> None:
    scene = damaged(tmp_path, "lancedb", "one text", NOTHING_NAMED)
    rows = list(standing(scene, "lancedb").values())
    rows[0]["metadata"] = '{"plan": "free", "clicks": 5'
    put(scene, "lancedb", rows)
    scene.collect_again()
    diff_vectors(scene.case, scene.run)
    assert scene.migrate("repair").verdict is Verdict.CLEAN
    assert standing(scene, "lancedb")[rows[0]["id"]]["metadata"] == rows[0]["metadata"]


def test_rows_that_came_to_differ_after_the_plan_was_made_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = damaged(tmp_path, "lancedb")
    monkeypatch.setattr(migrate_package, "cautions", lambda *_: [])
    other = {**standing(scene, "lancedb")["1000"], "clicks": 5}
    table = lancedb.connect(tmp_path / "target").open_table("users")
    table.add(pa.Table.from_pylist([other], schema=table.schema))
    done = scene.migrate("repair")
    assert done.quarantined == [
        ("users", "1000", "what its rows hold since the plan was made cannot be kept: clicks")
    ]
    assert table.count_rows("id = '1000'") == 2


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("store", STORES)
def test_broken_off_between_removing_a_doubled_row_and_writing_it_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str, when: str
) -> None:
    scene = Scene.make(tmp_path, store=store, users=USERS, posts=[])
    rows = right(scene)
    put(scene, store, [*broken(rows), rows[8]])
    scene.writer("posts").create("posts", DIMENSION)
    scene.collect_again()
    diff_vectors(scene.case, scene.run)
    with monkeypatch.context() as patch:
        Faults(plan={("upsert", 1, when): PermissionError(13, "no")}).install(patch)
        with pytest.raises(ToolFailed):
            scene.migrate("repair")
    assert scene.migrate("repair").verdict is Verdict.CLEAN
    there = standing(scene, store)
    for row in rows:
        if row["id"] != "1003":
            assert beside(there[row["id"]], "columns") == {name: row[name] for name in ("clicks", "seen")}


def test_the_verification_names_what_a_writer_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = damaged(tmp_path, "lancedb")
    real = LanceWriter.upsert
    monkeypatch.setattr(LanceWriter, "upsert", lambda self, name, batch, kept=None: real(self, name, batch))
    done = scene.migrate("repair")
    assert done.verdict is Verdict.UNKNOWN
    assert "5 of 5 rows written again hold something else than before in clicks, seen" in str(done)


def test_verified_once_more_the_same_values_are_compared_again(tmp_path: Path) -> None:
    scene = damaged(tmp_path, "lancedb")
    scene.migrate("repair")
    with Ledger.open(scene.run.ledger_sqlite) as ledger:
        found = verify_target(scene.case, scene.run, Evidence.open(scene.run.evidence), ledger)
    assert found.beside["users"] == {"compared": 5, "changed": 0, "columns": []}
