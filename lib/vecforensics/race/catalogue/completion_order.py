"""Completion order zipped with input order: vectors are collected as they arrive and attached as they were asked for.

`as_completed` yields whatever is ready first; that is its purpose. A list built from it is in the order of arrival, and
`zip` with the records puts each vector beside the record that happens to stand at the same place. With a service that
answers in turn the two orders agree and every test passes; one slow answer moves all the vectors behind it. Ids, counts,
dimensions and norms stay right. Only the contents belong to somebody else.

The repair is `gather`, which returns results in the order of its arguments, however they arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from vecforensics.findings import Kind
from vecforensics.race.catalogue.pattern import Embed, Pattern, Store, Thread
from vecforensics.records import Record

__all__ = ["PATTERN", "broken", "fixed"]

PATTERN = Pattern(
    name="completion_order",
    title="Completion order zipped with input order",
    mechanism="Vectors are collected by as_completed, in the order in which the embedder answered, and zipped with the "
    "records, in the order in which it was asked.",
    causes=(Kind.SWAPPED, Kind.SHIFTED),
    known_from=(
        Thread(
            "https://github.com/HKUDS/LightRAG/pull/464",
            "Batches of embeddings were gathered with as_completed and stored beside the texts in input order; retrieval "
            "was vaguely bad until somebody read the code.",
        ),
        Thread(
            "https://github.com/0xPlaygrounds/rig/pull/2348",
            "A document's embeddings were appended in the order in which its batches completed.",
        ),
    ),
)


async def broken(records: Sequence[Record], embed: Embed, store: Store) -> None:
    requests = [embed(record) for record in records]
    vectors = [await vector for vector in asyncio.as_completed(requests)]
    for record, vector in zip(records, vectors, strict=True):
        await store.upsert(record.id, vector, dict(record.metadata))


async def fixed(records: Sequence[Record], embed: Embed, store: Store) -> None:
    vectors = await asyncio.gather(*(embed(record) for record in records))
    for record, vector in zip(records, vectors, strict=True):
        await store.upsert(record.id, vector, dict(record.metadata))
