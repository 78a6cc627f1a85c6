"""The controlled loop with clocks: the same order of callbacks, and along with each what the code that scheduled it had seen.

Joins need care. `gather`, `wait` and `TaskGroup` count down; the code after them follows all of the tasks, not just the last one,
while the tasks among each other stay concurrent. So the callbacks that count gather the clocks of all who called them, and order
matters between two of them only where one failed (or the first one wins, in FIRST_COMPLETED).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

from vecforensics.race.coroutines import AsyncStore
from vecforensics.race.driver import TaskInfo
from vecforensics.race.loop import ControlledFuture, ControlledLoop, Handle
from vecforensics.race.shared_names import ALL
from vecforensics.race.tasks import Awaited, Cancelled, ControlledTask, begin_task, no_current_task
from vecforensics.race.tracker import Tracker
from vecforensics.race.world import Op, World

__all__ = ["TrackedLoop", "TrackedStore"]


class _TrackedTask(ControlledTask):
    """A task with a clock. Asking it how it stands, or cancelling it, is a touch."""

    __slots__ = ("clock",)

    clock: int

    def _touch(self, mode: str) -> None:
        loop = self.get_loop()
        assert isinstance(loop, TrackedLoop)
        loop.tracker.touch(("task", self.info.path), ALL, mode)

    def cancel(self, msg: Any = None) -> bool:
        self._touch("w")
        return super().cancel(msg)

    def done(self) -> bool:
        self._touch("r")
        if super().done():
            self._learn()
            return True
        return False

    def result(self) -> Any:
        self._learn()
        return super().result()

    def _learn(self) -> None:
        loop = self.get_loop()
        assert isinstance(loop, TrackedLoop)
        loop.tracker.learn(self.clock)


class _CancelledTrackedTask(Cancelled, _TrackedTask):  # type: ignore[misc]
    __slots__ = ()

    def result(self) -> Any:
        self._learn()
        return super().result()


_TrackedTask.once_cancelled = _CancelledTrackedTask


class _TrackedFuture(ControlledFuture):
    """A future of the program's own or of a primitive's, with the clock of who settled it."""

    __slots__ = ("clock", "tracker")

    def __init__(self, loop: TrackedLoop) -> None:
        self.clock = 0
        self.tracker = loop.tracker
        super().__init__(loop)

    def _settle(self) -> None:
        self.clock = self.tracker.clock

    def set_result(self, result: Any) -> None:
        self.tracker.touch(("future", self.number), ALL, "w")
        self._settle()
        super().set_result(result)

    def set_exception(self, exception: Any) -> None:
        self.tracker.touch(("future", self.number), ALL, "w")
        self._settle()
        super().set_exception(exception)

    def cancel(self, msg: Any = None) -> bool:
        self.tracker.touch(("future", self.number), ALL, "w")
        self._settle()
        return super().cancel(msg)

    def done(self) -> bool:
        self.tracker.touch(("future", self.number), ALL, "r")
        return super().done()


class TrackedLoop(ControlledLoop):
    """Handles are [callback, args, context, clock]."""

    def __init__(self, world: World, tracker: Tracker) -> None:
        super().__init__(world)
        self.tracker = tracker
        self._joins: dict[int, list[Any]] = {}

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Handle:
        handle = Handle(
            (callback, args, context if context is not None else copy_context(), self.tracker.clock)
        )
        self.ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def schedule(self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context) -> None:
        self.ready.append((callback, args, context, self.tracker.clock))

    def advance(self, limit: int) -> bool:
        ready, tracker, settrace = self.ready, self.tracker, sys.settrace
        trace, before = tracker.trace, sys.gettrace()
        while ready:
            if limit <= 0:
                return False
            limit -= 1
            for _ in range(len(ready)):
                entry = ready.popleft()
                callback, args, context, clock = entry
                if callback is None:
                    continue
                if type(entry) is Handle:
                    no_current_task(self, None)
                tracker.clock = clock
                tracker.learn(clock)
                if args:
                    tracker.learn(getattr(args[0], "clock", 0))
                task = getattr(callback, "__self__", None)
                if isinstance(task, _TrackedTask):
                    tracker.where = task.info.path
                    tracker.learn(task.clock)
                    tracker.touch(("task", task.info.path), ALL, "w")
                else:
                    tracker.where = "callback"
                    self._count_down(callback, args)
                    task = None
                settrace(trace)
                try:
                    context.run(callback, *args)
                except Exception as error:
                    self.stray.append((f"exception in callback {callback!r}", error))
                finally:
                    settrace(before)
                if task is not None:
                    if asyncio.Task.done(task):
                        self._ended(task)
                    task.clock = tracker.clock
        return True

    def _ended(self, task: _TrackedTask) -> None:
        """A task that is over, as the checks see it."""
        if task.info is self.root:
            self.tracker.returned([other.info.path for other in self.tasks if other is not task])
        else:
            self.tracker.touch(("end", task.info.path), ALL, "w")

    def _count_down(self, callback: Any, args: tuple[Any, ...]) -> None:
        """The callbacks by which gather, wait and TaskGroup learn of a task that is over."""
        function = getattr(callback, "__func__", callback)
        code = getattr(function, "__code__", None)
        if code is None or "/asyncio/" not in code.co_filename:
            return
        name = code.co_name
        if name == "_release_waiter" and args:
            self.tracker.touch(self._join(args[0])[0], ALL, "w")
            return
        if name not in ("_on_task_done", "_done_callback", "_on_completion"):
            return
        cells = dict(
            zip(code.co_freevars, (cell.cell_contents for cell in function.__closure__ or ()), strict=True)
        )
        if "todo" in cells:
            return  # as_completed: no join, every answer goes into a queue, which is a touch of its own
        future = args[0]
        mode = "w" if future.cancelled() or getattr(future, "_exception", None) is not None else "r"
        when = cells.get("return_when")
        if when == asyncio.FIRST_COMPLETED:
            mode = "w"
        elif when == asyncio.ALL_COMPLETED:
            mode = "r"
        join = self._join(cells.get("waiter", getattr(callback, "__self__", callback)))
        self.tracker.touch(join[0], ALL, mode)
        join[1] |= self.tracker.clock
        self.tracker.learn(join[1])

    def _join(self, of: Any) -> list[Any]:
        """[name, clock, what is joined] of a waiter, a group or a callback; named in the order in which they are met, by the task
        that is met."""
        found = self._joins.get(id(of))
        if found is None:
            found = self._joins[id(of)] = [("join", len(self._joins)), 0, of]
        return found

    # --- what begins here ----------------------------------------------------------------------------------------------

    def create_future(self) -> asyncio.Future[Any]:
        return _TrackedFuture(self)

    def new_task(
        self, coro: Any, info: TaskInfo | None, name: str | None, context: Context | None
    ) -> ControlledTask:
        number = len(self.tasks) + 1
        task: _TrackedTask = begin_task(_TrackedTask, coro, self, number, info, name, context)
        task.clock = self.tracker.clock
        self.schedule(task.step, (), task.context)
        self.tracker.touch(("births",), ALL, "i")
        self.tasks.append(task)
        return task

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Any:
        tracker, timers = self.tracker, self.world.timers
        if timers and when < timers[0].when:
            tracker.revoke(timers[0])  # it could have fired before this one was set
        handle = super().call_at(when, callback, *args, context=context)
        op: Op = handle.op
        tracker.created(op)
        context = context if context is not None else copy_context()

        def fire() -> None:
            handle.due = Handle((callback, args, context, tracker.clock))
            self.ready.append(handle.due)

        op.payload = fire
        return handle

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        future = super().run_in_executor(executor, func, *args)
        op = self.world.pending[-1]
        self.tracker.created(op)
        call = op.payload

        def traced_call() -> Any:
            before = sys.gettrace()
            sys.settrace(self.tracker.trace)
            try:
                return call()
            finally:
                sys.settrace(before)

        op.payload = traced_call
        return future


class TrackedStore(AsyncStore):
    """The same store; each operation notes what its caller had seen."""

    __slots__ = ()

    def _file(self, op: Awaited) -> None:
        trace = sys.gettrace()
        sys.settrace(None)  # the engine's own steps need not be followed, and following is what costs
        super()._file(op)
        loop = self._loop
        assert isinstance(loop, TrackedLoop)
        loop.tracker.created(op)
        sys.settrace(trace)
