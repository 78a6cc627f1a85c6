"""The seam between the explorer and its strategies: a strategy plays schedules in a lab, one a step.

A `Lab` holds what every schedule of one pass has in common. A `Strategy` decides, one `step` at a time, which schedule is
played next, and may learn from what came of it. `None` instead of a run means that it has nothing more to try; `complete`
then says whether that was everything there is.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Protocol

from vecforensics.errors import SuspectError
from vecforensics.race.driver import Program, Session
from vecforensics.race.play import PAUSE, Chooser, Run, play
from vecforensics.race.world import Ground, Op, World
from vecforensics.records import Record

__all__ = ["Choices", "FirstInFirstOut", "Lab", "Seeded", "Strategy"]


@dataclass(frozen=True)
class Lab:
    """A program on records, with the faults of one plan, at one granularity."""

    program: Program
    ground: Ground
    plan: Mapping[str, str] = field(default_factory=dict)
    fine: bool = False

    def play(
        self, chooser: Chooser, *, detail: bool = False, start: Callable[[World], Session] | None = None
    ) -> Run:
        return play(
            self.program, self.ground, chooser, plan=self.plan, fine=self.fine, detail=detail, start=start
        )

    def sample(self, chooser: Chooser) -> Run:
        """A schedule of which only the outcome counts: played bare, and once more, recorded, where it fails. Where the recorded
        run does not do the same the program listens to something that no schedule decides; what counts is that it failed."""
        if self.fine or self.plan:
            return self.play(chooser)
        run = play(self.program, self.ground, chooser, bare=True)
        if not run.failing:
            return run
        again = Choices(run.choices)
        try:
            recorded = self.play(again)
        except SuspectError:
            return run
        return recorded if recorded.failing and recorded.choices == run.choices else run

    def with_records(self, records: Sequence[Record]) -> Lab:
        return replace(self, ground=Ground(records))

    def with_plan(self, plan: Mapping[str, str]) -> Lab:
        return replace(self, plan=plan)


class Strategy(Protocol):
    """A way to walk through the schedules of a lab."""

    name: str

    complete: bool
    """No schedule is left that could have another outcome."""

    def step(self, lab: Lab) -> Run | None:
        """Play the next schedule. None where the strategy has no further one."""


class Seeded(ABC):
    """A strategy that draws lots, without end. Schedule `number` depends on nothing but seed, number and `length` (that of
    schedule 0, which therefore comes first), so schedules can be played in any order and by several processes."""

    name: str
    complete = False

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._salt = int.from_bytes(blake2b(f"{self.name}/{seed}".encode(), digest_size=8).digest())
        self._random = random.Random()  # noqa: S311  (seeded schedules, not secrets)
        self.number = 0
        self.length = self.tasks = 1

    def step(self, lab: Lab) -> Run:
        run = self.play(lab, self.number)
        if self.number == 0:
            self.length = max(1, len(run.choices))
        self.number += 1
        return run

    def chance(self, number: int) -> Callable[[], float]:
        """Numbers in [0, 1) of schedule `number`."""
        self._random.seed(self._salt + number)
        return self._random.random

    @abstractmethod
    def play(self, lab: Lab, number: int) -> Run:
        """Schedule `number`."""


class Choices:
    """The given indices, then first in, first out."""

    def __init__(self, choices: Iterable[int]) -> None:
        self._choices = iter(choices)
        self.diverged = False

    def choose(self, enabled: Sequence[Op]) -> int:
        index = next(self._choices, 0)
        if not 0 <= index < len(enabled):
            self.diverged = True
            return 0
        return index

    def choose_busy(self, enabled: Sequence[Op]) -> int:
        index = next(self._choices, PAUSE)
        if index >= len(enabled):
            self.diverged = True
            return PAUSE
        return index

    def forced(self, op: Op) -> None:
        """The schedule has this choice too."""
        if next(self._choices, 0) != 0:
            self.diverged = True


class FirstInFirstOut:
    """A chooser of its own right and the base of others: the oldest operation completes first, timers when nothing else is
    pending. It is what a world of equal latencies does."""

    def choose(self, enabled: Sequence[Op]) -> int:
        return 0

    def choose_busy(self, enabled: Sequence[Op]) -> int:
        return -1
