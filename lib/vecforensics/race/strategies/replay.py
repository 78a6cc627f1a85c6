"""Play one schedule again, from the indices of its choices, or from the order of its operations.

`Choices` repeats a schedule exactly; where the program no longer offers what the schedule chose, it has changed, and
`diverged` says so. `Ranked` carries an order over to another set of records: operations are recognised by what they do (kind,
key, how often), and the one that came earliest in the old order completes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vecforensics.race.play import Run
from vecforensics.race.strategies.lab import Choices, FirstInFirstOut, Lab
from vecforensics.race.world import TIMER, Op

__all__ = ["Choices", "Label", "Ranked", "Replay", "labels"]

Label = tuple[int, str, int]


class Replay:
    """A strategy of one schedule."""

    name = "replay"
    complete = False

    def __init__(self, choices: Sequence[int]) -> None:
        self._choices: Sequence[int] | None = choices
        self.diverged = False

    def step(self, lab: Lab) -> Run | None:
        if self._choices is None:
            return None
        chooser = Choices(self._choices)
        self._choices = None
        run = lab.play(chooser)
        self.diverged = chooser.diverged
        return run


def labels(schedule: Iterable[Op]) -> list[Label]:
    """Each operation as (kind, key, how often before)."""
    seen: dict[tuple[int, str], int] = {}
    found = []
    for op in schedule:
        name = (op.kind, op.key)
        seen[name] = count = seen.get(name, -1) + 1
        found.append((op.kind, op.key, count))
    return found


class Ranked(FirstInFirstOut):
    """The enabled operation of the lowest rank. Unknown operations come before those that follow the last known one."""

    def __init__(self, ranks: Mapping[Label, int]) -> None:
        self._ranks = ranks
        self._done: dict[tuple[int, str], int] = {}

    def choose(self, enabled: Sequence[Op]) -> int:
        best, lowest = 0, None
        for index, op in enumerate(enabled):
            name = (op.kind, op.key)
            # A timer that the old order never fired stays back; any other newcomer goes ahead, as in first in, first out.
            rank = self._ranks.get((*name, self._done.get(name, 0)), 10**9 if op.kind == TIMER else -1)
            if lowest is None or rank < lowest:
                best, lowest = index, rank
        chosen = enabled[best]
        name = (chosen.kind, chosen.key)
        self._done[name] = self._done.get(name, 0) + 1
        return best
