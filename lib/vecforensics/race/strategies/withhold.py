"""Keep one operation back until nothing else can happen, then one task's operations, for each of them in turn.

"It was slow, that once" is the commonest trigger there is, and the sweep is linear: as many schedules as operations and
tasks. An operation is named by its place in the first-in-first-out run, since up to there every run of the sweep is the same.
Where the budget is smaller than the sweep, `stride` spreads it evenly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vecforensics.race.play import Run
from vecforensics.race.strategies.lab import FirstInFirstOut, Lab
from vecforensics.race.world import Op

__all__ = ["Withhold"]


class Withhold:
    name = "withhold"

    def __init__(self, limit: int = 10**9) -> None:
        self.complete = False
        self._limit = limit
        self._targets: list[tuple[int, bool]] | None = None

    def step(self, lab: Lab) -> Run | None:
        if self._targets is None:
            base = lab.play(FirstInFirstOut())
            tasks: set[Any] = set()
            whole: list[tuple[int, bool]] = []
            for place, op in enumerate(base.schedule):
                if op.asker not in tasks:
                    tasks.add(op.asker)
                    whole.append((place, True))
            targets = [(place, False) for place in range(len(base.schedule))] + whole
            stride = max(1, -(-len(targets) // max(1, self._limit - 1)))
            self._targets = targets[::stride][::-1]
            return base
        if not self._targets:
            return None
        place, whole_task = self._targets.pop()
        return lab.sample(_Withhold(place, whole_task))


class _Withhold(FirstInFirstOut):
    def __init__(self, place: int, whole_task: bool) -> None:
        self._place, self._whole_task = place, whole_task
        self._held: Op | None = None

    def choose(self, enabled: Sequence[Op]) -> int:
        if self._held is None:
            if self._place > 0:
                self._place -= 1
                return 0
            self._held = enabled[0]
        held = self._held
        if self._whole_task:
            asker = held.asker
            return next((index for index, op in enumerate(enabled) if op.asker is not asker), 0)
        return 1 if enabled[0] is held and len(enabled) > 1 else 0
