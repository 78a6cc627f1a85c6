"""A plain migration that brings an event loop of its own, as a synchronous client is used from coroutines."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from vecforensics.race import Verdict, explore


def levels(records: Any) -> tuple[list[Any], list[Any]]:
    return [r for r in records if not r.depends_on], [r for r in records if r.depends_on]


def put(record: Any, embed: Any, store: Any) -> None:
    store.upsert(record.id, embed(record), record.metadata)


def a_level_at_a_time(records: Any, embed: Any, store: Any) -> None:
    async def main() -> None:
        for level in levels(records):
            await asyncio.gather(*(asyncio.to_thread(put, record, embed, store) for record in level))

    asyncio.run(main())


def with_sleeps_and_a_loop_by_hand(records: Any, embed: Any, store: Any) -> None:
    loop = asyncio.new_event_loop()

    async def main() -> None:
        for record in records:
            vector = await loop.run_in_executor(None, embed, record)
            await asyncio.sleep(60)
            await asyncio.to_thread(store.upsert, record.id, vector, record.metadata)

    try:
        loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def all_at_once(records: Any, embed: Any, store: Any) -> None:
    async def main() -> None:
        await asyncio.gather(*(asyncio.to_thread(put, record, embed, store) for record in records))

    asyncio.run(main())


def forgets_its_tasks(records: Any, embed: Any, store: Any) -> None:
    async def main() -> None:
        for record in records:
            asyncio.create_task(asyncio.to_thread(put, record, embed, store))  # noqa: RUF006

    asyncio.run(main())


def waits_for_ever(records: Any, embed: Any, store: Any) -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    asyncio.run(main())


def loses_an_error(records: Any, embed: Any, store: Any) -> None:
    async def fails() -> None:
        raise KeyError("nobody asks")

    async def main() -> None:
        task = asyncio.create_task(fails())
        for record in records:
            await asyncio.to_thread(put, record, embed, store)
        del task

    asyncio.run(main())


@pytest.mark.parametrize("migrate", [a_level_at_a_time, with_sleeps_and_a_loop_by_hand])
def test_a_right_one_never_fails(migrate: Callable[..., Any]) -> None:
    found = explore(migrate, records=5, schedules=120)
    assert found.failures == {}, found.witness and found.witness.replay


def test_one_in_sequence_is_proved_in_virtual_time() -> None:
    assert explore(with_sleeps_and_a_loop_by_hand, records=3, schedules=50).verdict is Verdict.PROVED


@pytest.mark.parametrize(
    ("migrate", "kind"),
    [
        (all_at_once, "premature"),
        (forgets_its_tasks, "missing"),
        (waits_for_ever, "deadlock"),
        (loses_an_error, "lost_error"),
    ],
)
def test_a_wrong_one_is_found(migrate: Callable[..., Any], kind: str) -> None:
    assert kind in explore(migrate, records=4, schedules=120, survey=40).failures
