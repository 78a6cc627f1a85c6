"""Carrying out a frozen plan: chunk by chunk, from whatever point the ledger says it got to.

    1. what stands under the chunk's keys is saved (INTENT), and with it what the records keep
    2. the strategy writes the records through the lanes (SENT, APPLIED)
    3. what was acknowledged is read back (VERIFIED), then the chunk is closed (DONE)

After all records come the removals, children's collections first; a row that stands for a record goes only when that record is
DONE.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from vecforensics import stores
from vecforensics.case import Case
from vecforensics.embedding import Embedder, open_embedder
from vecforensics.errors import ToolFailed, VecforensicsError, printable
from vecforensics.evidence import Evidence
from vecforensics.migrate.cells import Cells
from vecforensics.migrate.chain import Operation, State
from vecforensics.migrate.effects import Effects
from vecforensics.migrate.feed import Fed, feed_chunks
from vecforensics.migrate.gathering import Gathering
from vecforensics.migrate.keeping import Keeping
from vecforensics.migrate.lane import EmbedLane, Lane
from vecforensics.migrate.ledger import Ledger
from vecforensics.migrate.outline import Key
from vecforensics.migrate.place import Place, rows_standing, spot
from vecforensics.migrate.plan import Chunk, Plan
from vecforensics.migrate.strategies import Strategy
from vecforensics.records import metadata_json
from vecforensics.retry import Retry

__all__ = ["carry_out", "open_places"]

_ENDED = frozenset({State.DONE, State.QUARANTINED, State.ROLLED_BACK})
# Texts in one call of the embedder, rows in one call of the store.
_GROUP = 4_096
# One record may be odd; where so many of a collection have no place in its columns, none has.
_TRIED = 16


def open_places(case: Case, evidence: Evidence, collections: Sequence[str]) -> dict[str, Place]:
    """Collection → the opened target; collections that share one share the Place. Makes a collection that is not there."""
    places: dict[tuple[str, str], Place] = {}
    locks: dict[str, threading.RLock] = {}
    found: dict[str, Place] = {}
    for name in collections:
        target = case.collections[name].target
        key = spot(target)
        if key not in places:
            writer = stores.open_writer(target, case.folder)
            dimension = evidence.collection(name).dimension
            writer.create(target.collection, dimension)
            places[key] = Place(
                writer,
                target,
                dimension,
                case.tolerance.cosine,
                locks.setdefault(target.uri, threading.RLock()),
            )
        found[name] = places[key]
    return found


def carry_out(
    case: Case,
    evidence: Evidence,
    plan: Plan,
    ledger: Ledger,
    strategy: Strategy,
    retry: Retry,
    progress: Callable[[int, int], None],
    *,
    accept_loss: bool,
) -> None:
    """Bring every operation of the plan to an end. `progress`: operations ended, operations in all. `accept_loss`:
    write also what cannot keep everything that stands for it (`keeping.py`).

    Runs an event loop in a thread of its own, since a notebook has one already. On Ctrl-C what is under way ends first.
    """
    work = _Work(case, evidence, plan, ledger, strategy, retry, progress, accept_loss)
    loop: asyncio.AbstractEventLoop | None = None
    task: asyncio.Task[None] | None = None

    async def main() -> None:
        nonlocal loop, task
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        await work.run()

    with ThreadPoolExecutor(1, "migrate") as pool:
        future = pool.submit(asyncio.run, main())
        try:
            future.result()
        except BaseExceptionGroup as group:
            raise _first(group) from group
        except KeyboardInterrupt:
            if loop is not None and task is not None:
                loop.call_soon_threadsafe(task.cancel)
            with contextlib.suppress(BaseException):
                future.result()
            raise


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that broke a group of tasks: ours before others', since the rest are mostly its echoes."""
    leaves: list[BaseException] = []
    stack: list[BaseException] = [group]
    while stack:
        one = stack.pop()
        if isinstance(one, BaseExceptionGroup):
            stack.extend(reversed(one.exceptions))
        else:
            leaves.append(one)
    return next((leaf for leaf in leaves if isinstance(leaf, VecforensicsError)), leaves[0])


