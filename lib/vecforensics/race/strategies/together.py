"""Two completions in one round of the event loop, or a round or two apart: the second granularity, swept in order.

Between completions a program normally runs until it is quiet. When two answers arrive at the same moment it does not: both tasks
wake in one round and take their next steps side by side, so a `sleep(0)` between writing a shared slot and reading it again is
enough to lose it. The sweep goes along the first-in-first-out run and lets, at each place, one of the next operations land
together with the oldest one, or after its first or second round. Everything else stays as it was, so that what fails reads
simply.
"""

from __future__ import annotations

from collections.abc import Sequence

from vecforensics.race.play import PAUSE, Run
from vecforensics.race.strategies.lab import FirstInFirstOut, Lab
from vecforensics.race.world import Op

__all__ = ["Together"]

_NEIGHBOURS = 3
_ROUNDS = 3


class Together:
    """Only for a lab that is `fine`. `limit`: schedules at most; a longer sweep is thinned out evenly."""

    name = "together"
    complete = False

    def __init__(self, limit: int = 10**9) -> None:
        self._limit = limit
        self._plans: list[tuple[int, int, int]] | None = None

    def step(self, lab: Lab) -> Run | None:
        if self._plans is None:
            base = lab.play(FirstInFirstOut())
            # Together first, at every place, then a round apart: the likeliest comes early.
            plans = [
                (place, neighbour, rounds)
                for rounds in range(_ROUNDS)
                for neighbour in range(_NEIGHBOURS)
                for place in range(len(base.schedule) - 1)
            ]
            stride = max(1, -(-len(plans) // max(1, self._limit - 1)))
            self._plans = plans[::stride][::-1]
            return base
        if not self._plans:
            return None
        return lab.play(_Pair(*self._plans.pop()))


class _Pair(FirstInFirstOut):
    def __init__(self, place: int, neighbour: int, rounds: int) -> None:
        self._place, self._neighbour, self._rounds = place, neighbour, rounds

    def choose(self, enabled: Sequence[Op]) -> int:
        self._place -= 1
        return 0

    def choose_busy(self, enabled: Sequence[Op]) -> int:
        if self._place != -1:
            return PAUSE
        if self._rounds > 0:
            self._rounds -= 1
            return PAUSE
        self._place = -2
        return min(self._neighbour, len(enabled) - 1)
