"""The controlled loop keeps asyncio's promises, stops what it cannot control, and never hangs."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from vecforensics.errors import SuspectError
from vecforensics.race import Verdict, explore, guard


async def connects(records: Any, embed: Any, store: Any) -> None:
    await asyncio.open_connection("127.0.0.1", 9)


async def connects_blocking(records: Any, embed: Any, store: Any) -> None:
    try:
        socket.create_connection(("127.0.0.1", 9))
    except Exception:  # a suspect that swallows everything is refused all the same
        return


async def starts_a_process(records: Any, embed: Any, store: Any) -> None:
    subprocess.run([sys.executable, "-c", "pass"], check=True)


async def asyncio_process(records: Any, embed: Any, store: Any) -> None:
    await asyncio.create_subprocess_exec(sys.executable, "-c", "pass")


async def signal_handler(records: Any, embed: Any, store: Any) -> None:
    asyncio.get_running_loop().add_signal_handler(15, lambda: None)


@pytest.mark.parametrize(
    ("migrate", "call"),
    [
        (connects, "loop.create_connection"),
        (connects_blocking, "socket."),
        (starts_a_process, "subprocess.Popen"),
        (asyncio_process, "loop.subprocess_exec"),
        (signal_handler, "loop.add_signal_handler"),
    ],
    ids=lambda item: getattr(item, "__name__", item),
)
def test_what_leaves_the_program_is_refused_with_the_name_of_the_call(
    migrate: Callable[..., Any], call: str
) -> None:
    with pytest.raises(SuspectError) as caught:
        explore(migrate, records=2, schedules=10)
    assert call in str(caught.value)
    assert "\n" not in str(caught.value)


def test_outside_of_an_exploration_nothing_is_refused() -> None:
    with pytest.raises(SuspectError):
        explore(starts_a_process, records=1, schedules=5)
    assert subprocess.run([sys.executable, "-c", "pass"], check=False).returncode == 0
    began = time.monotonic()
    time.sleep(0.01)
    assert time.monotonic() - began >= 0.009


def test_callbacks_run_first_in_first_out() -> None:
    orders: set[tuple[int, ...]] = set()

    async def migrate(records: Any, embed: Any, store: Any) -> None:
        seen: list[int] = []

        async def note(number: int) -> None:
            seen.append(number)

        await asyncio.gather(*(note(number) for number in range(5)))
        asyncio.get_running_loop().call_soon(seen.append, 5)
        await asyncio.sleep(0)
        orders.add(tuple(seen))
        for record in records:
            await store.upsert(record.id, await embed(record), record.metadata)

    explore(migrate, records=2, schedules=100)
    assert orders == {(0, 1, 2, 3, 4, 5)}


def test_timers_fire_in_the_order_of_their_deadlines() -> None:
    orders: set[tuple[int, ...]] = set()

    async def migrate(records: Any, embed: Any, store: Any) -> None:
        fired: list[int] = []

        async def after(seconds: int) -> None:
            await asyncio.sleep(seconds)
            fired.append(seconds)

        await asyncio.gather(after(3), after(1), after(2), embed(records[0]))
        orders.add(tuple(fired))
        assert asyncio.get_running_loop().time() >= 3
        for record in records:
            await store.upsert(record.id, await embed(record), record.metadata)

    found = explore(migrate, records=2, schedules=100)
    assert orders == {(1, 2, 3)}
    assert found.witness is None


def test_a_timer_that_is_due_can_still_be_cancelled() -> None:
    called: list[str] = []

    async def migrate(records: Any, embed: Any, store: Any) -> None:
        loop = asyncio.get_running_loop()
        late: list[Any] = []
        loop.call_later(1, lambda: late[0].cancel())
        late.append(loop.call_later(1, called.append, "late"))
        await asyncio.sleep(2)
        for record in records:
            await store.upsert(record.id, await embed(record), record.metadata)

    assert explore(migrate, records=1, schedules=50).witness is None
    assert called == []


def test_a_blocking_sleep_moves_the_virtual_clock_and_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    real = guard._real_sleep

    def noted(seconds: float) -> None:
        slept.append(seconds)
        real(min(seconds, 0.1))

    monkeypatch.setattr(guard, "_real_sleep", noted)

    async def migrate(records: Any, embed: Any, store: Any) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time()
        time.sleep(3600)
        assert loop.time() - before >= 3600
        for record in records:
            await store.upsert(record.id, await embed(record), record.metadata)

    assert explore(migrate, records=2, schedules=20).witness is None
    assert 3600 not in slept


async def polls_for_ever(records: Any, embed: Any, store: Any) -> None:
    while True:
        await asyncio.sleep(0)


async def heartbeat_and_a_lost_event(records: Any, embed: Any, store: Any) -> None:
    async def beat() -> None:
        while True:
            await asyncio.sleep(1)

    pulse = asyncio.create_task(beat())
    await asyncio.Event().wait()
    pulse.cancel()


async def waits_for_itself(records: Any, embed: Any, store: Any) -> None:
    lock = asyncio.Lock()
    async with lock, lock:
        pass


@pytest.mark.parametrize("migrate", [polls_for_ever, heartbeat_and_a_lost_event, waits_for_itself])
def test_a_program_that_never_ends_is_called_a_deadlock_and_hangs_nothing(
    migrate: Callable[..., Any],
) -> None:
    found = explore(migrate, records=2, schedules=5)
    assert found.verdict is Verdict.FAILING
    assert "deadlock" in found.failures
    assert found.witness is not None
    assert "main" in found.witness.trace.outcome.stuck


def test_polling_with_fetch_ends_although_a_schedule_may_starve_the_write() -> None:
    async def migrate(records: Any, embed: Any, store: Any) -> None:
        async def write() -> None:
            await store.upsert(records[0].id, await embed(records[0]), records[0].metadata)

        task = asyncio.create_task(write())
        while await store.fetch(records[0].id) is None:
            pass
        await task

    found = explore(migrate, records=1, schedules=120)
    assert found.witness is None
    assert found.verdict is Verdict.SAMPLED


def test_async_generators_are_closed_like_in_stock_asyncio() -> None:
    closed: list[bool] = []

    async def numbers() -> Any:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    async def migrate(records: Any, embed: Any, store: Any) -> None:
        async for number in numbers():
            if number == 1:
                break
        for record in records:
            await store.upsert(record.id, await embed(record), record.metadata)

    assert explore(migrate, records=1, schedules=5).witness is None
    assert closed


def test_it_works_where_a_loop_runs_already() -> None:
    async def migrate(records: Any, embed: Any, store: Any) -> None:
        for record in records:
            await store.upsert(record.id, await embed(record), record.metadata)

    async def notebook_cell() -> Verdict:
        return explore(migrate, records=3, schedules=20).verdict

    assert asyncio.run(notebook_cell()) is Verdict.PROVED


def test_an_uncaught_error_of_the_program_is_a_crash_and_not_ours() -> None:
    async def migrate(records: Any, embed: Any, store: Any) -> None:
        raise KeyError("12345")

    found = explore(migrate, records=1, schedules=5)
    assert found.witness is not None
    assert "crash" in found.witness.kinds
    assert "12345" in found.witness.trace.outcome.crashed


def test_metadata_that_a_program_changes_does_not_colour_the_next_schedule() -> None:
    async def migrate(records: Any, embed: Any, store: Any) -> None:
        for record in records:
            assert "touched" not in record.metadata
            record.metadata["touched"] = True
            await store.upsert(record.id, await embed(record), record.metadata)

    assert explore(migrate, records=3, schedules=30).witness is None
