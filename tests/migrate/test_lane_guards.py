"""What the laboratory proves of a strategy, the lanes demand of it: a wrong one is stopped before it does harm."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from migration_scene import Scene

import vecforensics.migrate as package
from vecforensics.errors import CaseError, ToolFailed
from vecforensics.findings import Verdict
from vecforensics.records import Record


async def forgets_the_last(records: Sequence[Record], embed: Any, store: Any) -> None:
    for record in records[:-1]:
        await store.upsert(record.id, await embed(record), record.metadata)


async def children_first(records: Sequence[Record], embed: Any, store: Any) -> None:
    for record in reversed(records):
        await store.upsert(record.id, await embed(record), record.metadata)


async def in_order_of_completion(records: Sequence[Record], embed: Any, store: Any) -> None:
    vectors = [await embed(record) for record in records]
    for record, vector in zip(records, reversed(vectors), strict=True):
        await store.upsert(record.id, vector, record.metadata)


async def writes_twice_at_once(records: Sequence[Record], embed: Any, store: Any) -> None:
    vector = await embed(records[0])
    await asyncio.gather(*(store.upsert(records[0].id, vector, {}) for _ in range(2)))


async def writes_under_undefined(records: Sequence[Record], embed: Any, store: Any) -> None:
    await store.upsert("undefined", await embed(records[0]), {})


async def deletes(records: Sequence[Record], embed: Any, store: Any) -> None:
    await store.delete(records[0].id)


WRONG = {
    "without having written 1 records": forgets_the_last,
    "before what it depends on": children_first,
    "with a vector that was not made for it": in_order_of_completion,
    "while a write of it is under way": writes_twice_at_once,
    "asks for 'undefined', which is not in this chunk": writes_under_undefined,
    "wants to delete": deletes,
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_strategy_is_stopped_and_a_right_one_finishes_its_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    scene = Scene.make(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(package, "load_strategy", lambda name, width: WRONG[what])
        with pytest.raises(ToolFailed, match=what):
            scene.migrate("apply")
    assert scene.migrate("apply").verdict is Verdict.CLEAN
    assert scene.stands_right()


async def looks_first(records: Sequence[Record], embed: Any, store: Any) -> None:
    for record in records:
        assert await store.fetch(record.id) is None
        await store.upsert(record.id, await embed(record), record.metadata)
        found = await store.fetch(record.id)
        assert (found.id, found.metadata) == (record.id, dict(record.metadata))


def test_a_strategy_may_look_what_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vecforensics.migrate.strategies import dependency_levels

    async def ordered(records: Sequence[Record], embed: Any, store: Any) -> None:
        for level in dependency_levels(records):
            await looks_first(level, embed, store)

    scene = Scene.make(tmp_path)
    monkeypatch.setattr(package, "load_strategy", lambda name, width: ordered)
    assert scene.migrate("apply").verdict is Verdict.CLEAN


def test_it_runs_where_a_loop_runs_already_as_in_a_notebook(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)

    async def cell() -> Verdict:
        return scene.migrate("apply").verdict

    assert asyncio.run(cell()) is Verdict.CLEAN


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "destroy"}, "no mode 'destroy'"),
        ({"strategy": "hope"}, "no strategy 'hope'"),
        ({"concurrency": 0}, "a concurrency of 0"),
    ],
)
def test_a_misspelt_setting_is_refused_in_one_line(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    scene = Scene.make(tmp_path)
    with pytest.raises(CaseError, match=message):
        scene.migrate(**settings)
