"""Migrations that are right, each in another style. None of them may ever be called failing."""

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from typing import Any

import numpy as np


def levels(records: Any) -> tuple[list[Any], list[Any]]:
    return [r for r in records if not r.depends_on], [r for r in records if r.depends_on]


async def one_after_the_other(records: Any, embed: Any, store: Any) -> None:
    for record in records:
        await store.upsert(record.id, await embed(record), record.metadata)


async def gather_by_level(records: Any, embed: Any, store: Any) -> None:
    async def one(record: Any) -> None:
        await store.upsert(record.id, await embed(record), {**record.metadata, "batch": 7})

    for level in levels(records):
        await asyncio.gather(*map(one, level))


async def task_group(records: Any, embed: Any, store: Any) -> None:
    async def one(record: Any) -> None:
        await store.upsert(record.id, await embed(record), dict(record.metadata))

    for level in levels(records):
        async with asyncio.TaskGroup() as group:
            for record in level:
                group.create_task(one(record), name=f"record {record.id}")


async def semaphore(records: Any, embed: Any, store: Any) -> None:
    slots = asyncio.Semaphore(2)

    async def one(record: Any) -> None:
        async with slots:
            await store.upsert(record.id, await embed(record), record.metadata)

    for level in levels(records):
        await asyncio.wait([asyncio.create_task(one(record)) for record in level])


async def queue_and_sentinels(records: Any, embed: Any, store: Any) -> None:
    for level in levels(records):
        todo: asyncio.Queue[Any] = asyncio.Queue(maxsize=2)

        async def worker(queue: asyncio.Queue[Any] = todo) -> None:
            while (record := await queue.get()) is not None:
                await store.upsert(record.id, await embed(record), record.metadata)

        workers = [asyncio.create_task(worker()) for _ in range(2)]
        for record in (*level, None, None):
            await todo.put(record)
        await asyncio.gather(*workers)


async def queue_join_then_cancel(records: Any, embed: Any, store: Any) -> None:
    for level in levels(records):
        todo: asyncio.Queue[Any] = asyncio.Queue()
        for record in level:
            todo.put_nowait(record)

        async def worker(queue: asyncio.Queue[Any] = todo) -> None:
            while True:
                record = await queue.get()
                await store.upsert(record.id, await embed(record), record.metadata)
                queue.task_done()

        workers = [asyncio.create_task(worker()) for _ in range(2)]
        await todo.join()
        for task in workers:
            task.cancel()


async def as_completed_with_its_record(records: Any, embed: Any, store: Any) -> None:
    async def embedded(record: Any) -> tuple[Any, Any]:
        return record, await embed(record)

    for level in levels(records):
        for each in asyncio.as_completed([embedded(record) for record in level]):
            record, vector = await each
            await store.upsert(record.id, vector, record.metadata)


async def first_completed_window(records: Any, embed: Any, store: Any) -> None:
    async def one(record: Any) -> None:
        await store.upsert(record.id, await embed(record), record.metadata)

    for level in levels(records):
        todo, running = deque(level), set()
        while todo or running:
            while todo and len(running) < 2:
                running.add(asyncio.create_task(one(todo.popleft())))
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()


async def children_await_their_parent(records: Any, embed: Any, store: Any) -> None:
    written = {record.id: asyncio.Event() for record in records}

    async def one(record: Any) -> None:
        vector = await embed(record)
        for parent in record.depends_on:
            await written[parent].wait()
        await store.upsert(record.id, vector, record.metadata)
        written[record.id].set()

    await asyncio.gather(*(one(record) for record in records))


async def lock_per_key(records: Any, embed: Any, store: Any) -> None:
    locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
    done: set[str] = set()
    by_id = {record.id: record for record in records}

    async def ensure(record: Any) -> None:
        for parent in record.depends_on:
            await ensure(by_id[parent])
        async with locks[record.id]:
            if record.id not in done:
                await store.upsert(record.id, await embed(record), record.metadata)
                done.add(record.id)

    await asyncio.gather(*(ensure(record) for record in records))


