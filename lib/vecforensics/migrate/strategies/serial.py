"""One record after the other: nothing runs beside anything, so there is no order of completion to get wrong.

The verified fall-back. Slow where a write costs much, since no two writes can share one.
"""

from __future__ import annotations

from collections.abc import Sequence

from vecforensics.migrate.strategies.order import dependency_levels
from vecforensics.migrate.strategies.protocol import Embed, Store
from vecforensics.records import Record

__all__ = ["migrate"]


async def migrate(records: Sequence[Record], embed: Embed, store: Store) -> None:
    """Embed a record, write it, wait for the acknowledgement, take the next."""
    for level in dependency_levels(records):
        for record in level:
            vector = await embed(record)
            await store.upsert(record.id, vector, dict(record.metadata))
