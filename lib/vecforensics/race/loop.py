"""The controlled loop: an event loop that keeps every promise of the stock one, and leaves the rest to the strategy.

Stock asyncio promises that callbacks run first in, first out; a program may rely on it and this loop keeps it. What stock
asyncio does not promise is when the world answers. So the loop has no selector and no clock: it runs its callbacks in rounds
until none is left (`advance`), and then the engine completes one operation of the world, whose future brings new callbacks.
Futures are asyncio's own C ones, and tasks are such futures with a step of our own (`race/tasks.py`), so TaskGroup, gather,
timeouts and cancellation are the real thing.

Real sockets, pipes, signals, subprocesses cannot be controlled: asking for one refuses the suspect with a line naming the
call. A thing that the operating system does without asking the loop is caught in `race/guard.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, copy_context
from types import CoroutineType
from typing import Any, Final, NoReturn

from vecforensics.errors import SuspectError
from vecforensics.race.driver import TaskInfo
from vecforensics.race.gathering import gather, stock_gather
from vecforensics.race.guard import endless, refuse_executor
from vecforensics.race.places import last_place, place_of_caller
from vecforensics.race.tasks import ControlledTask, begin_task, current_task, no_current_task
from vecforensics.race.world import EXECUTOR, TIMER, Op, World

__all__ = ["ControlledFuture", "ControlledLoop", "Handle", "stable_asyncio"]


# A base without types: what asyncio declares for a loop's methods is wider than what a program can use here.
_AbstractLoop: Any = asyncio.AbstractEventLoop
# So many tasks in one run are taken for a loop without end.
TASKS_BASE: Final = 20_000
TASKS_PER_RECORD: Final = 200
# References to a task that the program has dropped: the list of tasks, the loop over it (two), the call, what it waits for.
_HELD_BY_NOBODY: Final = 5


class Handle(list[Any]):
    """A scheduled call as [callback, args, context]. A list, because one is made for every callback of every future."""

    __slots__ = ()

    def cancel(self) -> None:
        self[0] = None

    def cancelled(self) -> bool:
        return self[0] is None


class ControlledFuture(asyncio.Future[Any]):
    """A future that the program holds itself, with such a hash too."""

    __slots__ = ("number",)

    def __init__(self, loop: ControlledLoop) -> None:
        loop.futures = self.number = loop.futures + 1
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.number


def _stable_set(items: Iterable[Any] = ()) -> Any:
    """Stands in for `set` inside asyncio.tasks: `as_completed` starts coroutines in the order of a set of them, which is the
    order of their addresses. Here it is the order in which they were given."""
    found = list(items)
    return dict.fromkeys(found) if any(asyncio.iscoroutine(item) for item in found) else set(found)


class _EveryTask:
    """Stands in for the set in which `asyncio.all_tasks` looks: it has the controlled loop's tasks too, which are not entered
    into asyncio's own, since that would cost more than any other part of making one."""

    def __init__(self, others: Any) -> None:
        self._others = others

    def __iter__(self) -> Iterator[Any]:
        loop = asyncio._get_running_loop()
        return iter([*self._others, *(loop.tasks if isinstance(loop, ControlledLoop) else ())])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._others, name)


def _is_future(what: Any) -> bool:
    """`asyncio.isfuture`, quickly for a coroutine: of one the original learns by an exception that it is none."""
    return type(what) is not CoroutineType and asyncio.isfuture(what)


_asyncio_tasks: Final = vars(asyncio.tasks)
_EVERY_TASK: Final = next(name for name in ("_scheduled_tasks", "_all_tasks") if name in _asyncio_tasks)
_every_task: Final = _EveryTask(_asyncio_tasks[_EVERY_TASK])
_laboratories = 0
_door: Final = threading.Lock()


