"""One schedule: operations complete in the order in which they began, as in a test against an in-memory store.

What fails here needs no race; what passes here is what the author saw.
"""

from __future__ import annotations

from vecforensics.race.play import Run
from vecforensics.race.strategies.lab import FirstInFirstOut, Lab

__all__ = ["Fifo"]


class Fifo:
    name = "fifo"

    def __init__(self) -> None:
        self.complete = False
        self._played = False

    def step(self, lab: Lab) -> Run | None:
        if self._played:
            return None
        self._played = True
        run = lab.play(FirstInFirstOut())
        # With never more than one thing to choose from this was all there is.
        self.complete = not any(run.choices) and run.single
        return run
