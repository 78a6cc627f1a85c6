"""A plan for what has been carried out already says so, and shows it as a person sees it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from migration_faults import Faults
from migration_scene import Scene
from test_repair import corrupted

from vecforensics import tables
from vecforensics.cli import main
from vecforensics.errors import EvidenceError, ToolFailed
from vecforensics.investigation import Investigation
from vecforensics.migrate import MigrationRun, what_was_done

AT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"


def test_a_plan_for_a_repair_that_is_done_says_when_and_that_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = corrupted(tmp_path)
    assert what_was_done(scene.run) is None
    planned = scene.run.path / "migration" / "plan.json"
    scene.migrate("plan")
    done = scene.migrate("repair")
    frozen = planned.read_bytes()
    lines = str(scene.migrate("plan")).splitlines()
    assert re.fullmatch(
        rf"already carried out at {AT}.*Z \(repair by waves\); nothing is left to do; ledger: DONE 11",
        lines[0],
    )
    assert done.written + done.deleted == 11
    assert f"  users: upsert {done.written}, delete {done.deleted}, quarantine 0" in lines
    assert planned.read_bytes() == frozen
    assert main(["migrate", str(scene.run.path)]) == 0
    assert "nothing is written" not in capsys.readouterr().out


def test_a_plan_for_what_broke_off_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = corrupted(tmp_path)
    with monkeypatch.context() as patch:
        Faults(plan={("upsert", 1, "before"): PermissionError(13, "no")}).install(patch)
        with pytest.raises(ToolFailed):
            scene.migrate("repair")
    head = str(scene.migrate("plan")).splitlines()[0]
    assert re.match(rf"begun and broken off at {AT}", head)
    assert "0 of 11 operations have ended; go on with it by migrate --repair; ledger: PLANNED 3, " in head


def test_a_plan_for_what_was_rolled_back_says_so(tmp_path: Path) -> None:
    scene = corrupted(tmp_path)
    scene.migrate("repair")
    scene.migrate("rollback")
    assert re.match(rf"carried out and rolled back at {AT}", str(scene.migrate("plan")))


def test_a_plan_on_a_damaged_ledger_is_one_line(tmp_path: Path) -> None:
    scene = corrupted(tmp_path)
    scene.migrate("repair")
    scene.run.ledger_sqlite.write_bytes(scene.run.ledger_sqlite.read_bytes()[:-100])
    with pytest.raises(EvidenceError, match="the ledger is damaged"):
        scene.migrate("plan")


def test_what_was_written_is_a_table_of_its_own(tmp_path: Path) -> None:
    scene = corrupted(tmp_path)
    inv = Investigation(scene.case, scene.run)
    assert "Nothing has been written in this run" in tables.written(inv)._repr_html_()
    done = scene.migrate("repair")
    shown = tables.written(inv)._repr_html_()
    assert re.search(rf"already carried out at {AT}", shown)
    assert f"DONE {done.written + done.deleted}" in shown


def test_a_result_is_shown_as_a_table_and_not_as_its_tags(tmp_path: Path) -> None:
    shown = MigrationRun(
        "plan",
        "waves",
        tmp_path,
        {"<b>users</b>": {"upsert": 2847, "delete": 1, "quarantine": 0}},
        planned_for="repair",
    )._repr_html_()
    assert shown.startswith("<table><tr><th>collection</th>")
    assert (
        "<td>&lt;b&gt;users&lt;/b&gt;</td><td>2,847</td><td>1</td><td>0</td></tr></table><pre>plan for repair"
        in shown
    )
    assert "&lt;table" not in shown
    assert "<b>" not in shown


def test_the_scene_is_shown_as_a_table_too(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    assert "&lt;t" not in scene.migrate("apply")._repr_html_()
