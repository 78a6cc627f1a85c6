"""PCT's quick bookkeeping chooses what the definition says: the pending operation of the lowest rank, with falls."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import random_programs
from test_dpor_against_brute_force import GROUND

from vecforensics.race import generate_records
from vecforensics.race.coroutines import AsyncioProgram
from vecforensics.race.own_thread import in_own_thread
from vecforensics.race.play import play
from vecforensics.race.strategies.pct import Pct, _Priorities, pct_bound
from vecforensics.race.world import TIMER, Ground


class ByDefinition:
    """The same draws in the same order; everything looked up afresh for each choice."""

    def __init__(self, draw: Any, falls: set[int]) -> None:
        self.draw, self.falls, self.step, self.fallen = draw, set(falls), 0, 0
        self.ranks: list[tuple[Any, float]] = []
        self.seen: list[Any] = []

    def rank(self, of: Any) -> float:
        for known, rank in self.ranks:
            if known is of:
                return rank
        self.ranks.append((of, self.draw()))
        return self.ranks[-1][1]

    def choose(self, enabled: Sequence[Any]) -> int:
        timer = self.rank(enabled[-1]) if enabled[-1].kind == TIMER else None
        waiting = [op for op in enabled if op.kind != TIMER]
        for op in waiting:
            if not any(op is known for known in self.seen):
                self.seen.append(op)
                self.rank(op.asker)
        while waiting:
            order = {id(op): place for place, op in enumerate(self.seen)}
            best = min(waiting, key=lambda op: (self.rank(op.asker), -order[id(op)]))
            if timer is not None and timer < self.rank(best.asker):
                break
            if self.step not in self.falls:
                self.step += 1
                return list(enabled).index(best)
            self.falls.discard(self.step)
            self.fallen += 1
            self.ranks = [(of, float(self.fallen) if of is best.asker else rank) for of, rank in self.ranks]
        return len(enabled) - 1


@pytest.mark.parametrize("bare", [False, True])
def test_the_choices_are_those_of_the_definition(bare: bool) -> None:
    def different() -> list[str]:
        found = []
        for seed in range(150):
            source, file = random_programs.source_of(seed), f"<random program {seed}>"
            program = AsyncioProgram(random_programs.compile_program(source, file), file, (file,))
            for depth in range(3):
                falls = {random.Random(f"{seed}/{depth}/{k}").randrange(8) for k in range(depth)}
                runs = [
                    play(program, GROUND, kind(random.Random(seed).random, set(falls)), bare=bare)
                    for kind in (ByDefinition, _Priorities)
                ]
                if runs[0].choices != runs[1].choices:
                    found.append(f"{seed}, {falls}: {runs[1].choices} instead of {runs[0].choices}\n{source}")
        return found

    wrong = in_own_thread(different)
    assert not wrong, wrong[0]


def test_the_bound_counts_the_tasks_and_the_choices_of_the_program() -> None:
    import asyncio

    from vecforensics.race.strategies.lab import Lab

    async def migrate(records: Any, embed: Any, store: Any) -> None:
        async def write(record: Any) -> None:
            await store.upsert(record.id, await embed(record), record.metadata)

        await asyncio.gather(*(write(record) for record in records if not record.depends_on))
        await asyncio.gather(*(write(record) for record in records if record.depends_on))

    pct = Pct(0)
    lab = Lab(AsyncioProgram(migrate, "migrate"), Ground(generate_records(10)))
    in_own_thread(lambda: [pct.step(lab) for _ in range(3)])
    assert (pct.tasks, pct.length, pct.number) == (10, 20, 3)
    assert pct_bound(2, pct.tasks, pct.length) == 1 / 200
