"""Several processes find what one finds, to the byte, and lose nothing when a worker dies, falls silent or fails."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from vecforensics.errors import SuspectError
from vecforensics.race import crew as crew_module
from vecforensics.race import explore
from vecforensics.race.catalogue import entry
from vecforensics.race.coroutines import AsyncioProgram
from vecforensics.race.crew import Crew, Played
from vecforensics.race.own_thread import in_own_thread
from vecforensics.race.search import Search, Wish
from vecforensics.race.strategies.lab import Lab
from vecforensics.race.strategies.pct import Pct
from vecforensics.race.strategies.uniform import Uniform
from vecforensics.race.world import Ground
from vecforensics.records import Record

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux only"),
    # Of the test process other threads may be left by other tests; the copies do not touch what those hold.
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),
]

RECORDS = tuple(Record(f"r{number}", f"text {number}") for number in range(6))


async def steady(records: Any, embed: Any, store: Any) -> None:
    for record in records:
        await store.upsert(record.id, await embed(record), record.metadata)


async def fails_now_and_then(records: Any, embed: Any, store: Any) -> None:
    """The first record's vector must not be the last to come."""
    came: list[str] = []

    async def write(record: Any) -> None:
        vector = await embed(record)
        came.append(record.id)
        late = len(came) == len(records) and record is records[0]
        await store.upsert(record.id, vector * 0 if late else vector, record.metadata)

    await asyncio.gather(*(write(record) for record in records))


@pytest.fixture
def crew() -> Iterator[tuple[Crew, Lab]]:
    program, ground = AsyncioProgram(steady, "steady", (__file__,)), Ground(RECORDS)
    with Crew(program, ground, 2) as crew:
        yield crew, Lab(program, ground)


def alone(lab: Lab, strategy: Any, count: int) -> list[Played]:
    return in_own_thread(lambda: [Played.of(strategy.step(lab), strategy.tasks) for _ in range(count)])  # type: ignore[no-any-return]


@pytest.mark.parametrize("strategy", [Uniform, Pct])
def test_a_crew_plays_the_very_schedules_that_one_process_plays(
    strategy: Callable[[int], Any], crew: tuple[Crew, Lab]
) -> None:
    workers, lab = crew
    first, second = strategy(3), strategy(3)
    expected = alone(lab, first, 400)
    played = in_own_thread(lambda: [*workers.play(second, lab, 150), *workers.play(second, lab, 250)])
    assert [item.length for item in played] == [item.length for item in expected]
    assert (second.number, second.length, second.tasks) == (first.number, first.length, first.tasks)


def test_a_search_left_early_disturbs_none_that_comes_after(crew: tuple[Crew, Lab]) -> None:
    workers, lab = crew

    def left() -> tuple[int, int]:
        strategy = Uniform(1)
        for number, _ in enumerate(workers.play(strategy, lab, 1_000)):
            if number == 4:
                break
        return strategy.number, len(list(workers.play(Pct(2), lab, 300)))

    assert in_own_thread(left) == (5, 300)


def searched(crew: Crew | None, program: Any, ground: Ground, harm: Callable[[int], None]) -> Any:
    search = Search(Wish(0, 600, 600, strategy="random"), crew)
    fail = search._fail

    def and_harm(played: Played, *rest: Any) -> None:
        harm(search.spent)
        fail(played, *rest)

    search._fail = and_harm  # type: ignore[method-assign]
    in_own_thread(lambda: search.run(Lab(program, ground)))
    assert search.found is not None
    return search.spent, search.first, search.failures, search.found.choices, search.passes


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "falls silent"])
@pytest.mark.parametrize("victims", [1, 2])
def test_a_worker_that_is_lost_loses_no_schedule(
    how: signal.Signals, victims: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew_module, "_SILENCE_S", 0.3)
    program, ground = AsyncioProgram(fails_now_and_then, "now and then", (__file__,)), Ground(RECORDS)
    expected = searched(None, program, ground, lambda spent: None)
    assert expected[0] == 600
    with Crew(program, ground, 2) as crew:
        pids = crew.pids

        def harm(spent: int) -> None:
            for pid in pids[:victims]:
                os.kill(pid, how)
            pids.clear()

        assert searched(crew, program, ground, harm) == expected
        assert len(crew.pids) == 2 - victims


async def leaves_in_some_orders(records: Any, embed: Any, store: Any) -> None:
    order: list[str] = []

    async def write(record: Any) -> None:
        vector = await embed(record)
        order.append(record.id)
        await store.upsert(record.id, vector, record.metadata)

    await asyncio.gather(*(write(record) for record in records))
    if order == [record.id for record in reversed(records)]:
        socket.create_connection(("127.0.0.1", 9))


def test_an_error_that_ends_a_worker_is_raised_here_word_for_word() -> None:
    program, ground = AsyncioProgram(leaves_in_some_orders, "leaves", (__file__,)), Ground(RECORDS[:3])
    errors = []
    for workers in (0, 2):
        with Crew(program, ground, workers) as crew:
            search = Search(Wish(0, 2_000, 2_000, strategy="random"), crew)
            with pytest.raises(SuspectError) as caught:
                in_own_thread(partial(search.run, Lab(program, ground)))
        errors.append(str(caught.value))
    assert errors[0] == errors[1]
    assert "socket." in errors[0]


@pytest.mark.parametrize("name", ["check_then_act", "completion_order", "blind_retry", "leave_when_empty"])
@pytest.mark.parametrize("strategy", [None, "random", "pct"])
def test_the_json_is_the_same_to_the_byte_whatever_the_number_of_workers(
    name: str, strategy: str | None
) -> None:
    known = entry(name)
    one, more = (
        explore(
            known.broken,
            records=8,
            schedules=700,
            strategy=strategy,
            faults=known.pattern.faults,
            workers=workers,
        ).to_json()
        for workers in (1, 3)
    )
    assert one == more


def test_the_command_line_gives_the_same_file_with_one_and_with_two_workers(tmp_path: Path) -> None:
    suspect = tmp_path / "migration.py"
    suspect.write_text(
        "import asyncio\n\n\nasync def migrate(records, embed, store):\n"
        "    async def write(record):\n"
        "        await store.upsert(record.id, await embed(record), record.metadata)\n\n"
        "    for level in (False, True):\n"
        "        await asyncio.gather(*(write(item) for item in records if bool(item.depends_on) is level))\n"
    )
    told = []
    for workers in ("1", "2"):
        out = tmp_path / f"{workers}.json"
        command = [
            sys.executable, "-m", "vecforensics", "race", f"{suspect}:migrate", "--strategy", "pct", "--schedules", "600",
            "--workers", workers, "--json", str(out),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        told.append((out.read_bytes(), done.stdout))
    assert told[0] == told[1]
