"""Older version overwrites newer: two writes of one key, and the last to arrive wins.

A source that is edited during the migration yields a record twice: the row of the export and, later, the row of the
change. Taken one after the other the second replaces the first, as it should. Side by side they race: when the older
version takes longer to embed or its request is slower, it lands on top of the newer, and the store keeps the vector of a
text that nobody can see any more. The id is right, the count is right, the vector is a perfectly good one of yesterday.

The repair decides before it writes: of each id only the newest version goes out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from vecforensics.findings import Kind
from vecforensics.race.catalogue.pattern import Embed, Pattern, Store, Thread
from vecforensics.records import Record

__all__ = ["PATTERN", "broken", "fixed"]

PATTERN = Pattern(
    name="stale_overwrite",
    title="Older version overwrites newer",
    mechanism="Two versions of a record are embedded and written at the same time under one id; when the older one is "
    "slower, it replaces the newer.",
    causes=(Kind.STALE, Kind.METADATA_DRIFT),
    versions=True,
    known_from=(
        Thread(
            "https://github.com/manticoresoftware/manticoresearch/issues/4329",
            "A rebuild of embeddings collected texts, embedded them and applied the vectors later, over values that had "
            "been changed in between.",
        ),
    ),
)


async def broken(records: Sequence[Record], embed: Embed, store: Store) -> None:
    async def migrate_one(record: Record) -> None:
        vector = await embed(record)
        await store.upsert(record.id, vector, dict(record.metadata))

    users = [record for record in records if not record.depends_on]
    posts = [record for record in records if record.depends_on]
    for level in (users, posts):
        await asyncio.gather(*(migrate_one(record) for record in level))


async def fixed(records: Sequence[Record], embed: Embed, store: Store) -> None:
    async def migrate_one(record: Record) -> None:
        vector = await embed(record)
        await store.upsert(record.id, vector, dict(record.metadata))

    newest: dict[str, Record] = {}
    for record in records:
        if record.id not in newest or newest[record.id].version < record.version:
            newest[record.id] = record
    users = [record for record in newest.values() if not record.depends_on]
    posts = [record for record in newest.values() if record.depends_on]
    for level in (users, posts):
        await asyncio.gather(*(migrate_one(record) for record in level))
