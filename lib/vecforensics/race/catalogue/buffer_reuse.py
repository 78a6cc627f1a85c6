"""A buffer reused across an await: one array serves all tasks, to spare allocations.

Filling a preallocated row is good practice in a loop that does one thing at a time. Under tasks the row is filled, the
task waits (for the store, a lock, a rate limiter), and meanwhile another task fills the same row with its own vector.
What is sent is the vector of whoever came last. Two ids then hold one vector, and nothing about the numbers looks wrong.

The repair gives every task its own row; the saving was never worth it beside a network round trip.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from vecforensics.findings import Kind
from vecforensics.race.catalogue.pattern import Embed, Pattern, Store, Thread, Vector
from vecforensics.records import Record

__all__ = ["PATTERN", "broken", "fixed"]

PATTERN = Pattern(
    name="buffer_reuse",
    title="A buffer reused across an await",
    mechanism="Tasks share one preallocated row; between filling it and sending it a task awaits, and another task "
    "overwrites the row.",
    causes=(Kind.SWAPPED, Kind.SHIFTED, Kind.BROADCAST),
    known_from=(
        Thread(
            "https://github.com/sgl-project/sglang-jax/issues/1503",
            "A host buffer was filled for the next batch while the batch before it was still being read: answers held "
            "other requests' contents.",
        ),
        Thread(
            "https://github.com/AutoMQ/automq/issues/1944",
            "A buffer went back to its pool when the write was acknowledged, while a fast retry could still send it.",
        ),
    ),
)


async def broken(records: Sequence[Record], embed: Embed, store: Store) -> None:
    row: Vector | None = None

    async def migrate_one(record: Record) -> None:
        nonlocal row
        vector = await embed(record)
        if row is None:
            row = np.empty(vector.shape, dtype=np.float32)
        np.copyto(row, vector)
        if await store.fetch(record.id) is None:
            await store.upsert(record.id, row, dict(record.metadata))

    users = [record for record in records if not record.depends_on]
    posts = [record for record in records if record.depends_on]
    for level in (users, posts):
        await asyncio.gather(*(migrate_one(record) for record in level))


async def fixed(records: Sequence[Record], embed: Embed, store: Store) -> None:
    async def migrate_one(record: Record) -> None:
        row = np.array(await embed(record), dtype=np.float32)
        if await store.fetch(record.id) is None:
            await store.upsert(record.id, row, dict(record.metadata))

    users = [record for record in records if not record.depends_on]
    posts = [record for record in records if record.depends_on]
    for level in (users, posts):
        await asyncio.gather(*(migrate_one(record) for record in level))
