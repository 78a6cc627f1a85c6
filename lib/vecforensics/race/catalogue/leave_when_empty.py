"""Workers that leave when the queue looks empty: empty now is taken for empty for good.

A pool of writers takes embedded records from a queue and stops when there is nothing left. But "nothing in the queue" and
"nothing more to come" are two things, and only the producer knows the second. When the store is quick and the embedder is
slow, the writers find the queue empty between two records and go home one by one; the producer fills a queue that nobody
reads, and the migration ends without an error because everybody has finished.

The repair lets the producer say that it is done: one end mark for each writer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from vecforensics.findings import Kind
from vecforensics.race.catalogue.pattern import Embed, Pattern, Store, Thread, Vector
from vecforensics.records import Record

__all__ = ["PATTERN", "broken", "fixed"]

WRITERS = 2

PATTERN = Pattern(
    name="leave_when_empty",
    title="Workers that leave when the queue looks empty",
    mechanism="A writer stops as soon as it finds the queue empty, although the producer is still embedding; what is put "
    "into the queue after the last writer has left is never written.",
    causes=(Kind.MISSING, Kind.PREMATURE),
    known_from=(
        Thread(
            "https://github.com/nolar/kopf/pull/732",
            "A worker's idle time-out fired while an event was being queued; the worker left with one item in its backlog.",
        ),
        Thread(
            "https://github.com/code42/code42cli/pull/105",
            "Waiting for an empty queue ended the program early: a queue is empty as soon as its last item has been taken.",
        ),
    ),
)


async def broken(records: Sequence[Record], embed: Embed, store: Store) -> None:
    queue: asyncio.Queue[tuple[Record, Vector]] = asyncio.Queue()

    async def produce(level: Sequence[Record], first_is_there: asyncio.Event) -> None:
        for record in level:
            queue.put_nowait((record, await embed(record)))
            first_is_there.set()

    async def consume(first_is_there: asyncio.Event) -> None:
        await first_is_there.wait()
        while not queue.empty():
            record, vector = queue.get_nowait()
            await store.upsert(record.id, vector, dict(record.metadata))

    users = [record for record in records if not record.depends_on]
    posts = [record for record in records if record.depends_on]
    for level in filter(None, (users, posts)):
        first_is_there = asyncio.Event()
        await asyncio.gather(
            produce(level, first_is_there), *(consume(first_is_there) for _ in range(WRITERS))
        )


async def fixed(records: Sequence[Record], embed: Embed, store: Store) -> None:
    queue: asyncio.Queue[tuple[Record, Vector] | None] = asyncio.Queue()

    async def produce(level: Sequence[Record]) -> None:
        for record in level:
            queue.put_nowait((record, await embed(record)))
        for _ in range(WRITERS):
            queue.put_nowait(None)

    async def consume() -> None:
        while (item := await queue.get()) is not None:
            record, vector = item
            await store.upsert(record.id, vector, dict(record.metadata))

    users = [record for record in records if not record.depends_on]
    posts = [record for record in records if record.depends_on]
    for level in (users, posts):
        await asyncio.gather(produce(level), *(consume() for _ in range(WRITERS)))
