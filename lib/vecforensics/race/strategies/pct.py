"""PCT: random priorities, and d − 1 places at which the favourite falls to the bottom.

Each task gets a random priority when its first operation shows; the pending operation of the highest priority completes next.
A failure that d ordering constraints bring about is hit by one schedule with probability at least 1 / (n · k^(d−1)) for n
tasks and k choices (Burckhardt, Kothari, Musuvathi, Nagarakatte: "A randomized scheduler with probabilistic guarantees of
finding bugs", ASPLOS 2010). Depths 1, 2, 3 take turns. Timers count as tasks of their own.

Schedule n is drawn from (seed, n) alone and from k, which is the length of schedule 0: so any process can play any of them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from typing import Any

from vecforensics.race.play import PAUSE, Run
from vecforensics.race.strategies.lab import Lab, Seeded
from vecforensics.race.world import TIMER

__all__ = ["Pct", "pct_bound"]

_DEPTHS = 3
_NEVER = 10**9


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
    """Pending operations in the order of their askers' ranks, the lowest rank last: it completes next. The favourite's next
    operation, mostly the one that came last, need not go in. Cancelled ones are thrown out when they come up. `ranked`: how many
    have a rank. `steady`: choices until the next fall (see `Chooser`)."""

    def __init__(self, draw: Callable[[], float], falls: set[int]) -> None:
        self._draw = draw
        self._falls = sorted(falls, reverse=True)
        self._fallen = self._count = self.ranked = 0
        self.steady = self._falls[-1] if falls else _NEVER
        self._line: list[tuple[float, int, Any]] = []  # (-rank, seq, operation)
        self._seqs: list[int] = []  # of what is enabled, in its order

    def choose(self, enabled: Sequence[Any]) -> int:
        line, seqs = self._line, self._seqs
        last = len(enabled) - 1
        op = enabled[last]
        timer = None
        if op.kind == TIMER:
            timer = self._rank(op)
            last -= 1
        elif op.seq:
            # Nothing is new: the task that was chosen last has ended, or waits for another.
            if self.steady and line and len(seqs) == last + 1:
                index = bisect_left(seqs, line[-1][1])
                if index <= last and enabled[index] is line[-1][2]:
                    self.steady -= 1
                    del line[-1], seqs[index]
                    return index
        elif (not last or enabled[last - 1].seq) and op.asker is not None:
            # One is new: what most choices find.
            rank = op.asker.rank
            if rank is None:
                rank = self._rank(op.asker)
            self._count = op.seq = self._count + 1
            if (not line or -rank > line[-1][0]) and self.steady:
                self.steady -= 1
                return last
            insort(line, (-rank, op.seq, op))
            seqs.append(op.seq)
        # What is new stands at the end, in the order in which it was begun.
        new = last
        while new >= 0 and not enabled[new].seq:
            new -= 1
        if new < last:
            count, draw = self._count, self._draw
            for op in enabled[new + 1 : last + 1]:
                op.seq = count = count + 1
                asker = op.asker if op.asker is not None else op
                if asker.rank is None:
                    asker.rank = draw()
                    self.ranked += 1
                line.append((-asker.rank, count, op))
                seqs.append(count)
            self._count = count
            line.sort()
        if len(seqs) != last + 1:  # something was cancelled
            seqs[:] = [op.seq for op in enabled[: last + 1]]
        while line:
            rank, order, op = line[-1]
            if timer is not None and timer < -rank:
                return len(enabled) - 1
            index = bisect_left(seqs, order)
            if index > last or enabled[index] is not op:
                line.pop()
            elif not self.steady:
                self._fall(op)
            else:
                self.steady -= 1
                line.pop()
                seqs.pop(index)
                return index
        return len(enabled) - 1

    def _fall(self, op: Any) -> None:
        """Who asks for `op` has the highest rank from now on, above those that fell before."""
        self._fallen += 1
        asker = op.asker if op.asker is not None else op
        asker.rank = float(self._fallen)
        self._line[:] = sorted(
            (-float((op.asker if op.asker is not None else op).rank), order, op)
            for _, order, op in self._line
        )
        fell = self._falls.pop()
        self.steady = self._falls[-1] - fell if self._falls else _NEVER

    def _rank(self, of: Any) -> float:
        """That of a task, or of a timer; drawn when it shows first."""
        rank: float | None = of.rank
        if rank is None:
            self.ranked += 1
            rank = of.rank = self._draw()
        return rank

    def choose_busy(self, enabled: Sequence[Any]) -> int:
        return PAUSE if self._draw() < 0.5 else self.choose(enabled)
