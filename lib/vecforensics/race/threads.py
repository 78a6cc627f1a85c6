"""The driver for plain functions: `def migrate(records, embed, store)` on controlled threads.

`embed(record)` and the store's methods block, as a synchronous client's do; `upsert(…, async_req=True)` and its kin give a handle
whose `get()` waits, as pinecone's do. The function itself and every thread that it starts (`Thread`, `ThreadPoolExecutor`,
`Timer`) are strands: see `race/strands.py` for how they take turns.
"""

from __future__ import annotations

import _thread
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from vecforensics.race.driver import TaskInfo
from vecforensics.race.guard import no_such_operation
from vecforensics.race.model import LostError
from vecforensics.race.places import last_place, place_of_caller
from vecforensics.race.strand_loops import STRAND_LOOPS
from vecforensics.race.strands import (
    ControlledLock,
    SimpleQueue,
    Strand,
    Strands,
    WatchedFuture,
    current_strand,
    install,
    make_lock,
    sleep,
    uninstall,
)
from vecforensics.race.thread_pools import THREAD_POOLS, finalizers, forget_pools
from vecforensics.race.tracker import Tracker
from vecforensics.race.world import DELETE, EMBED, FETCH, UPSERT, Op, World
from vecforensics.records import Record

__all__ = ["Handle", "ThreadsProgram", "ThreadsSession", "ThreadsStore"]


class Request:
    """An operation on its way, which its thread waits for at once: the future that the world answers."""

    def __init__(self, strands: Strands, info: TaskInfo) -> None:
        self._strands = strands
        self.info = info
        self._settled = False
        self._result: Any = None
        self._error: BaseException | None = None
        self._waiting: list[Strand] = []

    def done(self) -> bool:
        return self._settled

    def set_result(self, result: Any) -> None:
        self._result = result
        self._settle()

    def set_exception(self, error: BaseException) -> None:
        self._error = error
        self._settle()

    def _settle(self) -> None:
        self._settled = True
        for strand in self._waiting:
            self._strands.wake(strand)
        self._waiting.clear()

    def get(self) -> Any:
        strand = current_strand()
        if not self._settled and strand is not None:
            self._waiting.append(strand)
            self._strands.wait(strand, for_world=True)
        if self._error is not None:
            raise self._error
        return self._result


class Handle(WatchedFuture):
    """What `async_req=True` gives: a future of `concurrent.futures`, as pinecone's gRPC client hands out, with the methods that
    its other client's handles have (`get`, `ready`, `successful`, `wait`)."""

    def __init__(self, task: TaskInfo) -> None:
        super().__init__()
        self.task = self.info = task

    def ready(self) -> bool:
        return self.done()

    def successful(self) -> bool:
        if not self.done():
            raise ValueError("not ready")
        return self._exception is None

    def get(self, timeout: float | None = None) -> Any:
        return self.result(timeout)

    def wait(self, timeout: float | None = None) -> None:
        with self._condition:
            if not self.done():
                self._condition.wait(timeout)

    def _invoke_callbacks(self) -> None:
        # The answer comes from the laboratory, callbacks are the program's: they get a thread, as a client's own would run them.
        invoke = super()._invoke_callbacks  # type: ignore[misc]
        if self._done_callbacks and self.strands is not None and current_strand() is None:  # type: ignore[attr-defined]
            self.strands.spawn(invoke, self.task.child("callback"))
        else:
            invoke()


class ThreadsStore:
    """The store that a plain migration is handed, and its embedder. Every call begins an operation and waits for the answer."""

    def __init__(self, strands: Strands, requests: list[Handle]) -> None:
        self._strands, self._requests = strands, requests

    def __getattr__(self, name: str) -> Any:
        raise no_such_operation(name)

    def embed(self, record: Record | str, *, async_req: bool = False) -> Any:
        if isinstance(record, str):
            return self._call(EMBED, record, (record, 0), None, async_req)
        return self._call(EMBED, record.id, (record.text, record.version), None, async_req)

    def upsert(
        self, id: str, vector: Any, metadata: Mapping[str, Any] | None = None, *, async_req: bool = False
    ) -> Any:
        payload = World.serialise(vector)
        return self._call(UPSERT, id, payload, dict(metadata) if metadata is not None else None, async_req)

    def fetch(self, id: str, *, async_req: bool = False) -> Any:
        return self._call(FETCH, id, None, None, async_req)

    def delete(self, id: str, *, async_req: bool = False) -> Any:
        return self._call(DELETE, id, None, None, async_req)

    def _call(self, kind: int, key: Any, payload: Any, metadata: Any, async_req: bool) -> Any:
        strand, world = current_strand(), self._strands.world
        if strand is None:
            raise RuntimeError("the store of a run that is over")
        info = strand.info.child() if async_req else strand.info
        request = Handle(info) if async_req else Request(self._strands, info)
        op = Op(kind, key if type(key) is str else str(key), info, request, payload, metadata)
        if world.log is not None:
            op.source = place_of_caller() or info.source
        world.begin(op)
        if isinstance(request, Handle):
            self._requests.append(request)
            return request
        return request.get()


