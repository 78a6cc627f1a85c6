"""A case's records as a migration sees them: one list, parents first, each with the ids that it depends on.

The order is that of the sources, or of a metadata field such as `created_at`, and no record stands before what it depends on.
Ids follow `lab_ids`: bare where they are distinct over all collections, else
`collection/id`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa

from vecforensics.errors import SourceError
from vecforensics.records import PARENT_PREFIX, Record, lab_ids

__all__ = ["parents_first", "records_of"]


def records_of(batches: Mapping[str, Iterable[pa.RecordBatch]]) -> dict[tuple[str, str], Record]:
    """(collection, id) → record, from source batches by collection, in the order in which they come."""
    rows = {name: [row for batch in one for row in _rows(batch)] for name, one in batches.items()}
    names = lab_ids((name, row["id"]) for name, one in rows.items() for row in one)
    return {
        (name, row["id"]): Record(
            id=names[name, row["id"]],
            text=row["text"],
            metadata=json.loads(row["metadata"], parse_constant=str),
            depends_on=tuple(names[key] for key in _parents(row) if key in names),
            collection=name,
        )
        for name, one in rows.items()
        for row in one
    }


def parents_first(records: Iterable[Record], order_by: str | None = None) -> list[Record]:
    """The records in their order, or in that of the metadata field `order_by`; none before what it depends on.

    Raises SourceError for records that depend on one another in a circle.
    """
    listed = list(records)
    if order_by is not None:
        listed.sort(key=lambda record: str(record.metadata.get(order_by, "")))
    by_id = {record.id: record for record in listed}
    done: dict[str, Record] = {}
    for record in listed:
        # A stack of its own: a chain of parents may be longer than Python's.
        path = [] if record.id in done else [record]
        while path:
            parents = (by_id[p] for p in path[-1].depends_on if p in by_id and p not in done)
            parent = next(parents, None)
            if parent is None:
                last = path.pop()
                done[last.id] = last
            elif any(parent is one for one in path):
                raise SourceError(
                    "depends on itself through its parents",
                    where=parent.id,
                    hint="Check depends_on in the case file",
                )
            else:
                path.append(parent)
    return list(done.values())


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, str]]:
    wanted = [
        name
        for name in batch.schema.names
        if name in ("id", "text", "metadata") or name.startswith(PARENT_PREFIX)
    ]
    yield from batch.select(wanted).to_pylist()


def _parents(row: Mapping[str, str | None]) -> Sequence[tuple[str, str]]:
    return [
        (name.removeprefix(PARENT_PREFIX), parent)
        for name, parent in row.items()
        if name.startswith(PARENT_PREFIX) and parent is not None
    ]
