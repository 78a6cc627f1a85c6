"""Virtual time: timers keep the order of their deadlines among themselves; against an operation a timer is a choice."""

import asyncio
from collections.abc import Callable
from typing import Any

from vecforensics.race.coroutines import AsyncioProgram
from vecforensics.race.own_thread import in_own_thread
from vecforensics.race.strategies.exhaustive import Exhaustive
from vecforensics.race.strategies.lab import Lab
from vecforensics.race.threads import ThreadsProgram
from vecforensics.race.world import Ground
from vecforensics.records import Record

GROUND = Ground((Record("a", "text a"),))


def outcomes(program: Callable[[list[str]], Any], driver: Any = AsyncioProgram) -> set[tuple[str, ...]]:
    """What `program` notes in each of its schedules, all of them."""
    seen: set[tuple[str, ...]] = set()

    def work() -> None:
        strategy = Exhaustive()
        while True:
            said: list[str] = []
            if strategy.step(Lab(driver(program(said), "program"), GROUND)) is None:
                return
            seen.add(tuple(said))

    in_own_thread(work)
    return seen


def test_a_time_out_comes_before_or_after_the_operation_it_guards() -> None:
    def program(said: list[str]) -> Any:
        async def migrate(records: Any, embed: Any, store: Any) -> None:
            try:
                async with asyncio.timeout(60):
                    await embed(records[0])
                said.append("answered")
            except TimeoutError:
                said.append("late")

        return migrate

    assert outcomes(program) == {("answered",), ("late",)}


def test_a_sleep_in_another_task_ends_before_or_after_an_operation() -> None:
    def program(said: list[str]) -> Any:
        async def migrate(records: Any, embed: Any, store: Any) -> None:
            async def sleeps() -> None:
                await asyncio.sleep(3600)
                said.append("slept")

            async def asks() -> None:
                await store.fetch("a")
                said.append("fetched")

            await asyncio.gather(sleeps(), asks())

        return migrate

    assert outcomes(program) == {("slept", "fetched"), ("fetched", "slept")}


def test_of_two_timers_the_earlier_deadline_fires_first_whatever_was_set_first() -> None:
    def program(said: list[str]) -> Any:
        async def migrate(records: Any, embed: Any, store: Any) -> None:
            async def sleeps(seconds: float) -> None:
                await asyncio.sleep(seconds)
                said.append(f"{seconds:g}")

            await asyncio.gather(sleeps(2), sleeps(1), sleeps(1.5), store.fetch("a"))

        return migrate

    assert outcomes(program) == {("1", "1.5", "2")}


def test_a_timer_set_after_a_late_answer_counts_from_then() -> None:
    def program(said: list[str]) -> Any:
        async def migrate(records: Any, embed: Any, store: Any) -> None:
            async def late() -> None:
                await store.fetch("a")
                await asyncio.sleep(1)
                said.append("after the answer")

            async def early() -> None:
                await asyncio.sleep(1)
                said.append("from the start")

            await asyncio.gather(late(), early())

        return migrate

    # The answer may come before the first second is over: then both timers run, and the one that was set first fires first.
    assert outcomes(program) == {("from the start", "after the answer")}


def test_threads_wait_in_the_same_virtual_time() -> None:
    def program(said: list[str]) -> Any:
        def migrate(records: Any, embed: Any, store: Any) -> None:
            request = embed(records[0], async_req=True)
            try:
                request.get(timeout=5)
                said.append("answered")
            except TimeoutError:
                said.append("late")

        return migrate

    assert outcomes(program, ThreadsProgram) == {("answered",), ("late",)}
