"""The driver for coroutines with nothing around it, for schedules of which only the outcome counts.

Sampling plays thousands of schedules of which nearly none fails, so here tasks and operations have no names and nothing is kept
but the choices. The program cannot tell: its tasks, futures and callbacks are those of `race/loop.py`, in the same order.

Everything here is written for speed, and says some things twice for it: a call of a Python function for each choice is two per
cent of a schedule.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context, copy_context
from types import CoroutineType
from typing import Any

from vecforensics.race.coroutines import AsyncSession, AsyncStore
from vecforensics.race.gathering import Join, gathering_future
from vecforensics.race.loop import TASKS_BASE, ControlledLoop
from vecforensics.race.play import ROUNDS, TICK_S, Chooser
from vecforensics.race.tasks import Awaited, ControlledTask, begin_task, no_current_task, running, set_result
from vecforensics.race.world import EMBED, EXECUTOR, FETCH, UPSERT

__all__ = ["BareLoop", "BareSession", "BareStore"]

_COROUTINES = {CoroutineType}


class BareLoop(ControlledLoop):
    """Its tasks have no creation paths, and what is called at their end has no handle. Where others file the first step of a
    task as something to call, it files the task."""

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        number = len(self.tasks) + 1
        if number > TASKS_BASE or type(coro) is not CoroutineType:
            return super().create_task(coro, name=name, context=context)
        task: ControlledTask = begin_task(ControlledTask, coro, self, number, None, name, context)
        self.tasks.append(task)
        self.ready.append(task)
        return task

    def gather(self, coros: Sequence[Any], return_exceptions: bool) -> Any:
        """What `asyncio.gather` gives for coroutines, each of them once; None for anything else."""
        count, tasks = len(coros), self.tasks
        begun = len(tasks)
        if {*map(type, coros)} != _COROUTINES or len({*coros}) != count or begun + count > TASKS_BASE:
            return None
        join = Join(count, return_exceptions)
        callbacks = ((join, copy_context()),)
        for number, coro in enumerate(coros, begun + 1):
            tasks.append(begin_task(ControlledTask, coro, self, number, None, None, None, callbacks))
        children = tasks[begun:]
        self.ready += children
        join.outer = gathering_future(children, loop=self)
        return join.outer

    def tell(self, task: ControlledTask, callbacks: Iterable[tuple[Callable[..., Any], Context]]) -> None:
        for callback, context in callbacks:
            self.ready.append([callback, (task,), context])

    def advance(self, limit: int) -> bool:
        ready = self.ready
        while ready:
            if limit <= 0:
                return False
            limit -= 1
            count = len(ready)
            while count:
                count -= 1
                entry = ready.popleft()
                if type(entry) is not ControlledTask:
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
                elif entry._must_cancel:
                    entry.context.run(entry.step)
                else:
                    # `ControlledTask.step`, of a task that has not begun.
                    running[self] = entry
                    try:
                        waited_for = entry.context.run(entry.send, None)
                    except BaseException as error:
                        entry.end(error)
                    else:
                        if type(waited_for) is Awaited and not entry._must_cancel:
                            waited_for.asker = entry
                            entry._fut_waiter = waited_for
                        else:
                            entry.wait_for(waited_for)
        return True


class BareStore(AsyncStore):
    """Its operations have no names."""

    __slots__ = ("_file",)

    def __init__(self, loop: ControlledLoop) -> None:
        super().__init__(loop)
        self._file = loop.world.pending.append  # type: ignore[method-assign, assignment]


class BareSession(AsyncSession):
    """It hands an answer straight to the task that waits for it. Where the program is quiet nothing else is ready, so that is the
    order in which the loop would have done it."""

    def swiftly(self, chooser: Chooser, choices: list[int], limit: int, returned: bool) -> bool:
        loop, world, main, done = self.loop, self.loop.world, self.main, self.done
        pending, timers, ready, premature = world.pending, world.timers, loop.ready, world.premature
        take, effects, chosen = pending.pop, world.effects(), choices.append
        data, parents, vector_of = world.data, world.ground.parents, world.ground.vectors.get
        # What a chooser may leave to others (`Chooser`).
        choose, lots = chooser.choose, getattr(chooser, "lots", None)
        steady: int | None = getattr(chooser, "steady", None)
        newest: Any = None
        now, quiet, size, before = world.now, True, 0, len(choices)
        ended = not returned and done()
        for _ in range(limit - before):
            if not pending or timers or ended or not quiet:
                break
            if lots is not None:
                index = int(lots() * len(pending))
            elif steady is None:
                index = choose(pending)
            elif steady and newest is not None and len(pending) == size and pending[-1] is newest:
                index = -1
                steady -= 1
            else:
                chooser.steady = steady  # type: ignore[attr-defined]
                index = choose(pending)
                steady = chooser.steady  # type: ignore[attr-defined]
            op: Any = take(index)
            size = len(pending) + 1
            chosen(index if index >= 0 else size - 1)
            newest = None
            world.now = now = now + TICK_S
            kind, task = op.kind, op.asker
            if kind >= EXECUTOR or task is None or op.settled:
                world.complete(op)
                quiet = loop.advance(ROUNDS)
                now, ended = world.now, not returned and done()
                continue
            # The commonest effects are written out here, all others are the world's.
            if kind == EMBED:
                answer = vector_of(op.payload[0])
                op.answer = answer.copy() if answer is not None else effects[EMBED](op)
            elif kind == UPSERT:
                key = op.key
                if key in parents:
                    for parent in parents[key]:
                        if parent not in data:
                            premature.append((key, parent, op))
                raw, well_shaped = op.payload
                data[key] = (raw, well_shaped, op.metadata, op)
                op.answer = None
            elif kind == FETCH and op.key not in data:
                op.answer = None
            else:
                op.answer = effects[kind](op)
            op.settled = True
            # What `ControlledTask.step` does with a task that is not cancelled.
            task._fut_waiter = None
            running[loop] = task
            try:
                waited_for = task.context.run(task.send, None)
            except StopIteration as end:
                if task._must_cancel:
                    task.end(end)
                else:
                    loop.unfinished -= 1
                    set_result(task, end.value)
                    for callback, context in task._callbacks:
                        if type(callback) is Join and callback.left > 1:
                            callback.left -= 1
                        else:
                            ready.append([callback, (task,), context])
                    task._callbacks = ()
                ended = task is main and not returned
            except BaseException as error:
                task.end(error)
                ended = task is main and not returned
            else:
                if type(waited_for) is Awaited and not task._must_cancel:
                    waited_for.asker = task
                    task._fut_waiter = newest = waited_for
                else:
                    task.wait_for(waited_for)
            if ready:
                newest = None
                quiet = loop.advance(ROUNDS - 1)
                ended = not returned and done()
        if steady is not None:
            chooser.steady = steady  # type: ignore[attr-defined]
        world.completed += len(choices) - before
        return quiet
