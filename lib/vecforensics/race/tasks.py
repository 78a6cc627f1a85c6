"""Tasks of the controlled loop: asyncio's futures, and a step of our own.

A task is a future that a coroutine fills. The future half (result, exception, callbacks) is asyncio's C code, inherited. The
other half, which steps the coroutine, is written here after asyncio's own in Python, word for word in what it does, and for one
reason: nearly all that a migration waits for are operations of the world, each waited for by one task. Such an operation is its
own future (`Awaited`): no callback is registered with it and none has to be scheduled, the loop finds the task in it. What
else a coroutine may wait for (futures, other tasks, `sleep(0)`) goes the way that it goes in asyncio.

`tests/race/test_tasks_against_stock.py` holds these tasks against asyncio's, schedule by schedule, over the same programs.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import types
from asyncio import CancelledError
from collections.abc import Callable, Generator
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, ClassVar, Final

from vecforensics.race.driver import TaskInfo
from vecforensics.race.world import Op

if TYPE_CHECKING:
    from vecforensics.race.loop import ControlledLoop

__all__ = [
    "Awaited",
    "Cancelled",
    "ControlledTask",
    "begin_task",
    "current_task",
    "new_operation",
    "no_current_task",
    "running",
    "set_result",
    "yielding",
]

# The current task of each loop, where asyncio.current_task looks for it.
running: Final[dict[Any, Any]] = vars(asyncio.tasks)["_current_tasks"]
no_current_task: Final[Callable[[Any, None], Any]] = running.pop
# asyncio.current_task in 3.11 is a Python function around this very look-up.
current_task: Final[Callable[[Any], Any]] = running.get
_UNCANCEL_FORGIVES: Final = sys.version_info >= (3, 13)
new_operation: Final[Callable[[type[Awaited]], Awaited]] = object.__new__
_new: Final[Callable[[Any], Any]] = asyncio.Task.__new__
_begin: Final[Callable[..., None]] = asyncio.Future.__init__
_done: Final[Callable[[Any], bool]] = asyncio.Future.done
set_result: Final[Callable[[Any, Any], None]] = asyncio.Future.set_result
_set_exception: Final[Callable[[Any, Any], None]] = asyncio.Future.set_exception
_cancel: Final[Callable[..., bool]] = asyncio.Future.cancel
_fresh_error: Final[Callable[[Any], CancelledError]] = vars(asyncio.Future)["_make_cancelled_error"]


class Awaited(Op):
    """An operation that a coroutine waits for. A task of ours enters itself as `asker`; to any other it is a future that can be
    waited for once.

    Made by `new_operation`, and its attributes set where it is made: one is made for every choice, and a call costs as much as
    all of them. None of them has a default in the class: one that has is looked up the long way."""

    _asyncio_future_blocking = True
    _callback: tuple[Callable[..., Any], Context] | None = None
    task: Any = None
    error: BaseException | None = None
    answer: Any
    settled: bool

    def settle(self, answer: Any) -> None:
        if not self.settled:
            self.settled, self.answer = True, answer
            self._wake()

    def fail(self, error: BaseException) -> None:
        if not self.settled:
            self.settled, self.error = True, error
            self._wake()

    def cancel(self, msg: Any = None) -> bool:
        """The task that waits is cancelled. Like a future's: False where the answer has come already."""
        if self.settled:
            return False
        self.fail(CancelledError() if msg is None else CancelledError(msg))
        return True

    def _wake(self) -> None:
        task = self.asker
        if task is not None:
            task.loop.schedule(task.wakeup, (self,), task.context)
        elif self._callback is not None:
            callback, context = self._callback
            self.get_loop().call_soon(self._call, callback, context=context)

    def _call(self, callback: Callable[..., Any]) -> None:
        if isinstance(self.error, CancelledError):
            self.get_loop().world.cancel(self)
        callback(self)

    def answered(self) -> bool:
        return self.settled

    # --- what a task that is not ours asks of a future ---------------------------------------------------------------

    def get_loop(self) -> Any:
        return asyncio._get_running_loop()

    def done(self) -> bool:
        return self.settled

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.answer

    def add_done_callback(self, callback: Callable[..., Any], *, context: Context) -> None:
        self._callback = (callback, context)


