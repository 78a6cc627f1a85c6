"""Stores and embedders that fail: unknown outcomes are read back, poison is set apart, the rest arrives."""

from __future__ import annotations

import errno
import itertools
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from migration_faults import Asked, Faults
from migration_scene import Scene, post, user

from vecforensics.errors import RunLocked, ToolFailed
from vecforensics.findings import Verdict
from vecforensics.migrate import STRATEGIES, Retry, check_ledger, plan
from vecforensics.migrate.chain import State
from vecforensics.migrate.ledger import Ledger

SOON = Retry(attempts=4, first_s=0.001, longest_s=0.002)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_write_that_times_out_is_read_back_and_only_sent_again_if_it_did_not_land(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, strategy: str
) -> None:
    scene = Scene.make(tmp_path)
    faults = Faults({("upsert", 2, when): TimeoutError("no answer")}).install(monkeypatch)
    done = scene.migrate("apply", strategy=strategy, retry=SOON)
    assert done.verdict is Verdict.CLEAN
    assert scene.stands_right()
    if strategy != "locked":
        without = {"serial": 10, "waves": 6}[strategy]
        assert faults.count("upsert") == without + (when == "before")
    with Ledger.open(scene.run.ledger_sqlite) as ledger:
        retries = ledger.notes("retry")
    assert len(retries) == 1
    assert (retries[0]["landed"] > 0) == (when == "after")
    assert (retries[0]["again"] > 0) == (when == "before")


def test_half_of_a_group_that_timed_out_landed_and_only_the_other_half_is_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene.make(tmp_path)
    rows = scene.right_rows("users")
    faults = Faults({("upsert", 1, "before"): TimeoutError()}).install(monkeypatch)
    scene.put("users", [rows[0]])
    done = scene.migrate("apply", retry=SOON)
    assert done.verdict is Verdict.CLEAN
    assert faults.sizes("upsert")[:2] == [2, 1]


def test_retry_after_is_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene.make(tmp_path)
    Faults({("upsert", 1, "before"): Asked(429, retry_after=0.4)}).install(monkeypatch)
    began = time.monotonic()
    assert scene.migrate("apply", retry=SOON).verdict is Verdict.CLEAN
    assert time.monotonic() - began >= 0.4


def test_by_default_a_server_that_asks_for_a_minute_is_asked_again_after_it() -> None:
    assert Retry().timeout_s > 60 * 2
    assert Retry().attempts > 2


def test_a_store_that_stays_away_stops_the_run_and_the_next_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene.make(tmp_path)
    with monkeypatch.context() as patch:
        Faults({("upsert", nth, "before"): Asked(503) for nth in range(2, 20)}).install(patch)
        with pytest.raises(ToolFailed, match=r"out of reach .*status 503.*goes on where it stopped"):
            scene.migrate("apply", retry=SOON)
    assert scene.run.journal()["stages"]["migrate"]["status"] == "failed"
    done = scene.migrate("apply")
    assert done.resumed
    assert done.verdict is Verdict.CLEAN
    assert scene.stands_right()


def test_a_read_only_store_is_not_full_of_poison_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene.make(tmp_path)
    with monkeypatch.context() as patch:
        denied = PermissionError(errno.EACCES, "Permission denied")
        Faults({("upsert", 1, "before"): denied}).install(patch)
        with pytest.raises(ToolFailed, match=r"out of reach .*Permission denied"):
            scene.migrate("apply")
    assert scene.migrate("apply").verdict is Verdict.CLEAN


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_store_that_refuses_everything_is_not_full_of_poison_records_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    users = [user(number) for number in range(1, 30)]
    scene = Scene.make(tmp_path, users=users, posts=[post(1, 1)])
    Faults(refuses=lambda row: "no such index").install(monkeypatch)
    with pytest.raises(ToolFailed, match=r"refuses every record .*no such index"):
        scene.migrate("apply", strategy=strategy)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_rows_that_the_store_refuses_end_in_quarantine_and_take_their_children_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    scene = Scene.make(tmp_path)
    Faults(
        refuses=lambda row: "too spicy" if "pinned" not in row["metadata"] and row["id"] == "3" else ""
    ).install(monkeypatch)
    done = scene.migrate("apply", strategy=strategy)
    reasons = {(c, i): reason for c, i, reason in done.quarantined}
    assert "too spicy" in reasons["users", "3"]
    assert "depends on users/3, which is in quarantine" in reasons["users", "2"]
    assert set(reasons) == {
        ("users", "2"),
        ("users", "3"),
        ("users", "4"),
        *(("posts", str(n)) for n in (1, 3, 4, 5)),
    }
    assert done.written == 3
    assert done.verdict is Verdict.CORRUPT
    assert check_ledger(scene.run.ledger_sqlite) == ""


