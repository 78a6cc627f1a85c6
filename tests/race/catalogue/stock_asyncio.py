"""An independent oracle: a witness played on stock asyncio, where each operation takes the latency that the witness gives it.

Nothing of the controlled loop is used. Time is looptime's, so the sleeps cost nothing; operations are recognised by what they
do, to which id and for the how-manieth time (not by task: stock `as_completed` makes its tasks in the order of a set); effects
and damage are those of the laboratory's world, since the order of events is what is in doubt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import looptime

from vecforensics.race.check import damage
from vecforensics.race.driver import TaskInfo
from vecforensics.race.model import Moment, Trouble, Witness
from vecforensics.race.world import DELETE, EMBED, FETCH, KIND_NAMES, UPSERT, Ground, Op, World
from vecforensics.records import Record

BEYOND_S = 1_000.0  # for an operation that the witness never saw complete


class StockStore:
    """The store and the embedder on a loop that is not ours."""

    def __init__(self, world: World, witness: Witness, tasks: dict[Any, TaskInfo]) -> None:
        self.world, self.tasks = world, tasks
        self.latencies_s: dict[tuple[str, str], list[float]] = {}
        self.plan: dict[tuple[str, str], list[str]] = {}
        faults = dict(item.split("=") for item in witness.faults)
        for known in witness.trace.operations:
            what = known.kind.value, known.key
            self.latencies_s.setdefault(what, []).append(witness.latencies_s.get(known.id, BEYOND_S))
            self.plan.setdefault(what, []).append(faults.get(known.id, ""))

    async def _operation(self, kind: int, key: str, payload: Any = None, metadata: Any = None) -> Any:
        loop = asyncio.get_running_loop()
        info = self.tasks[asyncio.current_task()]
        op = Op(kind, key, info, loop.create_future(), payload, metadata)
        what = KIND_NAMES[kind], key
        faults, latencies_s = self.plan.get(what), self.latencies_s.get(what)
        if faults and (fault := faults.pop(0)):
            self.world.plan[op.id] = fault
        loop.call_later(latencies_s.pop(0) if latencies_s else BEYOND_S, self._complete, op)
        return await op.future

    def _complete(self, op: Op) -> None:
        if not op.future.done():
            self.world.complete(op)

    async def embed(self, record: Record) -> Any:
        return await self._operation(EMBED, record.id, (record.text, record.version))

    async def upsert(self, id: str, vector: Any, metadata: Any = None) -> None:
        await self._operation(UPSERT, id, self.world.serialise(vector), metadata)

    async def fetch(self, id: str) -> Any:
        return await self._operation(FETCH, id)

    async def delete(self, id: str) -> None:
        await self._operation(DELETE, id)


def kinds_on_stock_asyncio(
    migrate: Callable[[Sequence[Record], Any, Any], Any], witness: Witness
) -> set[str]:
    """What goes wrong when `migrate` runs on stock asyncio with the witness's records, latencies and faults."""
    world = World(Ground(witness.records), plan={"": ""})
    tasks: dict[Any, TaskInfo] = {}

    def factory(loop: Any, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        parent = asyncio.current_task(loop)
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
        tasks[task] = tasks[parent].child() if parent is not None else TaskInfo(None, 0)
        return task

    store = StockStore(world, witness, tasks)
    seen: set[str] = set()
    loop = looptime.new_event_loop(start=0)
    loop.set_task_factory(factory)
    loop.set_exception_handler(lambda *_: None)
    try:
        main = loop.create_task(migrate(witness.records, store.embed, store))
        loop.run_until_complete(asyncio.wait([main]))
        if any(not task.done() for task in tasks if tasks[task].path.startswith("main.")):
            seen.add(Trouble.LEFT_BEHIND.value)
        seen |= {item.kind.value for item in damage(world, Moment.RETURN)}
        while rest := [task for task in asyncio.all_tasks(loop) if not task.done()]:
            loop.run_until_complete(asyncio.wait(rest))
        seen |= {item.kind.value for item in damage(world, Moment.QUIESCENCE)}
        if world.premature:
            seen.add("premature")
    finally:
        loop.close()
    return seen