class _Work:
    """One carrying-out of a plan."""

    def __init__(
        self,
        case: Case,
        evidence: Evidence,
        plan: Plan,
        ledger: Ledger,
        strategy: Strategy,
        retry: Retry,
        progress: Callable[[int, int], None],
        accept_loss: bool,
    ) -> None:
        self.case, self.evidence, self.plan, self.ledger = case, evidence, plan, ledger
        self.strategy, self.progress, self.accept_loss = strategy, progress, accept_loss
        names = sorted({collection for chunk in plan.chunks for collection, _ in chunk.keys})
        self.keeping = {
            name: Keeping.of(evidence, name, case.collections[name].target, plan.stand_ins) for name in names
        }
        self.effects = Effects(ledger, open_places(case, evidence, names), retry)
        self.embedders = {
            name: EmbedLane(_embedder(case, name), retry, self._quarantine, self.effects.take_back, _GROUP)
            for name in names
        }
        self.writes = {name: Gathering(partial(self.effects.write, name), _GROUP) for name in names}

    def _quarantine(self, key: Key, reason: str) -> None:
        operation = self.ledger.find(*key)
        assert operation is not None
        self.effects.give_up(operation.op, reason)

    async def run(self) -> None:
        try:
            open_chunks = [chunk for chunk in self.plan.chunks if not self._ended(chunk)]
            self._report()
            upserts = [chunk for chunk in open_chunks if chunk.kind == "upsert"]
            await asyncio.to_thread(self._try_out, upserts)
            for chunk, fed in feed_chunks(self.evidence, self.case, upserts):
                await self._write_chunk(chunk, fed)
                self._report()
            for chunk in open_chunks:
                if chunk.kind == "delete":
                    await asyncio.to_thread(self._remove_chunk, chunk)
                    self._report()
        finally:
            for lane in self.embedders.values():
                await lane.settle()
            for gathering in self.writes.values():
                await gathering.settle()

    def _try_out(self, chunks: Iterable[Chunk]) -> None:
        """Raise ToolFailed where no record of a collection has a place in its columns: a repair would break off half-way."""
        for name in sorted({collection for chunk in chunks for collection, _ in chunk.keys}):
            place, cells = self.effects.places[name], Cells.of(self.evidence, name)
            for batch in islice(self.evidence.iter_source(name, _TRIED), 1):
                reasons = [
                    self.effects.retried(
                        place, partial(place.refuses, metadata_json(cells.typed(json.loads(metadata))))
                    )
                    for metadata in batch.column("metadata").to_pylist()
                ]
                if all(reasons):
                    raise ToolFailed(
                        f"refuses every record ({reasons[0]})",
                        where=f"{place.writer.uri} {place.collection}",
                        hint="Nothing more was sent: mend it and run the same command again",
                    )

    def _ended(self, chunk: Chunk) -> bool:
        return all(
            self.ledger.state(operation.op) in _ENDED for operation in self.ledger.operations(chunk.number)
        )

    def _report(self) -> None:
        counts = self.ledger.counts()
        self.progress(sum(counts[state] for state in _ENDED), sum(counts.values()))

    async def _write_chunk(self, chunk: Chunk, fed: list[Fed]) -> None:
        operations = {(o.collection, o.id): o for o in self.ledger.operations(chunk.number)}
        by_collection: dict[str, dict[int, str]] = {}
        for (collection, record_id), operation in operations.items():
            by_collection.setdefault(collection, {})[operation.op] = record_id
        for collection, ops in by_collection.items():
            await asyncio.to_thread(self._prepare, collection, ops)
        ops_of = {key: operation.op for key, operation in operations.items()}
        for parent in {parent for one in fed for parent in one.parents} - ops_of.keys():
            elsewhere = self.ledger.find(*parent)
            if elsewhere is not None and elsewhere.kind == "upsert":
                ops_of[parent] = elsewhere.op
        lane = Lane(fed, ops_of, self.effects, self.embedders, self.writes)
        todo = [
            one.record for one in fed if self.ledger.state(ops_of[one.key]) not in (*_ENDED, State.VERIFIED)
        ]
        await self.strategy(todo, lane.embed, lane)
        skipped = [
            key for key, o in operations.items() if self.ledger.state(o.op) in (State.INTENT, State.SENT)
        ]
        if skipped:
            raise ToolFailed(
                f"the strategy returned without having written {len(skipped)} records, among them {skipped[0][1]!r}",
                where="migrate",
                hint="Try it in the laboratory: vecforensics race FILE.py:FUNCTION",
            )
        for collection, writes in lane.writes.items():
            await asyncio.to_thread(self.effects.confirm, collection, writes)
        self._close(operations.values())

    def _prepare(self, collection: str, ops: Mapping[int, str]) -> None:
        stood = self.effects.prepare(collection, ops)
        self.effects.keep(collection, ops, stood, self.keeping[collection], self.accept_loss)

    def _remove_chunk(self, chunk: Chunk) -> None:
        operations = list(self.ledger.operations(chunk.number))
        by_collection: dict[str, dict[int, str]] = {}
        for operation in operations:
            if self.ledger.state(operation.op) is State.PLANNED and not self._stands_for_done(operation):
                continue
            by_collection.setdefault(operation.collection, {})[operation.op] = operation.id
        for collection, ops in by_collection.items():
            todo = {op: record_id for op, record_id in ops.items() if self.ledger.state(op) not in _ENDED}
            self.effects.prepare(collection, todo)
            self.effects.remove(collection, todo, self._judged(collection, todo.values()))
        self._close(operations)

    def _judged(self, collection: str, ids: Iterable[str]) -> dict[str, str]:
        """What stood under `ids` when the evidence was collected, as digests."""
        wanted = pa.array(ids, pa.string())
        found: dict[str, str] = {}
        for bucket in range(self.evidence.collection(collection).buckets):
            rows = self.evidence.table(collection, "target", bucket)
            here = rows.filter(pc.is_in(rows.column("id"), value_set=wanted))
            found |= {one: stands.digest for one, stands in rows_standing(here).items()}
        return found

    def _stands_for_done(self, operation: Operation) -> bool:
        """Whether the record that the row stands for stands under its right id; the row is quarantined where it does not."""
        stands_for = json.loads(operation.because).get("stands_for")
        if stands_for is None:
            return True
        record = self.ledger.find(operation.collection, stands_for)
        if record is not None and self.ledger.state(record.op) is State.DONE:
            return True
        reason = f"stands for {operation.collection}/{printable(stands_for)}, which was not written: it stays"
        self.ledger.advance([operation.op], State.QUARANTINED, reason)
        return False

    def _close(self, operations: Iterable[Operation]) -> None:
        verified = [o.op for o in operations if self.ledger.state(o.op) is State.VERIFIED]
        self.ledger.advance(verified, State.DONE)


def _embedder(case: Case, name: str) -> Embedder | None:
    expected = case.collections[name].expected
    return open_embedder(expected.embedder, case.folder) if expected and expected.embedder else None
