"""A migration played out against a real store: the order of events is simulated, the writes are not.

The suspect runs in virtual time under `race.rehearsal.play_out`. Every write that it gets acknowledged is carried out on the
case's target through its adapter, in the order of the acknowledgements and gathered into groups, since a LanceDB commit takes
some 40 ms whatever its size. In virtual time a vector is a token of its text; what goes into the store is what the case's
embedder makes of that text. A write under an id that belongs to no record ("NaN") goes where the record belongs whose vector it
carries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import pyarrow as pa

from vecforensics.arrow_columns import fixed_vectors
from vecforensics.case import Case
from vecforensics.case_records import parents_first, records_of
from vecforensics.embedding import Embedder, open_embedder
from vecforensics.errors import CaseError
from vecforensics.race.own_thread import in_own_thread
from vecforensics.race.rehearsal import Physics, Played, play_out
from vecforensics.race.suspect import load_suspect
from vecforensics.race.world import UPSERT, Ground, Op
from vecforensics.records import Record, canonical_json
from vecforensics.sources import open_sources
from vecforensics.stores import VectorWriter, open_writer

__all__ = ["case_records", "play_into_target"]

_GROUP: Final = 1_000


def case_records(case: Case) -> list[Record]:
    """The case's records in the order in which they were migrated (`rehearsal.order_by`), parents first."""
    found = records_of({name: source.scan() for name, source in open_sources(case).items()})
    return parents_first(found.values(), case.rehearsal.order_by)


def play_into_target(
    case: Case, suspect: str | Callable[..., Any], records: Sequence[Record], physics: Physics, seed: int
) -> Played:
    """Run `suspect` once, in virtual time, and write what it had acknowledged into the case's targets (which are created)."""
    program = load_suspect(suspect, case.folder)
    ground = Ground(records)
    target = _Target(case, ground)
    played: Played = in_own_thread(lambda: play_out(program, records, physics, seed, target.take, ground))
    target.flush()
    return played


class _Target:
    """The case's target as the end of a wire: takes acknowledged operations, carries them out in groups."""

    def __init__(self, case: Case, ground: Ground) -> None:
        self._ground = ground
        self._case = case
        self._waiting: dict[tuple[str, str], Op] = {}
        self._writers: dict[str, VectorWriter] = {}
        self._embedders: dict[str, Embedder] = {}
        for name, one in case.collections.items():
            if one.expected is None or one.expected.embedder is None:
                raise CaseError(
                    f"collections.{name} names no embedder",
                    where=str(case.folder),
                    hint="A played migration needs expected.embedder",
                )
            self._embedders[name] = open_embedder(one.expected.embedder, case.folder)
            self._writers[name] = open_writer(one.target, case.folder)
            dimension = self._embedders[name].embed(["x"]).shape[1]
            self._writers[name].create(one.target.collection, dimension)

    def take(self, op: Op) -> None:
        """One acknowledged write; a later one under the same id replaces it, as it does in the store."""
        key = (self._collection(op), op.key)
        self._waiting.pop(key, None)
        self._waiting[key] = op
        if len(self._waiting) >= _GROUP:
            self.flush()

    def flush(self) -> None:
        """Carry out what waits, deletes after the upserts of their group: one id has only its last operation here."""
        for name, writer in self._writers.items():
            ops = [op for (collection, _), op in self._waiting.items() if collection == name]
            upserts = [op for op in ops if op.kind == UPSERT]
            collection = self._case.collections[name].target.collection
            if upserts:
                writer.upsert(collection, self._rows(name, upserts))
            deletes = [self._id(op.key) for op in ops if op.kind != UPSERT]
            if deletes:
                writer.delete(collection, deletes)
        self._waiting.clear()

    def _rows(self, name: str, ops: Sequence[Op]) -> pa.Table:
        texts = [self._record(op).text for op in ops]
        return pa.table(
            {
                "id": [self._id(op.key) for op in ops],
                "vector": fixed_vectors(self._embedders[name].embed(texts)),
                "metadata": [canonical_json(op.metadata or {}) for op in ops],
            }
        )

    def _collection(self, op: Op) -> str:
        record = self._ground.current.get(op.key) or self._record(op)
        return record.collection

    def _record(self, op: Op) -> Record:
        """The record whose vector this write carries; for a delete, the record of that id."""
        owner = self._ground.owner.get(op.payload[0]) if op.kind == UPSERT else None
        return self._ground.current[owner[0] if owner is not None else op.key]

    def _id(self, key: str) -> str:
        """The id in the store: without the collection in front of it where `lab_ids` had to put it there."""
        record = self._ground.current.get(key)
        return (
            key.partition("/")[2] if record is not None and key.startswith(f"{record.collection}/") else key
        )
