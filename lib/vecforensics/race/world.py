"""The world that a suspect sees: an embedder and a store in memory, where every answer waits for the strategy.

Beginning an operation only files it as pending; its effect on the store and its answer happen in one step when the strategy
completes it. What a client would serialise when it is called (vector, metadata) is copied then, as a client does. Nothing here
knows how the program is run, and nothing here is random: vectors are a hash of the text.

`Ground` is what all schedules of one exploration share: the records, their right vectors, who depends on whom. `World` is one
schedule's state. It is made thousands of times a second, so it is slim: names, sources and events are put into words only in
a run that asks for `detail`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from vecforensics.errors import SuspectError
from vecforensics.race.driver import TaskInfo
from vecforensics.records import Record

if TYPE_CHECKING:
    from vecforensics.race.tracker import Tracker

__all__ = [
    "DELETE",
    "DIMENSION",
    "EMBED",
    "EXECUTOR",
    "FAULTS",
    "FAULT_TEXT",
    "FETCH",
    "KIND_NAMES",
    "TIMER",
    "UPSERT",
    "VISIBLE",
    "Ground",
    "Op",
    "RateLimited",
    "StoreUnavailable",
    "StoredRow",
    "World",
]

EMBED, UPSERT, FETCH, DELETE, EXECUTOR, TIMER, VISIBLE = range(7)
KIND_NAMES: Final = ("embed", "upsert", "fetch", "delete", "executor", "timer", "visible")
DIMENSION: Final = 8

# What a person can switch on, and the variants that a fault plan then tries on one operation.
FAULTS: Final[Mapping[str, tuple[str, ...]]] = {
    "late": ("late",),
    "timeout": ("timeout-committed", "timeout-lost"),
    "error": ("error",),
    "rate_limit": ("429",),
    "collected": ("collected",),
}
FAULT_TEXT: Final[Mapping[str, str]] = {
    "late": "the write is acknowledged, and becomes visible later",
    "timeout-committed": "the write times out, but was committed",
    "timeout-lost": "the write times out and was not committed",
    "error": "the operation fails with StoreUnavailable (503)",
    "429": "the operation fails with RateLimited (429)",
    "collected": "the task has no reference left and is garbage-collected while it waits",
}


class StoreUnavailable(ConnectionError):
    """The injected failure of an operation; transient, as a 503 is."""

    status = 503
    status_code = 503


class RateLimited(ConnectionError):
    """The injected 429. `retry_after_s`: what the provider asks for, in seconds."""

    status = 429
    status_code = 429
    retry_after_s = 1.0
    retry_after = 1.0


@dataclass(frozen=True, slots=True)
class StoredRow:
    """What `fetch` gives: a copy of what stands under `id`."""

    id: str
    vector: npt.NDArray[np.float32]
    metadata: dict[str, Any]


class Op:
    """A pending or completed operation. `payload`: an upsert's bytes, an embed's text, a call's thunk, a timer's callback.
    `asker`: who waits, one object for all operations of one task, by which strategies tell tasks apart. `rank`, `seq`: theirs."""

    # What only some operations need; without slots, so that nobody pays for what has its default.
    seq = 0
    clock = 0
    when = 0.0
    rank: float | None = None
    read: Op | None = None
    source: Any = None

    def __init__(
        self, kind: int, key: str, task: TaskInfo, future: Any, payload: Any = None, metadata: Any = None
    ) -> None:
        self.kind, self.key, self.future = kind, key, future
        self.payload, self.metadata = payload, metadata
        self.asker: Any = task
        self.under(task)

    def under(self, task: TaskInfo) -> None:
        """`task` asks for this operation, the next of its own."""
        self.task = task
        task.operations = self.index = task.operations + 1

    def settle(self, answer: Any) -> None:
        """Answer the program, unless it no longer waits."""
        if not self.future.done():
            self.future.set_result(answer)

    def fail(self, error: BaseException) -> None:
        """Answer the program with an error, unless it no longer waits."""
        if self.future is not None and not self.future.done():
            self.future.set_exception(error)

    def answered(self) -> bool:
        """Whether the program has its answer, or no longer waits for one. Timers and what becomes visible ask for none."""
        return self.future is not None and bool(self.future.done())

    @property
    def id(self) -> str:
        return f"{self.task.path}#{self.index}"

    @property
    def writes(self) -> bool:
        return self.kind in (UPSERT, DELETE, VISIBLE)


def _vector(text: str) -> npt.NDArray[np.float32]:
    """A unit vector that only this text has; from 16 bytes of BLAKE2b, so that the same text gives the same bits anywhere."""
    raw = np.frombuffer(
        hashlib.blake2b(text.encode(), digest_size=2 * DIMENSION).digest(), dtype="<u2"
    ).astype(np.float64)
    centred = raw - 32767.5
    return (centred / np.linalg.norm(centred)).astype(np.float32)


class Ground:
    """What every schedule shares. Of several records with one id the highest version counts; the others are its past."""

    def __init__(self, records: Sequence[Record]) -> None:
        if not records:
            raise SuspectError("there are no records to migrate", hint="Give at least one record")
        self.records = tuple(records)
        self.current: dict[str, Record] = {}
        for record in self.records:
            known = self.current.get(record.id)
            if known is None or record.version >= known.version:
                self.current[record.id] = record
        self.vectors: dict[str, npt.NDArray[np.float32]] = {}
        self.owner: dict[bytes, tuple[str, int]] = {}
        for record in self.records:
            self.embedding(record.text, record.id, record.version)
        self.expected = {
            key: self.embedding(record.text, key, record.version).tobytes()
            for key, record in self.current.items()
        }
        self.parents = {
            key: tuple(parent for parent in record.depends_on if parent in self.current)
            for key, record in self.current.items()
            if any(parent in self.current for parent in record.depends_on)
        }
        self.pristine = [dict(record.metadata) for record in self.records]
        self.metadata = {key: dict(record.metadata) for key, record in self.current.items()}

    def embedding(self, text: str, record_id: str, version: int) -> npt.NDArray[np.float32]:
        """The vector of `text`; the first record that asks for it owns it."""
        vector = self.vectors.get(text)
        if vector is None:
            vector = self.vectors[text] = _vector(text)
            self.owner[vector.tobytes()] = (record_id, version)
        return vector

    def restore(self) -> None:
        """Undo what a program did to its records' metadata, so that one schedule cannot colour the next."""
        if [record.metadata for record in self.records] == self.pristine:
            return
        for record, before in zip(self.records, self.pristine, strict=True):
            if record.metadata != before and isinstance(record.metadata, dict):
                record.metadata.clear()
                record.metadata.update(before)


