"""Every order of completions there is, depth first; for programs whose driver cannot tell which events depend on each other.

No order is left out and none is played twice, so where it ends nothing was missed. Their number grows with the factorial of
what is in flight: four records in pairs have about ninety, twelve in one burst more than anyone can play.
"""

from __future__ import annotations

from collections.abc import Sequence

from vecforensics.race.play import Run
from vecforensics.race.strategies.lab import FirstInFirstOut, Lab
from vecforensics.race.world import Op

__all__ = ["Exhaustive"]


class Exhaustive:
    name = "exhaustive"

    def __init__(self) -> None:
        self.complete = False
        self._path: list[list[int]] = []  # of each choice on the way: [index, number of alternatives]
        self._begun = self._cut = False

    def step(self, lab: Lab) -> Run | None:
        if self._begun and not self._next():
            # An endless program has endless orders: what lies beyond the cut was not played.
            self.complete = not self._cut
            return None
        self._begun = True
        run = lab.play(_Walk(self._path))
        self._cut = self._cut or run.cut
        return run

    def _next(self) -> bool:
        """Move on to the next order: the deepest choice that has another alternative takes it."""
        path = self._path
        while path:
            path[-1][0] += 1
            if path[-1][0] < path[-1][1]:
                return True
            path.pop()
        return False


class _Walk(FirstInFirstOut):
    def __init__(self, path: list[list[int]]) -> None:
        self._path, self._depth = path, 0

    def choose(self, enabled: Sequence[Op]) -> int:
        depth = self._depth
        self._depth += 1
        if depth == len(self._path):
            self._path.append([0, len(enabled)])
        return self._path[depth][0]
