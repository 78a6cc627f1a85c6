"""One forgotten await: everything is waited for except a single operation.

Writing a record while the next one is being embedded is a good idea: the two services work at the same time. The write
that is still on its way is waited for at the next turn of the loop, and after the last turn there is no next one. A
hundred records go in, ninety-nine are safe, and the hundredth is there in every test whose store answers at once. A
random order finds it only when all the other operations happen to finish first, which is why it survives for years.

The repair is one line: wait for the last write as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from vecforensics.findings import Kind
from vecforensics.race.catalogue.pattern import Embed, Pattern, Store, Thread, Vector
from vecforensics.race.model import Trouble
from vecforensics.records import Record

__all__ = ["PATTERN", "broken", "fixed"]

PATTERN = Pattern(
    name="forgotten_await",
    title="One forgotten await",
    mechanism="Each write overlaps with the next record's embedding and is awaited one turn later; the last write has no "
    "next turn, so the function returns while it is still on its way.",
    causes=(Kind.MISSING, Trouble.LEFT_BEHIND),
    known_from=(
        Thread(
            "https://github.com/HKUDS/LightRAG/issues/903",
            "An upsert into the vector store was called without await; documents were reported as processed and were not "
            "in the store.",
        ),
    ),
)


async def broken(records: Sequence[Record], embed: Embed, store: Store) -> None:
    async def write(record: Record, vector: Vector) -> None:
        await store.upsert(record.id, vector, dict(record.metadata))

    writing: asyncio.Task[None] | None = None
    for record in records:
        vector = await embed(record)
        if writing is not None:
            await writing
        writing = asyncio.create_task(write(record, vector))


async def fixed(records: Sequence[Record], embed: Embed, store: Store) -> None:
    async def write(record: Record, vector: Vector) -> None:
        await store.upsert(record.id, vector, dict(record.metadata))

    writing: asyncio.Task[None] | None = None
    for record in records:
        vector = await embed(record)
        if writing is not None:
            await writing
        writing = asyncio.create_task(write(record, vector))
    if writing is not None:
        await writing
