"""The controlled loop with asyncio's own C tasks and futures in place of ours: what `race/tasks.py` is held against."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from vecforensics.race.coroutines import AsyncioProgram, AsyncSession, AsyncStore
from vecforensics.race.loop import ControlledLoop
from vecforensics.race.world import DELETE, EMBED, FETCH, UPSERT, Op, World
from vecforensics.records import Record

__all__ = ["StockProgram"]


class StockTask(asyncio.Task):  # type: ignore[type-arg]
    __slots__ = ("_fut_waiter_", "info", "number")

    def __hash__(self) -> int:
        return self.number


class StockLoop(ControlledLoop):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.unfinished = 1  # asyncio's tasks do not count themselves: look at each

    def _failed(self) -> list[Any]:
        return [task for task in self.tasks if asyncio.Task.done(task) and task._log_traceback]

    failed = property(_failed, lambda self, value: None)  # type: ignore[assignment]

    def new_task(self, coro: Any, info: Any, name: str | None, context: Any) -> Any:
        number = len(self.tasks) + 1
        task = StockTask.__new__(StockTask)
        task.number, task.info = number, info
        task.__init__(coro, loop=self, name=name or f"Task-{number}", context=context)  # type: ignore[misc]
        task._log_destroy_pending = False
        self.tasks.append(task)  # type: ignore[arg-type]
        return task


class StockStore(AsyncStore):
    __slots__ = ()

    async def _ask(self, kind: int, key: str, payload: Any = None, metadata: Any = None) -> Any:
        loop = self._loop
        op = Op(kind, str(key), loop.info(), asyncio.Future(loop=loop), payload, metadata)
        self._world.begin(op)
        try:
            return await op.future
        except asyncio.CancelledError:
            self._world.cancel(op)
            raise

    async def upsert(self, id: str, vector: Any, metadata: Any = None) -> Any:
        copied = None if metadata is None else dict(metadata)
        return await self._ask(UPSERT, id, World.serialise(vector), copied)

    async def fetch(self, id: str) -> Any:
        return await self._ask(FETCH, id)

    async def delete(self, id: str) -> Any:
        return await self._ask(DELETE, id)

    async def embed(self, record: Record) -> Any:
        return await self._ask(EMBED, record.id, (record.text, record.version))


class StockSession(AsyncSession):
    def close(self) -> None:
        for task in self._unfinished():
            task.__class__ = _Closable
        super().close()


class _Closable(StockTask):
    """Takes the attribute that a session cuts when it closes one of our tasks; asyncio's own is read-only."""

    __slots__ = ()

    @property
    def _fut_waiter(self) -> Any:
        return None

    @_fut_waiter.setter
    def _fut_waiter(self, value: Any) -> None:
        pass


class StockProgram(AsyncioProgram):
    def start(self, world: World, records: Sequence[Record]) -> AsyncSession:
        loop = StockLoop(world)
        return self._begin(loop, StockStore(loop), records, StockSession)
