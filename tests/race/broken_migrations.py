"""Migrations that are wrong in ways the catalogue does not list, each with a kind that must be among what is found."""

import asyncio
import itertools
from typing import Any

import numpy as np


def levels(records: Any) -> tuple[list[Any], list[Any]]:
    return [r for r in records if not r.depends_on], [r for r in records if r.depends_on]


async def shared_index(records: Any, embed: Any, store: Any) -> None:
    """missing: two workers read the same position."""
    position = 0

    async def worker() -> None:
        nonlocal position
        while position < len(records):
            mine = position
            vector = await embed(records[mine])
            await store.upsert(records[mine].id, vector, records[mine].metadata)
            position = max(position + 1, mine + 2)

    await asyncio.gather(worker(), worker())


async def attribute_slot(records: Any, embed: Any, store: Any) -> None:
    """swapped: the vector waits in an attribute while another task fills it."""

    class Job:
        vector: Any = None

    job = Job()

    async def one(record: Any) -> None:
        job.vector = await embed(record)
        await store.fetch(record.id)
        await store.upsert(record.id, job.vector, record.metadata)

    for level in levels(records):
        await asyncio.gather(*(one(record) for record in level))


async def sleep_and_hope(records: Any, embed: Any, store: Any) -> None:
    """missing: a pause stands in for waiting."""
    for level in levels(records):
        tasks = [asyncio.create_task(_write(record, embed, store)) for record in level]
        await asyncio.sleep(5)
        del tasks


async def _write(record: Any, embed: Any, store: Any) -> None:
    await store.upsert(record.id, await embed(record), record.metadata)


async def first_of_each(records: Any, embed: Any, store: Any) -> None:
    """missing: the rest is cancelled once one is through."""
    for level in levels(records):
        tasks = [asyncio.create_task(_write(record, embed, store)) for record in level]
        _, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()


async def never_asked(records: Any, embed: Any, store: Any) -> None:
    """lost_error: a background task fails and nobody looks."""

    async def audit(record: Any) -> None:
        row = await store.fetch(record.id)
        assert row.vector is not None

    audits = []
    for record in records:
        vector = await embed(record)
        audits.append(asyncio.create_task(audit(record)))
        await store.upsert(record.id, vector, record.metadata)
    await asyncio.wait(audits)


async def nan_for_a_missing_parent(records: Any, embed: Any, store: Any) -> None:
    """mangled_id: the parent's number is looked up before it is given."""
    numbers: dict[str, float] = {}
    count = itertools.count(1)

    async def one(record: Any) -> None:
        vector = await embed(record)
        known = all(numbers.get(parent) for parent in record.depends_on)
        await store.upsert(record.id if known else "NaN", vector, record.metadata)
        numbers[record.id] = next(count)

    await asyncio.gather(*(one(record) for record in records))


async def lock_order(records: Any, embed: Any, store: Any) -> None:
    """deadlock: two locks taken in either order."""
    source, target = asyncio.Lock(), asyncio.Lock()

    async def forwards(record: Any) -> None:
        async with source:
            vector = await embed(record)
            async with target:
                await store.upsert(record.id, vector, record.metadata)

    async def backwards(record: Any) -> None:
        async with target:
            await store.fetch(record.id)
            async with source:
                await store.upsert(record.id, await embed(record), record.metadata)

    for level in levels(records):
        await asyncio.gather(*((forwards if place % 2 else backwards)(r) for place, r in enumerate(level)))


async def yield_between(records: Any, embed: Any, store: Any) -> None:
    """swapped: only two answers in one round of the loop show it."""
    slot = np.zeros(8, dtype=np.float32)

    async def one(record: Any) -> None:
        vector = await embed(record)
        slot[:] = vector
        await asyncio.sleep(0)
        await store.upsert(record.id, slot, record.metadata)

    for level in levels(records):
        await asyncio.gather(*(one(record) for record in level))


async def clean_up_too_early(records: Any, embed: Any, store: Any) -> None:
    """missing: deletes what a parallel write has just put there."""

    async def one(record: Any) -> None:
        await store.upsert(record.id, await embed(record), record.metadata)

    async def clean(record: Any) -> None:
        if await store.fetch(record.id) is None:
            await store.delete(record.id)

    for level in levels(records):
        await asyncio.gather(*(one(record) for record in level), *(clean(record) for record in level))


async def group_without_order(records: Any, embed: Any, store: Any) -> None:
    """premature: a task group over both levels."""
    async with asyncio.TaskGroup() as group:
        for record in records:
            group.create_task(_write(record, embed, store))


ALL = [
    (function, (function.__doc__ or "").partition(":")[0])
    for name, function in sorted(globals().items())
    if asyncio.iscoroutinefunction(function) and function.__module__ == __name__ and not name.startswith("_")
]
