"""The programs that the contestants of bench_race.py run. They lie in a file, where DPOR reads what they share.

Three operations a record: embed, fetch what stands there, upsert. Parents first, then everything that depends on them.
race_programs.js says the same in JavaScript.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from vecforensics.records import Record

FORGOTTEN = "10002"
"""The record whose write nobody waits for: a user on whom nothing depends, so that nothing but its absence can show. Named by
its id and not by its place, so that it stays the one when there are fewer records."""

OPERATIONS = 3


async def write(record: Record, embed: Callable[..., Any], store: Any) -> None:
    vector = await embed(record)
    await store.fetch(record.id)
    await store.upsert(record.id, vector, record.metadata)


def levels(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    return [item for item in records if not item.depends_on], [item for item in records if item.depends_on]


async def barrier(records: Sequence[Record], embed: Callable[..., Any], store: Any) -> None:
    for level in levels(records):
        await asyncio.gather(*(write(record, embed, store) for record in level))


async def forgotten(records: Sequence[Record], embed: Callable[..., Any], store: Any) -> None:
    for level in levels(records):
        writing = []
        for record in level:
            task = asyncio.create_task(write(record, embed, store))
            if record.id != FORGOTTEN:
                writing.append(task)
        await asyncio.gather(*writing)
