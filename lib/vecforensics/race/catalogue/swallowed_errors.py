"""Errors swallowed by `return_exceptions`: failures come back as values, and nobody looks at the values.

`gather(..., return_exceptions=True)` is meant for callers who sort the results from the errors. Used to stop one bad
record from ending the run, with the returned list dropped, it does that and more: every failure disappears, whether it
was one record or all of them, and the function returns as if nothing had been wrong.

The repair looks at the list: what failed is tried again, and what still fails is raised with everything that goes with
it.
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
    name="swallowed_errors",
    title="Errors swallowed by return_exceptions",
    mechanism="gather returns the exceptions in its list of results, the list is dropped, and a record whose write failed "
    "is simply not there.",
    causes=(Kind.MISSING, Kind.DANGLING, Kind.PREMATURE),
    faults=("error",),
    known_from=(
        Thread(
            "https://github.com/lablup/backend.ai/pull/11225",
            "Results of gather(..., return_exceptions=True) were thrown away in several places, and with them every "
            "failure of a single task.",
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
        await asyncio.gather(*(migrate_one(record) for record in level), return_exceptions=True)


async def fixed(records: Sequence[Record], embed: Embed, store: Store) -> None:
    async def migrate_one(record: Record) -> None:
        vector = await embed(record)
        await store.upsert(record.id, vector, dict(record.metadata))

    async def migrate_level(level: Sequence[Record]) -> None:
        for _ in range(ATTEMPTS):
            results = await asyncio.gather(*(migrate_one(record) for record in level), return_exceptions=True)
            errors = [result for result in results if isinstance(result, Exception)]
            level = [row for row, result in zip(level, results, strict=True) if isinstance(result, Exception)]
            if not level:
                return
        raise ExceptionGroup(f"{len(level)} records could not be written", errors)

    users = [record for record in records if not record.depends_on]
    posts = [record for record in records if record.depends_on]
    for rows in (users, posts):
        await migrate_level(rows)
