"""Repair: what the diff proved bad, and nothing else; a new investigation of the same target then finds nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from migration_faults import Faults
from migration_scene import DIMENSION, POSTS, Scene, post, user

from vecforensics.collect import collect
from vecforensics.diff import diff_vectors
from vecforensics.errors import EvidenceError
from vecforensics.findings import Kind, Verdict
from vecforensics.run_folder import RunFolder

USERS = [user(number, boss=number - 1 if number % 7 == 0 else None) for number in range(1, 41)]


def corrupted(folder: Path, store: str = "parquet") -> Scene:
    """Forty users: swapped, zero, mangled ids, doubled, missing, drifted metadata, a ghost; the posts are right."""
    scene = Scene.make(folder, store=store, users=USERS)
    rows = scene.right_rows("users")
    there = {row[0]: [row] for row in rows}
    there["1"], there["2"] = [("1", rows[1][1], rows[0][2])], [("2", rows[0][1], rows[1][2])]
    there["3"] = [("3", np.zeros(DIMENSION, np.float32), rows[2][2])]
    there["4"] = [("4.0", rows[3][1], rows[3][2])]
    there["5"] = [rows[4], rows[4]]
    there["6"] = []
    there["8"] = [("8", rows[7][1], '{"plan":null}')]
    there["ghost"] = [("ghost", np.full(DIMENSION, 0.5, np.float32), "{}")]
    there["NaN"] = [("NaN", rows[8][1], rows[8][2])]
    scene.put("users", [row for some in there.values() for row in some])
    scene.put("posts", scene.right_rows("posts"))
    scene.collect_again()
    diff_vectors(scene.case, scene.run)
    return scene


@pytest.mark.parametrize("store", ["parquet", "lancedb"])
def test_what_the_diff_found_is_repaired_and_a_new_investigation_finds_nothing(
    tmp_path: Path, store: str
) -> None:
    scene = corrupted(tmp_path, store)
    assert json.loads(scene.run.findings_json.read_text())["verdict"] == "corrupt"
    before = scene.dump()
    done = scene.migrate("repair")
    assert done.verdict is Verdict.CLEAN
    assert scene.stands_right()
    repaired = scene.run
    scene.collect_again()
    diff_vectors(scene.case, scene.run)
    assert json.loads(scene.run.findings_json.read_text())["verdict"] == "clean"
    scene.run = repaired
    scene.migrate("rollback")
    assert scene.dump() == before


@pytest.mark.parametrize("store", ["parquet", "lancedb"])
@pytest.mark.parametrize("there", [True, False])
def test_a_collection_that_is_lost_altogether_is_written_again(
    tmp_path: Path, store: str, there: bool
) -> None:
    scene = Scene.make(tmp_path, store=store)
    scene.put("users", scene.right_rows("users"))
    if there:
        scene.writer("posts").create("posts", DIMENSION)
    scene.run = RunFolder.begin(scene.folder / "case.yaml", scene.case, scene.folder / "reports")
    collect(scene.case, scene.run)
    before = scene.dump()

    assert diff_vectors(scene.case, scene.run).counts["missing"] == 6
    assert scene.migrate("repair").verdict is Verdict.CLEAN
    assert scene.stands_right()
    scene.migrate("rollback")
    assert scene.dump() == before


def test_right_rows_are_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = corrupted(tmp_path)
    faults = Faults().install(monkeypatch)
    done = scene.migrate("repair")
    assert sum(faults.sizes("upsert")) == done.written
    assert set(done.planned) == {"users"}
    assert done.written < 12
    assert done.deleted == 3


def test_the_plan_of_a_repair_names_rows_and_reasons(tmp_path: Path) -> None:
    scene = corrupted(tmp_path)
    planned = scene.migrate("plan")
    assert planned.planned_for == "repair"
    deletes = {
        (one["id"], one["kind"], one["stands_for"])
        for one in json.loads(scene.run.plan_json.read_text())["deletes"]
    }
    assert deletes == {("4.0", "mangled_id", "4"), ("ghost", "orphan", None), ("NaN", "duplicate", "9")}


def test_a_mangled_row_stays_while_its_record_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = corrupted(tmp_path)
    Faults(refuses=lambda row: "locked for audit" if row["id"] == "4" else "").install(monkeypatch)
    done = scene.migrate("repair")
    reasons = {(c, i): reason for c, i, reason in done.quarantined}
    assert "locked for audit" in reasons["users", "4"]
    assert reasons["users", "4.0"] == "stands for users/4, which was not written: it stays"
    assert done.verdict is Verdict.CORRUPT
    assert "4.0" in dict(scene.dump()["users"])


def test_a_row_that_is_no_longer_what_the_diff_judged_stays(tmp_path: Path) -> None:
    scene = corrupted(tmp_path)
    writer = scene.writer("users")
    writer.delete("users", ["ghost"])
    scene.put("users", [("ghost", np.full(DIMENSION, 0.25, np.float32), '{"now":"somebody"}')])
    done = scene.migrate("repair")
    assert done.quarantined == [("users", "ghost", "changed since the evidence was collected: it stays")]
    assert "ghost" in dict(scene.dump()["users"])
    assert done.deleted == 2


def test_a_row_to_be_removed_that_is_gone_already_is_no_trouble(tmp_path: Path) -> None:
    scene = corrupted(tmp_path)
    scene.writer("users").delete("users", ["ghost"])
    assert scene.migrate("repair").verdict is Verdict.CLEAN


def test_a_dangling_record_is_repaired_by_writing_its_parent(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.right()
    scene.writer("users").delete("users", ["3"])
    scene.collect_again()
    diff_vectors(scene.case, scene.run)
    planned = scene.migrate("plan")
    assert planned.planned["users"]["upsert"] == 1
    assert planned.planned["posts"]["upsert"] == 0
    assert scene.migrate("repair").verdict is Verdict.CLEAN


def test_a_source_id_is_never_removed_whatever_a_finding_says(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.right()
    scene.findings([("users", Kind.ORPHAN, None, "1"), ("users", Kind.DUPLICATE, "2", "3")])
    planned = scene.migrate("plan")
    assert planned.planned["users"] == {"upsert": 3, "delete": 0, "quarantine": 0}
    assert scene.migrate("repair").verdict is Verdict.CLEAN


@pytest.mark.parametrize("store", ["parquet", "lancedb"])
def test_records_whose_ids_were_rounded_onto_anothers_get_their_own_and_it_keeps_its_row(
    tmp_path: Path, store: str
) -> None:
    users = [user(2**53 + number) for number in range(8)]
    scene = Scene.make(tmp_path, store=store, users=users, posts=[post(1, 2**53)])
    rounded = [(str(int(float(text))), *rest) for text, *rest in scene.right_rows("users")]
    scene.put("users", rounded)
    scene.put("posts", scene.right_rows("posts"))
    scene.collect_again()
    assert diff_vectors(scene.case, scene.run).counts["mangled_id"] == 4
    done = scene.migrate("repair")
    assert (done.verdict, done.deleted) == (Verdict.CLEAN, 1)
    assert scene.stands_right()


def test_findings_of_another_case_are_refused(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.findings([("orders", Kind.MISSING, "1", None)])
    with pytest.raises(EvidenceError, match="speaks of 'orders', which the case does not have"):
        scene.migrate("repair")


@pytest.mark.parametrize("content", [b"", b"no parquet at all"])
def test_damaged_findings_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    scene = Scene.make(tmp_path)
    scene.run.findings_parquet.write_bytes(content)
    with pytest.raises(EvidenceError, match="cannot be read") as refused:
        scene.migrate("repair")
    assert "\n" not in str(refused.value)


def test_without_findings_there_is_nothing_to_repair(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    with pytest.raises(EvidenceError, match="there are no findings to repair"):
        scene.migrate("repair")


def test_a_parent_that_the_source_lacks_is_not_promised_by_any_plan(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path, posts=[*POSTS, post(7, 99), post(8, 98)])
    scene.right()
    scene.writer("users").delete("users", ["3"])
    scene.collect_again()
    diff = diff_vectors(scene.case, scene.run)
    assert (diff.counts["dangling"], diff.collections["posts"].broken_references) == (4, 2)
    planned = scene.migrate("plan")
    assert planned.planned["users"]["upsert"] == 1
    assert planned.left == {"dangling": 2}
    assert "  left as it is: dangling 2" in str(planned)


def test_no_row_goes_because_a_source_was_emptied(tmp_path: Path) -> None:
    scene = corrupted(tmp_path)
    (tmp_path / "posts.jsonl").write_text("")
    scene.collect_again()
    diff_vectors(scene.case, scene.run)
    before = scene.dump()["posts"]
    done = scene.migrate("repair")
    assert (done.left["orphan"], done.verdict) == (len(POSTS), Verdict.CORRUPT)
    assert scene.dump()["posts"] == before
    assert len(scene.dump()["users"]) == len(USERS)
