"""The programs that the contestants of bench_race.py run. They lie in a file, where DPOR reads what they share.

Three operations a record: embed, fetch what stands there, upsert. Parents first, then everything that depends on them.
race_programs.js says the same in JavaScript.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from vecforensics.records import Record

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


def middle_childless(records: Sequence[Record]) -> str:
    """The parent whose write is forgotten: nothing depends on it, so that only its absence can show; in the middle, so that
    a sweep from the first to the last record does not meet it at once."""
    needed = {parent for item in records for parent in item.depends_on}
    alone = [item.id for item in records if not item.depends_on and item.id not in needed]
    return alone[len(alone) // 2]


def forgetting(id: str) -> Callable[..., Any]:
    """The program that does not wait for the write of `id`: named, not counted, so that it stays the one among fewer records."""

    async def forgotten(records: Sequence[Record], embed: Callable[..., Any], store: Any) -> None:
        for level in levels(records):
            writing = []
            for record in level:
                task = asyncio.create_task(write(record, embed, store))
                if record.id != id:
                    writing.append(task)
            await asyncio.gather(*writing)

    return forgotten
