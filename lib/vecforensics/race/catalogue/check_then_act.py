"""Check-then-act on an id counter: the number is read before an await and advanced after it.

Finished records are staged under running numbers and written in that order. Taking a number looks atomic, since no
thread can interfere, but every await is a door through which another task comes in: between reading the counter and
advancing it, a second task reads the same number, and the later of the two overwrites the earlier. It is the lost update
of the textbooks, with `await` in the place of the context switch.

The repair takes and advances the number in one go, with no await between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from vecforensics.findings import Kind
from vecforensics.race.catalogue.pattern import Embed, Pattern, Store, Thread, Vector
from vecforensics.records import Record

__all__ = ["PATTERN", "broken", "fixed"]

PATTERN = Pattern(
    name="check_then_act",
    title="Check-then-act on an id counter",
    mechanism="A task reads the counter, waits for the store, and only then advances it; another task that runs meanwhile "
    "takes the same number, and one of the two records is overwritten.",
    causes=(Kind.MISSING, Kind.DANGLING, Kind.PREMATURE),
    known_from=(
        Thread(
            "https://github.com/zouharvi/last-translation-benchmark/issues/119",
            "The next id was the largest one plus one, read in one statement and used in another: two requests got the "
            "same id and one silently replaced the other.",
        ),
    ),
)


async def broken(records: Sequence[Record], embed: Embed, store: Store) -> None:
    staged: dict[int, tuple[Record, Vector]] = {}
    next_number = 0

    async def stage(record: Record) -> None:
        nonlocal next_number
        vector = await embed(record)
        number = next_number
        if await store.fetch(record.id) is None:
            staged[number] = (record, vector)
            next_number = number + 1

    await asyncio.gather(*(stage(record) for record in records))
    for record, vector in sorted(staged.values(), key=lambda pair: len(pair[0].depends_on)):
        await store.upsert(record.id, vector, dict(record.metadata))


async def fixed(records: Sequence[Record], embed: Embed, store: Store) -> None:
    staged: dict[int, tuple[Record, Vector]] = {}
    next_number = 0

    async def stage(record: Record) -> None:
        nonlocal next_number
        vector = await embed(record)
        if await store.fetch(record.id) is None:
            number, next_number = next_number, next_number + 1
            staged[number] = (record, vector)

    await asyncio.gather(*(stage(record) for record in records))
    for record, vector in sorted(staged.values(), key=lambda pair: len(pair[0].depends_on)):
        await store.upsert(record.id, vector, dict(record.metadata))
