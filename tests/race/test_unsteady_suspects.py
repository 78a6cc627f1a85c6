"""Suspects that a schedule alone does not determine, or that never hand control back."""

import _thread
import asyncio
import random
import sys
import threading
import time
from typing import Any

import pytest

from vecforensics.errors import SuspectError
from vecforensics.race import Verdict, explore, watchdog


async def one(record: Any, embed: Any, store: Any) -> None:
    await store.upsert(record.id, await embed(record), record.metadata)


async def a_coin_decides(records: Any, embed: Any, store: Any) -> None:
    if random.random() < 2:  # the side that is right, every time, as luck has it in a short test
        for record in records:
            await one(record, embed, store)
    else:
        await asyncio.gather(*(one(record, embed, store) for record in records))


async def more_and_more_fetches(records: Any, embed: Any, store: Any) -> None:
    await asyncio.gather(*(one(record, embed, store) for record in records[:1]))
    RUNS.append(None)
    await asyncio.gather(*(store.fetch(record.id) for record in records[: max(1, 5 - len(RUNS))]))
    for record in records:
        await one(record, embed, store)


async def reads_the_clock_after_the_work(records: Any, embed: Any, store: Any) -> None:
    for record in records:
        await one(record, embed, store)
    time.time()


async def spins(records: Any, embed: Any, store: Any) -> None:
    await one(records[0], embed, store)
    while True:
        pass


async def leaves_from_a_task(records: Any, embed: Any, store: Any) -> None:
    async def leave() -> None:
        sys.exit(0)

    task = asyncio.create_task(leave())
    await one(records[0], embed, store)
    await task


async def is_interrupted(records: Any, embed: Any, store: Any) -> None:
    raise KeyboardInterrupt


RUNS: list[None] = []


@pytest.mark.parametrize("suspect", [a_coin_decides, reads_the_clock_after_the_work])
def test_chance_and_clock_are_never_called_proved(suspect: Any) -> None:
    for prove in (False, True):
        found = explore(suspect, records=4, schedules=60, prove=prove)
        assert found.verdict is Verdict.SAMPLED
        assert not found.certificate.exhaustive
        assert any("random.random" in leak or "time.time" in leak for leak in found.leaks)


def test_a_suspect_that_offers_other_choices_each_time_stops_with_one_line() -> None:
    RUNS.clear()
    with pytest.raises(SuspectError, match="offered other choices"):
        explore(more_and_more_fetches, records=6, schedules=60, strategy="exhaustive")


def test_a_loop_without_await_is_stopped_and_its_line_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "PATIENCE_S", 0.5)
    with pytest.raises(SuspectError, match=r"test_unsteady_suspects\.py:\d+: .*without asking for anything"):
        explore(spins, records=2, schedules=5)


def test_faults_that_were_not_injected_stand_in_the_certificate() -> None:
    found = explore(reads_the_clock_after_the_work, records=2, schedules=20, faults=("error",))
    assert any(
        "faults in operations that begin only in other orders" in item for item in found.certificate.not_seen
    )


@pytest.mark.parametrize("suspect", [leaves_from_a_task, is_interrupted])
def test_the_exit_of_a_suspect_is_not_the_exit_of_the_laboratory(suspect: Any) -> None:
    with pytest.raises(SuspectError, match=r"test_unsteady_suspects\.py:\d+: the suspect ended the process"):
        explore(suspect, records=2, schedules=5)


# What ends the thread may strike inside a destructor, where Python reports it and goes on; then it is thrown once more.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_ends_the_laboratory_and_not_only_the_waiting_for_it() -> None:
    async def asks_for_ever(records: Any, embed: Any, store: Any) -> None:
        while True:
            await store.fetch(records[0].id)

    alarm = threading.Timer(0.5, _thread.interrupt_main)
    alarm.start()
    with pytest.raises(KeyboardInterrupt):
        explore(asks_for_ever, records=40, schedules=1_000_000, strategy="random", survey=1_000_000)
    alarm.join()
    for thread in threading.enumerate():
        if thread.name == "race-laboratory":
            thread.join(20)
            assert not thread.is_alive()
