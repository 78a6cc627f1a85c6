"""Migrations as other people write them: dependency graphs, windows, barriers, generators, futures, retries; right and wrong.

`RIGHT` must never fail, `WRONG` holds each with a kind that must be found, `HONEST` must not fail under faults: they tell.
"""

import asyncio
import contextlib
import contextvars
import functools
import queue
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from typing import Any


def levels(records: Any) -> tuple[list[Any], list[Any]]:
    return [r for r in records if not r.depends_on], [r for r in records if r.depends_on]


async def put(record: Any, embed: Any, store: Any) -> None:
    await store.upsert(record.id, await embed(record), record.metadata)


def put_now(record: Any, embed: Any, store: Any) -> None:
    store.upsert(record.id, embed(record), record.metadata)


# --- right -------------------------------------------------------------------------------------------------------------


async def a_family_a_task(records: Any, embed: Any, store: Any) -> None:
    children: dict[str, list[Any]] = {}
    for record in records:
        for parent in record.depends_on:
            children.setdefault(parent, []).append(record)

    async def family(parent: Any) -> None:
        await put(parent, embed, store)
        async with asyncio.TaskGroup() as group:
            for child in children.get(parent.id, ()):
                group.create_task(put(child, embed, store))

    async with asyncio.TaskGroup() as group:
        for record in levels(records)[0]:
            group.create_task(family(record))


async def an_event_a_record(records: Any, embed: Any, store: Any) -> None:
    written = {record.id: asyncio.Event() for record in records}

    async def one(record: Any) -> None:
        vector = await embed(record)
        for parent in record.depends_on:
            await written[parent].wait()
        await store.upsert(record.id, vector, record.metadata)
        written[record.id].set()

    async with asyncio.TaskGroup() as group:
        for record in records:
            group.create_task(one(record))


async def a_condition_for_all(records: Any, embed: Any, store: Any) -> None:
    written: dict[str, bool] = {}
    changed = asyncio.Condition()

    async def one(record: Any) -> None:
        vector = await embed(record)
        async with changed:
            await changed.wait_for(lambda: all(parent in written for parent in record.depends_on))
        await store.upsert(record.id, vector, record.metadata)
        async with changed:
            written[record.id] = True
            changed.notify_all()

    await asyncio.gather(*(one(record) for record in records))


async def a_barrier_between_levels(records: Any, embed: Any, store: Any) -> None:
    parents, children = levels(records)
    barrier = asyncio.Barrier(2)

    async def first() -> None:
        for record in parents:
            await put(record, embed, store)
        await barrier.wait()

    async def second() -> None:
        vectors = [await embed(record) for record in children]
        await barrier.wait()
        for record, vector in zip(children, vectors, strict=True):
            await store.upsert(record.id, vector, record.metadata)

    await asyncio.gather(first(), second())


async def a_sliding_window(records: Any, embed: Any, store: Any) -> None:
    for level in levels(records):
        running: Any = set()
        for record in level:
            if len(running) >= 2:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            running.add(asyncio.create_task(put(record, embed, store)))
        for task in running:
            await task


async def futures_by_id(records: Any, embed: Any, store: Any) -> None:
    by_id = {record.id: record for record in records}
    begun: dict[str, Any] = {}

    def ready(name: str) -> Any:
        if name not in begun:
            begun[name] = asyncio.ensure_future(put(by_id[name], embed, store))
        return asyncio.shield(begun[name])

    async def one(record: Any) -> None:
        for parent in record.depends_on:
            await ready(parent)
        await ready(record.id)

    await asyncio.gather(*(one(record) for record in records))


CURRENT: contextvars.ContextVar[Any] = contextvars.ContextVar("current")


async def a_context_variable(records: Any, embed: Any, store: Any) -> None:
    async def one(record: Any) -> None:
        CURRENT.set(record)
        vector = await embed(CURRENT.get())
        await store.upsert(CURRENT.get().id, vector, CURRENT.get().metadata)

    for level in levels(records):
        await asyncio.gather(*(asyncio.create_task(one(record)) for record in level))


