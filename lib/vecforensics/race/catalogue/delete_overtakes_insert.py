"""Delete overtakes insert: the events of one key are spread over workers that do not wait for one another.

A change feed replaces a record by two events, "delete the old row" and "insert the new one". One consumer would apply
them in order. A pool of consumers takes them off the queue in order and finishes them in any: if the delete is the slower
of the two, it removes the row that the insert has just written. Each request succeeded, each event was handled exactly
once, and the record is gone.

The repair keeps the order where it matters and only there: the events of one key go to one worker, one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from vecforensics.findings import Kind
from vecforensics.race.catalogue.pattern import Embed, Pattern, Store, Thread
from vecforensics.records import Record

__all__ = ["PATTERN", "broken", "fixed"]

WORKERS = 2

PATTERN = Pattern(
    name="delete_overtakes_insert",
    title="Delete overtakes insert",
    mechanism="Delete and insert of one id are taken from a queue by different workers, and nothing makes the insert wait "
    "for the delete that came before it.",
    causes=(Kind.MISSING, Kind.DANGLING, Kind.PREMATURE),
    known_from=(
        Thread(
            "https://github.com/qdrant/qdrant/issues/6556",
            "A delete by filter, followed by concurrent upserts, sometimes removed points that had been upserted after it.",
        ),
        Thread(
            "https://github.com/HKUDS/LightRAG/pull/2822",
            "Deletes were buffered while upserts went out at once, so that a buffered delete removed the newer row.",
        ),
    ),
)


async def broken(records: Sequence[Record], embed: Embed, store: Store) -> None:
    async def apply(feed: asyncio.Queue[tuple[str, Record]]) -> None:
        while not feed.empty():
            event, record = feed.get_nowait()
            if event == "delete":
                await store.delete(record.id)
            else:
                await store.upsert(record.id, await embed(record), dict(record.metadata))

    users = [record for record in records if not record.depends_on]
    posts = [record for record in records if record.depends_on]
    for level in (users, posts):
        feed: asyncio.Queue[tuple[str, Record]] = asyncio.Queue()
        for record in level:
            feed.put_nowait(("delete", record))
            feed.put_nowait(("insert", record))
        await asyncio.gather(*(apply(feed) for _ in range(WORKERS)))


async def fixed(records: Sequence[Record], embed: Embed, store: Store) -> None:
    async def apply(feed: asyncio.Queue[Record]) -> None:
        while not feed.empty():
            record = feed.get_nowait()
            await store.delete(record.id)
            await store.upsert(record.id, await embed(record), dict(record.metadata))

    users = [record for record in records if not record.depends_on]
    posts = [record for record in records if record.depends_on]
    for level in (users, posts):
        feed: asyncio.Queue[Record] = asyncio.Queue()
        for record in level:
            feed.put_nowait(record)
        await asyncio.gather(*(apply(feed) for _ in range(WORKERS)))
