"""Waves: everything within a level of dependency at once, then a barrier, then the next level. The default.

The barrier is a `TaskGroup`: it ends only when every task in it has ended, it keeps a reference to each, and no exception can
get past it. No lock, queue or semaphore bounds the parallelism, but waves of at most `width` records: a barrier has one
outcome whatever completes first, so the race laboratory can prove it for all orders.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from vecforensics.migrate.strategies.order import dependency_levels
from vecforensics.migrate.strategies.protocol import Embed, Store
from vecforensics.records import Record

__all__ = ["migrate"]


async def migrate(records: Sequence[Record], embed: Embed, store: Store, *, width: int = 1_024) -> None:
    """Migrate level by level, at most `width` records at once."""

    async def migrate_one(record: Record) -> None:
        vector = await embed(record)
        await store.upsert(record.id, vector, dict(record.metadata))

    for level in dependency_levels(records):
        for start in range(0, len(level), width):
            async with asyncio.TaskGroup() as wave:
                for record in level[start : start + width]:
                    wave.create_task(migrate_one(record))
