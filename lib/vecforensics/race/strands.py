"""Controlled threads: of all the threads that a program starts, one runs at a time, and it says itself when it hands over.

Each thread of the program is a real one, so that thread-locals, names and stacks are what they always are, but it only runs
while it holds the *baton*. It gives the baton up where it must wait: for the store, for the embedder, for a lock, for the end
of another thread, for a time. Then the next thread that can run gets it, first come, first served, and when there is none
the laboratory itself. So the order of events depends on nothing but the order in which operations complete.

Waiting is brought under control at its root. Everything in `threading`, `queue` and `concurrent.futures` waits through a lock
in the end; for the time of a run `threading.Lock` gives a lock of ours, and the rest of the standard library is built on it as
ever. All replacements ask first whether the calling thread is a controlled one: other threads of the process (Jupyter's, say)
notice nothing.

What is not explored: one thread interrupting another between two lines of plain Python that wait for nothing.
"""

from __future__ import annotations

import _thread
import concurrent.futures
import concurrent.futures.thread
import ctypes
import queue
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import GenericAlias, SimpleNamespace
from typing import Any, Final

from vecforensics.errors import SuspectError
from vecforensics.race.driver import TaskInfo
from vecforensics.race.guard import controlled, endless
from vecforensics.race.places import place_of_caller
from vecforensics.race.world import TIMER, Op, World

__all__ = ["STEP_S", "ControlledLock", "Ended", "Strand", "Strands", "WatchedFuture", "current_strand"]

STEP_S: Final = 20.0
"""Real seconds for one stretch without a wait. Beyond it a thread is taken to loop for ever."""

# So many threads in one run are taken for a loop without end.
THREADS_BASE: Final = 2_000
THREADS_PER_RECORD: Final = 8

_allocate = _thread.allocate_lock
_PATIENCE: Final = 50  # how often a thread that swallows its end is told again


class Ended(BaseException):
    """Thrown into a thread whose run is over."""


class Strand:
    """One controlled thread. `waits_for_world`: it waits for an operation or a time, not for another thread."""

    __slots__ = (
        "baton", "deadline", "done", "ended", "error", "identity", "info", "strands", "thread", "timed_out", "waiters",
        "waits_for_world",
    )  # fmt: skip

    def __init__(self, strands: Strands, info: TaskInfo, thread: threading.Thread | None) -> None:
        self.strands, self.info, self.thread = strands, info, thread
        self.baton = _allocate()
        self.baton.acquire()
        self.done = self.waits_for_world = self.timed_out = False
        self.error: BaseException | None = None
        self.waiters: list[Strand] = []
        self.deadline: Op | None = None
        self.ended = self.identity = 0


# Thread identity -> the strand that runs in it.
_strands: dict[int, Strand] = {}


def current_strand() -> Strand | None:
    """The strand of the calling thread; None where it is not a controlled one."""
    return _strands.get(_thread.get_ident())


