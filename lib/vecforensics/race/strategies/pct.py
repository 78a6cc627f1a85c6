"""PCT: random priorities, and d − 1 places at which the favourite falls to the bottom.

Each task gets a random priority when its first operation shows; the pending operation of the highest priority completes next.
A failure that d ordering constraints bring about is hit by one schedule with probability at least 1 / (n · k^(d−1)) for n
tasks and k choices (Burckhardt, Kothari, Musuvathi, Nagarakatte: "A randomized scheduler with probabilistic guarantees of
finding bugs", ASPLOS 2010). Depths 1, 2, 3 take turns. Timers count as tasks of their own.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence

from vecforensics.race.driver import TaskInfo
from vecforensics.race.play import PAUSE, Run
from vecforensics.race.strategies.lab import Lab
from vecforensics.race.world import TIMER, Op

__all__ = ["Pct", "pct_bound"]


def pct_bound(depth: int, tasks: int, choices: int) -> float:
    """The least probability with which one schedule hits a failure of this depth."""
    return float(1.0 / (max(1, tasks) * max(1, choices) ** (depth - 1)))


class Pct:
    name = "pct"
    complete = False

    def __init__(self, seed: int, depths: Sequence[int] = (1, 2, 3)) -> None:
        self._random = random.Random(f"pct/{seed}")  # noqa: S311  (a seeded schedule, not a secret)
        self._depths = tuple(depths)
        self._turn = 0
        self.tasks = 1
        self.choices = 1

    def step(self, lab: Lab) -> Run | None:
        depth = self._depths[self._turn % len(self._depths)]
        self._turn += 1
        rng = self._random
        falls = {rng.randrange(self.choices) for _ in range(depth - 1)}
        chooser = _Priorities(rng, falls)
        run = lab.play(chooser)
        self.choices = max(self.choices, len(run.choices))
        self.tasks = max(self.tasks, len(chooser.priorities))
        return run


class _Priorities:
    """A heap of the pending operations by priority. Cancelled ones are thrown out when they come up."""

    def __init__(self, rng: random.Random, falls: set[int]) -> None:
        self._draw = rng.random
        self._falls = falls
        self._step = 0
        self._count = 0
        self._bottom = 2.0
        self._heap: list[tuple[float, int, Op]] = []
        self.priorities: dict[TaskInfo | Op, float] = {}

    def choose(self, enabled: Sequence[Op]) -> int:
        heap, priorities = self._heap, self.priorities
        last = len(enabled) - 1
        timer = enabled[last] if enabled[last].kind == TIMER else None
        if timer is not None:
            last -= 1
            if timer not in priorities:
                priorities[timer] = self._draw()
        while last >= 0:
            op = enabled[last]
            if op.seq:
                break
            op.seq = self._count = self._count + 1
            priority = priorities.get(op.task)
            if priority is None:
                priority = priorities[op.task] = self._draw()
            heapq.heappush(heap, (priority, -self._count, op))
            last -= 1
        while heap:
            priority, _, op = heap[0]
            if timer is not None and priorities[timer] < priority:
                return len(enabled) - 1
            try:
                index = enabled.index(op)
            except ValueError:
                heapq.heappop(heap)
                continue
            if priorities[op.task] != priority:
                heapq.heapreplace(heap, (priorities[op.task], -op.seq, op))
                continue
            if self._step in self._falls:
                self._falls.discard(self._step)
                self._bottom += 1.0
                priorities[op.task] = self._bottom
                heapq.heapreplace(heap, (self._bottom, -op.seq, op))
                continue
            self._step += 1
            heapq.heappop(heap)
            return index
        return len(enabled) - 1

    def choose_busy(self, enabled: Sequence[Op]) -> int:
        return PAUSE if self._draw() < 0.5 else self.choose(enabled)
