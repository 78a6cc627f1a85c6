"""Uniformly random choices: unbiased, cheap, and weak against a failure that needs one operation among many to be last."""

from __future__ import annotations

import random
from collections.abc import Sequence

from vecforensics.race.play import PAUSE, Run
from vecforensics.race.strategies.lab import Lab
from vecforensics.race.world import Op

__all__ = ["Uniform"]


class Uniform:
    name = "random"
    complete = False

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(f"uniform/{seed}").random  # noqa: S311  (a seeded schedule, not a secret)

    def step(self, lab: Lab) -> Run | None:
        return lab.play(self)

    def choose(self, enabled: Sequence[Op]) -> int:
        return int(self._draw() * len(enabled))

    def choose_busy(self, enabled: Sequence[Op]) -> int:
        return PAUSE if self._draw() < 0.5 else int(self._draw() * len(enabled))
