"""Retry after a time-out without idempotency: "no answer" is taken for "did not happen".

When a write times out, the client does not know whether it was carried out; only the answer is missing. Retrying is right
if doing it twice is the same as doing it once. Here each attempt takes an id of its own, so that it cannot collide with a
half-written predecessor, and that destroys the one property that made the retry safe: a first attempt that had been
committed after all stays in the store beside the second.

The repair is a deterministic id, the same on every attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from vecforensics.findings import Kind
from vecforensics.race.catalogue.pattern import Embed, Pattern, Store, Thread
from vecforensics.records import Record

__all__ = ["PATTERN", "broken", "fixed"]

ATTEMPTS = 3

PATTERN = Pattern(
    name="blind_retry",
    title="Retry after a time-out without idempotency",
    mechanism="A write that timed out is sent again under another id although the first may have been committed, so the "
    "record stands in the store twice, or only under the id of the retry.",
    causes=(Kind.MISSING, Kind.MANGLED_ID, Kind.DUPLICATE, Kind.DANGLING, Kind.PREMATURE),
    faults=("timeout",),
    known_from=(
        Thread(
            "https://github.com/milvus-io/milvus/issues/7117",
            "An insert of 100,000 vectors ended with 'deadline exceeded', was repeated, and the collection held 100,000 "
            "vectors too many.",
        ),
        Thread(
            "https://github.com/milvus-io/milvus/issues/50000",
            "The request for idempotency keys: a retried insert may execute the same logical insert more than once.",
        ),
    ),
)


async def broken(records: Sequence[Record], embed: Embed, store: Store) -> None:
    async def write(record: Record) -> None:
        vector = await embed(record)
        for attempt in range(ATTEMPTS):
            target_id = record.id if attempt == 0 else f"{record.id}-retry{attempt}"
            try:
                return await store.upsert(target_id, vector, dict(record.metadata))
            except TimeoutError:
                if attempt == ATTEMPTS - 1:
                    raise

    users = [record for record in records if not record.depends_on]
    posts = [record for record in records if record.depends_on]
    for level in (users, posts):
        await asyncio.gather(*(write(record) for record in level))


async def fixed(records: Sequence[Record], embed: Embed, store: Store) -> None:
    async def write(record: Record) -> None:
        vector = await embed(record)
        for attempt in range(ATTEMPTS):
            try:
                return await store.upsert(record.id, vector, dict(record.metadata))
            except TimeoutError:
                if attempt == ATTEMPTS - 1:
                    raise

    users = [record for record in records if not record.depends_on]
    posts = [record for record in records if record.depends_on]
    for level in (users, posts):
        await asyncio.gather(*(write(record) for record in level))
