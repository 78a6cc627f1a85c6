"""Resume with re-drawn ranges: the checkpoint counts rows of ranges that no longer exist.

The records are cut into one range for each worker, and each range remembers how many of its rows are done. After a
time-out the migration goes on more gently, with fewer workers: the ranges are drawn anew, larger ones, and the old counts
are looked up by the range's number. "Three rows of range 1 are done" was true of the old range 1; taken for the new one
it skips three rows that nobody has written. The run ends with "finished successfully".

The repair remembers what is done by id. A smaller one would be to freeze the ranges and keep them on resume.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from vecforensics.findings import Kind
from vecforensics.race.catalogue.pattern import Embed, Pattern, Store, Thread
from vecforensics.records import Record

__all__ = ["PATTERN", "broken", "fixed"]

PATIENCE_S = 30.0
WORKERS, GENTLER = 3, 2

PATTERN = Pattern(
    name="redrawn_ranges",
    title="Resume with re-drawn ranges",
    mechanism="Progress is kept as a count per range, and the resumed run draws other ranges under the same numbers, so "
    "it skips rows that were never written.",
    causes=(Kind.MISSING, Kind.DANGLING, Kind.PREMATURE),
    known_from=(
        Thread(
            "https://github.com/qdrant/migration/pull/175",
            "The number of ranges followed the number of workers, the stored offsets did not: resuming with another "
            "number of workers used offsets of ranges with other boundaries.",
        ),
    ),
)


async def broken(records: Sequence[Record], embed: Embed, store: Store) -> None:
    done: dict[tuple[int, int], int] = {}

    async def copy(level: int, number: int, rows: Sequence[Record]) -> None:
        for record in rows[done.get((level, number), 0) :]:
            await store.upsert(record.id, await embed(record), dict(record.metadata))
            done[level, number] = done.get((level, number), 0) + 1

    async def attempt(workers: int) -> None:
        users = [record for record in records if not record.depends_on]
        posts = [record for record in records if record.depends_on]
        for level, rows in enumerate((users, posts)):
            size = -(-len(rows) // workers)
            await asyncio.gather(*(copy(level, i, rows[i * size : (i + 1) * size]) for i in range(workers)))

    try:
        async with asyncio.timeout(PATIENCE_S):
            await attempt(WORKERS)
    except TimeoutError:
        await attempt(GENTLER)


async def fixed(records: Sequence[Record], embed: Embed, store: Store) -> None:
    done: set[str] = set()

    async def copy(rows: Sequence[Record]) -> None:
        for record in rows:
            if record.id not in done:
                await store.upsert(record.id, await embed(record), dict(record.metadata))
                done.add(record.id)

    async def attempt(workers: int) -> None:
        users = [record for record in records if not record.depends_on]
        posts = [record for record in records if record.depends_on]
        for rows in (users, posts):
            size = -(-len(rows) // workers)
            await asyncio.gather(*(copy(rows[i * size : (i + 1) * size]) for i in range(workers)))

    try:
        async with asyncio.timeout(PATIENCE_S):
            await attempt(WORKERS)
    except TimeoutError:
        await attempt(GENTLER)
