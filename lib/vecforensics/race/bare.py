"""The driver for coroutines with nothing around it, for schedules of which only the outcome counts.

Sampling plays thousands of schedules of which nearly none fails, so here tasks and operations have no names and nothing is kept
but the choices. The program cannot tell: its tasks, futures and callbacks are those of `race/loop.py`, in the same order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from types import CoroutineType
from typing import Any

from vecforensics.race.coroutines import AsyncSession, AsyncStore
from vecforensics.race.loop import TASKS_BASE, ControlledLoop
from vecforensics.race.play import ROUNDS, TICK_S
from vecforensics.race.tasks import Awaited, ControlledTask, begin_task, running, set_result
from vecforensics.race.world import EMBED, EXECUTOR, FETCH, UPSERT, Op

__all__ = ["BareLoop", "BareSession", "BareStore"]


class BareLoop(ControlledLoop):
    """Its tasks have no creation paths, and what is called at their end has no handle."""

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        number = len(self.tasks) + 1
        if number > TASKS_BASE or type(coro) is not CoroutineType:
            return super().create_task(coro, name=name, context=context)
        task: ControlledTask = begin_task(ControlledTask, coro, self, number, None, name, context)
        self.tasks.append(task)
        self.ready.append((task.step, (), task.context))
        return task

    def tell(self, task: ControlledTask, callbacks: Iterable[tuple[Callable[..., Any], Context]]) -> None:
        for callback, context in callbacks:
            self.ready.append([callback, (task,), context])


class BareStore(AsyncStore):
    """Its operations have no names."""

    __slots__ = ("_file",)

    def __init__(self, loop: ControlledLoop) -> None:
        super().__init__(loop)
        self._file = loop.world.pending.append  # type: ignore[method-assign, assignment]


class BareSession(AsyncSession):
    """It hands an answer straight to the task that waits for it. Where the program is quiet nothing else is ready, so that is the
    order in which the loop would have done it."""

    def swiftly(
        self, choose: Callable[[Sequence[Op]], int], choices: list[int], limit: int, returned: bool
    ) -> bool:
        loop, world, done = self.loop, self.loop.world, self.done
        pending, timers, ready = world.pending, world.timers, loop.ready
        take, effects, chosen = pending.pop, world.effects(), choices.append
        data, vectors, parents = world.data, world.ground.vectors, world.ground.parents
        begun = left = limit - len(choices)
        now, quiet, ended = world.now, True, not returned and done()
        while pending and quiet and not timers and left > 0 and not ended:
            index = choose(pending)
            op: Any = take(index)
            chosen(index)
            left -= 1
            world.now = now = now + TICK_S
            kind, task = op.kind, op.asker
            if kind >= EXECUTOR or task is None or op.settled:
                world.complete(op)
                quiet = loop.advance(ROUNDS)
                now, ended = world.now, not returned and done()
                continue
            # The commonest effects are written out here, all others are the world's.
            if kind == EMBED and op.payload[0] in vectors:
                op.answer = vectors[op.payload[0]].copy()
            elif kind == FETCH and op.key not in data:
                op.answer = None
            elif kind == UPSERT and op.key not in parents:
                raw, well_shaped = op.payload
                data[op.key] = (raw, well_shaped, op.metadata, op)
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
                        ready.append([callback, (task,), context])
                    task._callbacks = ()
                ended = task is self.main and not returned
            except BaseException as error:
                task.end(error)
                ended = task is self.main and not returned
            else:
                if type(waited_for) is Awaited and not task._must_cancel:
                    waited_for.asker = task
                    task._fut_waiter = waited_for
                else:
                    task.wait_for(waited_for)
            if ready:
                quiet = loop.advance(ROUNDS - 1)
                ended = not returned and done()
        world.completed += begun - left
        return quiet
