"""The oracle for migrations on threads: real threads and real latencies, nothing of the laboratory's driver.

Each operation sleeps as long as the witness says and then has its effect on the laboratory's world, one at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from vecforensics.race.check import damage
from vecforensics.race.driver import TaskInfo
from vecforensics.race.model import Moment, Trouble, Witness
from vecforensics.race.world import EMBED, KIND_NAMES, UPSERT, Ground, Op, World
from vecforensics.records import Record

STRETCH = 2.0  # real sleeps are less exact than virtual ones


class Handle:
    """What `async_req=True` gives."""

    def __init__(self, future: Future[Any]) -> None:
        self.future = future

    def get(self, timeout: float | None = None) -> Any:
        return self.future.result(timeout)


class ThreadedStore:
    def __init__(self, world: World, witness: Witness) -> None:
        self.world, self.lock, self.pool = world, threading.Lock(), ThreadPoolExecutor(max_workers=32)
        self.info, self.sent = TaskInfo(None, 0), []
        self.latencies_s: dict[tuple[str, str], list[float]] = {}
        for known in witness.trace.operations:
            what = known.kind.value, known.key
            self.latencies_s.setdefault(what, []).append(witness.latencies_s.get(known.id, 1.0))

    def _operation(self, kind: int, key: str, payload: Any, metadata: Any = None) -> Callable[[], Any]:
        waits = self.latencies_s.get((KIND_NAMES[kind], key))
        latency_s = STRETCH * (waits.pop(0) if waits else 1.0)

        def work() -> Any:
            time.sleep(latency_s)
            with self.lock:
                op = Op(kind, key, self.info, Future(), payload, metadata)
                self.world.complete(op)
            return op.future.result()

        return work

    def embed(self, record: Record) -> Any:
        return self._operation(EMBED, record.id, (record.text, record.version))()

    def upsert(self, id: str, vector: Any, metadata: Any = None, *, async_req: bool = False) -> Any:
        work = self._operation(UPSERT, id, self.world.serialise(vector), metadata)
        if not async_req:
            return work()
        self.sent.append(self.pool.submit(work))
        return Handle(self.sent[-1])


def kinds_on_real_threads(migrate: Callable[..., Any], witness: Witness) -> set[str]:
    """What goes wrong when the plain function `migrate` runs on real threads with the witness's records and latencies."""
    world = World(Ground(witness.records))
    store = ThreadedStore(world, witness)
    migrate(witness.records, store.embed, store)
    seen = {Trouble.LEFT_BEHIND.value} if any(not future.done() for future in store.sent) else set()
    with store.lock:
        seen |= {item.kind.value for item in damage(world, Moment.RETURN)}
    store.pool.shutdown(wait=True)
    seen |= {item.kind.value for item in damage(world, Moment.QUIESCENCE)}
    return seen | ({"premature"} if world.premature else set())
