"""How many rows of which stratum are looked at: fixed before anything is looked at, so that it can bias nothing.

Ids are cheap and stay exact; contents cost an embedding each. A sample of them is drawn by strata: each collection, and in it
apart what lies in a hot spot that the ids have shown already and what does not. Every stratum gets the same fraction of its
rows, small ones at least a minimum, so that a spot of fifty rows among a million is looked at at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from vecforensics.errors import InputError

__all__ = ["SamplePlan", "Stratum", "plan_sample"]

MINIMUM: Final = 50  # rows a stratum: none wrong among 50 says "below 7 %"


@dataclass(frozen=True, slots=True)
class Stratum:
    """`drawn` of the `size` rows are looked at. `own`: its fraction is its own (the minimum), not that of the other strata."""

    name: str
    size: int
    drawn: int
    own: bool


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """Which share of which stratum, fixed before anything is looked at."""

    strata: tuple[Stratum, ...]
    requested: int

    @property
    def drawn(self) -> int:
        return sum(stratum.drawn for stratum in self.strata)

    @property
    def size(self) -> int:
        return sum(stratum.size for stratum in self.strata)


def plan_sample(sizes: Mapping[str, int], requested: int, *, minimum: int = MINIMUM) -> SamplePlan:
    """How many rows of each stratum to look at: one fraction for all, at least `minimum` (or the whole stratum) of each.

    At most `requested` rows in all. Raises InputError if that is less than one a stratum.
    """
    filled = {name: size for name, size in sizes.items() if size > 0}
    if requested < max(len(filled), 1):
        raise InputError(
            f"a sample of {requested} is too small for {len(filled)} strata",
            hint="Ask for at least one row a stratum",
        )
    least = min(minimum, requested // max(len(filled), 1))

    def drawn(fraction: float) -> dict[str, int]:
        return {name: min(size, max(least, int(np.ceil(fraction * size)))) for name, size in filled.items()}

    low, high = 0.0, 1.0
    if sum(drawn(1.0).values()) <= requested:
        low = 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(drawn(middle).values()) <= requested else (low, middle)
    strata = tuple(
        Stratum(name, filled[name], count, least > int(np.ceil(low * filled[name])) and count < filled[name])
        for name, count in drawn(low).items()
    )
    return SamplePlan(strata, requested)