@contextlib.contextmanager
def stable_asyncio() -> Iterator[None]:
    """asyncio without the one order of its own that depends on addresses, and with a `gather` that lets a loop of ours do it at
    once, for the time of an exploration. May be nested, also across threads."""
    global _laboratories
    with _door:
        _laboratories += 1
        _asyncio_tasks.update({"set": _stable_set, _EVERY_TASK: _every_task, "gather": gather})
        vars(asyncio.futures)["isfuture"] = _is_future
        vars(asyncio)["gather"] = gather
    try:
        yield
    finally:
        with _door:
            _laboratories -= 1
            if not _laboratories:
                del _asyncio_tasks["set"]
                _asyncio_tasks[_EVERY_TASK] = _every_task._others
                vars(asyncio.futures)["isfuture"] = asyncio.isfuture
                vars(asyncio)["gather"] = _asyncio_tasks["gather"] = stock_gather


class TimerHandle:
    """What `call_later` gives. One that is due but whose callback has not run can still be cancelled, as in stock asyncio."""

    __slots__ = ("_op", "_when", "_world", "cancelled_", "due")

    def __init__(self, world: World, op: Op, when: float) -> None:
        self._world, self._op, self._when, self.cancelled_ = world, op, when, False
        self.due: Handle | None = None

    @property
    def op(self) -> Op:
        return self._op

    def cancel(self) -> None:
        if not self.cancelled_:
            self.cancelled_ = True
            if self.due is not None:
                self.due.cancel()
            else:
                self._world.cancel(self._op)

    def cancelled(self) -> bool:
        return self.cancelled_

    def when(self) -> float:
        return self._when