class Strands:
    """The threads of one run and the baton."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.all: list[Strand] = []
        self.ready: deque[Strand] = deque()
        self.futures: list[Any] = []  # of any kind that knows its `info` and the error `lost` in it
        self.ending = False
        self._home = _allocate()
        self._home.acquire()
        self._holder: Strand | None = None
        self._profile = sys.getprofile()

    # --- the laboratory's side ---------------------------------------------------------------------------------------

    def run(self) -> None:
        """Let threads run until all of them wait or have ended."""
        if not self.ready:
            return
        self._pass_to(self.ready.popleft())
        if not self._home.acquire(timeout=STEP_S):
            self._stop_holder()
            raise SuspectError(
                f"a thread runs for more than {STEP_S:g} seconds without waiting for anything",
                hint="Look for a loop without an end, or for one that asks again and again without a pause",
            )

    def _pass_to(self, strand: Strand) -> None:
        self._holder = strand
        strand.baton.release()

    def _stop_holder(self) -> None:
        """Throw `Ended` into the thread that does not give the baton back; one that survives even that is left to itself."""
        self.ending = True
        assert self._holder is not None
        thread = ctypes.c_ulong(self._holder.identity)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(Ended))
        if not self._home.acquire(timeout=1.0):
            for strand in self.all:
                strand.ended = _PATIENCE + 1

    def spawn(
        self, body: Callable[[], Any], info: TaskInfo, thread: threading.Thread | None = None
    ) -> Strand:
        """A new thread for `body`; it is ready to run, and runs when the baton comes round."""
        if len(self.all) > max(THREADS_BASE, THREADS_PER_RECORD * len(self.world.ground.records)):
            raise endless("threads", len(self.all), self.world.refuse)
        strand = Strand(self, info, thread)
        self.all.append(strand)
        self.ready.append(strand)
        if self.world.log is not None:
            info.source = place_of_caller()
            self.world.note("task-start", None, info.name, info, info.source)
        try:
            _thread.start_new_thread(self._bootstrap, (strand, body))
        except RuntimeError:  # the operating system has no more
            strand.done = True
            self.ready.remove(strand)
            raise endless("threads", len(self.all), self.world.refuse) from None
        return strand

    def end(self) -> None:
        """End every thread that has not ended. One that will not be told stays parked for good."""
        self.ending = True
        for strand in self.all:
            while not strand.done and strand.ended <= _PATIENCE:
                self._pass_to(strand)
                if not self._home.acquire(timeout=STEP_S):
                    return
        for strand in self.all:
            if strand.thread is not None:
                concurrent.futures.thread._threads_queues.pop(strand.thread, None)  # type: ignore[attr-defined]

    # --- the threads' side -------------------------------------------------------------------------------------------

    def _bootstrap(self, strand: Strand, body: Callable[[], Any]) -> None:
        strand.baton.acquire()
        strand.identity = me = _thread.get_ident()
        _strands[me] = strand
        if strand.thread is not None:
            threading._active[me] = strand.thread  # type: ignore[attr-defined]
        if self._profile is not None:
            sys.setprofile(self._profile)
        try:
            with controlled(self.world.refuse, self.sleep):
                try:
                    if not self.ending:
                        body()
                except (Ended, SystemExit):
                    pass
                except BaseException as error:
                    strand.error = error
        finally:
            sys.setprofile(None)
            strand.done = True
            threading._active.pop(me, None)  # type: ignore[attr-defined]
            del _strands[me]
            for waiter in strand.waiters:
                self.wake(waiter)
            if self.world.log is not None and not self.ending:
                self.world.note("task-end", None, "", strand.info)
            self._hand_over()

    def _hand_over(self) -> None:
        if self.ready and not self.ending:
            self._pass_to(self.ready.popleft())
        else:
            self._home.release()

    def wait(self, strand: Strand, timeout_s: float | None = None, *, for_world: bool = False) -> bool:
        """Give the baton up until somebody wakes `strand`. False where `timeout_s` passed first."""
        if self.ending:
            strand.ended += 1
            if strand.ended <= _PATIENCE:
                raise Ended
        strand.timed_out = False
        strand.waits_for_world = for_world
        if timeout_s is not None:
            self._begin_timer(strand, timeout_s)
        self._hand_over()
        strand.baton.acquire()
        strand.waits_for_world = False
        if self.ending:
            strand.ended += 1
            raise Ended
        return not strand.timed_out

    def wake(self, strand: Strand) -> None:
        """`strand` can run again."""
        if strand.deadline is not None:
            self.world.cancel(strand.deadline)
            strand.deadline = None
        if not strand.done:
            self.ready.append(strand)

    def _begin_timer(self, strand: Strand, delay_s: float) -> None:
        op = Op(TIMER, f"{max(0.0, delay_s):g}", strand.info, None)

        def fire() -> None:
            strand.deadline, strand.timed_out = None, True
            self.ready.append(strand)

        op.payload, strand.deadline = fire, op
        if self.world.log is not None:
            op.source = place_of_caller()
        self.world.begin_timer(op, self.world.now + max(0.0, delay_s))

    def sleep(self, seconds: float) -> None:
        """`time.sleep` in a controlled thread: virtual."""
        strand = current_strand()
        if strand is not None:
            self.wait(strand, seconds, for_world=True)


class ControlledLock:
    """What `threading.Lock()` gives in a controlled thread. Released, it goes to whoever waited longest."""

    __slots__ = ("__weakref__", "_held", "_waiting")

    def __init__(self) -> None:
        self._held = False
        self._waiting: deque[Strand] = deque()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if not self._held:
            self._held = True
            return True
        strand = current_strand()
        if not blocking or strand is None:
            return False
        self._waiting.append(strand)
        try:
            got = strand.strands.wait(strand, None if timeout is None or timeout < 0 else timeout)
        except Ended:
            if strand in self._waiting:
                self._waiting.remove(strand)
            raise
        if not got:
            self._waiting.remove(strand)
        return got

    def release(self) -> None:
        if not self._held:
            raise RuntimeError("release unlocked lock")
        while self._waiting:
            strand = self._waiting.popleft()
            if not strand.done:
                strand.strands.wake(strand)  # it holds the lock from now on
                return
        self._held = False

    def locked(self) -> bool:
        return self._held

    __enter__ = acquire

    def __exit__(self, *_: object) -> None:
        self.release()

    def _at_fork_reinit(self) -> None:
        self._held = False
        self._waiting.clear()


class WatchedFuture(concurrent.futures.Future[Any]):
    """A future that knows whether anybody asked how it ended. Its hash does not depend on where it lies in memory, so that a loop
    over the set that `concurrent.futures.wait` gives goes the same way in every run of a schedule."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = False
        strand = current_strand()
        self.info = strand.info if strand is not None else None
        self.strands = strand.strands if strand is not None else None
        self._number = id(self)
        if self.strands is not None:
            self._number = len(self.strands.futures)
            self.strands.futures.append(self)

    def __hash__(self) -> int:
        return self._number

    def result(self, timeout: float | None = None) -> Any:
        self.asked = True
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self.asked = True
        return super().exception(timeout)

    def add_done_callback(self, fn: Callable[[concurrent.futures.Future[Any]], object]) -> None:
        self.asked = True
        super().add_done_callback(fn)

    @property
    def lost(self) -> BaseException | None:
        """The error that nobody asked for."""
        return self._exception if self.done() and not self.asked and not self.cancelled() else None


