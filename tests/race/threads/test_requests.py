"""Handles of `async_req=True`: futures of `concurrent.futures`, and the methods of pinecone's REST client beside."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, as_completed, wait
from pathlib import Path
from typing import Any

import pytest

from vecforensics.race import Verdict, explore
from vecforensics.race.views.repro import repro_files


def levels(records: Any) -> tuple[list[Any], list[Any]]:
    return [r for r in records if not r.depends_on], [r for r in records if r.depends_on]


def as_they_complete(records: Any, embed: Any, store: Any) -> None:
    for level in levels(records):
        vectors = {embed(record, async_req=True): record for record in level}
        for request in as_completed(vectors):
            record = vectors[request]
            store.upsert(record.id, request.result(), record.metadata)


def waited_for_in_a_set(records: Any, embed: Any, store: Any) -> None:
    for level in levels(records):
        sent = [store.upsert(r.id, embed(r), r.metadata, async_req=True) for r in level]
        done, rest = wait(sent, return_when=FIRST_COMPLETED)
        done, rest = wait(sent)
        assert not rest
        for request in done:
            request.result()


def asked_in_every_way(records: Any, embed: Any, store: Any) -> None:
    for record in records:
        request = embed(record, async_req=True)
        assert isinstance(request, Future)
        request.wait()
        assert request.ready()
        assert request.done()
        assert request.successful()
        sent = store.upsert(record.id, request.get(timeout=None), record.metadata, async_req=True)
        assert sent.exception() is None


def written_in_the_callback(records: Any, embed: Any, store: Any) -> None:
    for level in levels(records):
        vectors = [embed(record, async_req=True) for record in level]
        for record, request in zip(level, vectors, strict=True):
            request.add_done_callback(
                lambda r, record=record: store.upsert(record.id, r.result(), record.metadata)
            )
        wait(vectors)


def answers_in_the_order_they_come(records: Any, embed: Any, store: Any) -> None:
    for level in levels(records):
        vectors = [r.result() for r in as_completed([embed(record, async_req=True) for record in level])]
        for record, vector in zip(level, vectors, strict=True):
            store.upsert(record.id, vector, record.metadata)


def an_error_is_never_read(records: Any, embed: Any, store: Any) -> None:
    for level in levels(records):
        wait([store.upsert(r.id, embed(r), r.metadata, async_req=True) for r in level])


@pytest.mark.parametrize("migrate", [as_they_complete, waited_for_in_a_set, asked_in_every_way])
def test_a_right_one_never_fails(migrate: Callable[..., Any]) -> None:
    found = explore(migrate, records=4, schedules=150)
    assert found.failures == {}, found.witness and found.witness.replay
    assert found.leaks == ()


def test_one_after_the_other_is_proved() -> None:
    assert explore(asked_in_every_way, records=4, schedules=10).verdict is Verdict.PROVED


@pytest.mark.parametrize(
    ("migrate", "kind", "faults"),
    [
        (written_in_the_callback, "missing", ()),
        (answers_in_the_order_they_come, "swapped", ()),
        (an_error_is_never_read, "lost_error", ("error",)),
    ],
)
def test_a_wrong_one_is_found(migrate: Callable[..., Any], kind: str, faults: tuple[str, ...]) -> None:
    assert kind in explore(migrate, records=4, schedules=150, faults=faults, survey=60).failures


def test_its_repro_runs_on_real_threads(tmp_path: Path) -> None:
    found = explore(
        f"{Path(__file__).name}:answers_in_the_order_they_come",
        folder=Path(__file__).parent,
        records=4,
        schedules=60,
    )
    (tmp_path / "repro.py").write_text(repro_files(found, Path(__file__).parent)["repro.py"])
    done = subprocess.run(
        [sys.executable, "repro.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "swapped: " in done.stdout