class ControlledLoop(_AbstractLoop):  # type: ignore[misc]
    """The loop of one run. `world` gets timers and executor calls; `tasks` maps each task to its creation path."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ready: deque[Any] = deque()
        self.root = TaskInfo(None, 0)
        self.outside = TaskInfo(None, 0, "callback")
        self.tasks: list[ControlledTask] = []
        self.unfinished = 0
        self.failed: list[ControlledTask] = []  # those that ended with an exception
        self.futures = 0
        self.stray: list[tuple[str, BaseException | None]] = []
        self.generators: list[Any] = []
        self.closed = False
        world.collect = self.collect
        self.handler: Any = None

    # --- callbacks -------------------------------------------------------------------------------------------------

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Handle:
        handle = Handle((callback, args, context if context is not None else copy_context()))
        self.ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def schedule(self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context) -> None:
        """`call_soon` without a handle, for the steps of tasks, which cannot be cancelled."""
        self.ready.append((callback, args, context))

    def tell(self, task: ControlledTask, callbacks: Iterable[tuple[Callable[..., Any], Context]]) -> None:
        """`task` has ended: schedule what was to be called then."""
        for callback, context in callbacks:
            self.call_soon(callback, task, context=context)

    def advance(self, limit: int) -> bool:
        """Run rounds of callbacks until none is left, at most `limit`. False where some are."""
        ready = self.ready
        while ready:
            if limit <= 0:
                return False
            limit -= 1
            count = len(ready)
            while count:
                count -= 1
                entry = ready.popleft()
                callback, args, context = entry
                if type(entry) is not tuple:
                    no_current_task(self, None)
                if callback is not None:
                    try:
                        if args:
                            context.run(callback, *args)
                        else:
                            context.run(callback)
                    except Exception as error:
                        self.stray.append((f"exception in callback {callback!r}", error))
        return True

    # --- tasks and futures -----------------------------------------------------------------------------------------

    def create_future(self) -> asyncio.Future[Any]:
        return ControlledFuture(self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        if type(coro) is not CoroutineType and not asyncio.iscoroutine(coro):
            raise TypeError(f"a coroutine was expected, got {coro!r}")
        return self.new_task(coro, self.info().child(name or ""), name, context)

    def new_task(
        self, coro: Any, info: TaskInfo | None, name: str | None, context: Context | None
    ) -> ControlledTask:
        number = len(self.tasks) + 1
        if number > TASKS_BASE and number > TASKS_PER_RECORD * len(self.world.ground.records):
            coro.close()
            raise endless("tasks", number, self.world.refuse)
        task: ControlledTask = begin_task(ControlledTask, coro, self, number, info, name, context)
        self.tasks.append(task)
        self.schedule(task.step, (), task.context)
        if self.world.log is not None and info is not None:
            info.source = place_of_caller()
            self.world.note("task-start", None, name or "", info, info.source)
            task.add_done_callback(self.note_end)
        return task

    def note_end(self, task: Any) -> None:
        # Asking for the exception through the C attribute keeps it "never retrieved" for the check of lost errors.
        error = getattr(task, "_exception", None)
        if error is not None:
            self.world.note("error", None, repr(error), task.info, last_place(error))
        self.world.note("task-end", None, "cancelled" if task.cancelled() else "", task.info)

    def info(self) -> TaskInfo:
        return getattr(current_task(self), "info", self.outside)

    # --- time and threads ------------------------------------------------------------------------------------------

    def time(self) -> float:
        return self.world.now

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Any:
        world = self.world
        delay = max(0.0, when - world.now)
        op = Op(TIMER, f"{delay:g}", self.info(), None)
        context = context if context is not None else copy_context()
        handle = TimerHandle(world, op, when)

        def fire() -> None:
            handle.due = Handle((callback, args, context))
            self.ready.append(handle.due)

        op.payload = fire
        if world.log is not None:
            op.source = place_of_caller()
        world.begin_timer(op, max(when, world.now))
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Any:
        return self.call_at(self.world.now + delay, callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """The call happens in one piece when the strategy completes it; its threads are not real ones."""
        refuse_executor(executor, self.world.refuse)
        future = ControlledFuture(self)
        name = getattr(func, "__name__", None) or getattr(getattr(func, "func", None), "__name__", "call")
        if args and name == "run" and hasattr(args[0], "__name__"):
            name = args[0].__name__  # asyncio.to_thread passes context.run and the function
        op = Op(EXECUTOR, str(name), self.info(), future, lambda: func(*args))
        if self.world.log is not None:
            op.source = place_of_caller()
        self.world.begin(op)
        return future

    def collect(self, op: Op) -> bool:
        """Let the garbage collector take the task that waits for `op`, if nobody but asyncio and this loop holds it; stock
        asyncio keeps weak references only. False where the program still has the task."""
        no_current_task(self, None)
        for place, task in enumerate(self.tasks):
            if task.info is op.task and place > 0:
                if sys.getrefcount(task) > _HELD_BY_NOBODY or asyncio.Task.done(task):
                    return False
                del self.tasks[place]
                self.unfinished -= 1
                with contextlib.suppress(BaseException):
                    task.get_coro().close()
                return True
        return False

    # --- what asyncio asks of a loop ---------------------------------------------------------------------------------

    get_debug = bool  # asked for every future and task: bool() is False, and the quickest way to say so

    def set_debug(self, enabled: bool) -> None:
        pass

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def get_task_factory(self) -> Any:
        return None

    def get_exception_handler(self) -> Any:
        return self.handler

    def set_exception_handler(self, handler: Any) -> None:
        self.handler = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.stray.append((str(context.get("message", "")), context.get("exception")))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self.closed:
            return
        if self.handler is not None:
            self.handler(self, context)
        else:
            self.default_exception_handler(context)

    async def shutdown_asyncgens(self) -> None:
        for generator in self.generators:
            await generator.aclose()

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        pass

    def set_default_executor(self, executor: Any) -> None:
        pass

    def asyncgen_firstiter(self, generator: Any) -> None:
        if self.world.log is not None:
            self.generators.append(generator)

    def asyncgen_finalizer(self, generator: Any) -> None:
        if not self.closed:
            self.create_task(generator.aclose())


def _refusing(name: str) -> Callable[..., NoReturn]:
    def refuse(self: ControlledLoop, *args: Any, **kwargs: Any) -> NoReturn:
        error = SuspectError(
            f"loop.{name}() leaves the program for the operating system, which the race laboratory cannot control",
            hint="Hand the outside world to migrate through `embed` and `store`",
        )
        self.world.refuse(error)
        raise error

    return refuse


# Every other method of the abstract loop reaches for sockets, pipes, signals or subprocesses, or runs a loop inside the loop.
for _name in sorted(set(dir(asyncio.AbstractEventLoop)) - set(vars(ControlledLoop)) - set(dir(object))):
    if not _name.startswith("_"):
        setattr(ControlledLoop, _name, _refusing(_name))
ControlledLoop.__abstractmethods__ = frozenset()
