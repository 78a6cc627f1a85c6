"""Rollback: what stood before stands again, to the last bit, whatever it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from migration_scene import DIMENSION, Scene, writer_ids

from vecforensics.errors import EvidenceError
from vecforensics.findings import Kind, Verdict


def mess(scene: Scene) -> None:
    """Right rows, wrong ones, doubled ones, strangers; odd spellings of metadata; one collection without some rows."""
    users, posts = scene.right_rows("users"), scene.right_rows("posts")
    odd = np.arange(DIMENSION, dtype=np.float32) * np.float32(1e-38)
    odd[3] = -0.0
    scene.put(
        "users",
        [
            (users[0][0], users[1][1], '{"plan":  "free", "old": 1.50}'),
            (users[1][0], users[1][1], None),
            (users[1][0], odd, "not json at all"),
            ("NaN", users[2][1], "{}"),
        ],
    )
    scene.put("posts", posts[:3])
    scene.collect_again()
    scene.findings([("users", Kind.MANGLED_ID, "3", "NaN")])


@pytest.mark.parametrize("store", ["parquet", "lancedb"])
def test_every_row_comes_back_as_it_stood(tmp_path: Path, store: str) -> None:
    scene = Scene.make(tmp_path, store=store)
    mess(scene)
    before = scene.dump()
    assert scene.migrate("apply", accept_loss=True).verdict is Verdict.CLEAN
    assert scene.dump() != before
    back = scene.migrate("rollback")
    assert scene.dump() == before
    assert back.restored == 11
    assert back.verdict is Verdict.CORRUPT
    assert "11 keys are as they were" in str(back)


def test_vectors_of_another_length_and_columns_of_the_owner_come_back(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.right()
    ragged = pa.table(
        {
            "id": ["1", "2", "3", "4"],
            "vector": pa.array([[1.0], [], None, [float("nan")] * DIMENSION], pa.list_(pa.float32())),
            "metadata": pa.array(["{}", None, "{}", "{}"], pa.string()),
        }
    )
    pq.write_table(ragged, tmp_path / "target" / "users.parquet")
    before = scene.dump()
    assert scene.migrate("apply").verdict is Verdict.CLEAN
    scene.migrate("rollback")
    assert scene.dump() == before


def test_a_first_migration_rolled_back_leaves_no_row(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.migrate("apply")
    scene.migrate("rollback")
    assert scene.dump() == {"users": [], "posts": []}


def test_a_row_that_somebody_changed_afterwards_is_left_alone_and_named(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    mess(scene)
    before = scene.dump()
    scene.migrate("apply", accept_loss=True)
    mine = scene.right_rows("posts")[3]
    writer = scene.writer("posts")
    writer.delete("posts", ["4"])
    scene.put("posts", [("4", mine[1], '{"by":"somebody else"}')])
    changed = dict(scene.dump()["posts"])["4"]
    back = scene.migrate("rollback")
    assert back.conflicts == [("posts", "4")]
    assert "left alone, changed by somebody else since: posts/4" in str(back)
    now = scene.dump()
    assert now["users"] == before["users"]
    assert now["posts"] == sorted([*before["posts"], ("4", changed)])


def test_a_rollback_without_a_migration_says_what_to_do(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    with pytest.raises(EvidenceError, match=r"there is no ledger. Run first: vecforensics migrate"):
        scene.migrate("rollback")


def test_what_was_rolled_back_is_not_taken_up_again(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.migrate("apply")
    scene.migrate("rollback")
    with pytest.raises(EvidenceError, match="was rolled back"):
        scene.migrate("apply")
    assert scene.migrate("rollback").restored == 10


def test_a_rollback_into_another_target_is_refused(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.migrate("apply")
    one = scene.case.collections["users"]
    elsewhere = one.target.model_copy(update={"uri": "parquet:elsewhere"})
    moved = {**scene.case.collections, "users": one.model_copy(update={"target": elsewhere})}
    scene.case = scene.case.model_copy(update={"collections": moved})
    with pytest.raises(EvidenceError, match="the target of 'users' is no longer the one"):
        scene.migrate("rollback")
    assert not (tmp_path / "elsewhere").exists()


def test_rows_under_other_ids_are_never_touched(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    vector = scene.right_rows("users")[0][1]
    scene.put("users", [("somebody-elses", vector, '{"keep":true}')])
    before = dict(scene.dump()["users"])
    scene.migrate("apply")
    assert dict(scene.dump()["users"])["somebody-elses"] == before["somebody-elses"]
    scene.migrate("rollback")
    assert dict(scene.dump()["users"]) == before
    assert writer_ids(scene.writer("users"), "users") == ["somebody-elses"]
