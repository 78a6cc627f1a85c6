"""The lanes: what a strategy gets as `embed` and `store` in production.

The strategy decides the order; the lanes see to it that order is all it decides. Embedding may run in parallel and be repeated at
will, so records that wait at the same time go into one call of the embedder. Writes go through `Effects` and its ledger, gathered
the same way into one call of the store a group. A poison record ends in quarantine here, unseen by the strategy, which goes on
with the rest; whoever depends on it follows it there.

And what the race laboratory proved is held up here as well: a write before its parents, a second write of a key under way, a
vector that is another record's, a record outside the plan all stop the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vecforensics.embedding import Embedder
from vecforensics.errors import ToolFailed
from vecforensics.migrate.chain import State
from vecforensics.migrate.effects import Effects, Refusals, why
from vecforensics.migrate.feed import Fed
from vecforensics.migrate.gathering import Gathering
from vecforensics.migrate.outline import Key
from vecforensics.migrate.place import Write
from vecforensics.migrate.strategies import Vector
from vecforensics.records import Record
from vecforensics.retry import Retry, is_transient

__all__ = ["EmbedLane", "Lane", "StoredRow"]

_STANDS = frozenset({State.APPLIED, State.VERIFIED, State.DONE})
_NOTHING: Vector = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class StoredRow:
    """What `store.fetch` gives."""

    id: str
    vector: Vector
    metadata: dict[str, Any]


class EmbedLane:
    """Vectors for the records of one collection: from its embedder, or frozen ones where the source or another store has them."""

    def __init__(
        self,
        embedder: Embedder | None,
        retry: Retry,
        quarantine: Callable[[Key, str], None],
        take_back: Callable[[], None],
        most: int,
    ) -> None:
        """`take_back`: undo what was quarantined, the embedder being broken and not the records."""
        self._embedder, self._retry, self._quarantine = embedder, retry, quarantine
        self._refusals = Refusals(embedder.name if embedder else "expected", take_back)
        self._gathering: Gathering[Fed, Vector | None] = Gathering(self._group, most)

    async def vector(self, fed: Fed) -> Vector | None:
        """The vector of one record; None where it was quarantined."""
        return await self._gathering.ask(fed)

    async def settle(self) -> None:
        await self._gathering.settle()

    def _group(self, group: Sequence[Fed]) -> list[Vector | None]:
        if self._embedder is not None:
            return self._embedded(self._embedder, group)
        for fed in group:
            if fed.frozen is None:
                self._quarantine(fed.key, "nobody knows its vector: the source or the other store has none")
        return [fed.frozen for fed in group]

    def _embedded(self, embedder: Embedder, group: Sequence[Fed]) -> list[Vector | None]:
        try:
            for attempt in self._retry.around():
                with attempt:
                    matrix = embedder.embed([fed.record.text for fed in group])
        except Exception as error:
            if is_transient(error):
                raise ToolFailed(
                    f"the embedder is out of reach ({why(error)})",
                    where=embedder.name,
                    hint="Run the same command again when it is back: it goes on where it stopped",
                ) from error
            if len(group) == 1:
                reason = f"the embedder refuses its text ({why(error)})"
                self._refusals.refuse(reason)
                self._quarantine(group[0].key, reason)
                return [None]
            half = len(group) // 2
            return [*self._embedded(embedder, group[:half]), *self._embedded(embedder, group[half:])]
        self._refusals.accepted += len(group)
        return list(np.ascontiguousarray(matrix, np.float32))


class Lane:
    """`embed` and `store` for the records of one chunk. `lane.embed(record)` and the methods below are what a strategy calls."""

    def __init__(
        self,
        fed: Iterable[Fed],
        ops: Mapping[Key, int],
        effects: Effects,
        embedders: Mapping[str, EmbedLane],
        writes: Mapping[str, Gathering[Write, None]],
    ) -> None:
        """`ops`: operations of the chunk's records and of all their parents that the plan knows."""
        self._fed = {one.record.id: one for one in fed}
        self._ops, self._effects, self._embedders, self._gatherings = ops, effects, embedders, writes
        self._vectors: dict[str, Vector] = {}
        self._under_way: set[str] = set()
        self.writes: dict[str, list[Write]] = {}
        """Collection → what was meant, for the reading back."""

    async def embed(self, record: Record) -> Vector:
        """The vector of a record of this chunk; empty where it was quarantined."""
        fed = self._known(record.id)
        vector = await self._embedders[fed.key[0]].vector(fed)
        self._vectors[record.id] = _NOTHING if vector is None else vector
        return self._vectors[record.id]

    async def upsert(self, id: str, vector: Vector, metadata: Mapping[str, Any]) -> None:
        """Write a record; returns when the store has acknowledged it, or when it was quarantined."""
        fed = self._known(id)
        op = self._ops[fed.key]
        ledger = self._effects.ledger
        if id in self._under_way:
            raise self._wrong(f"writes {id!r} while a write of it is under way")
        if ledger.state(op) is State.QUARANTINED or not self._parents_stand(fed, op):
            return
        meant = self._vectors.get(id)
        if meant is None or not (vector is meant or np.array_equal(vector, meant, equal_nan=True)):
            raise self._wrong(f"writes {id!r} with a vector that was not made for it")
        write = Write(op, fed.key[1], np.asarray(vector, np.float32), metadata)
        self.writes.setdefault(fed.key[0], []).append(write)
        if ledger.state(op) in _STANDS:
            return
        self._under_way.add(id)
        try:
            await self._gatherings[fed.key[0]].ask(write)
        finally:
            self._under_way.discard(id)

    async def fetch(self, id: str) -> StoredRow | None:
        """What stands under the key of a record of this chunk, or None."""
        fed = self._known(id)
        place = self._effects.places[fed.key[0]]
        found = (await asyncio.to_thread(place.standing, [fed.key[1]])).get(fed.key[1])
        if found is None or found.vector is None:
            return None
        return StoredRow(id, found.vector, dict(self._fed[id].record.metadata))

    async def delete(self, id: str) -> None:
        """Never: removals are planned, and done apart."""
        raise self._wrong(f"wants to delete {id!r}")

    def _parents_stand(self, fed: Fed, op: int) -> bool:
        """Whether the parents are acknowledged. A quarantined parent takes the record with it."""
        ledger = self._effects.ledger
        for parent in fed.parents:
            if parent not in self._ops:
                continue
            state = ledger.state(self._ops[parent])
            if state is State.QUARANTINED:
                reason = f"depends on {parent[0]}/{parent[1]}, which is in quarantine"
                self._effects.give_up(op, reason)
                return False
            if state not in _STANDS:
                raise self._wrong(
                    f"writes {fed.record.id!r} before what it depends on, {parent[0]}/{parent[1]}"
                )
        return True

    def _known(self, id: str) -> Fed:
        try:
            return self._fed[id]
        except KeyError:
            raise self._wrong(f"asks for {id!r}, which is not in this chunk of the plan") from None

    @staticmethod
    def _wrong(what: str) -> ToolFailed:
        return ToolFailed(
            f"the strategy {what}",
            where="migrate",
            hint="Nothing more was sent; try it in the laboratory: vecforensics race FILE.py:FUNCTION",
        )