PICKY = """
import numpy as np
from vecforensics.embedding import open_embedder
from pathlib import Path

SEEN = []

def embed(texts):
    SEEN.append(len(texts))
    for text in texts:
        if WRONG in text and STRICT.exists():
            raise ValueError("a text that no model can read")
    vectors = open_embedder("hashing-16", Path()).embed(texts)
    for row, text in enumerate(texts):
        if "NAN" in text and STRICT.exists():
            vectors[row, 3] = np.nan
    return vectors
"""


def picky(folder: Path) -> Path:
    """An embedder in a file of its own; strict once the file `strict` is there (collect embeds everything too)."""
    folder.mkdir(parents=True, exist_ok=True)
    strict = folder / "strict"
    code = f"from pathlib import Path\nWRONG = 'POISON'\nSTRICT = Path({str(strict)!r})\n{PICKY}"
    (folder / "picky.py").write_text(code)
    return strict


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_texts_that_the_embedder_refuses_and_nan_vectors_end_in_quarantine(
    tmp_path: Path, strategy: str
) -> None:
    strict = picky(tmp_path)
    posts = [post(number, 1) for number in range(1, 20)]
    posts[4]["body"] = "POISON"
    posts[11]["body"] = "NAN"
    scene = Scene.make(tmp_path, posts=posts, embedder="picky.py:embed")
    strict.touch()
    done = scene.migrate("apply", strategy=strategy)
    reasons = {(c, i): reason for c, i, reason in done.quarantined}
    assert set(reasons) == {("posts", "5"), ("posts", "12")}
    assert "a text that no model can read" in reasons["posts", "5"]
    assert "NaN" in reasons["posts", "12"]
    assert done.written == 4 + 17
    assert done.verification is not None
    assert done.verification.by_collection["posts"] == {"missing": 2}


def test_a_text_without_content_has_no_vector_to_search_by(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path, posts=[{**post(1, 1), "body": ""}])
    done = scene.migrate("apply")
    assert [(c, i) for c, i, _ in done.quarantined] == [("posts", "1")]
    assert "all zeros" in done.quarantined[0][2]


def test_an_acknowledged_write_that_is_not_there_is_sent_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene.make(tmp_path)
    from vecforensics.stores.parquet import ParquetWriter

    real = ParquetWriter.upsert
    lost = itertools.count(1)

    def upsert(writer: ParquetWriter, collection: str, batch: object, kept: object = None) -> object:
        return None if next(lost) == 2 else real(writer, collection, batch, kept)

    monkeypatch.setattr(ParquetWriter, "upsert", upsert)
    done = scene.migrate("apply")
    assert done.verdict is Verdict.CLEAN
    with Ledger.open(scene.run.ledger_sqlite) as ledger:
        again = [entry for entry in ledger.entries(State.SENT) if "not there when read back" in entry.detail]
    assert again


