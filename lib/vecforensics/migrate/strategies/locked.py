"""A lock a key: every record at once, and whoever depends on another waits for that one's lock.

All locks are taken before the first task exists, so that a child cannot find its parent's lock free because the parent has not
begun. A lock opens only when its record's write is acknowledged: after a failure it stays shut, and the group cancels whoever
waits at it. Waiting goes from child to parent only and the dependencies hold no circle, so there is no deadlock.

Finer than `waves`: a child starts as soon as its own parents stand, not when the whole level does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from vecforensics.migrate.strategies.order import dependency_levels
from vecforensics.migrate.strategies.protocol import Embed, Store
from vecforensics.records import Record

__all__ = ["migrate"]


async def migrate(records: Sequence[Record], embed: Embed, store: Store, *, width: int = 1_024) -> None:
    """Migrate up to `width` records at once; each is written when what it depends on is acknowledged."""
    ordered = [record for level in dependency_levels(records) for record in level]
    locks = {record.id: asyncio.Lock() for record in ordered}
    for lock in locks.values():
        await lock.acquire()

    async def migrate_one(record: Record) -> None:
        vector = await embed(record)
        for parent in record.depends_on:
            if parent in locks and parent != record.id:
                async with locks[parent]:
                    pass
        await store.upsert(record.id, vector, dict(record.metadata))
        locks[record.id].release()

    for start in range(0, len(ordered), width):
        async with asyncio.TaskGroup() as group:
            for record in ordered[start : start + width]:
                group.create_task(migrate_one(record))
