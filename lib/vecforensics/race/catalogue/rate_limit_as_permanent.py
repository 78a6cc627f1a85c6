"""429 taken for permanent: "not now" is filed under "never".

One bad record must not end a run of a million, so failures are noted and the run goes on: a dead-letter list, a count in
the log, "completed with 12 errors". A rate limit arrives as an error too. It says nothing about the record, it says that
the service wants a pause, often to the second; but the handler treats all errors alike and gives the record up for good.
The busier the migration, the more it loses.

The repair tells the two apart: 429 is waited out and tried again, everything else is raised.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from vecforensics.findings import Kind
from vecforensics.race.catalogue.pattern import Embed, Pattern, Store, Thread
from vecforensics.records import Record

__all__ = ["PATTERN", "broken", "fixed"]

log = logging.getLogger(__name__)

ATTEMPTS = 5
PAUSE_S = 1.0

PATTERN = Pattern(
    name="rate_limit_as_permanent",
    title="429 taken for permanent",
    mechanism="The handler counts a rate limit among the errors of the record and goes on, so a record that only had to "
    "wait is never written.",
    causes=(Kind.MISSING, Kind.DANGLING, Kind.PREMATURE),
    faults=("rate_limit",),
    known_from=(
        Thread(
            "https://github.com/tobocop2/lilbee/pull/535",
            "Files that met a 429 while the embedding server was warming up were written off as permanent failures; the "
            "index was partial and nothing said so.",
        ),
        Thread(
            "https://github.com/Wildcard-Official/deepcontext-mcp/pull/9",
            "A 429 dropped its whole batch: 74 of 108 batches were missing after a full re-index.",
        ),
    ),
)


async def broken(records: Sequence[Record], embed: Embed, store: Store) -> None:
    dead_letters: list[str] = []

    async def migrate_one(record: Record) -> None:
        try:
            vector = await embed(record)
            await store.upsert(record.id, vector, dict(record.metadata))
        except Exception as error:
            log.info("skipping %s: %s", record.id, error)
            dead_letters.append(record.id)

    users = [record for record in records if not record.depends_on]
    posts = [record for record in records if record.depends_on]
    for level in (users, posts):
        await asyncio.gather(*(migrate_one(record) for record in level))
    log.info("completed, %d errors", len(dead_letters))


async def fixed(records: Sequence[Record], embed: Embed, store: Store) -> None:
    async def migrate_one(record: Record) -> None:
        for attempt in range(ATTEMPTS):
            try:
                vector = await embed(record)
                return await store.upsert(record.id, vector, dict(record.metadata))
            except Exception as error:
                if getattr(error, "status", None) != 429 or attempt == ATTEMPTS - 1:
                    raise
                await asyncio.sleep(getattr(error, "retry_after", None) or PAUSE_S)

    users = [record for record in records if not record.depends_on]
    posts = [record for record in records if record.depends_on]
    for level in (users, posts):
        await asyncio.gather(*(migrate_one(record) for record in level))