# key -> (vector bytes, shape is one row of DIMENSION, metadata, the operation that wrote it)
Slot = tuple[bytes, bool, Any, Op]


class World:
    """One schedule's store, embedder, clock and pending operations.

    `sink` is told each acknowledged write in the order of its effect, for a scenario that drives a real store. `bare`: only the
    outcome counts, so nothing is named; without faults, log, sink and tracker.
    """

    def __init__(
        self,
        ground: Ground,
        *,
        plan: Mapping[str, str] | None = None,
        detail: bool = False,
        sink: Callable[[Op], None] | None = None,
        bare: bool = False,
    ) -> None:
        self.ground = ground
        self.bare = bare
        self.plan = plan or {}
        self.sink = sink
        self.now = 0.0
        self.pending: list[Op] = []
        self.timers: list[Op] = []
        self.data: dict[str, Slot] = {}
        self.hidden: dict[str, list[Slot | None]] = {}
        self.visible: dict[str, Slot | None] = {}
        self.premature: list[tuple[str, str, Op]] = []
        self.completed = self.withdrawn = 0
        self.injected: list[BaseException] = []
        self.timers_ahead = 0  # timers that fired before something that could have come first
        self.refused: SuspectError | None = None
        self.log: list[tuple[Any, ...]] | None = [] if detail else None
        self.tracker: Tracker | None = None
        self.never_awaited: list[str] = []
        self.collect: Callable[[Op], bool] | None = None

    # --- beginning -------------------------------------------------------------------------------------------------

    @property
    def begun(self) -> int:
        """How many operations have begun: each is pending, or was completed, or the program no longer waits for it."""
        return len(self.pending) + self.completed + self.withdrawn

    def begin(self, op: Op) -> None:
        self.pending.append(op)
        if self.log is not None:
            self.note("begin", op)

    def begin_timer(self, op: Op, when: float) -> None:
        """File a timer. Only the earliest can be completed; equal deadlines keep the order of creation."""
        op.when = when
        timers = self.timers
        position = len(timers)
        while position and timers[position - 1].when > when:
            position -= 1
        timers.insert(position, op)
        if self.log is not None:
            self.note("begin", op)

    def cancel(self, op: Op) -> None:
        """The program no longer waits. A write that was still on its way is dropped: only a fault commits it."""
        if op in self.pending:
            self.pending.remove(op)
            self.withdrawn += 1
        elif op in self.timers:
            self.timers.remove(op)
        else:
            return
        if self.tracker is not None:
            self.tracker.revoke(op)
        if self.log is not None:
            self.note("cancel", op)

    def refuse(self, error: SuspectError) -> None:
        """Remember the first call that was stopped at the border, in case the program swallows the error."""
        self.refused = self.refused or error

    def sleep(self, seconds: float) -> None:
        """A blocking sleep: nothing else happens meanwhile, but the clock moves; not past the next timer."""
        limit = self.timers[0].when if self.timers else float("inf")
        self.now = max(self.now, min(self.now + seconds, limit))

    @staticmethod
    def serialise(vector: Any) -> tuple[bytes, bool]:
        """What a client sends: float32 bytes, and whether they are one row of the right length."""
        array = np.asarray(vector, dtype=np.float32)
        return array.tobytes(), array.shape == (DIMENSION,)

    @property
    def plain(self) -> bool:
        """No fault, log, sink or tracker: an operation that completes has its effect and its answer, and nothing besides."""
        return not self.plan and self.log is None and self.sink is None and self.tracker is None

    # --- completing ------------------------------------------------------------------------------------------------

    def complete(self, op: Op) -> None:
        """Let the effect of `op` happen and answer the program. The caller has taken `op` out of `pending`."""
        if self.tracker is not None:
            self.tracker.complete(op)
        if self.plan:
            fault = self.plan.get(op.id)
            if fault is not None and self._fail(op, fault):
                return
        kind = op.kind
        if kind < EXECUTOR:
            answer = self.effects()[kind](op)
            if self.log is not None:
                self.note("complete", op)
            op.settle(answer)
            return
        if kind == VISIBLE:
            self.visible.pop(op.key, None)
        if self.log is not None:
            self.note("complete", op)
        if kind == TIMER:
            op.payload()
        elif kind == EXECUTOR:
            try:
                answer = op.payload()
            except BaseException as error:
                op.fail(error)
            else:
                op.settle(answer)

    def effects(self) -> Sequence[Callable[[Any], Any]]:
        """What embed, upsert, fetch and delete do to the store, by their kind. Each gives the answer to the operation."""
        return self._embed, self.apply, self._fetch, self.apply

    def _embed(self, op: Op) -> npt.NDArray[np.float32]:
        text, version = op.payload
        vector = self.ground.vectors.get(text)
        if vector is None:
            vector = self.ground.embedding(text, op.key, version)
        return vector.copy()

    def _fetch(self, op: Op) -> StoredRow | None:
        key = op.key
        slot = self.visible[key] if self.visible and key in self.visible else self.data.get(key)
        if slot is None:
            return None
        op.read = slot[3]
        return StoredRow(key, np.frombuffer(slot[0], dtype=np.float32).copy(), dict(slot[2] or {}))

    def apply(self, op: Op) -> None:
        """The effect of a write on the store."""
        key, data = op.key, self.data
        if op.kind == UPSERT:
            parents = self.ground.parents.get(key)
            if parents is not None:
                for parent in parents:
                    if parent not in data:
                        self.premature.append((key, parent, op))
            raw, well_shaped = op.payload
            data[key] = (raw, well_shaped, op.metadata, op)
        else:
            data.pop(key, None)
        if self.visible and key in self.visible:
            self.visible[key] = data.get(key)
        if self.sink is not None:
            self.sink(op)

    def _fail(self, op: Op, fault: str) -> bool:
        """Inject `fault`. True where the program has its answer already."""
        if fault == "late":
            if op.kind not in (UPSERT, DELETE):
                return False
            before = self.visible.get(op.key, self.data.get(op.key))
            self.apply(op)
            self.visible[op.key] = before
            later = Op(VISIBLE, op.key, op.task, None)
            later.payload = op
            self.pending.append(later)
            if self.log is not None:
                self.note("fault", op, FAULT_TEXT[fault])
                self.note("complete", op)
            op.settle(None)
            return True
        if fault == "collected":
            # Only the driver knows who still holds the task; one that is held cannot be collected.
            if self.collect is None or not self.collect(op):
                return False
            if self.log is not None:
                self.note("fault", op, FAULT_TEXT[fault])
            return True
        if fault.startswith("timeout"):
            if op.kind not in (UPSERT, DELETE):
                return False
            if fault == "timeout-committed":
                self.apply(op)
            error: BaseException = TimeoutError(f"no answer to {KIND_NAMES[op.kind]} of {op.key}")
        elif fault in ("error", "429"):
            if op.kind >= EXECUTOR:
                return False
            error = (
                StoreUnavailable("503 service unavailable")
                if fault == "error"
                else RateLimited("429 too many requests")
            )
        else:
            return False
        self.injected.append(error)
        if self.log is not None:
            self.note("fault", op, FAULT_TEXT[fault])
        op.fail(error)
        return True

    # --- the log of a detailed run ---------------------------------------------------------------------------------

    def note(
        self,
        kind: str,
        op: Op | None = None,
        text: str = "",
        task: TaskInfo | None = None,
        source: Any = None,
    ) -> None:
        assert self.log is not None
        self.log.append(
            (
                self.now,
                kind,
                op,
                task if task is not None else op.task if op is not None else None,
                text,
                source,
            )
        )
