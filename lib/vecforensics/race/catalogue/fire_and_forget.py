"""Fire-and-forget in a loop: the function starts every record's work and returns before any of it is done.

`create_task` hands the coroutine to the loop and comes back at once, so the `for` ends within a moment and so does the
migration. Whoever called it believes that the data is there. If the process ends soon after (a script, a container, a
request handler), whatever had not been written is lost; if it lives on, the records arrive in any order, children before
their parents. Keeping the tasks in a set, as the documentation of `create_task` advises against garbage collection,
looks careful and changes nothing. In JavaScript the same mistake is `forEach(async …)`.

The repair is a scope that cannot be left before its work is done, one scope for each level of dependency.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from vecforensics.findings import Kind
from vecforensics.race.catalogue.pattern import Embed, Pattern, Store, Thread
from vecforensics.race.model import Trouble
from vecforensics.records import Record

__all__ = ["PATTERN", "broken", "fixed"]

PATTERN = Pattern(
    name="fire_and_forget",
    title="Fire-and-forget in a loop",
    mechanism="The loop starts a task for each record and nothing waits for the tasks, so the function returns before the "
    "records are written, and they are written in whatever order the operations happen to finish.",
    causes=(Kind.MISSING, Kind.PREMATURE, Trouble.LEFT_BEHIND),
    known_from=(
        Thread(
            "https://github.com/Chainlit/chainlit/pull/2040",
            "Persistence was started with create_task and not waited for: a sent message could be absent from the "
            "database although the call that stored it had returned.",
        ),
        Thread(
            "https://github.com/badges/shields/pull/11885",
            "Test fixtures were inserted by forEach(async …); only a connection pool of size one hid that nobody waited.",
        ),
    ),
)


async def broken(records: Sequence[Record], embed: Embed, store: Store) -> None:
    background: set[asyncio.Task[None]] = set()

    async def migrate_one(record: Record) -> None:
        vector = await embed(record)
        await store.upsert(record.id, vector, dict(record.metadata))

    for record in records:
        task = asyncio.create_task(migrate_one(record))
        background.add(task)
        task.add_done_callback(background.discard)


async def fixed(records: Sequence[Record], embed: Embed, store: Store) -> None:
    async def migrate_one(record: Record) -> None:
        vector = await embed(record)
        await store.upsert(record.id, vector, dict(record.metadata))

    users = [record for record in records if not record.depends_on]
    posts = [record for record in records if record.depends_on]
    for level in (users, posts):
        async with asyncio.TaskGroup() as group:
            for record in level:
                group.create_task(migrate_one(record))
