"""The driver for coroutines: `async def migrate(records, embed, store)` on the controlled loop.

The store and the embedder are coroutine functions as a client library's are: nothing happens before the coroutine runs, what it
is given is serialised when it does, and then it waits. Waiting is where the strategy comes in.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio import events
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from vecforensics.errors import SuspectError
from vecforensics.race.driver import TaskInfo
from vecforensics.race.guard import no_such_operation
from vecforensics.race.loop import ControlledLoop
from vecforensics.race.model import LostError
from vecforensics.race.places import last_place, place_of_caller
from vecforensics.race.tasks import Awaited, ControlledTask, new_operation, no_current_task, yielding
from vecforensics.race.world import DELETE, DIMENSION, EMBED, FETCH, UPSERT, StoredRow, World
from vecforensics.records import Record

if TYPE_CHECKING:
    from vecforensics.race.tracker import Tracker

__all__ = ["AsyncSession", "AsyncStore", "AsyncioProgram"]

# The engine's own questions; a tracked task takes the program's as touches.
_done, _cancelled = asyncio.Task.done, asyncio.Task.cancelled
_ARRAY, _FLOAT32 = np.ndarray, np.dtype(np.float32)
_SHAPE = (DIMENSION,)


class AsyncStore:
    """The store that a coroutine migration is handed. It has no `__getattr__`, with which every look-up would be a slow one; what
    was looked up in vain is told by `AsyncSession.error`."""

    __slots__ = ("_loop", "_world")

    def __init__(self, loop: ControlledLoop) -> None:
        self._loop, self._world = loop, loop.world

    # Coroutine functions all four, as a client's are: nothing happens before they are awaited.

    @yielding
    def upsert(
        self, id: str, vector: Any, metadata: Mapping[str, Any] | None = None
    ) -> Generator[Awaited, None, None]:
        op = new_operation(Awaited)
        op.kind = UPSERT
        op.key = id if type(id) is str else str(id)
        if type(vector) is _ARRAY and vector.dtype is _FLOAT32:
            op.payload = (vector.tobytes(), vector.shape == _SHAPE)
        else:
            op.payload = World.serialise(vector)
        op.metadata = None if metadata is None else dict(metadata)
        op.asker = None
        op.settled = False
        op.seq = 0
        begin = self._file  # looked up alone: the interpreter is quicker so, where it is an attribute
        begin(op)
        yield op

    @yielding
    def fetch(self, id: str) -> Generator[Awaited, None, StoredRow | None]:
        op = new_operation(Awaited)
        op.kind = FETCH
        op.key = id if type(id) is str else str(id)
        op.payload = op.metadata = op.asker = None
        op.settled = False
        op.seq = 0
        begin = self._file
        begin(op)
        yield op
        return op.answer  # type: ignore[no-any-return]

    @yielding
    def delete(self, id: str) -> Generator[Awaited, None, None]:
        op = new_operation(Awaited)
        op.kind = DELETE
        op.key = id if type(id) is str else str(id)
        op.payload = op.metadata = op.asker = None
        op.settled = False
        op.seq = 0
        begin = self._file
        begin(op)
        yield op

    @yielding
    def embed(self, record: Record | str) -> Generator[Awaited, None, npt.NDArray[np.float32]]:
        op = new_operation(Awaited)
        op.kind = EMBED
        if isinstance(record, str):
            op.key, op.payload = record, (record, 0)
        else:
            op.key, op.payload = record.id, (record.text, record.version)
        op.metadata = op.asker = None
        op.settled = False
        op.seq = 0
        begin = self._file
        begin(op)
        yield op
        return op.answer  # type: ignore[no-any-return]

    def _file(self, op: Awaited) -> None:
        """`op` begins, under the name of the task that asks for it."""
        loop, world = self._loop, self._world
        op.under(loop.info())
        if world.log is not None:
            op.source = place_of_caller() or op.task.source
        world.begin(op)


class AsyncSession:
    """One run of a coroutine migration."""

    def __init__(self, loop: ControlledLoop, main: asyncio.Task[Any]) -> None:
        self.loop, self.main = loop, main
        self.advance = loop.advance
        self.done: Callable[[], bool] = _done.__get__(main)
        self.unhandled: BaseException | None = None

    @property
    def error(self) -> BaseException | None:
        if not _done(self.main):
            return None
        if _cancelled(self.main):
            return asyncio.CancelledError("migrate was cancelled")
        error = self.main.exception()
        if isinstance(error, AttributeError) and isinstance(error.obj, AsyncStore):
            return no_such_operation(error.name or "").with_traceback(error.__traceback__)
        return error

    def left_behind(self) -> list[TaskInfo]:
        main = self.main
        return [task.info for task in self._unfinished() if task is not main and not task.cancelling()]

    def stuck(self) -> list[TaskInfo]:
        return [task.info for task in self._unfinished()]

    def _unfinished(self) -> list[ControlledTask]:
        return [task for task in self.loop.tasks if not _done(task)] if self.loop.unfinished else []

    def lost_errors(self) -> list[LostError]:
        lost = []
        for task in sorted(self.loop.failed, key=hash):
            if task is not self.main and task._log_traceback:
                error: Any = task._exception
                lost.append(LostError(task.info.path, _short(error), last_place(error)))
        for message, stray in self.loop.stray:
            text = _short(stray) if stray is not None else message
            lost.append(LostError("callback", text, last_place(stray) if stray is not None else None))
        return lost

    def close(self) -> None:
        loop = self.loop
        loop.closed = True
        no_current_task(loop, None)
        for task in loop.failed:
            task._log_traceback = False
        for task in self._unfinished():
            # A coroutine that answers GeneratorExit with another await or an error is closed enough.
            with contextlib.suppress(BaseException):
                task.get_coro().close()
            task._fut_waiter = None
        # Tasks refer to the loop and the loop to them: cut, so that a schedule is freed at once and not by the collector.
        loop.tasks.clear()
        loop.failed.clear()
        loop.ready.clear()
        loop.generators.clear()
        del loop.world
        events._set_running_loop(None)
        sys.set_asyncgen_hooks(None, None)


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class AsyncioProgram:
    """A coroutine function `migrate(records, embed, store)` on the controlled loop."""

    driver: Final = "asyncio"
    fine: Final = True
    conflicts: Final = (
        "same id in the store, at least one write",
        "same lock, semaphore, event, condition or queue",
        "same shared object, variable or attribute of the program, at least one write",
        "what a time-out or a cancellation takes back",
    )

    def __init__(
        self, migrate: Callable[..., Awaitable[Any]], name: str, files: tuple[str, ...] = ()
    ) -> None:
        self.migrate, self.name, self.files = migrate, name, files

    @property
    def tracked(self) -> bool:
        """What the program shares is read from its source; without one, nothing can be said."""
        from vecforensics.race.shared_lines import lines_of

        return bool(self.files) and all(lines_of(file).readable for file in self.files)

    def start(self, world: World, records: Sequence[Record]) -> AsyncSession:
        if world.bare:
            from vecforensics.race.bare import BareLoop, BareSession, BareStore

            bare = BareLoop(world)
            return self._begin(bare, BareStore(bare), records, BareSession)
        loop = ControlledLoop(world)
        return self._begin(loop, AsyncStore(loop), records)

    def start_tracked(self, world: World, records: Sequence[Record], tracker: Tracker) -> AsyncSession:
        from vecforensics.race.tracked import TrackedLoop, TrackedStore

        loop = TrackedLoop(world, tracker)
        return self._begin(loop, TrackedStore(loop), records)

    def _begin(
        self,
        loop: ControlledLoop,
        store: AsyncStore,
        records: Sequence[Record],
        session: type[AsyncSession] = AsyncSession,
    ) -> AsyncSession:
        events._set_running_loop(loop)
        sys.set_asyncgen_hooks(loop.asyncgen_firstiter, loop.asyncgen_finalizer)
        awaitable = self.migrate(list(records), store.embed, store)
        if not asyncio.iscoroutine(awaitable):
            raise SuspectError(
                f"{self.name} gave {type(awaitable).__name__} instead of a coroutine",
                hint="Write it as async def migrate(records, embed, store)",
            )
        return session(loop, loop.new_task(awaitable, loop.root, None, None))
