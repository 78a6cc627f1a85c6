"""The driver for coroutines with nothing around it, for schedules of which only the outcome counts.

Sampling plays thousands of schedules of which nearly none fails, so here tasks and operations have no names and nothing is kept
but the choices. The program cannot tell: its tasks, futures and callbacks are those of `race/loop.py`, in the same order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context
from types import CoroutineType
from typing import Any

from vecforensics.race.coroutines import AsyncSession, AsyncStore
from vecforensics.race.loop import TASKS_BASE, ControlledLoop
from vecforensics.race.play import ROUNDS, TICK_S
from vecforensics.race.tasks import ControlledTask
from vecforensics.race.world import EXECUTOR, Op

__all__ = ["BareLoop", "BareSession", "BareStore"]


class BareLoop(ControlledLoop):
    """Its tasks have no creation paths."""

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        number = len(self.tasks) + 1
        if number > TASKS_BASE or type(coro) is not CoroutineType:
            return super().create_task(coro, name=name, context=context)
        task: ControlledTask = ControlledTask.begin(coro, self, number, None, name, context)
        self.tasks.append(task)
        self.ready.append((task.step, (), task.context))
        return task


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
        begun = left = limit - len(choices)
        now, quiet = world.now, True
        while pending and quiet and not timers and left > 0 and (returned or not done()):
            index = choose(pending)
            op: Any = take(index)
            chosen(index)
            left -= 1
            world.now = now = now + TICK_S
            kind = op.kind
            if kind < EXECUTOR and op.asker is not None and not op.settled:
                op.answer = effects[kind](op)
                op.settled = True
                task = op.asker
                task.context.run(task.step)
                if ready:
                    quiet = loop.advance(ROUNDS - 1)
            else:
                world.complete(op)
                quiet = loop.advance(ROUNDS)
                now = world.now
        world.completed += begun - left
        return quiet
