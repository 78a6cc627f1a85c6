"""The controlled loop: an event loop that keeps every promise of the stock one, and leaves the rest to the strategy.

Stock asyncio promises that callbacks run first in, first out; a program may rely on it and this loop keeps it. What stock
asyncio does not promise is when the world answers. So the loop has no selector and no clock: it runs its callbacks in rounds
until none is left (`advance`), and then the engine completes one operation of the world, whose future brings new callbacks.
Tasks and futures are asyncio's own C ones, so coroutines, TaskGroup, gather, timeouts and cancellation are the real thing.

Real sockets, pipes, signals, subprocesses cannot be controlled: asking for one refuses the suspect with a line naming the
call. A thing that the operating system does without asking the loop is caught in `race/guard.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, copy_context
from typing import Any, Final, NoReturn

from vecforensics.errors import SuspectError
from vecforensics.race.driver import TaskInfo
from vecforensics.race.places import last_place, place_of_caller
from vecforensics.race.world import EXECUTOR, TIMER, Op, World

__all__ = ["ControlledFuture", "ControlledLoop", "ControlledTask", "Handle", "stable_asyncio"]


# asyncio.current_task in 3.11 is a Python function around this very look-up, which every operation makes.
_current_task: Callable[[Any], Any] = vars(asyncio.tasks)["_current_tasks"].get
# A base without types: what asyncio declares for a loop's methods is wider than what a program can use here.
_AbstractLoop: Any = asyncio.AbstractEventLoop
_DESTROYED: Final = "_log_destroy_pending"


def _step_types() -> set[type]:
    """The type by which the C task schedules its first step; it has no public name."""
    seen: set[type] = set()

    class Listener(_AbstractLoop):  # type: ignore[misc]
        get_debug = bool

        def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
            seen.add(type(callback))

        def call_exception_handler(self, context: Any) -> None:
            pass

    async def nothing() -> None:
        pass

    Listener.__abstractmethods__ = frozenset()
    coroutine = nothing()
    task = asyncio.Task(coroutine, loop=Listener())
    setattr(task, _DESTROYED, False)
    coroutine.close()
    return seen


# The types of a task's own callbacks: its first step, and the wake-up by the future that it waits for.
_STEPS: Final = frozenset({type(len), *_step_types()})
# References to a task that the program has dropped: the list of tasks, the loop over it (two), the call, the future's callback.
_HELD_BY_NOBODY: Final = 5


class Handle(list[Any]):
    """A scheduled call as [callback, args, context]. A list, because one is made for every step of every task."""

    def cancel(self) -> None:
        self[0] = None

    def cancelled(self) -> bool:
        return self[0] is None


class ControlledTask(asyncio.Task[Any]):
    """asyncio's own task with its creation path, and with a hash that does not depend on where it lies in memory, so that a loop
    over a set of tasks goes the same way in every run of a schedule."""

    __slots__ = ("info", "number")

    info: TaskInfo
    number: int

    def __hash__(self) -> int:
        return self.number


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


@contextlib.contextmanager
def stable_asyncio() -> Iterator[None]:
    """asyncio without the one order of its own that depends on addresses, for the time of an exploration."""
    namespace = vars(asyncio.tasks)
    namespace["set"] = _stable_set
    try:
        yield
    finally:
        namespace.pop("set", None)


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
        self.futures = 0
        self.stray: list[tuple[str, BaseException | None]] = []
        self.generators: list[Any] = []
        self.closed = False
        world.collect = self.collect
        self.handler: Any = None

    # --- callbacks -------------------------------------------------------------------------------------------------

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Handle | None:
        if context is None:
            context = copy_context()
        if type(callback) in _STEPS:
            # A step of a task, scheduled by asyncio itself, which never asks for the handle.
            self.ready.append((callback, args, context))
            return None
        handle = Handle((callback, args, context))
        self.ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def advance(self, limit: int) -> bool:
        """Run rounds of callbacks until none is left, at most `limit`. False where some are."""
        ready = self.ready
        # As long as there are few callbacks nobody needs to know where one round ends and the next begins.
        free = limit if limit > 1 else 0
        while ready:
            if free > 0:
                free -= 1
                count = 1
            elif limit <= 0:
                return False
            else:
                limit -= 1
                count = len(ready)
            try:
                while count:
                    count -= 1
                    callback, args, context = ready.popleft()
                    if callback is not None:
                        context.run(callback, *args)
            except Exception as error:
                self.stray.append((f"exception in callback {callback!r}", error))
        return True

    # --- tasks and futures -----------------------------------------------------------------------------------------

    def create_future(self) -> asyncio.Future[Any]:
        return ControlledFuture(self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        parent = _current_task(self)
        info = (parent.info if parent is not None else self.outside).child(name or "")
        return self.new_task(coro, info, name, context)

    def new_task(
        self, coro: Any, info: TaskInfo, name: str | None, context: Context | None
    ) -> ControlledTask:
        number = len(self.tasks) + 1
        # The name of a nameless task tells tasks apart and nothing else, like asyncio's own.
        task = ControlledTask.__new__(ControlledTask)
        task.number, task.info = number, info  # before asyncio registers it, which asks for the hash
        asyncio.Task.__init__(task, coro, loop=self, name=name or f"Task-{number}", context=context)
        self.tasks.append(task)
        if self.world.log is not None:
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
        task = _current_task(self)
        return self.outside if task is None else task.info

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
        for place, task in enumerate(self.tasks):
            if task.info is op.task and place > 0:
                if sys.getrefcount(task) > _HELD_BY_NOBODY or asyncio.Task.done(task):
                    return False
                del self.tasks[place]
                setattr(task, _DESTROYED, False)
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
