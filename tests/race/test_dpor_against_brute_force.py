"""DPOR may leave out an order of events only where another order has the same outcome: checked against every order there is.

Over a thousand random programs over locks, semaphores, queues, events, conditions, task groups, gather, wait (first completed,
first exception, with a time-out), as_completed, cancellation, shield, timeouts, sleeps, executor calls, async generators and
shared state. For each, the set of outcomes that DPOR reaches equals the set that brute force reaches, and DPOR says that it was
complete.
"""

from typing import Any

import pytest
import random_programs

from vecforensics.race.coroutines import AsyncioProgram
from vecforensics.race.own_thread import in_own_thread
from vecforensics.race.play import Run
from vecforensics.race.strategies.dpor import Dpor
from vecforensics.race.strategies.exhaustive import Exhaustive
from vecforensics.race.strategies.lab import Lab, Strategy
from vecforensics.race.world import Ground
from vecforensics.records import Record

GROUND = Ground((Record("a", "text a"), Record("b", "text b", depends_on=("a",))))
CHUNKS, CHUNK = 13, 100
MOST_ORDERS = 150


def outcome(run: Run) -> Any:
    """All that can be told from outside: damage, errors, what is left, and every byte in the store."""
    found = run.outcome
    return (
        found.kinds,
        found.crashed,
        found.left_behind,
        tuple(sorted(item.error for item in found.lost)),
        tuple(sorted((item.kind, item.moment, item.record_id or "") for item in found.damage)),
        tuple(sorted((key, slot[0]) for key, slot in run.world.data.items())),
    )


def outcomes(strategy: Strategy, lab: Lab, most: int) -> dict[Any, list[str]] | None:
    """Each outcome with a schedule that leads to it; None where there are more schedules than `most`."""
    found: dict[Any, list[str]] = {}
    for _ in range(most):
        run = strategy.step(lab)
        if run is None:
            return found
        found.setdefault(outcome(run), [op.id for op in run.schedule])
    return None


def compare(seed: int) -> tuple[bool, str]:
    """Whether the program was small enough to count, and what DPOR missed."""
    source = random_programs.source_of(seed)
    file = f"<random program {seed}>"
    program = AsyncioProgram(random_programs.compile_program(source, file), file, (file,))
    lab = Lab(program, GROUND)
    brute = outcomes(Exhaustive(), lab, MOST_ORDERS)
    if brute is None:
        return False, ""
    dpor = Dpor()
    reduced = outcomes(dpor, lab, 20 * MOST_ORDERS)
    if reduced is None or not dpor.complete:
        return True, f"program {seed}: DPOR did not come to an end\n{source}"
    missed, invented = brute.keys() - reduced.keys(), reduced.keys() - brute.keys()
    if missed or invented:
        orders = [brute[item] for item in missed] + [reduced[item] for item in invented]
        return (
            True,
            f"program {seed}: {len(missed)} missed, {len(invented)} invented, e.g. {orders[0]}\n{source}",
        )
    return True, ""


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_dpor_reaches_exactly_the_outcomes_that_brute_force_reaches(chunk: int) -> None:
    results = in_own_thread(lambda: [compare(seed) for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK)])
    counted = sum(1 for small, _ in results if small)
    wrong = [text for _, text in results if text]
    assert not wrong, wrong[0]
    assert counted >= 80, "the thousand programs of the issue need eighty in each chunk of thirteen"


def test_dpor_plays_fewer_schedules_than_brute_force() -> None:
    def count() -> tuple[int, int]:
        totals = [0, 0]
        for seed in range(40):
            file = f"<random program {seed}>"
            function = random_programs.compile_program(random_programs.source_of(seed), file)
            lab = Lab(AsyncioProgram(function, file, (file,)), GROUND)
            strategies: tuple[Strategy, ...] = (Exhaustive(), Dpor())
            for place, strategy in enumerate(strategies):
                while strategy.step(lab) is not None:
                    totals[place] += 1
        return totals[0], totals[1]

    brute, reduced = in_own_thread(count)
    assert reduced < 0.6 * brute
