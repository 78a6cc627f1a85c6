"""PCT: random priorities, and d − 1 places at which the favourite falls to the bottom.

Each task gets a random priority when its first operation shows; the pending operation of the highest priority completes next.
A failure that d ordering constraints bring about is hit by one schedule with probability at least 1 / (n · k^(d−1)) for n
tasks and k choices (Burckhardt, Kothari, Musuvathi, Nagarakatte: "A randomized scheduler with probabilistic guarantees of
finding bugs", ASPLOS 2010). Depths 1, 2, 3 take turns. Timers count as tasks of their own.

Schedule n is drawn from (seed, n) alone and from k, which is the length of schedule 0: so any process can play any of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from heapq import heappop, heappush, heapreplace
from operator import attrgetter
from typing import Any

from vecforensics.race.play import PAUSE, Run
from vecforensics.race.strategies.lab import Lab, Seeded
from vecforensics.race.world import TIMER

__all__ = ["Pct", "pct_bound"]

_DEPTHS = 3
_seq = attrgetter("seq")


def pct_bound(depth: int, tasks: int, choices: int) -> float:
    """The least probability with which one schedule hits a failure of this depth."""
    return float(1.0 / (max(1, tasks) * max(1, choices) ** (depth - 1)))


class Pct(Seeded):
    name = "pct"

    def play(self, lab: Lab, number: int) -> Run:
        draw = self.chance(number)
        falls = {int(draw() * self.length) for _ in range(number % _DEPTHS)}
        chooser = _Priorities(draw, falls)
        run = lab.sample(chooser)
        self.tasks = max(self.tasks, chooser.ranked)
        return run


class _Priorities:
    """A heap of the pending operations by the rank of who asks; the lowest completes next. The favourite's next operation, mostly
    the one that came last, need not go through it. Cancelled ones are thrown out when they come up. `ranked`: how many have one.
    """

    def __init__(self, draw: Callable[[], float], falls: set[int]) -> None:
        self._draw = draw
        self._falls = falls
        self._fallen = 0
        self._step = self._count = self.ranked = 0
        self._heap: list[tuple[float, int, Any]] = []

    def choose(self, enabled: Sequence[Any]) -> int:
        heap = self._heap
        last = len(enabled) - 1
        timer = None
        if enabled[last].kind == TIMER:
            timer = self._rank(enabled[last])
            last -= 1
        # What is new stands at the end, in the order in which it was begun.
        new = last
        while new >= 0 and not enabled[new].seq:
            new -= 1
        while new < last:
            new += 1
            op = enabled[new]
            self._count = op.seq = self._count + 1
            asker = op.asker
            rank = self._rank(op) if asker is None else asker.rank
            if rank is None:
                rank = self._rank(asker)
            if (
                new == last
                and (not heap or rank < heap[0][0])
                and timer is None
                and self._step not in self._falls
            ):
                self._step += 1
                return last
            heappush(heap, (rank, -op.seq, op))
        while heap:
            rank, order, op = heap[0]
            if timer is not None and timer < rank:
                return len(enabled) - 1
            index = bisect_left(enabled, -order, 0, last + 1, key=_seq)
            asker = op.asker if op.asker is not None else op
            if index > last or enabled[index] is not op:
                heappop(heap)
            elif self._fallen and asker.rank != rank:
                heapreplace(heap, (asker.rank, order, op))
            elif self._step in self._falls:
                self._falls.discard(self._step)
                self._fallen += 1
                asker.rank = float(self._fallen)
                heapreplace(heap, (asker.rank, order, op))
            else:
                self._step += 1
                heappop(heap)
                return index
        return len(enabled) - 1

    def _rank(self, of: Any) -> float:
        """That of a task, or of a timer; drawn when it shows first."""
        rank: float | None = of.rank
        if rank is None:
            self.ranked += 1
            rank = of.rank = self._draw()
        return rank

    def choose_busy(self, enabled: Sequence[Any]) -> int:
        return PAUSE if self._draw() < 0.5 else self.choose(enabled)