def test_waves_writes_groups_and_serial_single_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = [user(number) for number in range(1, 301)]
    posts = [post(number, 1 + number % 300) for number in range(1, 601)]
    scene = Scene.make(tmp_path / "waves", users=users, posts=posts)
    faults = Faults().install(monkeypatch)
    assert scene.migrate("apply", concurrency=256).verdict is Verdict.CLEAN
    assert faults.sizes("upsert") == [256, 44, 256, 256, 88]
    assert faults.most_at_once == 1


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    import subprocess
    import sys

    scene = Scene.make(tmp_path)
    code = (
        "import sys\nfrom vecforensics.run_folder import RunFolder\n"
        f"with RunFolder.open({str(scene.run.path)!r}).locked():\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunLocked, match="another process works on this run"):
            scene.migrate("apply")
        assert not (tmp_path / "target").exists()
        other.communicate("")
    assert scene.migrate("apply").verdict is Verdict.CLEAN


FULL = OSError(errno.ENOSPC, "No space left on device")
FAULT = st.tuples(
    st.sampled_from(["upsert", "delete", "fetch", "preimage"]),
    st.integers(1, 6),
    st.sampled_from(["before", "after"]),
    st.sampled_from([FULL, TimeoutError("no answer"), Asked(500), Asked(429, 0.0)]),
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rounds=st.lists(st.lists(FAULT, max_size=4), max_size=4),
    strategy=st.sampled_from(STRATEGIES),
    chunk_rows=st.integers(1, 12),
    concurrency=st.integers(1, 5),
)
def test_any_interleaving_of_breaks_and_resumptions_ends_in_the_same_target(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    rounds: list[list[tuple[str, int, str, Exception]]],
    strategy: str,
    chunk_rows: int,
    concurrency: int,
) -> None:
    folder = tmp_path_factory.mktemp("rounds")
    scene = _template(tmp_path_factory).copy(folder / "scene")
    before = scene.dump()
    how = {
        "strategy": strategy,
        "concurrency": concurrency,
        "retry": Retry(attempts=3, first_s=0.0, longest_s=0.0),
    }
    with monkeypatch.context() as patch:
        patch.setattr(plan, "CHUNK_ROWS", chunk_rows)
        for faults in rounds:
            with patch.context() as one:
                Faults({(method, nth, when): error for method, nth, when, error in faults}).install(one)
                try:
                    scene.migrate("repair", **how)
                except ToolFailed:
                    continue
        assert scene.migrate("repair", **how).verdict is Verdict.CLEAN
        assert scene.stands_right()
        assert check_ledger(scene.run.ledger_sqlite) == ""
        assert scene.migrate("rollback").conflicts == []
    assert scene.dump() == before


_TEMPLATES: dict[int, Scene] = {}


def _template(factory: pytest.TempPathFactory) -> Scene:
    from test_kill import broken_target

    if id(factory) not in _TEMPLATES:
        _TEMPLATES[id(factory)] = broken_target(factory.mktemp("template") / "scene")
    return _TEMPLATES[id(factory)]


def test_a_store_is_tidied_now_and_then_and_that_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vecforensics.migrate import effects
    from vecforensics.stores.parquet import ParquetWriter

    tidied: list[str] = []

    def optimize(writer: ParquetWriter, collection: str) -> None:
        tidied.append(collection)
        raise RuntimeError("no room to tidy")

    monkeypatch.setattr(effects, "_TIDY_EVERY", 3)
    monkeypatch.setattr(ParquetWriter, "optimize", optimize)
    scene = Scene.make(tmp_path)
    assert scene.migrate("apply", strategy="serial").verdict is Verdict.CLEAN
    assert sorted(tidied) == ["posts", "posts", "users"]
    with Ledger.open(scene.run.ledger_sqlite) as ledger:
        assert ledger.notes("tidying failed")[0]["error"] == "RuntimeError: no room to tidy"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_store_that_refused_everything_and_was_mended_gets_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    """The first few looked like poison, one by one, before it was clear that the store takes nothing."""
    posts = [post(1, 1), *(post(number, 2) for number in range(2, 30))]
    scene = Scene.make(tmp_path, users=[user(1), user(2, boss=1)], posts=posts)
    with monkeypatch.context() as patch:
        Faults(refuses=lambda row: "no such index" if "pinned" in row["metadata"] else "").install(patch)
        with pytest.raises(ToolFailed, match=r"refuses every record .*no such index"):
            scene.migrate("apply", strategy=strategy)
    with Ledger.open(scene.run.ledger_sqlite) as ledger:
        assert ledger.counts()[State.QUARANTINED] == 0
    done = scene.migrate("apply", strategy=strategy)
    assert (done.verdict, done.quarantined) == (Verdict.CLEAN, [])
    assert scene.stands_right()
    assert check_ledger(scene.run.ledger_sqlite) == ""


def test_a_row_of_another_type_is_not_taken_for_a_write_that_landed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Python 1 == 1.0 == True; in metadata they are three things."""
    scene = Scene.make(tmp_path)
    scene.put("users", scene.right_rows("users"))
    rows = scene.right_rows("posts")
    retyped = [(one, vector, f'{{"likes":{one}.0,"pinned":{1 - int(one) % 2}}}') for one, vector, _ in rows]
    scene.put("posts", retyped)
    Faults({("upsert", nth, "before"): TimeoutError("slow") for nth in (2, 4, 6)}).install(monkeypatch)
    assert scene.migrate("apply", retry=SOON).verdict is Verdict.CLEAN
    assert scene.stands_right()