def yielding(function: Callable[..., Any]) -> Callable[..., Any]:
    """A generator function, made a coroutine function that hands its yields to the task: the reverse of `types.coroutine`.

    `async def` has no way to say it: there one awaits an object that yields, one for each operation. Without that object a
    schedule takes about four per cent less.
    """
    inner: Any = function
    flags = inner.__code__.co_flags & ~inspect.CO_GENERATOR | inspect.CO_COROUTINE
    code = inner.__code__.replace(co_flags=flags)
    made = types.FunctionType(code, inner.__globals__, inner.__name__, inner.__defaults__, inner.__closure__)
    made.__kwdefaults__, made.__qualname__, made.__doc__ = (
        inner.__kwdefaults__,
        inner.__qualname__,
        inner.__doc__,
    )
    return made


class ControlledTask(asyncio.Task[Any]):
    """A task with its creation path, and with a hash that does not depend on where it lies in memory, so that a loop over a set
    of tasks goes the same way in every run of a schedule.

    To be made by `begin_task`: what C keeps for a task besides its future stays empty, and is kept in slots of the same names.
    """

    __slots__ = (
        "_callbacks", "_cancelled_error", "_coro", "_fut_waiter", "_info", "_must_cancel", "_name", "_num_cancels_requested",
        "context", "loop", "number", "rank", "send",
    )  # fmt: skip

    number: int
    rank: float | None
    loop: ControlledLoop
    context: Context
    send: Callable[[None], Any]
    _callbacks: Any  # a tuple of (callback, context)
    _coro: Any
    _info: TaskInfo | None
    _name: str | None
    _fut_waiter: Any
    _must_cancel: bool
    _num_cancels_requested: int
    _cancelled_error: CancelledError | None
    _cancel_message: Any
    _make_cancelled_error: Callable[[], CancelledError]
    once_cancelled: ClassVar[type[ControlledTask]]

    def __hash__(self) -> int:
        return self.number

    @property
    def info(self) -> TaskInfo:
        """The creation path; a number in a schedule that names nothing."""
        if self._info is None:
            self._info = TaskInfo(None, self.number, f"task {self.number}")
        return self._info

    # --- stepping ----------------------------------------------------------------------------------------------------

    def step(self, error: BaseException | None = None) -> None:
        """Run the coroutine to what it waits for next. To be called in `context`. The task stays the loop's current one until the
        next callback: setting that costs little, and clearing it as much as all the rest."""
        loop = self.loop
        if self._must_cancel:
            if not isinstance(error, CancelledError):
                error = self._make_cancelled_error()
            self._must_cancel = False
        if error is not None and type(self._fut_waiter) is Awaited and isinstance(error, CancelledError):
            loop.world.cancel(self._fut_waiter)
        self._fut_waiter = None
        running[loop] = self
        try:
            waited_for = self.send(None) if error is None else self._coro.throw(error)
        except BaseException as ending:
            self.end(ending)
        else:
            self.wait_for(waited_for)
        finally:
            # An error keeps this frame: cut, or frame, task and error would hold one another.
            del self, error

    def end(self, error: BaseException) -> None:
        """The coroutine has returned (StopIteration) or raised."""
        loop = self.loop
        loop.unfinished -= 1
        if type(error) is not StopIteration and error.__traceback__ is not None:
            # Without the frame of the engine, which a program does not see with asyncio either; it would also keep itself alive.
            error.__traceback__ = error.__traceback__.tb_next
        try:
            if type(error) is StopIteration:
                if self._must_cancel:  # cancelled by itself, right before it stopped
                    self._must_cancel = False
                    _cancel(self, msg=self._cancel_message)
                else:
                    set_result(self, error.value)
            elif isinstance(error, CancelledError):
                self._cancelled_error = error
                self.__class__ = self.once_cancelled
                _cancel(self)
            else:
                loop.failed.append(self)
                _set_exception(self, error)
                if isinstance(error, KeyboardInterrupt | SystemExit):
                    raise error
        finally:
            callbacks, self._callbacks = self._callbacks, ()
            loop.tell(self, callbacks)
            del self, error

    def wakeup(self, future: Any) -> None:
        """`future` is done."""
        try:
            future.result()
        except BaseException as error:
            self.step(error)
        else:
            self.step()
        finally:
            del self

    def wait_for(self, what: Any) -> None:
        """The coroutine has handed up what it waits for: an operation, a future or a task, nothing (`sleep(0)`), or a mistake."""
        if type(what) is Awaited:
            what.asker = self
            self._fut_waiter = what
            if self._must_cancel and what.cancel(self._cancel_message):
                self._must_cancel = False
            return
        loop, context = self.loop, self.context
        blocking = getattr(what, "_asyncio_future_blocking", None)
        if blocking is None:
            if what is None:
                loop.schedule(self.step, (), context)
                return
            text = (
                f"yield was used instead of yield from for generator in task {self!r} with {what!r}"
                if inspect.isgenerator(what)
                else f"Task got bad yield: {what!r}"
            )
        elif asyncio.futures._get_loop(what) is not loop:  # type: ignore[attr-defined]
            text = f"Task {self!r} got Future {what!r} attached to a different loop"
        elif not blocking:
            text = f"yield was used instead of yield from in task {self!r} with {what!r}"
        elif what is self:
            text = f"Task cannot await on itself: {self!r}"
        else:
            what._asyncio_future_blocking = False
            what.add_done_callback(self.wakeup, context=context)
            self._fut_waiter = what
            if self._must_cancel and what.cancel(msg=self._cancel_message):
                self._must_cancel = False
            return
        loop.schedule(self.step, (RuntimeError(text),), context)

    # --- what a program asks of a task -------------------------------------------------------------------------------

    def add_done_callback(self, fn: Callable[..., Any], *, context: Context | None = None) -> None:
        if _done(self):
            self.loop.call_soon(fn, self, context=context)
        else:
            self._callbacks = (*self._callbacks, (fn, context if context is not None else copy_context()))

    def remove_done_callback(self, fn: Callable[..., Any]) -> int:
        before = len(self._callbacks)
        self._callbacks = tuple(entry for entry in self._callbacks if entry[0] != fn)
        return before - len(self._callbacks)

    def cancel(self, msg: Any = None) -> bool:
        self._log_traceback = False
        if _done(self):
            return False
        self._num_cancels_requested += 1
        if self._fut_waiter is not None and self._fut_waiter.cancel(msg=msg):
            return True
        self._must_cancel = True
        self._cancel_message = msg
        return True

    def cancelling(self) -> int:
        return self._num_cancels_requested

    def uncancel(self) -> int:
        if self._num_cancels_requested > 0:
            self._num_cancels_requested -= 1
            if _UNCANCEL_FORGIVES and self._num_cancels_requested == 0:
                self._must_cancel = False
        return self.cancelling()

    def get_coro(self) -> Any:
        return self._coro

    def get_context(self) -> Context:
        return self.context

    def get_name(self) -> str:
        return self._name or f"Task-{self.number}"

    def set_name(self, value: object) -> None:
        self._name = str(value)

    def __await__(self) -> Generator[Any, None, Any]:
        if not _done(self):
            self._asyncio_future_blocking = True
            yield self
        return self.result()

    __iter__ = __await__