async def a_generator_that_reads_ahead(records: Any, embed: Any, store: Any) -> None:
    async def ahead() -> Any:
        coming = asyncio.ensure_future(embed(records[0]))
        for place, record in enumerate(records):
            now = coming
            if place + 1 < len(records):
                coming = asyncio.ensure_future(embed(records[place + 1]))
            yield record, await now

    async with contextlib.aclosing(ahead()) as vectors:
        async for record, vector in vectors:
            await store.upsert(record.id, vector, record.metadata)


async def a_heartbeat_beside_the_work(records: Any, embed: Any, store: Any) -> None:
    async def beat() -> None:
        while True:
            await asyncio.sleep(1)

    heart = asyncio.create_task(beat())
    try:
        for record in records:
            await put(record, embed, store)
    finally:
        heart.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await heart


async def gives_up_after_many_time_outs(records: Any, embed: Any, store: Any) -> None:
    for record in records:
        vector = await embed(record)
        for _ in range(5):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(store.upsert(record.id, vector, record.metadata), 1)
                break
        else:
            raise RuntimeError(f"the store does not answer for {record.id}")


def futures_between_threads(records: Any, embed: Any, store: Any) -> None:
    written: dict[str, Future[None]] = {record.id: Future() for record in records}

    def one(record: Any) -> None:
        for parent in record.depends_on:
            written[parent].result()
        put_now(record, embed, store)
        written[record.id].set_result(None)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, records))


def a_window_of_threads(records: Any, embed: Any, store: Any) -> None:
    with ThreadPoolExecutor(3) as pool:
        for level in levels(records):
            pending: Any = set()
            for record in level:
                if len(pending) >= 2:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    for future in done:
                        future.result()
                pending.add(pool.submit(put_now, record, embed, store))
            for future in as_completed(pending):
                future.result()


def an_event_between_threads(records: Any, embed: Any, store: Any) -> None:
    parents, children = levels(records)
    written, todo = threading.Event(), queue.SimpleQueue[Any]()

    def first() -> None:
        for record in parents:
            put_now(record, embed, store)
        written.set()

    def second() -> None:
        written.wait()
        while (record := todo.get()) is not None:
            put_now(record, embed, store)

    for record in (*children, None):
        todo.put(record)
    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


RIGHT = (
    a_family_a_task, an_event_a_record, a_condition_for_all, a_barrier_between_levels, a_sliding_window, futures_by_id,
    a_context_variable, a_generator_that_reads_ahead, a_heartbeat_beside_the_work, gives_up_after_many_time_outs,
    futures_between_threads, a_window_of_threads, an_event_between_threads,
)  # fmt: skip


# --- wrong -------------------------------------------------------------------------------------------------------------


async def the_event_comes_before_the_write(records: Any, embed: Any, store: Any) -> None:
    written = {record.id: asyncio.Event() for record in records}

    async def one(record: Any) -> None:
        for parent in record.depends_on:
            await written[parent].wait()
        written[record.id].set()
        await put(record, embed, store)

    await asyncio.gather(*(one(record) for record in records))


async def done_before_it_is_done(records: Any, embed: Any, store: Any) -> None:
    for level in levels(records):
        todo: asyncio.Queue[Any] = asyncio.Queue()

        async def work(todo: asyncio.Queue[Any] = todo) -> None:
            while True:
                record = await todo.get()
                todo.task_done()
                await put(record, embed, store)

        workers = [asyncio.create_task(work()) for _ in range(2)]
        for record in level:
            todo.put_nowait(record)
        await todo.join()
        for worker in workers:
            worker.cancel()


async def one_end_mark_for_two(records: Any, embed: Any, store: Any) -> None:
    todo: asyncio.Queue[Any] = asyncio.Queue()

    async def work() -> None:
        while (record := await todo.get()) is not None:
            await put(record, embed, store)

    for record in (*levels(records)[0], None):
        todo.put_nowait(record)
    await asyncio.gather(work(), work())


async def a_window_without_its_end(records: Any, embed: Any, store: Any) -> None:
    for level in levels(records):
        running: Any = set()
        for record in level:
            running.add(asyncio.create_task(put(record, embed, store)))
            if len(running) >= 2:
                _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)


async def one_place_for_all(records: Any, embed: Any, store: Any) -> None:
    state: dict[str, Any] = {}

    async def one(record: Any) -> None:
        state["current"] = record
        vector = await embed(record)
        await store.upsert(state["current"].id, vector, state["current"].metadata)

    for level in levels(records):
        await asyncio.gather(*(one(record) for record in level))


