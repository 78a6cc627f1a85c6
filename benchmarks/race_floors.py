"""What a schedule costs at least: the program of race_programs.py with next to nothing around it.

Neither of these could find a fault: no names, no clock, no faults, no check but the number of rows. They say how much of a
schedule is the program itself, and how much of the rest is asyncio's own tasks, futures and `gather`.
"""

from __future__ import annotations

import asyncio
import random
from asyncio import events
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextvars import Context, copy_context
from typing import Any

import numpy as np
from race_programs import barrier, levels, write

from vecforensics.records import Record

__all__ = ["AsyncioFloor", "BareStepper"]


class _Ask:
    __slots__ = ("key", "kind", "payload")

    def __init__(self, kind: str, key: str, payload: Any = None) -> None:
        self.kind, self.key, self.payload = kind, key, payload

    def __await__(self) -> Generator[_Ask, Any, Any]:
        return (yield self)


class _Asking:
    """Store and embedder whose questions go straight to who steps the coroutine."""

    async def embed(self, record: Record) -> Any:
        return await _Ask("embed", record.text)

    async def fetch(self, id: str) -> Any:
        return await _Ask("fetch", id)

    async def upsert(self, id: str, vector: Any, metadata: Any) -> None:
        await _Ask("upsert", id, (vector.tobytes(), dict(metadata)))


class _Answers:
    def __init__(self, records: Sequence[Record]) -> None:
        self.vectors = {record.text: np.zeros(8, dtype=np.float32) for record in records}
        self.data: dict[str, Any] = {}

    def __call__(self, kind: str, key: str, payload: Any) -> Any:
        if kind == "embed":
            return self.vectors[key].copy()
        if kind == "fetch":
            return self.data.get(key)
        self.data[key] = payload
        return None


class BareStepper:
    """Coroutines resumed by hand in a random order; a level is over when its list is empty. No event loop, no task, no future."""

    def __init__(self, records: Sequence[Record], seed: int) -> None:
        self._records, self._draw = records, random.Random(seed).random
        self._answers = _Answers(records)

    def __call__(self) -> int:
        answer, draw, store = self._answers, self._draw, _Asking()
        answer.data.clear()
        choices = 0
        for level in levels(self._records):
            pending = []
            for record in level:
                coroutine = write(record, store.embed, store)
                pending.append((coroutine.send(None), coroutine))
            while pending:
                ask, coroutine = pending.pop(int(draw() * len(pending)))
                choices += 1
                try:
                    following = coroutine.send(answer(ask.kind, ask.key, ask.payload))
                except StopIteration:
                    continue
                pending.append((following, coroutine))
        assert len(answer.data) == len(self._records)
        return choices


class _Loop(asyncio.AbstractEventLoop):
    """As little of a loop as asyncio's tasks run on."""

    get_debug = bool

    def __init__(self) -> None:
        self.ready: deque[tuple[Callable[..., Any], tuple[Any, ...], Context]] = deque()

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:
        self.ready.append((callback, args, context or copy_context()))

    def create_task(self, coro: Any, **_: Any) -> Any:
        return asyncio.Task(coro, loop=self)

    def create_future(self) -> Any:
        return asyncio.Future(loop=self)

    def advance(self) -> None:
        ready = self.ready
        while ready:
            callback, args, context = ready.popleft()
            context.run(callback, *args)


_Loop.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]


class AsyncioFloor:
    """The unchanged program on asyncio's own tasks, futures and `gather`, answered in a random order."""

    def __init__(self, records: Sequence[Record], seed: int) -> None:
        self._records, self._draw = records, random.Random(seed).random
        self._answers = _Answers(records)

    def __call__(self) -> int:
        answer, draw, loop = self._answers, self._draw, _Loop()
        answer.data.clear()
        pending: list[tuple[Any, str, str, Any]] = []

        def ask(kind: str, key: str, payload: Any = None) -> Any:
            future = asyncio.Future(loop=loop)  # type: ignore[var-annotated]
            pending.append((future, kind, key, payload))
            return future

        class Store:
            async def fetch(self, id: str) -> Any:
                return await ask("fetch", id)

            async def upsert(self, id: str, vector: Any, metadata: Any) -> None:
                await ask("upsert", id, (vector.tobytes(), dict(metadata)))

        async def embed(record: Record) -> Any:
            return await ask("embed", record.text)

        choices = 0
        with _running(loop):
            main = loop.create_task(barrier(self._records, embed, Store()))
            loop.advance()
            while pending:
                future, kind, key, payload = pending.pop(int(draw() * len(pending)))
                choices += 1
                future.set_result(answer(kind, key, payload))
                loop.advance()
            main.result()
        assert len(answer.data) == len(self._records)
        return choices


class _running:
    def __init__(self, loop: Any) -> None:
        self._loop = loop

    def __enter__(self) -> None:
        events._set_running_loop(self._loop)

    def __exit__(self, *_: Any) -> None:
        events._set_running_loop(None)
