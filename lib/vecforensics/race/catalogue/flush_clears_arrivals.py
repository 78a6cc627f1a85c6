"""Flush that clears what arrived meanwhile: the buffer is emptied after the write instead of before it.

Collecting rows and writing them in batches is right. `flush` writes what is in the buffer, waits for the answers, and
clears the buffer. While it waits, other tasks append to the same list; clearing it afterwards throws away rows that no
request has carried. The loss needs a slow write and a busy producer, which is production and not the test.

The repair takes the buffer away before the first await: what arrives meanwhile lands in a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from vecforensics.findings import Kind
from vecforensics.race.catalogue.pattern import Embed, Pattern, Store, Thread, Vector
from vecforensics.records import Record

__all__ = ["PATTERN", "broken", "fixed"]

BATCH = 2

PATTERN = Pattern(
    name="flush_clears_arrivals",
    title="Flush that clears what arrived meanwhile",
    mechanism="flush awaits the writes of what it found in the buffer and then clears the whole buffer, including the "
    "rows that other tasks appended while it was waiting.",
    causes=(Kind.MISSING, Kind.DANGLING, Kind.PREMATURE),
    known_from=(
        Thread(
            "https://github.com/willianmarquess/open-mt2/issues/165",
            "A cache's flush took a snapshot, awaited the writes and cleared the whole cache: writes queued during the "
            "await never reached the database.",
        ),
    ),
)


async def broken(records: Sequence[Record], embed: Embed, store: Store) -> None:
    buffer: list[tuple[Record, Vector]] = []

    async def flush() -> None:
        await asyncio.gather(*(store.upsert(row.id, vector, dict(row.metadata)) for row, vector in buffer))
        buffer.clear()

    async def add(record: Record) -> None:
        buffer.append((record, await embed(record)))
        if len(buffer) >= BATCH:
            await flush()

    users = [record for record in records if not record.depends_on]
    posts = [record for record in records if record.depends_on]
    for level in (users, posts):
        await asyncio.gather(*(add(record) for record in level))
        await flush()


async def fixed(records: Sequence[Record], embed: Embed, store: Store) -> None:
    buffer: list[tuple[Record, Vector]] = []

    async def flush() -> None:
        batch = buffer.copy()
        buffer.clear()
        await asyncio.gather(*(store.upsert(row.id, vector, dict(row.metadata)) for row, vector in batch))

    async def add(record: Record) -> None:
        buffer.append((record, await embed(record)))
        if len(buffer) >= BATCH:
            await flush()

    users = [record for record in records if not record.depends_on]
    posts = [record for record in records if record.depends_on]
    for level in (users, posts):
        await asyncio.gather(*(add(record) for record in level))
        await flush()
