"""Apply: whatever stood in the target, the right rows stand there afterwards."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
from migration_faults import Faults
from migration_scene import CASE, DIMENSION, POSTS, Scene, post, user

from vecforensics.errors import CaseError, EvidenceError, ToolFailed
from vecforensics.findings import Kind, Verdict
from vecforensics.migrate import STRATEGIES, plan


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("store", ["parquet", "lancedb"])
def test_an_empty_target_is_filled_and_verified_clean(tmp_path: Path, store: str, strategy: str) -> None:
    scene = Scene.make(tmp_path, store=store)
    done = scene.migrate("apply", strategy=strategy)
    assert done.verdict is Verdict.CLEAN
    assert (done.written, done.deleted, done.quarantined) == (10, 0, [])
    assert done.states["DONE"] == 10
    assert scene.stands_right()


@pytest.mark.parametrize("chunk_rows", [1, 3, 4_096])
def test_chunks_of_any_size_lead_to_the_same_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_rows: int
) -> None:
    monkeypatch.setattr(plan, "CHUNK_ROWS", chunk_rows)
    scene = Scene.make(tmp_path)
    assert scene.migrate("apply").verdict is Verdict.CLEAN
    assert scene.stands_right()


@pytest.mark.parametrize("store", ["parquet", "lancedb"])
def test_wrong_swapped_zero_and_doubled_rows_are_made_right(tmp_path: Path, store: str) -> None:
    scene = Scene.make(tmp_path, store=store)
    users, posts = scene.right_rows("users"), scene.right_rows("posts")
    scene.put(
        "users",
        [
            (users[0][0], users[1][1], users[0][2]),
            (users[1][0], users[0][1], users[1][2]),
            (users[2][0], np.zeros(DIMENSION, np.float32), "{}"),
            (users[2][0], users[2][1], users[2][2]),
        ],
    )
    scene.put("posts", [(posts[0][0], posts[0][1], None)])
    done = scene.migrate("apply")
    assert done.verdict is Verdict.CLEAN
    assert scene.stands_right()


def test_rows_that_stand_for_nothing_go_only_where_the_diff_proved_it(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.right()
    row = scene.right_rows("users")[0]
    scene.put("users", [("NaN", row[1], row[2]), ("ghost", row[1], row[2])])
    scene.collect_again()
    before = scene.copy(tmp_path / "without")
    done = before.migrate("apply")
    assert done.deleted == 0
    assert done.verdict is Verdict.CORRUPT
    assert done.verification is not None
    assert done.verification.kinds["orphan"] == 2
    scene.findings([("users", Kind.MANGLED_ID, "1", "NaN"), ("users", Kind.ORPHAN, None, "ghost")])
    done = scene.migrate("apply")
    assert done.deleted == 2
    assert done.verdict is Verdict.CLEAN
    assert scene.stands_right()


def test_plan_is_the_default_and_writes_nothing_to_the_store(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    planned = scene.migrate(mode="plan")
    assert not (tmp_path / "target").exists()
    assert planned.planned == {
        "posts": {"upsert": 6, "delete": 0, "quarantine": 0},
        "users": {"upsert": 4, "delete": 0, "quarantine": 0},
    }
    assert "10 operations, nothing is written" in str(planned)
    assert json.loads(scene.run.plan_json.read_text())["counts"] == planned.planned


def test_planning_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.migrate("plan")
    first = scene.run.plan_json.read_bytes()
    scene.migrate("plan")
    assert scene.run.plan_json.read_bytes() == first


def test_a_post_whose_author_is_not_in_the_source_goes_to_quarantine_and_the_rest_goes_on(
    tmp_path: Path,
) -> None:
    scene = Scene.make(tmp_path, posts=[*POSTS, post(7, "77")])
    done = scene.migrate("apply")
    assert [(c, i) for c, i, _ in done.quarantined] == [("posts", "7")]
    assert "users/77, which the source does not hold" in done.quarantined[0][2]
    assert done.written == 10
    assert done.verdict is Verdict.CORRUPT
    assert done.verification is not None
    assert done.verification.by_collection["posts"] == {"missing": 1}


def test_users_who_are_each_others_boss_have_no_order_and_take_their_posts_along(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path, users=[user(1, 2), user(2, 1), user(3)], posts=[post(1, 1), post(2, 3)])
    done = scene.migrate("apply")
    reasons = {(c, i): reason for c, i, reason in done.quarantined}
    assert set(reasons) == {("users", "1"), ("users", "2"), ("posts", "1")}
    assert "in a circle" in reasons["users", "1"]
    assert done.written == 2


def test_a_record_that_is_its_own_parent_waits_for_nobody(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path, users=[user(1, 1)], posts=[post(1, 1)])
    assert scene.migrate("apply").verdict is Verdict.CLEAN


def test_two_collections_whose_ids_would_meet_in_one_table_are_refused(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    merged = scene.case.model_copy(
        update={
            "collections": {
                name: one.model_copy(update={"target": scene.case.collections["users"].target})
                for name, one in scene.case.collections.items()
            }
        }
    )
    scene.case = merged
    with pytest.raises(CaseError, match="posts/1 and users/1 would be one row"):
        scene.migrate("apply")


def test_a_collection_without_expected_vectors_cannot_be_written(tmp_path: Path) -> None:
    lines = [line for line in CASE.splitlines() if "expected" not in line]
    scene = Scene.make(tmp_path, case="\n".join(lines))
    with pytest.raises(CaseError, match="nobody knows the right vectors"):
        scene.migrate("apply")


def test_a_source_that_changed_since_the_evidence_stops_everything(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    with (tmp_path / "users.jsonl").open("a") as file:
        file.write(json.dumps(user(9)) + "\n")
    with pytest.raises(EvidenceError, match=r"source of users users\.jsonl changed since the evidence"):
        scene.migrate("apply")
    assert not (tmp_path / "target").exists()


def test_evidence_that_was_touched_stops_everything(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    file = next((scene.run.evidence / "users").glob("source-*.arrow"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(EvidenceError, match="is not what was frozen"):
        scene.migrate("apply")


def test_a_finished_migration_is_only_verified_again(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.migrate("apply")
    before = scene.dump()
    stamps = {file: file.stat().st_mtime_ns for file in (tmp_path / "target").iterdir()}
    again = scene.migrate("apply")
    assert again.resumed
    assert again.verdict is Verdict.CLEAN
    assert scene.dump() == before
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "target").iterdir()} == stamps


def test_another_plan_in_the_same_run_folder_is_refused(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.migrate("apply", strategy="waves")
    with pytest.raises(EvidenceError, match=r"no longer the one that was begun here \(changed: strategy\)"):
        scene.migrate("apply", strategy="serial")


def test_the_result_shows_itself_escaped(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path, posts=[{**post(1, "<script>"), "id": "<b>\x1b[31m"}])
    done = scene.migrate("apply")
    assert "<b>" not in done._repr_html_()
    assert "\x1b" not in str(done)
    assert "&lt;script&gt;" in done._repr_html_()


def test_a_plan_names_what_no_writing_mends(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.right()
    scene.findings([("posts", Kind.PREMATURE, "1", "1"), ("users", Kind.UNCHECKED, "1", "1")])
    planned = scene.migrate("plan")
    assert planned.left == {"premature": 1, "unchecked": 1}
    assert sum(sum(counts.values()) for counts in planned.planned.values()) == 0


def test_a_second_call_says_what_an_earlier_one_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene.make(tmp_path)
    monkeypatch.setattr(plan, "CHUNK_ROWS", 2)
    with monkeypatch.context() as patch:
        Faults({("upsert", 3, "before"): OSError(errno.ENOSPC, "No space left")}).install(patch)
        with pytest.raises(ToolFailed):
            scene.migrate("apply")
    rest = scene.migrate("apply")
    assert 0 < rest.earlier < 10
    assert f"10 written, 0 deleted, 0 in quarantine, {rest.earlier} of them before" in str(rest)
    again = scene.migrate("apply")
    assert again.earlier == 10
    assert str(again).startswith(
        "apply by waves: nothing was left to do (10 written, 0 deleted, 0 in quarantine before); "
    )
    assert "10 keys are as they were;" in str(scene.migrate("rollback"))
    assert "nothing was left to do (10 keys are as they were before)" in str(scene.migrate("rollback"))
