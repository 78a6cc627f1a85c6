"""The seam between the explorer and its strategies: a strategy plays schedules in a lab, one a step.

A `Lab` holds what every schedule of one pass has in common. A `Strategy` decides, one `step` at a time, which schedule is
played next, and may learn from what came of it. `None` instead of a run means that it has nothing more to try; `complete`
then says whether that was everything there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from vecforensics.race.driver import Program, Session
from vecforensics.race.play import Chooser, Run, play
from vecforensics.race.world import Ground, Op, World
from vecforensics.records import Record

__all__ = ["FirstInFirstOut", "Lab", "Strategy"]


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


class FirstInFirstOut:
    """A chooser of its own right and the base of others: the oldest operation completes first, timers when nothing else is
    pending. It is what a world of equal latencies does."""

    def choose(self, enabled: Sequence[Op]) -> int:
        return 0

    def choose_busy(self, enabled: Sequence[Op]) -> int:
        return -1
