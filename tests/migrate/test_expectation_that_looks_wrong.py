"""A case file that names another model than the one that made the target: no repair begins, unless that is what is meant."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from migration_faults import Faults
from migration_scene import DIMENSION, Scene, user

from vecforensics.cli import main
from vecforensics.diff import diff_vectors
from vecforensics.errors import CaseError, ToolFailed
from vecforensics.findings import Kind, Verdict

USERS = [user(number) for number in range(1, 31)]
OTHER_LENGTH = "the target's vectors have 8 numbers and the expected ones (hashing-16) 16"


def made_by_another_model(folder: Path, dimension: int = DIMENSION, right: int = 0) -> Scene:
    """Thirty users, all but the first `right` of which hold vectors that nothing here makes."""
    scene = Scene.make(folder, users=USERS, posts=[])
    rng = np.random.default_rng(4)
    rows = scene.right_rows("users")
    foreign = [(one, rng.normal(size=dimension).astype(np.float32), text) for one, _, text in rows[right:]]
    scene.writer("posts").create("posts", DIMENSION)
    writer = scene.writer("users")
    writer.create("users", dimension)
    scene.put("users", [*rows[:right], *foreign])
    scene.collect_again()
    diff_vectors(scene.case, scene.run)
    return scene


@pytest.mark.parametrize("mode", ["repair", "apply"])
def test_vectors_of_another_length_are_not_replaced(
    tmp_path: Path, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = made_by_another_model(tmp_path, 8)
    before = scene.dump()
    assert f"refused without --replace-all: {OTHER_LENGTH}" in str(scene.migrate("plan"))
    with pytest.raises(CaseError, match="likelier that the expectation is wrong than that the store is"):
        scene.migrate(mode)
    assert (scene.dump(), scene.run.ledger_sqlite.exists()) == (before, False)
    assert main(["migrate", str(scene.run.path), f"--{mode}"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith(f"collections.users.expected: {OTHER_LENGTH}") or OTHER_LENGTH in told
    assert "--replace-all" in told
    assert scene.dump() == before


def test_whoever_means_it_replaces_them_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = made_by_another_model(tmp_path, 8)
    assert main(["migrate", str(scene.run.path), "--repair", "--replace-all"]) == 0
    assert f"with --replace-all: {OTHER_LENGTH}" in capsys.readouterr().out
    assert scene.stands_right()


def test_a_model_of_the_same_length_shows_in_nearly_every_record_being_wrong(tmp_path: Path) -> None:
    scene = made_by_another_model(tmp_path, right=2)
    counts = json.loads(scene.run.findings_json.read_text())["counts"]
    assert counts["drifted"] + counts["foreign_model"] == 28
    with pytest.raises(
        CaseError, match=r"28 of 30 compared vectors are (drifted|foreign_model) by what is expected"
    ):
        scene.migrate("repair")
    assert scene.migrate("repair", replace_all=True).verdict is Verdict.CLEAN


def test_damage_that_leaves_a_tenth_of_the_records_is_repaired_without_a_word(tmp_path: Path) -> None:
    assert made_by_another_model(tmp_path, right=3).migrate("repair").verdict is Verdict.CLEAN


def test_records_that_are_missing_or_unchecked_do_not_count(tmp_path: Path) -> None:
    scene = made_by_another_model(tmp_path, right=1)
    users = [f"{number}" for number in range(1, 31)]
    scene.run.findings_json.unlink()
    some = [("users", Kind.MISSING, one, None) for one in users[:20]]
    scene.findings([*some, *(("users", Kind.DRIFTED, one, one) for one in users[20:29])])
    assert "refused" not in str(scene.migrate("plan"))
    scene.findings([*some, *(("users", Kind.DRIFTED, one, one) for one in users[20:30])])
    assert "refused without --replace-all: 10 of 10 compared vectors are drifted" in str(
        scene.migrate("plan")
    )


def test_a_first_migration_into_an_empty_target_needs_no_word(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path / "new")
    assert scene.migrate("apply").verdict is Verdict.CLEAN
    again = Scene.make(tmp_path / "lost", users=USERS, posts=[])
    for name in ("users", "posts"):
        again.writer(name).create(name, 8)
    again.collect_again()
    diff_vectors(again.case, again.run)
    assert again.migrate("repair").verdict is Verdict.CLEAN


def test_who_goes_on_with_it_need_not_say_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = made_by_another_model(tmp_path, right=2)
    with monkeypatch.context() as patch:
        Faults(plan={("upsert", 1, "before"): PermissionError(13, "no")}).install(patch)
        with pytest.raises(ToolFailed, match="out of reach"):
            scene.migrate("repair", replace_all=True)
    assert scene.migrate("repair").verdict is Verdict.CLEAN
