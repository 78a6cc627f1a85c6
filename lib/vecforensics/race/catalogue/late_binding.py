"""Late-binding closure: the task reads the loop's variables when it runs, not when it was made.

A function written inside a loop looks as if it took the record along. It takes the name. The task made from it begins at
the next await of the loop, and by then the name `record` may stand for the next record while `vector` is still the old
one: each id gets its predecessor's vector, the first record is not written at all, and the run ends without a word. The
signature in the data is a shift by one.

The repair passes what the task needs as arguments.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from vecforensics.findings import Kind
from vecforensics.race.catalogue.pattern import Embed, Pattern, Store, Thread, Vector
from vecforensics.records import Record

__all__ = ["PATTERN", "broken", "fixed"]

PATTERN = Pattern(
    name="late_binding",
    title="Late-binding closure",
    mechanism="The task's function refers to the loop variables; when it runs, the loop has gone on, and it writes the "
    "next record's id with this record's vector.",
    causes=(Kind.MISSING, Kind.SWAPPED, Kind.DANGLING, Kind.PREMATURE),
    known_from=(
        Thread(
            "https://github.com/FZJ-INM1-BDA/siibra-python/pull/587",
            "Functions made in a loop were handed to a thread pool; all of them worked on the last element.",
        ),
        Thread(
            "https://github.com/hazelcast/hazelcast-python-client/pull/271",
            "A timer's callback was made in a loop over addresses and connected to the wrong one.",
        ),
    ),
)


async def broken(records: Sequence[Record], embed: Embed, store: Store) -> None:
    users = [record for record in records if not record.depends_on]
    posts = [record for record in records if record.depends_on]
    for level in (users, posts):
        writes = []
        for record in level:
            vector = await embed(record)

            async def write() -> None:
                await store.upsert(record.id, vector, dict(record.metadata))  # noqa: B023 (the exhibit)

            writes.append(asyncio.create_task(write()))
        await asyncio.gather(*writes)


async def fixed(records: Sequence[Record], embed: Embed, store: Store) -> None:
    async def write(record: Record, vector: Vector) -> None:
        await store.upsert(record.id, vector, dict(record.metadata))

    users = [record for record in records if not record.depends_on]
    posts = [record for record in records if record.depends_on]
    for level in (users, posts):
        writes = [asyncio.create_task(write(record, await embed(record))) for record in level]
        await asyncio.gather(*writes)
