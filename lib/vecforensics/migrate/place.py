"""One collection of the target, held for writing: what stands there, and how it is made to stand there.

Only `Effects` uses it, and only after the ledger knows. Everything here can be done twice without harm.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from vecforensics.arrow_columns import fixed_vectors, id_text, matrix_of, texts, whole
from vecforensics.case import Target
from vecforensics.errors import TargetError
from vecforensics.metadata_rule import MetadataRule
from vecforensics.migrate.keeping import Kept
from vecforensics.migrate.strategies import Vector
from vecforensics.records import canonical_json, metadata_json
from vecforensics.stores import VectorWriter
from vecforensics.stores.habits import StoreHabits

__all__ = ["Place", "Standing", "Write", "ids_of", "pack", "rows_standing", "spot", "unpack"]


@dataclass(frozen=True, slots=True)
class Write:
    """What is meant to stand under `id` once operation `op` is done."""

    op: int
    id: str
    vector: Vector
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands under one id: how many rows, the first of them, and a digest over all of them.

    `vector` is None where the row has none, or one of another length.
    """

    rows: int
    vector: Vector | None
    metadata: str | None
    digest: str


class Place:
    """`collection` of one store. `dimension`: the length of the vectors to be written. `tolerance`: cosine distance."""

    def __init__(
        self,
        writer: VectorWriter,
        target: Target,
        dimension: int,
        tolerance: float,
        lock: threading.RLock,
    ) -> None:
        """`lock`: one for all places of a store, held during a call: a store of one file is rewritten whole."""
        self.writer, self.collection, self.dimension, self.lock = writer, target.collection, dimension, lock
        self._id_column = target.id
        # Without the source's types: what was written has to stand there as it was written.
        self._rule = MetadataRule(StoreHabits.of(target.store))
        self._tolerance = tolerance
        self.calls = 0
        self.crowded: set[str] = set()
        """Ids under which more than one row stands: an upsert would leave several, so these are removed first."""

    def preimage(self, ids: Sequence[str]) -> pa.Table:
        """The rows under `ids` in the store's own columns."""
        return self.writer.preimage(self.collection, ids)

    def ids_of(self, rows: pa.Table) -> pa.Array:
        """The ids of a pre-image as text."""
        return ids_of(rows, self._id_column, self.writer.uri)

    def refuses(self, metadata: str | None) -> str:
        """Why no record with such metadata has a place in the columns of the store, "" where nothing speaks against it."""
        vector = fixed_vectors(np.ones((1, self.dimension), np.float32))
        batch = pa.table({"id": texts(["1"]), "vector": vector, "metadata": texts([metadata])})
        return self.writer.refuses(self.collection, batch)

    def put(self, writes: Sequence[Write], kept: Kept) -> None:
        """Upsert all of them in one call, each with what it keeps. The ids are distinct."""
        crowded = [write.id for write in writes if write.id in self.crowded]
        if crowded:
            self.writer.delete(self.collection, crowded)
        batch = pa.table(
            {
                "id": pa.array([write.id for write in writes], pa.string()),
                "vector": fixed_vectors(np.stack([write.vector for write in writes])),
                "metadata": pa.array([metadata_json(write.metadata) for write in writes], pa.string()),
            }
        )
        self.writer.upsert(self.collection, batch, kept.of([write.id for write in writes]))
        self.crowded.difference_update(crowded)

    def remove(self, ids: Sequence[str]) -> None:
        """Delete every row under `ids`."""
        self.writer.delete(self.collection, ids)

    def standing(self, ids: Sequence[str]) -> dict[str, Standing]:
        """What stands under each of `ids`; an id with nothing is left out. Notes the crowded ones."""
        found = rows_standing(self.writer.fetch(self.collection, ids))
        self.crowded.difference_update(ids)
        self.crowded.update(record_id for record_id, stands in found.items() if stands.rows > 1)
        return found

    def as_meant(self, write: Write, stands: Standing | None) -> bool:
        """Whether exactly what was meant stands there. The store may have normalised or rounded the vector within tolerance."""
        if stands is None or stands.rows != 1 or stands.vector is None:
            return False
        if stands.vector.tobytes() != write.vector.tobytes():
            if stands.vector.shape != write.vector.shape or not np.isfinite(stands.vector).all():
                return False
            meant, there = write.vector.astype(np.float64), stands.vector.astype(np.float64)
            norms = np.linalg.norm(meant) * np.linalg.norm(there)
            if norms == 0 or 1.0 - float(meant @ there) / norms > self._tolerance:
                return False
        there_metadata = json.loads(stands.metadata) if stands.metadata is not None else {}
        if not isinstance(there_metadata, dict):
            return False
        meant_metadata = json.loads(metadata_json(write.metadata))
        # A store without a column for a field cannot hold that it is null.
        return all(
            self._rule.kept(name, meant_metadata, there_metadata)
            or (value is None and name not in there_metadata)
            for name, value in meant_metadata.items()
        )


def ids_of(rows: pa.Table, id_column: str, where: str) -> pa.Array:
    """The ids of a pre-image as text. It has the store's own columns, or ours where the store has none."""
    column = rows.column(id_column if id_column in rows.column_names else "id")
    return id_text(whole(column), TargetError, where=where)


def rows_standing(rows: pa.Table) -> dict[str, Standing]:
    """The rows of a target batch by id. The digest does not depend on whether a vector lies in `vector` or in `ragged`."""
    whole = rows.combine_chunks()
    vectors, ragged = whole.column("vector").combine_chunks(), whole.column("ragged")
    metadata = whole.column("metadata").to_pylist()
    valid = vectors.is_valid().to_numpy(zero_copy_only=False)
    matrix = matrix_of(vectors)
    found: dict[str, Standing] = {}
    for at, record_id in enumerate(whole.column("id").to_pylist()):
        vector = matrix[at] if valid[at] else None
        numbers = vector if vector is not None else np.array(ragged[at].as_py() or [], np.float32)
        digest = hashlib.sha256(
            canonical_json([len(numbers), metadata[at]]).encode() + numbers.tobytes()
        ).hexdigest()
        known = found.get(record_id)
        digests = sorted([*(known.digest.split() if known else ()), digest])
        found[record_id] = Standing(len(digests), vector, metadata[at], " ".join(digests))
    return found


def spot(target: Target) -> tuple[str, str]:
    """Where a target lies: two with the same spot are one collection. A single Parquet file is one, whatever it is called."""
    return target.uri, "" if target.uri.endswith(".parquet") else target.collection


def pack(rows: pa.Table) -> bytes:
    """A table as Arrow IPC."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    return bytes(sink.getvalue())


def unpack(data: bytes) -> pa.Table:
    """The table that `pack` was given."""
    return pa.ipc.open_stream(pa.py_buffer(data)).read_all()