async def condition(records: Any, embed: Any, store: Any) -> None:
    there: set[str] = set()
    changed = asyncio.Condition()

    async def one(record: Any) -> None:
        async with changed:
            await changed.wait_for(lambda: there.issuperset(record.depends_on))
        await store.upsert(record.id, await embed(record), record.metadata)
        async with changed:
            there.add(record.id)
            changed.notify_all()

    await asyncio.gather(*(one(record) for record in records))


async def timeout_and_retry(records: Any, embed: Any, store: Any) -> None:
    async def one(record: Any) -> None:
        vector = await embed(record)
        for attempt in range(4):
            try:
                async with asyncio.timeout(5):
                    return await store.upsert(record.id, vector, record.metadata)
            except TimeoutError:
                if attempt == 3:
                    raise
                await asyncio.sleep(0.1 * 2**attempt)

    for level in levels(records):
        await asyncio.gather(*(one(record) for record in level))


async def wait_for_raises(records: Any, embed: Any, store: Any) -> None:
    for record in records:
        vector = await asyncio.wait_for(embed(record), 30)
        await asyncio.wait_for(store.upsert(record.id, vector, record.metadata), 30)


async def async_generator(records: Any, embed: Any, store: Any) -> None:
    async def vectors(rows: Any) -> AsyncIterator[tuple[Any, Any]]:
        ahead = [asyncio.create_task(embed(record)) for record in rows]
        for record, task in zip(rows, ahead, strict=True):
            yield record, await task

    async for record, vector in vectors(records):
        await store.upsert(record.id, vector, record.metadata)


async def heartbeat(records: Any, embed: Any, store: Any) -> None:
    written = 0

    async def beat() -> None:
        while True:
            await asyncio.sleep(1)

    pulse = asyncio.create_task(beat())
    try:
        for record in records:
            await store.upsert(record.id, await embed(record), record.metadata)
            written += 1
    finally:
        pulse.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pulse


async def polling(records: Any, embed: Any, store: Any) -> None:
    done: list[str] = []

    async def one(record: Any) -> None:
        await store.upsert(record.id, await embed(record), record.metadata)
        done.append(record.id)

    for level in levels(records):
        before = len(done)
        tasks = [asyncio.create_task(one(record)) for record in level]
        while len(done) < before + len(level):
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)


async def read_back(records: Any, embed: Any, store: Any) -> None:
    async def one(record: Any) -> None:
        vector = await embed(record)
        while True:
            await store.upsert(record.id, vector, record.metadata)
            row = await store.fetch(record.id)
            if row is not None and np.array_equal(row.vector, vector):
                return

    for level in levels(records):
        await asyncio.gather(*(one(record) for record in level))


async def in_a_thread(records: Any, embed: Any, store: Any) -> None:
    async def one(record: Any) -> None:
        vector = await embed(record)
        unit = await asyncio.to_thread(lambda: vector / np.linalg.norm(vector))
        await store.upsert(record.id, unit.astype(np.float32), record.metadata)

    for level in levels(records):
        await asyncio.gather(*(one(record) for record in level))


async def batches_with_flush(records: Any, embed: Any, store: Any) -> None:
    class Writer:
        def __init__(self) -> None:
            self.rows: list[Any] = []

        async def add(self, record: Any, vector: Any) -> None:
            self.rows.append((record, vector))
            if len(self.rows) >= 2:
                await self.flush()

        async def flush(self) -> None:
            batch, self.rows = self.rows, []
            await asyncio.gather(*(store.upsert(r.id, vector, r.metadata) for r, vector in batch))

    writer = Writer()

    async def one(record: Any) -> None:
        await writer.add(record, await embed(record))

    for level in levels(records):
        await asyncio.gather(*(one(record) for record in level))
        await writer.flush()


async def float16_and_no_metadata(records: Any, embed: Any, store: Any) -> None:
    for level in levels(records):
        vectors = await asyncio.gather(*(embed(record) for record in level))
        for record, vector in zip(level, vectors, strict=True):
            await store.upsert(record.id, vector.astype(np.float16), None)


ALL = [
    function
    for name, function in sorted(globals().items())
    if asyncio.iscoroutinefunction(function) and function.__module__ == __name__
]
