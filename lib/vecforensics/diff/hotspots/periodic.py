"""Every k-th row: does damage come back at the same places of a period, among all rows or within a stretch of them?

Rows of a stretch that follow one another count once here, however long the stretch is: what must come back are its beginnings.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from vecforensics.diff.hotspots.lines import Population
from vecforensics.diff.hotspots.parts import Part, at_places, every, periods, positions
from vecforensics.diff.hotspots.scan import scan_values
from vecforensics.diff.hotspots.statistics import Ints, log_tail
from vecforensics.diff.hotspots.windows import Counts, may_hold

__all__ = ["Among", "Period"]


@dataclass(frozen=True, slots=True)
class Period:
    """Places of a period at which damage comes back, with counts, p-value (log), gain and what saying it costs (nats)."""

    part: Part
    hits: int
    size: int
    log_p: float
    gain: float
    cost: float


@dataclass(frozen=True)
class Among:
    """Damaged rows among some rows. `bad`: their indices, ascending; `number`: the how many-th of the rows each is, from 0;
    `rows`: how many rows there are; `sizes`: how many of them stand at each place of each period."""

    population: Population
    bad: npt.NDArray[Any]
    number: npt.NDArray[Any]
    rows: int
    sizes: Counts

    def best_period(self, worth: float, longest: int) -> Period | None:
        """Every k-th row, for all periods up to `longest`, as one test; None unless its log p-value is `worth` or less."""
        tried = [period for period in periods(self.population) if period <= longest]
        if not tried:
            return None
        choice = float(np.log(len(tried)))
        worth -= choice
        here, hits = positions(self.population, self.bad), at_places(self.population, self.bad)
        best: Period | None = None
        for number in may_hold(hits, self.sizes, worth):
            if number >= len(tried):
                break
            found = scan_values(hits[number], self.sizes[number], worth, singles=True)
            if found is None:
                continue
            period = tried[number]
            place = here % period
            inside = (place >= found.first) & (place <= found.last)
            if not self._comes_back(inside, here // period):
                continue
            places = float(np.log(period * (period + 1) / 2))
            log_p = max(found.log_p, self.log_p_of_stretches(inside, found.size) + places)
            if log_p > worth:
                continue
            part = every(period, found.first, found.last)
            one = Period(part, found.hits, found.size, log_p + choice, found.gain, choice + places)
            if best is None or one.gain - one.cost > best.gain - best.cost:
                best = one
        return best

    def log_p_of_stretches(self, inside: npt.NDArray[np.bool_] | slice, size: int) -> float:
        """The p-value (log) of a place of `size` rows when damaged rows that follow one another count once: a row is damaged or
        not given that the one before it is sound. Stretches that lie anywhere then make no pattern, however long they are.
        `inside`: which damaged rows lie in the place."""
        here = self._goes_on[inside]
        going_on, going_on_here = np.count_nonzero(self._goes_on), np.count_nonzero(here)
        starts, starts_here = len(self.bad) - going_on, len(here) - going_on_here
        return float(log_tail(starts_here, size - going_on_here, starts, self.rows - going_on))

    @cached_property
    def _goes_on(self) -> npt.NDArray[np.bool_]:
        """Which damaged rows follow another one, among the rows and within a collection."""
        follows: npt.NDArray[np.bool_] = np.r_[False, self.number[1:] == self.number[:-1] + 1]
        begins = np.searchsorted(self.bad, self.population.starts)
        follows[begins[begins < len(follows)]] = False
        return follows

    def _comes_back(self, inside: npt.NDArray[np.bool_], turn: Ints) -> bool:
        """Whether damage stands at the places of at least three periods of one collection, or of two of several: a single stretch
        that happens to lie at some place of some period is a run. `inside`: which damaged rows stand at these places; `turn`: in
        the how many-th period each stands, counted from 0."""
        collection = np.searchsorted(self.population.starts, self.bad[inside], side="right") - 1
        turns, of = turn[inside], len(self.population.starts)
        # Damaged rows are in order: periods begin where the turn changes or the collection.
        periods_hit = 1 + np.count_nonzero((turns[1:] != turns[:-1]) | (collection[1:] != collection[:-1]))
        collections_hit = np.count_nonzero(np.bincount(collection, minlength=of))
        return int(periods_hit - collections_hit) >= 2
