"""The records of each chunk, read from the frozen evidence as a strategy wants them.

Plan keys come by level, then by collection, then in source order, so one pass over a collection serves all its records of one
level. Only a chunk is in memory at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from vecforensics.arrow_columns import matrix_of
from vecforensics.case import Case
from vecforensics.errors import EvidenceError, printable
from vecforensics.evidence import Evidence
from vecforensics.migrate.cells import Cells
from vecforensics.migrate.outline import Key, parents_of
from vecforensics.migrate.plan import Chunk
from vecforensics.migrate.strategies import Vector
from vecforensics.records import Record, lab_ids

__all__ = ["Fed", "feed_chunks"]


@dataclass(frozen=True, slots=True)
class Fed:
    """One record of a chunk. `record.id` is the strategy's id; `parents` are all its parents, also those of earlier chunks.

    `frozen`: the vector that the evidence holds for it, None where there is none.
    """

    key: Key
    record: Record
    parents: tuple[Key, ...]
    frozen: Vector | None


def feed_chunks(evidence: Evidence, case: Case, chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, list[Fed]]]:
    """Each chunk with its records, in the order of its keys. Raises EvidenceError where the evidence lacks one."""
    reader = _Reader(evidence, case)
    for chunk in chunks:
        names = lab_ids(chunk.keys)
        fed = []
        for key in chunk.keys:
            row, parents = reader.row(key)
            record = Record(
                id=names[key],
                text=row["text"],
                metadata=reader.metadata(key[0], row["metadata"]),
                depends_on=tuple(names[parent] for parent in parents if parent in names and parent != key),
                collection=key[0],
            )
            fed.append(Fed(key, record, tuple(parent for parent in parents if parent != key), row["vector"]))
        yield chunk, fed


class _Reader:
    """Rows by key; fast where the keys of a collection ascend in source order, right in any order."""

    def __init__(self, evidence: Evidence, case: Case) -> None:
        self._evidence, self._case = evidence, case
        self._cells: dict[str, Cells] = {}
        self._open: dict[str, Iterator[pa.RecordBatch]] = {}
        self._batch: dict[str, tuple[pa.RecordBatch, dict[str, int], list[list[Key]], Vector | None]] = {}

    def row(self, key: Key) -> tuple[dict[str, Any], list[Key]]:
        """Text, metadata and frozen vector of a record, and its parents."""
        name, record_id = key
        fresh = False
        while name not in self._batch or record_id not in self._batch[name][1]:
            batch = next(self._open[name], None) if name in self._open else None
            if batch is not None:
                self._keep(name, batch)
            elif fresh:
                raise EvidenceError(
                    f"the record {printable(record_id)!r} of {printable(name)!r} is not in the evidence",
                    where=str(self._evidence.path),
                    hint="Begin a new run",
                )
            else:
                self._open[name] = self._evidence.iter_source(name)
                fresh = True
        batch, rows, parents, vectors = self._batch[name]
        at = rows[record_id]
        frozen = None
        if vectors is not None and batch.column("vector")[at].is_valid:
            frozen = vectors[at]
        return {
            "text": batch.column("text")[at].as_py(),
            "metadata": batch.column("metadata")[at].as_py(),
            "vector": frozen,
        }, parents[at]

    def metadata(self, name: str, text: str) -> dict[str, Any]:
        """A record's metadata as they are to be written."""
        if name not in self._cells:
            self._cells[name] = Cells.of(self._evidence, name)
        return self._cells[name].typed(json.loads(text))

    def _keep(self, name: str, batch: pa.RecordBatch) -> None:
        rows = {record_id: at for at, record_id in enumerate(batch.column("id").to_pylist())}
        parents = parents_of(batch, tuple(self._case.collections[name].source.depends_on))
        vectors = matrix_of(batch.column("vector")) if "vector" in batch.schema.names else None
        self._batch[name] = (batch, rows, parents, vectors)
