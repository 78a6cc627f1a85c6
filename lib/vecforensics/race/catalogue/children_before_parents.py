"""Children before parents: one `gather` over everything, although some records depend on others.

Every record is written and every write is waited for, so nothing is missing in the end, and a check of the counts is
content. Between the first write and the last, however, posts stand in the store whose user does not, and whoever reads
meanwhile (a lookup of the parent's vector, a recommendation, a consistency check) finds a reference that leads nowhere.
If the run breaks off there, it stays that way.

The repair keeps the parallelism within a level of dependency and puts a barrier between the levels.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from vecforensics.findings import Kind
from vecforensics.race.catalogue.pattern import Embed, Pattern, Store, Thread
from vecforensics.records import Record

__all__ = ["PATTERN", "broken", "fixed"]

PATTERN = Pattern(
    name="children_before_parents",
    title="Children before parents",
    mechanism="All records are migrated in one gather, so a record can be written while the one that it depends on is "
    "still being embedded.",
    causes=(Kind.PREMATURE,),
    known_from=(
        Thread(
            "https://github.com/dimitri/pgloader/issues/766",
            "Two tables that refer to one another were loaded at the same time; one was through before the other, and the "
            "load broke on rows whose parent was not there yet.",
        ),
    ),
)


async def broken(records: Sequence[Record], embed: Embed, store: Store) -> None:
    async def migrate_one(record: Record) -> None:
        vector = await embed(record)
        await store.upsert(record.id, vector, dict(record.metadata))

    await asyncio.gather(*(migrate_one(record) for record in records))


async def fixed(records: Sequence[Record], embed: Embed, store: Store) -> None:
    async def migrate_one(record: Record) -> None:
        vector = await embed(record)
        await store.upsert(record.id, vector, dict(record.metadata))

    users = [record for record in records if not record.depends_on]
    posts = [record for record in records if record.depends_on]
    await asyncio.gather(*(migrate_one(record) for record in users))
    await asyncio.gather(*(migrate_one(record) for record in posts))
