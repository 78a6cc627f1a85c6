"""kill -9 at every point: what was acknowledged stands, nothing stands twice, and the same command ends in the right target."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from migration_crash import Crasher, crasher
from migration_scene import Scene

from vecforensics.findings import Kind, Verdict
from vecforensics.migrate import check_ledger, plan
from vecforensics.migrate.chain import State
from vecforensics.migrate.ledger import Ledger

CHUNK = 7
# A killed process loses nothing that it has written, whatever lies below; so the many runs here may do without a disk.
MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def crash() -> Iterator[Crasher]:
    with crasher() as running:
        yield running


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="vecforensics-", dir=MEMORY) as folder:
        yield Path(folder)


def broken_target(folder: Path, store: str = "parquet") -> Scene:
    """Half of the rows right, one doubled, one under a mangled id, one orphan, the rest missing."""
    scene = Scene.make(folder, store=store)
    users, posts = scene.right_rows("users"), scene.right_rows("posts")
    scene.put("users", [users[0], users[1], users[1], ("3.0", users[2][1], users[2][2])])
    scene.put("posts", [posts[0], (posts[1][0], posts[0][1], posts[1][2]), ("undefined", posts[4][1], None)])
    scene.collect_again()
    scene.findings(
        [
            ("users", Kind.DUPLICATE, "2", "2"),
            ("users", Kind.MANGLED_ID, "3", "3.0"),
            ("users", Kind.MISSING, "4", None),
            ("posts", Kind.SWAPPED, "2", "2"),
            ("posts", Kind.ORPHAN, None, "undefined"),
            *(("posts", Kind.MISSING, str(number), None) for number in (3, 4, 5, 6)),
        ]
    )
    return scene


def nothing_acknowledged_is_lost(scene: Scene) -> None:
    if not Ledger.begun(scene.run.ledger_sqlite):
        return
    rows = {
        (collection, row[0]): row
        for collection in scene.case.collections
        for row in scene.right_rows(collection)
    }
    with Ledger.open(scene.run.ledger_sqlite) as ledger:
        for operation in ledger.operations():
            if ledger.state(operation.op) not in (State.APPLIED, State.VERIFIED, State.DONE):
                continue
            found = scene.writer(operation.collection).fetch(operation.collection, [operation.id]).to_pylist()
            if operation.kind == "delete":
                assert found == []
            else:
                assert len(found) == 1
                assert found[0]["metadata"] == rows[operation.collection, operation.id][2]


@pytest.mark.parametrize(
    ("mode", "point"),
    [
        ("apply", "commit:after"),
        ("repair", "commit:before"),
        ("apply", "upsert:before"),
        ("repair", "upsert:after"),
        ("repair", "delete:before"),
        ("apply", "delete:after"),
    ],
)
def test_killed_anywhere_and_resumed_it_ends_clean(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, crash: Crasher, point: str, mode: str
) -> None:
    monkeypatch.setattr(plan, "CHUNK_ROWS", CHUNK)
    scene = broken_target(scratch / "scene")
    kills = 0
    # The commits are many: every other one in each mode.
    first, step = (1 if mode == "apply" else 2, 2) if point.startswith("commit") else (1, 1)
    for nth in count(first, step):
        killed = scene.copy(scratch / str(nth))
        answer = crash.run(killed.folder, killed.run.path, point, nth, mode=mode, chunk_rows=CHUNK)
        if answer == "ended":
            break
        assert answer == "killed"
        kills += 1
        nothing_acknowledged_is_lost(killed)
        done = killed.migrate(mode)
        assert done.verdict is Verdict.CLEAN
        assert killed.stands_right()
        assert check_ledger(killed.run.ledger_sqlite) == ""
    assert kills >= 2


@pytest.mark.parametrize("strategy", ["locked", "serial"])
def test_the_other_strategies_survive_a_kill_after_any_write(
    scratch: Path, crash: Crasher, strategy: str
) -> None:
    scene = broken_target(scratch / "scene")
    for nth in (1, 3):
        killed = scene.copy(scratch / str(nth))
        point = {"point": "upsert:after", "strategy": strategy, "concurrency": 3}
        assert crash.run(killed.folder, killed.run.path, nth=nth, **point) == "killed"
        done = killed.migrate("apply", strategy=strategy)
        assert done.resumed
        assert done.verdict is Verdict.CLEAN
        assert killed.stands_right()


def test_killed_again_and_again_it_still_ends_clean(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, crash: Crasher
) -> None:
    monkeypatch.setattr(plan, "CHUNK_ROWS", CHUNK)
    scene = broken_target(scratch / "scene")
    for round_ in range(40):
        answer = crash.run(
            scene.folder, scene.run.path, "commit:after", 3 + round_ % 3, mode="apply", chunk_rows=CHUNK
        )
        nothing_acknowledged_is_lost(scene)
        if answer == "ended":
            break
    assert round_ >= 3
    assert scene.migrate("apply").verdict is Verdict.CLEAN
    assert scene.stands_right()


@pytest.mark.parametrize("point", ["commit:after", "restore:before", "restore:after"])
def test_a_rollback_that_is_killed_anywhere_is_finished_by_the_next(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, crash: Crasher, point: str
) -> None:
    monkeypatch.setattr(plan, "CHUNK_ROWS", CHUNK)
    scene = broken_target(scratch / "scene")
    before = scene.dump()
    scene.migrate("apply")
    for nth in count(1):
        killed = scene.copy(scratch / str(nth))
        answer = crash.run(killed.folder, killed.run.path, point, nth, mode="rollback", chunk_rows=CHUNK)
        done = killed.migrate("rollback")
        assert done.conflicts == []
        assert killed.dump() == before
        if answer == "ended":
            break
        assert answer == "killed"
    assert nth >= 2


def test_lancedb_killed_after_a_commit_can_go_on_or_go_back(scratch: Path) -> None:
    scene = broken_target(scratch / "scene", store="lancedb")
    before = scene.dump()
    with crasher() as alone:
        assert alone.run(scene.folder, scene.run.path, "upsert:after", 2, fork=False) == "killed"
    back = scene.copy(scratch / "back")
    assert back.migrate("rollback").conflicts == []
    assert back.dump() == before
    assert scene.migrate("apply").verdict is Verdict.CLEAN
    assert scene.stands_right()


def test_ctrl_c_ends_what_is_under_way_and_the_next_run_goes_on(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vecforensics.stores.parquet import ParquetWriter

    scene = broken_target(scratch / "scene")
    real = ParquetWriter.upsert

    def upsert(writer: ParquetWriter, collection: str, batch: Any, kept: Any = None) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)  # ample for the signal to be heard before the next batch, on a busy machine too
        return real(writer, collection, batch, kept)

    with monkeypatch.context() as patch:
        patch.setattr(ParquetWriter, "upsert", upsert)
        with pytest.raises(KeyboardInterrupt):
            scene.migrate("apply", strategy="serial")
    with Ledger.open(scene.run.ledger_sqlite) as ledger:
        counts = ledger.counts()
    assert (counts[State.APPLIED], counts[State.SENT]) == (1, 0)
    nothing_acknowledged_is_lost(scene)
    assert scene.migrate("apply", strategy="serial").verdict is Verdict.CLEAN
    assert scene.stands_right()
