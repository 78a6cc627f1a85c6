"""Uniformly random choices: unbiased, cheap, and weak against a failure that needs one operation among many to be last.

Schedule n is drawn from (seed, n) alone: so any process can play any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vecforensics.race.play import PAUSE, Run
from vecforensics.race.strategies.lab import Lab, Seeded
from vecforensics.race.world import Op

__all__ = ["Lots", "Uniform"]


class Uniform(Seeded):
    name = "random"

    def play(self, lab: Lab, number: int) -> Run:
        return lab.sample(Lots(self.chance(number)))


class Lots:
    """A chooser that draws each choice."""

    def __init__(self, draw: Callable[[], float]) -> None:
        self.lots = draw

    def choose(self, enabled: Sequence[Op]) -> int:
        return int(self.lots() * len(enabled))

    def choose_busy(self, enabled: Sequence[Op]) -> int:
        return PAUSE if self.lots() < 0.5 else int(self.lots() * len(enabled))
