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
from typing import TYPE_CHECKING, Any, Final

from vecforensics.race.driver import TaskInfo
from vecforensics.race.world import Op

if TYPE_CHECKING:
    from vecforensics.race.loop import ControlledLoop
    from vecforensics.race.world import World

__all__ = ["Awaited", "ControlledTask", "answer_to", "current_task"]

# The current task of each loop, where asyncio.current_task looks for it.
_running: Final[dict[Any, Any]] = vars(asyncio.tasks)["_current_tasks"]
# asyncio.current_task in 3.11 is a Python function around this very look-up.
current_task: Final[Callable[[Any], Any]] = _running.get
_UNCANCEL_FORGIVES: Final = sys.version_info >= (3, 13)
_new: Final[Callable[[Any], Any]] = asyncio.Task.__new__
_begin: Final[Callable[..., None]] = asyncio.Future.__init__
_done: Final[Callable[[Any], bool]] = asyncio.Future.done
_set_result: Final[Callable[[Any, Any], None]] = asyncio.Future.set_result
_set_exception: Final[Callable[[Any, Any], None]] = asyncio.Future.set_exception
_cancel: Final[Callable[..., bool]] = asyncio.Future.cancel


class Awaited(Op):
    """An operation that a coroutine waits for. A task of ours enters itself as `waiter`; to any other it is a future that can be
    waited for once."""

    _asyncio_future_blocking = True
    waiter: ControlledTask | None = None
    settled = False
    answer: Any = None
    error: BaseException | None = None
    _callback: tuple[Callable[..., Any], Context] | None = None
    _loop: Any = None

    def __init__(self, kind: int, key: str, payload: Any = None, metadata: Any = None) -> None:
        self.kind, self.key, self.payload, self.metadata = kind, key, payload, metadata

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
        task = self.waiter
        if task is not None:
            task.loop.schedule(task.wakeup, (self,), task.context)
        elif self._callback is not None:
            callback, context = self._callback
            self._loop.schedule(callback, (self,), context)

    # --- what a task that is not ours asks of a future ---------------------------------------------------------------

    def get_loop(self) -> Any:
        return self._loop

    def done(self) -> bool:
        return self.settled

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.answer

    def add_done_callback(self, callback: Callable[..., Any], *, context: Context) -> None:
        self._callback = (callback, context)


@types.coroutine
def answer_to(op: Awaited, world: World) -> Generator[Awaited, None, Any]:
    """Wait for `op`."""
    try:
        yield op
    except CancelledError:
        world.cancel(op)
        raise
    if op.error is not None:
        raise op.error
    return op.answer


class ControlledTask(asyncio.Task[Any]):
    """A task with its creation path, and with a hash that does not depend on where it lies in memory, so that a loop over a set
    of tasks goes the same way in every run of a schedule.

    To be made by `begin`: what C keeps for a task besides its future stays empty, and is kept in slots of the same names.
    """

    __slots__ = (
        "_cancelled_error", "_coro", "_fut_waiter", "_must_cancel", "_name", "_num_cancels_requested", "context", "info", "loop",
        "number", "send",
    )  # fmt: skip

    info: TaskInfo
    number: int

    @classmethod
    def begin(
        cls,
        coro: Any,
        loop: ControlledLoop,
        number: int,
        info: TaskInfo,
        name: str | None,
        context: Context | None,
    ) -> Any:
        """A task whose first step is scheduled. `number`: its hash; the name of a nameless one is made of it, since asyncio's
        own counter goes on from run to run."""
        task = _new(cls)
        _begin(task, loop=loop)
        task.number, task.info, task._name, task.loop = number, info, name, loop
        task._coro, task.send = coro, coro.send
        task._fut_waiter = task._cancelled_error = None
        task._must_cancel, task._num_cancels_requested = False, 0
        task.context = context = context if context is not None else copy_context()
        loop.schedule(task.step, (), context)
        return task

    def __hash__(self) -> int:
        return self.number

    # --- stepping ----------------------------------------------------------------------------------------------------

    def step(self, error: BaseException | None = None) -> None:
        """Run the coroutine to what it waits for next. To be called in `context`."""
        loop = self.loop
        self._fut_waiter = None
        if self._must_cancel:
            if not isinstance(error, CancelledError):
                error = self._make_cancelled_error()
            self._must_cancel = False
        _running[loop] = self
        try:
            waited_for = self.send(None) if error is None else self._coro.throw(error)
        except StopIteration as end:
            if self._must_cancel:  # cancelled by itself, right before it stopped
                self._must_cancel = False
                _cancel(self, msg=self._cancel_message)
            else:
                _set_result(self, end.value)
        except CancelledError as cancelled:
            self._cancelled_error = cancelled
            _cancel(self)
        except (KeyboardInterrupt, SystemExit) as ending:
            _set_exception(self, ending)
            raise
        except BaseException as failure:
            _set_exception(self, failure)
        else:
            if type(waited_for) is Awaited:
                waited_for.waiter = self
                self._fut_waiter = waited_for
                if self._must_cancel and waited_for.cancel(self._cancel_message):
                    self._must_cancel = False
            else:
                self._wait_for(waited_for)
        finally:
            del _running[loop]
            # An error keeps this frame: cut, or frame, task and error would hold one another.
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

    def _wait_for(self, what: Any) -> None:
        """What is no operation: a future or a task, `sleep(0)`, or a mistake."""
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
        count: int = self._num_cancels_requested
        return count

    def uncancel(self) -> int:
        if self._num_cancels_requested > 0:
            self._num_cancels_requested -= 1
            if _UNCANCEL_FORGIVES and self._num_cancels_requested == 0:
                self._must_cancel = False
        return self.cancelling()

    def get_coro(self) -> Any:
        return self._coro

    def get_context(self) -> Context:
        context: Context = self.context
        return context

    def get_name(self) -> str:
        return self._name or f"Task-{self.number}"

    def set_name(self, value: object) -> None:
        self._name = str(value)

    # A cancelled task passes on the very error that ended it.

    def _make_cancelled_error(self) -> CancelledError:
        error = self._cancelled_error
        if error is None:
            return super()._make_cancelled_error()  # type: ignore[no-any-return, misc]
        self._cancelled_error = None
        return error  # type: ignore[no-any-return]

    def result(self) -> Any:
        if self._cancelled_error is not None:
            raise self._make_cancelled_error()
        return super().result()

    def exception(self) -> BaseException | None:
        if self._cancelled_error is not None:
            raise self._make_cancelled_error()
        return super().exception()

    def __await__(self) -> Generator[Any, None, Any]:
        if not _done(self):
            self._asyncio_future_blocking = True
            yield self
        return self.result()

    __iter__ = __await__