class ThreadsSession:
    """One run of a plain migration."""

    unhandled: BaseException | None = None

    def __init__(self, world: World, program: ThreadsProgram, records: Sequence[Record]) -> None:
        self.world = world
        self.requests: list[Handle] = []
        self.strands = Strands(world)
        self._swapped = _swap(program.namespace)
        self._finalizers = finalizers()
        install((*THREAD_POOLS, *STRAND_LOOPS))
        store = ThreadsStore(self.strands, self.requests)
        self.main = self.strands.spawn(
            lambda: program.migrate(list(records), store.embed, store), TaskInfo(None, 0), None
        )
        self.done = lambda: self.main.done

    @property
    def error(self) -> BaseException | None:
        return self.main.error

    def advance(self, limit: int) -> bool:
        """Threads run until all of them wait; they have no rounds in which they could be stopped earlier."""
        if limit <= 0:
            return not self.strands.ready
        self.strands.run()
        return True

    def left_behind(self) -> list[TaskInfo]:
        """Threads that still work (an idle pool does not count), and requests that nobody has waited for."""
        busy = [item for item in self.strands.all if not item.done and item.waits_for_world]
        return [
            *(item.info for item in busy if item is not self.main),
            *(item.task for item in self.requests if not item.done()),
        ]

    def stuck(self) -> list[TaskInfo]:
        return [item.info for item in self.strands.all if not item.done]

    def lost_errors(self) -> list[LostError]:
        """Exceptions that ended a thread, or that lie in a handle or a future which nobody has asked."""
        lost = [(item.info, item.error) for item in self.strands.all if item is not self.main]
        lost += [(item.info or self.main.info, item.lost) for item in self.strands.futures]
        return [
            LostError(info.path, f"{type(error).__name__}: {error}", last_place(error))
            for info, error in lost
            if error is not None
        ]

    def close(self) -> None:
        self.strands.end()
        forget_pools(self._finalizers)
        uninstall()
        for namespace, name, value in self._swapped:
            namespace[name] = value


class ThreadsProgram:
    """A plain function `migrate(records, embed, store)` on controlled threads."""

    driver: Final = "threads"
    fine: Final = False
    tracked: Final = False
    conflicts: Final[tuple[str, ...]] = ()
    not_seen: Final = ("threads that interrupt one another between two lines that wait for nothing",)

    def __init__(self, migrate: Callable[..., Any], name: str, files: tuple[str, ...] = ()) -> None:
        self.migrate, self.name, self.files = migrate, name, files
        self.namespace: dict[str, Any] = getattr(migrate, "__globals__", {})

    def start(self, world: World, records: Sequence[Record]) -> ThreadsSession:
        return ThreadsSession(world, self, records)

    def start_tracked(self, world: World, records: Sequence[Record], tracker: Tracker) -> ThreadsSession:
        """Never asked for, since `tracked` is false."""
        return self.start(world, records)


_LOCK, _RLOCK = type(_thread.allocate_lock()), type(threading.RLock())
_BY_NAME: Final[tuple[tuple[Any, Any], ...]] = (
    (_thread.allocate_lock, make_lock),
    (queue.SimpleQueue, SimpleQueue),
    (time.sleep, sleep),
)


def _swap(namespace: dict[str, Any]) -> list[tuple[dict[str, Any], str, Any]]:
    """What the migration's module took from `threading` and its kin when it was imported: names bound to the originals, and
    locks made at its top level. Replaced for one run; gives what to put back."""
    swapped = []
    for name, value in list(namespace.items()):
        fresh = next((new for old, new in _BY_NAME if value is old), None)
        if fresh is None and type(value) is _LOCK:
            fresh = ControlledLock()
        elif fresh is None and type(value) is _RLOCK:
            fresh = _reentrant()
        if fresh is not None:
            swapped.append((namespace, name, value))
            namespace[name] = fresh
    return swapped


def _reentrant() -> Any:
    lock = threading._PyRLock()  # type: ignore[attr-defined]
    lock._block = ControlledLock()
    return lock