async def a_shielded_write_is_left_alone(records: Any, embed: Any, store: Any) -> None:
    for record in records:
        write = asyncio.ensure_future(store.upsert(record.id, await embed(record), record.metadata))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(write), 1)


async def a_callback_starts_the_write(records: Any, embed: Any, store: Any) -> None:
    begun: list[Any] = []

    def write(record: Any, task: Any) -> None:
        begun.append(asyncio.ensure_future(store.upsert(record.id, task.result(), record.metadata)))

    tasks = []
    for record in records:
        task = asyncio.ensure_future(embed(record))
        task.add_done_callback(functools.partial(write, record))
        tasks.append(task)
    await asyncio.gather(*tasks)


async def five_seconds_will_do(records: Any, embed: Any, store: Any) -> None:
    for level in levels(records):
        tasks = [asyncio.create_task(put(record, embed, store)) for record in level]
        await asyncio.sleep(5)
        del tasks


async def a_loop_in_the_loop(records: Any, embed: Any, store: Any) -> None:
    with asyncio.Runner() as runner:
        for record in records:
            runner.run(put(record, embed, store))


def children_wait_in_a_small_pool(records: Any, embed: Any, store: Any) -> None:
    written: dict[str, Future[None]] = {record.id: Future() for record in records}

    def one(record: Any) -> None:
        for parent in record.depends_on:
            written[parent].result()
        put_now(record, embed, store)
        written[record.id].set_result(None)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, reversed(records)))


def the_requests_of_all_levels_at_once(records: Any, embed: Any, store: Any) -> None:
    sent = [store.upsert(r.id, embed(r), r.metadata, async_req=True) for r in records]
    for request in sent:
        request.get()


def a_join_that_gives_up(records: Any, embed: Any, store: Any) -> None:
    thread = threading.Thread(target=lambda: [put_now(record, embed, store) for record in records])
    thread.start()
    thread.join(timeout=0.5)


WRONG = (
    (the_event_comes_before_the_write, "premature"),
    (done_before_it_is_done, "missing"),
    (one_end_mark_for_two, "deadlock"),
    (a_window_without_its_end, "task_left_behind"),
    (one_place_for_all, "swapped"),
    (a_shielded_write_is_left_alone, "missing"),
    (a_callback_starts_the_write, "missing"),
    (five_seconds_will_do, "task_left_behind"),
    (a_loop_in_the_loop, "crash"),
    (children_wait_in_a_small_pool, "deadlock"),
    (the_requests_of_all_levels_at_once, "premature"),
    (a_join_that_gives_up, "task_left_behind"),
)


# --- honest: whatever the store does, the caller is told ------------------------------------------------------------------


async def counts_and_raises(records: Any, embed: Any, store: Any) -> None:
    for level in levels(records):
        results = await asyncio.gather(*(put(r, embed, store) for r in level), return_exceptions=True)
        failed = [result for result in results if isinstance(result, Exception)]
        if failed:
            raise RuntimeError(f"{len(failed)} of {len(level)} failed")


async def resumes_three_times(records: Any, embed: Any, store: Any) -> None:
    for attempt in range(3):
        try:
            for record in records:
                if await store.fetch(record.id) is None:
                    await put(record, embed, store)
            return
        except (ConnectionError, TimeoutError):
            await asyncio.sleep(2**attempt)
    raise RuntimeError("gave up")


def leaves_out_the_family_and_raises(records: Any, embed: Any, store: Any) -> None:
    failed: list[str] = []
    for record in records:
        try:
            if not any(parent in failed for parent in record.depends_on):
                put_now(record, embed, store)
                continue
        except (ConnectionError, TimeoutError):
            pass
        failed.append(record.id)
    if failed:
        raise SystemError(f"not migrated: {', '.join(failed)}")


HONEST = (counts_and_raises, resumes_three_times, leaves_out_the_family_and_raises)


async def swallows_what_it_collects(records: Any, embed: Any, store: Any) -> None:
    for level in levels(records):
        with contextlib.suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                for record in level:
                    group.create_task(put(record, embed, store))