def begin_task(
    cls: type[ControlledTask],
    coro: Any,
    loop: ControlledLoop,
    number: int,
    info: TaskInfo | None,
    name: str | None,
    context: Context | None,
    callbacks: Any = (),
) -> Any:
    """A task; its first step is the loop's to schedule. `number`: its hash; the name of a nameless one is made of it, since
    asyncio's own counter goes on from run to run. `callbacks`: what is called at its end, each with its context."""
    task = _new(cls)
    _begin(task, loop=loop)
    task.number = number
    task.loop = loop
    task.context = context if context is not None else copy_context()
    task.send = coro.send
    task.rank = None
    task._coro = coro
    task._info = info
    task._name = name
    task._callbacks = callbacks
    task._fut_waiter = None
    task._cancelled_error = None
    task._must_cancel = False
    task._num_cancels_requested = 0
    loop.unfinished += 1
    return task


class Cancelled:
    """What a task becomes once it is cancelled: it passes on the very error that ended it, to the first who asks."""

    __slots__ = ()

    def _make_cancelled_error(self: Any) -> Any:
        error, self._cancelled_error = self._cancelled_error, None
        return error if error is not None else _fresh_error(self)

    def result(self: Any) -> Any:
        raise self._make_cancelled_error()

    def exception(self: Any) -> Any:
        raise self._make_cancelled_error()


class _CancelledTask(Cancelled, ControlledTask):  # type: ignore[misc]
    __slots__ = ()


_CancelledTask.__name__ = _CancelledTask.__qualname__ = ControlledTask.__name__
ControlledTask.once_cancelled = _CancelledTask