# --- the replacements, in place for as long as a run needs them ------------------------------------------------------------

_real: Final[dict[str, Any]] = {
    "start": threading.Thread.start,
    "join": threading.Thread.join,
    "is_alive": threading.Thread.is_alive,
    "SimpleQueue": queue.SimpleQueue,
    "Future": concurrent.futures.Future,
    "sleep": time.sleep,
    "monotonic": time.monotonic,
}


_STRAND: Final = "_vecforensics_strand"
_COUNTED: Final = re.compile(r"Thread-\d|ThreadPoolExecutor-\d")


def make_lock() -> Any:
    return ControlledLock() if current_strand() is not None else _allocate()


class _QueueType(type):
    def __instancecheck__(cls, thing: object) -> bool:
        return isinstance(thing, (_real["SimpleQueue"], queue._PySimpleQueue))  # type: ignore[attr-defined]


class SimpleQueue(metaclass=_QueueType):
    """Stands in for `queue.SimpleQueue`, which programs also subscript and ask for as a type."""

    __class_getitem__: Any = classmethod(GenericAlias)

    def __new__(cls) -> Any:
        return queue._PySimpleQueue() if current_strand() is not None else _real["SimpleQueue"]()  # type: ignore[attr-defined]


def make_future() -> Any:
    return WatchedFuture() if current_strand() is not None else _real["Future"]()


def sleep(seconds: float) -> None:
    strand = current_strand()
    if strand is not None:
        strand.strands.sleep(seconds)
    else:
        _real["sleep"](seconds)


def clock() -> float:
    strand = current_strand()
    return strand.strands.world.now if strand is not None else _real["monotonic"]()


def _start(self: threading.Thread) -> None:
    here = current_strand()
    if here is None:
        _real["start"](self)
        return
    if self._started.is_set():  # type: ignore[attr-defined]
        raise RuntimeError("threads can only be started once")
    name = "" if _COUNTED.match(self.name) else self.name  # the counter goes on from run to run
    setattr(self, _STRAND, here.strands.spawn(self.run, here.info.child(name), self))
    self._started.set()  # type: ignore[attr-defined]


def _join(self: threading.Thread, timeout: float | None = None) -> None:
    strand: Strand | None = getattr(self, _STRAND, None)
    here = current_strand()
    if strand is None or here is None:
        if strand is None:
            _real["join"](self, timeout)
        return
    if not strand.done:
        strand.waiters.append(here)
        if not here.strands.wait(here, timeout):
            strand.waiters.remove(here)


def _is_alive(self: threading.Thread) -> bool:
    strand: Strand | None = getattr(self, _STRAND, None)
    return bool(_real["is_alive"](self)) if strand is None else not strand.done


_REPLACED: Final[tuple[tuple[Any, str, Any], ...]] = (
    (threading, "Lock", make_lock),
    (threading, "_allocate_lock", make_lock),
    (threading, "_CRLock", None),  # RLock() is then built in Python, on the lock above
    (threading, "_time", clock),
    (threading.Thread, "start", _start),
    (threading.Thread, "join", _join),
    (threading.Thread, "is_alive", _is_alive),
    (queue, "SimpleQueue", SimpleQueue),
    (queue, "time", clock),
    (concurrent.futures._base, "Future", make_future),
    (concurrent.futures._base, "time", SimpleNamespace(monotonic=clock)),
)
_installed: list[tuple[Any, str, Any]] = []
_users = 0
_door = _allocate()


def install(more: Sequence[tuple[Any, str, Any]] = ()) -> None:
    """Put the replacements in place, and `more` of them; each call needs its `uninstall`."""
    global _users
    with _door:
        _users += 1
        if _users == 1:
            for owner, name, value in (*_REPLACED, *more):
                _installed.append((owner, name, getattr(owner, name)))
                setattr(owner, name, value)


def uninstall() -> None:
    global _users
    with _door:
        _users -= 1
        if _users == 0:
            while _installed:
                owner, name, value = _installed.pop()
                setattr(owner, name, value)
