"""A lock created per call: everybody locks, and nobody locks the same thing.

Before a child is written its parent must be there, and several children may ask for the same parent at once; so the
check and the writing of the parent go under a lock. But the lock is made inside the function, a new one on every call,
and never has a second contender. The first child marks the parent as taken care of and begins to embed it; the second
child finds the mark, believes that the parent is there, and writes itself into the gap.

The repair is one lock for each parent, kept where all calls find it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from vecforensics.findings import Kind
from vecforensics.race.catalogue.pattern import Embed, Pattern, Store, Thread
from vecforensics.records import Record

__all__ = ["PATTERN", "broken", "fixed"]

PATTERN = Pattern(
    name="lock_per_call",
    title="A lock created per call",
    mechanism="The critical section is entered under a lock that the call has just made for itself, so two calls for the "
    "same record are never kept apart.",
    causes=(Kind.PREMATURE,),
    known_from=(
        Thread(
            "https://github.com/SharpBit/brawlstats/issues/55",
            "A client guarded its rate limit with a lock that it created anew in every request, which made it useless.",
        ),
    ),
)


async def broken(records: Sequence[Record], embed: Embed, store: Store) -> None:
    by_id = {record.id: record for record in records}
    migrated: set[str] = set()

    async def ensure(record: Record) -> None:
        lock = asyncio.Lock()
        async with lock:
            if record.id in migrated:
                return
            migrated.add(record.id)
            await store.upsert(record.id, await embed(record), dict(record.metadata))

    async def migrate_one(record: Record) -> None:
        for parent in record.depends_on:
            await ensure(by_id[parent])
        await ensure(record)

    await asyncio.gather(*(migrate_one(record) for record in records))


async def fixed(records: Sequence[Record], embed: Embed, store: Store) -> None:
    by_id = {record.id: record for record in records}
    migrated: set[str] = set()
    locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ensure(record: Record) -> None:
        async with locks[record.id]:
            if record.id in migrated:
                return
            migrated.add(record.id)
            await store.upsert(record.id, await embed(record), dict(record.metadata))

    async def migrate_one(record: Record) -> None:
        for parent in record.depends_on:
            await ensure(by_id[parent])
        await ensure(record)

    await asyncio.gather(*(migrate_one(record) for record in records))
