"""Plain migrations on controlled threads: every way to wait that the standard library has, right and wrong."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from threading import Lock, RLock
from time import sleep
from typing import Any

import pytest

from vecforensics.errors import SuspectError
from vecforensics.race import Verdict, explore, strands
from vecforensics.race.model import Exploration

LOCK_OF_THE_MODULE = threading.Lock()
REENTRANT_OF_THE_MODULE = RLock()


def levels(records: Any) -> tuple[list[Any], list[Any]]:
    return [r for r in records if not r.depends_on], [r for r in records if r.depends_on]


def put(record: Any, embed: Any, store: Any) -> None:
    store.upsert(record.id, embed(record), dict(record.metadata))


def explored(migrate: Any, records: int = 6, schedules: int = 250, **more: Any) -> Exploration:
    return explore(migrate, records=records, schedules=schedules, **more)


# --- correct migrations: none may fail ------------------------------------------------------------------------------------


def one_after_the_other(records: Any, embed: Any, store: Any) -> None:
    for record in records:
        put(record, embed, store)
        sleep(0.1)
        time.sleep(0)


def pool_with_map(records: Any, embed: Any, store: Any) -> None:
    for level in levels(records):
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda record: put(record, embed, store), level))


def pool_with_as_completed(records: Any, embed: Any, store: Any) -> None:
    with ThreadPoolExecutor(2) as pool:
        for level in levels(records):
            for future in as_completed([pool.submit(put, r, embed, store) for r in level]):
                future.result()


def pool_with_wait(records: Any, embed: Any, store: Any) -> None:
    pool = ThreadPoolExecutor(2)
    for level in levels(records):
        done, _ = wait([pool.submit(put, r, embed, store) for r in level])
        for future in done:
            future.result()
    # An idle pool that nobody shut down is no work left behind.


def threads_joined(records: Any, embed: Any, store: Any) -> None:
    for level in levels(records):
        threads = [threading.Thread(target=put, args=(r, embed, store)) for r in level]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not any(thread.is_alive() for thread in threads)


def queue_with_end_marks(records: Any, embed: Any, store: Any) -> None:
    for level in levels(records):
        todo: queue.Queue[Any] = queue.Queue(maxsize=2)

        def work(todo: queue.Queue[Any] = todo) -> None:
            while (record := todo.get()) is not None:
                put(record, embed, store)
                todo.task_done()

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for record in level:
            todo.put(record)
        todo.join()
        for _ in threads:
            todo.put(None)
        for thread in threads:
            thread.join()


def all_kinds_of_waiting(records: Any, embed: Any, store: Any) -> None:
    event, condition, gate = threading.Event(), threading.Condition(), threading.Semaphore(2)
    barrier, simple = threading.Barrier(2), queue.SimpleQueue()
    turn: list[int] = []

    def waiter() -> None:
        event.wait()
        with condition:
            condition.wait_for(lambda: bool(turn))
        with gate, LOCK_OF_THE_MODULE, REENTRANT_OF_THE_MODULE, REENTRANT_OF_THE_MODULE:
            simple.put(threading.current_thread().name)
        barrier.wait()

    threads = [threading.Thread(target=waiter, name=f"waiter-{i}") for i in range(2)]
    for thread in threads:
        thread.start()
    timer = threading.Timer(5.0, event.set)
    timer.start()
    event.wait()
    with condition:
        turn.append(1)
        condition.notify_all()
    for thread in threads:
        thread.join()
    assert {simple.get(), simple.get()} == {"waiter-0", "waiter-1"}
    assert not threading.Event().wait(0.5)
    assert Lock().acquire(timeout=-1) is not None
    with pytest.raises(queue.Empty):
        queue.Queue().get(timeout=1.0)
    for record in records:
        put(record, embed, store)


def requests_read(records: Any, embed: Any, store: Any) -> None:
    for level in levels(records):
        vectors = [embed(record, async_req=True) for record in level]
        sent = [
            store.upsert(r.id, v.get(), dict(r.metadata), async_req=True)
            for r, v in zip(level, vectors, strict=True)
        ]
        for request in sent:
            request.get(timeout=None)


CORRECT = [
    one_after_the_other,
    pool_with_map,
    pool_with_as_completed,
    pool_with_wait,
    threads_joined,
    queue_with_end_marks,
    all_kinds_of_waiting,
    requests_read,
]


@pytest.mark.parametrize("migrate", CORRECT)
def test_a_correct_migration_never_fails(migrate: Any) -> None:
    found = explored(migrate)
    assert found.failures == {}
    assert found.verdict in (Verdict.PROVED, Verdict.SAMPLED)
    assert found.certificate.driver == "threads"
    assert any("interrupt one another" in line for line in found.certificate.not_seen)


def test_a_sequential_migration_is_proved() -> None:
    found = explored(requests_one_at_a_time)
    assert (found.verdict, found.certificate.schedules) == (Verdict.PROVED, 1)


def requests_one_at_a_time(records: Any, embed: Any, store: Any) -> None:
    for record in records:
        put(record, embed, store)


# --- broken ones ----------------------------------------------------------------------------------------------------------


def submit_and_forget(records: Any, embed: Any, store: Any) -> None:
    pool = ThreadPoolExecutor(4)
    for record in records:
        pool.submit(put, record, embed, store)


def forgotten_join(records: Any, embed: Any, store: Any) -> None:
    threads = [threading.Thread(target=put, args=(r, embed, store)) for r in records]
    for thread in threads:
        thread.start()
    for thread in threads[:-1]:
        thread.join()


def one_wave(records: Any, embed: Any, store: Any) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda record: put(record, embed, store), records))


def completion_order(records: Any, embed: Any, store: Any) -> None:
    with ThreadPoolExecutor(4) as pool:
        vectors = [future.result() for future in as_completed([pool.submit(embed, r) for r in records])]
    for record, vector in zip(records, vectors, strict=True):
        store.upsert(record.id, vector, dict(record.metadata))


def shared_slot(records: Any, embed: Any, store: Any) -> None:
    slot: dict[str, Any] = {}

    def move(record: Any) -> None:
        slot["vector"] = embed(record)
        if store.fetch(record.id) is None:
            store.upsert(record.id, slot["vector"], dict(record.metadata))

    for level in levels(records):
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(move, level))


def locks_in_two_orders(records: Any, embed: Any, store: Any) -> None:
    a, b = threading.Lock(), threading.Lock()

    def move(first: Any, second: Any, record: Any) -> None:
        with first:
            vector = embed(record)
            with second:
                store.upsert(record.id, vector, dict(record.metadata))

    users, posts = levels(records)
    for level in (users, posts):
        threads = [
            threading.Thread(target=move, args=((a, b, r) if i % 2 else (b, a, r)))
            for i, r in enumerate(level)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def gives_up_after_a_second(records: Any, embed: Any, store: Any) -> None:
    for record in records:
        vector = embed(record)
        request = store.upsert(record.id, vector, dict(record.metadata), async_req=True)
        try:
            request.get(timeout=1.0)
        except TimeoutError:
            continue


BROKEN = [
    (submit_and_forget, {"missing", "task_left_behind", "premature"}),
    (forgotten_join, {"missing", "task_left_behind", "premature"}),
    (one_wave, {"premature"}),
    (completion_order, {"swapped"}),
    (shared_slot, {"swapped"}),
    (locks_in_two_orders, {"deadlock", "missing"}),
    (gives_up_after_a_second, {"missing", "task_left_behind"}),
]


@pytest.mark.parametrize(("migrate", "kinds"), BROKEN)
def test_a_broken_migration_is_found(migrate: Any, kinds: set[str]) -> None:
    found = explored(migrate, schedules=400)
    assert kinds <= set(found.failures)
    assert found.witness is not None
    assert found.witness.leaks == ()
    assert any(item.source and item.source.file == __file__ for item in found.witness.trace.operations)


@pytest.mark.parametrize("migrate", [migrate for migrate, _ in BROKEN])
def test_the_witness_replays_to_the_same_trace(migrate: Any) -> None:
    witness = explored(migrate, schedules=400, survey=0).witness
    assert witness is not None
    again = explore(migrate, replay=witness.replay).witness
    assert again is not None
    assert again.trace.digest == witness.trace.digest


def errors_nobody_reads(records: Any, embed: Any, store: Any) -> None:
    for level in levels(records):
        with ThreadPoolExecutor(3) as pool:
            for record in level:
                pool.submit(put, record, embed, store)


def errors_in_threads(records: Any, embed: Any, store: Any) -> None:
    for record in records:
        thread = threading.Thread(target=put, args=(record, embed, store))
        thread.start()
        thread.join()


def errors_in_requests(records: Any, embed: Any, store: Any) -> None:
    for record in records:
        request = store.upsert(record.id, embed(record), dict(record.metadata), async_req=True)
        request.wait()


@pytest.mark.parametrize("migrate", [errors_nobody_reads, errors_in_threads, errors_in_requests])
def test_an_error_that_reaches_nobody_is_lost(migrate: Any) -> None:
    assert explored(migrate, schedules=150).failures == {}
    found = explored(migrate, records=3, schedules=400, faults=("error",))
    assert {"missing", "lost_error"} <= set(found.failures)


# --- hostile ones ---------------------------------------------------------------------------------------------------------


def spins(records: Any, embed: Any, store: Any) -> None:
    while True:
        pass


def will_not_end(records: Any, embed: Any, store: Any) -> None:
    def stubborn() -> None:
        while True:
            try:
                store.fetch("nobody")
                sleep(3600.0)
            except BaseException:
                continue

    threading.Thread(target=stubborn).start()
    for record in records:
        put(record, embed, store)


def test_a_thread_that_waits_for_nothing_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strands, "STEP_S", 0.3)
    before = threading.active_count()
    with pytest.raises(SuspectError, match="without waiting for anything"):
        explored(spins)
    for _ in range(1_000):
        if threading.active_count() <= before:
            break
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_a_thread_that_swallows_its_end_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strands, "STEP_S", 3600.0)  # waited for, the thread would take an hour a schedule
    assert explored(will_not_end, schedules=5).certificate.schedules == 5


def test_the_rest_of_the_process_notices_nothing() -> None:
    seen: list[Any] = []
    stop = threading.Event()

    def bystander() -> None:
        while not stop.wait(0.001):
            seen.append(type(threading.Lock()))
            inner = threading.Thread(target=lambda: seen.append(type(queue.SimpleQueue())))
            inner.start()
            inner.join()

    thread = threading.Thread(target=bystander)
    thread.start()
    try:
        explored(pool_with_map, schedules=150)
    finally:
        stop.set()
        thread.join()
    assert seen
    assert set(seen) == {type(LOCK_OF_THE_MODULE), queue.SimpleQueue}
    assert threading.Lock is Lock
    assert type(Lock()) is type(LOCK_OF_THE_MODULE)


def test_it_works_inside_a_running_event_loop() -> None:
    async def notebook() -> Exploration:
        return explored(one_wave, schedules=100)

    assert asyncio.run(notebook()).verdict is Verdict.FAILING
