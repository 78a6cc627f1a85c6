"""Virtual time: timers keep the order of their deadlines among themselves; against an operation a timer is a choice."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from vecforensics.race import generate_records
from vecforensics.race.coroutines import AsyncioProgram
from vecforensics.race.own_thread import in_own_thread
from vecforensics.race.play import IDLE, PAUSE, Run
from vecforensics.race.strategies.dpor import Dpor
from vecforensics.race.strategies.exhaustive import Exhaustive
from vecforensics.race.strategies.lab import Choices, Lab
from vecforensics.race.threads import ThreadsProgram
from vecforensics.race.world import Ground, Op
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


# --- fairness: where an operation is kept back for ever --------------------------------------------------------------------


async def beside_a_heartbeat(records: Any, embed: Any, store: Any) -> None:
    over = False

    async def heartbeat() -> None:
        while not over:
            await asyncio.sleep(1)

    beating = asyncio.create_task(heartbeat())
    for record in records:
        await store.upsert(record.id, await embed(record), record.metadata)
    over = True
    await beating


async def polls_beside_its_work(records: Any, embed: Any, store: Any) -> None:
    work = asyncio.create_task(beside_a_heartbeat(records, embed, store))
    while not work.done():
        await asyncio.sleep(0)


class KeepsBack:
    """The clock and the callbacks always come first, and of operations the newest, so nothing completes but by force."""

    def choose(self, enabled: Sequence[Op]) -> int:
        return len(enabled) - 1

    def choose_busy(self, enabled: Sequence[Op]) -> int:
        return PAUSE


@pytest.mark.parametrize("fine", [False, True])
@pytest.mark.parametrize("migrate", [beside_a_heartbeat, polls_beside_its_work])
def test_a_schedule_with_choices_made_by_force_is_replayed_choice_by_choice(migrate: Any, fine: bool) -> None:
    lab = Lab(AsyncioProgram(migrate, "migrate", (__file__,)), Ground(generate_records(3)), fine=fine)

    def both() -> tuple[Run, Run, bool]:
        run = lab.play(KeepsBack())
        again = Choices(run.choices)
        return run, lab.play(again), again.diverged

    run, replayed, diverged = in_own_thread(both)
    assert run.cut
    assert (replayed.choices, diverged, replayed.cut) == (run.choices, False, True)
    assert [op.id for op in replayed.schedule] == [op.id for op in run.schedule]


def test_what_was_continued_by_force_is_not_called_proved() -> None:
    async def migrate(records: Any, embed: Any, store: Any) -> None:
        async def ticks() -> None:
            for _ in range(250):
                await asyncio.sleep(1)

        ticking = asyncio.create_task(ticks())
        await embed(records[0])
        await ticking

    lab = Lab(AsyncioProgram(migrate, "migrate", (__file__,)), Ground(generate_records(1)))

    def to_the_end(walk: Exhaustive | Dpor) -> int:
        return sum(1 for _ in iter(lambda: walk.step(lab), None))

    every, those_that_matter = Exhaustive(), Dpor()
    assert IDLE < in_own_thread(partial(to_the_end, every)) < 250
    # The first order and its reverse, in which the embedding would come after the last tick and is made to come before.
    assert in_own_thread(partial(to_the_end, those_that_matter)) == 2
    assert not every.complete
    assert not those_that_matter.complete
