"""The search for hot spots: test everything, take the best description out, look at what remains, until nothing is left.

In each round every kind of finding is tested against every value, range, run, period, tail and pair of values; the false
discovery rate is held over all of them together, with all tests of the earlier rounds counted in. Among the significant
descriptions the best is the one that gains the most likelihood for the words it needs: a description out of n possible ones
costs log n (minimum description length), so of a batch, the run of rows that is that batch and the range of its ids the
batch is said, and a pair of values only where it explains more than either alone.

A significant description is then tried for a narrower one: within its rows alone, does the damage gather once more
("batches 17–19", and within them "worker 3")? These tests are counted too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.hotspots.lines import Population
from vecforensics.diff.hotspots.narrow import narrower
from vecforensics.diff.hotspots.parts import ROUND_NUMBERS, Part, covered_by_all
from vecforensics.diff.hotspots.risk import AtRisk, count_pair, sizes_of
from vecforensics.diff.hotspots.statistics import (
    Floats,
    by_adjust,
    can_be_hot,
    log_likelihood_ratio,
    smallest_log_p,
)
from vecforensics.diff.hotspots.view import MOST_CELLS, Candidate, View

__all__ = ["Claim", "Limits", "search"]

_SEEDS: Final = 3
_SAME_ROWS: Final = 0.9
_NO_LOSS: Final = 0.99
_STRIKING: Final = 20.0


@dataclass(frozen=True, slots=True)
class Limits:
    """When a gathering is worth a sentence. `level`: false-discovery rate; `share`: part of a kind's rows that it must hold, a
    fifth of that where the odds inside are 20 times those outside; `odds`: how many times the odds outside those inside must
    be; `rows`: damaged rows; `spots` and `parts`: at most so many.
    """

    level: float = 0.01
    share: float = 0.05
    odds: float = 2.0
    rows: int = 3
    spots: int = 5
    parts: int = 3


@dataclass(frozen=True, slots=True)
class Claim:
    """One spot: what it is, and the adjusted p-value (log) under which it was accepted. `also`: other names for the rows."""

    kind: str
    parts: tuple[Part, ...]
    log_q: float
    score: float
    also: tuple[tuple[Part, ...], ...]


class _Control:
    """The tests of the run so far, and the adjusted p-values of this round's."""

    def __init__(self, level: float) -> None:
        self.level, self.tests, self.extra = level, 0, 0
        self._log_p: Floats = np.zeros(0)
        self._log_q: Floats = np.zeros(0)

    def round(self, log_p: list[Floats], tests: int) -> None:
        self.tests += tests + self.extra
        self.extra = 0
        self._log_p = np.sort(np.concatenate([*log_p, np.zeros(0)]))
        self._log_q = by_adjust(self._log_p, self.tests)

    def log_q(self, log_p: float) -> float:
        at = int(np.searchsorted(self._log_p, log_p))
        return float(self._log_q[at]) if at < len(self._log_p) else 0.0

    def one_more(self, log_p: float, tests: int) -> float:
        """The adjusted p-value of the smallest of `tests` further tests, as if it were the only small one of the run."""
        self.extra += tests
        return float(by_adjust(np.asarray([log_p]), self.tests + self.extra)[0])


def search(
    population: Population,
    damaged: Mapping[str, npt.NDArray[Any]],
    limits: Limits,
    at_risk: Mapping[str, AtRisk] | None = None,
) -> tuple[list[Claim], int]:
    """(claims in the order of kinds and rounds, number of tests made). `damaged`: for each kind the indices of its rows,
    ascending; `at_risk`: the rows among which a kind is looked for, all where it is not named."""
    of_all = [sizes_of(item.codes, len(item.labels)) for item in population.categories]
    everybody = AtRisk.everybody(population)
    sharing: dict[AtRisk, list[View]] = {}
    for kind, rows in damaged.items():
        risk = (at_risk or {}).get(kind, everybody)
        # A kind that a row shows beside one that should have hidden it says nothing about the others.
        bad = risk.those_of(rows)
        if limits.rows <= len(bad) < risk.rows:
            same = sharing.setdefault(risk, [])
            sizes = same[0].sizes if same else risk.sizes(of_all)
            same.append(View(kind, population, bad, list(sizes), len(bad), risk))
    views = [view for same in sharing.values() for view in same]
    limit, tests = _lay_down_tests(population, sharing, limits.level)
    control, claims = _Control(limits.level), []
    for _ in range(limits.spots):
        small: list[Floats] = []
        candidates = {view.kind: _candidates(view, limit, limits, small) for view in views}
        control.round(small, tests * len(views))
        going_on = []
        for view in views:
            claim = _best(view, candidates[view.kind], control, limits)
            if claim is not None:
                claims.append(claim)
                view.take_out(claim.parts)
                if len(view.bad) >= max(limits.rows, limits.share / 5 * view.first_bad):
                    going_on.append(view)
        views = going_on
        if not views:
            break
    return claims, control.tests + control.extra


def _lay_down_tests(
    population: Population, sharing: Mapping[AtRisk, list[View]], level: float
) -> tuple[float, int]:
    """(log of Tarone's limit on the smallest p-value, tests a kind): decided by sizes, before the damage is looked at."""
    families = []
    views = [view for same in sharing.values() for view in same]
    for view in views:
        for at in range(len(population.categories)):
            known = view.sizes[at][1:]
            size, count = np.unique(known[known > 0], return_counts=True)
            bad, total = int(view.hits(at)[1:].sum()), int(known.sum())
            if 0 < bad < total:
                families.append((smallest_log_p(size, bad, total), count))
    for pair in combinations(range(len(population.categories)), 2):
        one, two = (population.categories[at] for at in pair)
        if (len(one.labels) + 1) * (len(two.labels) + 1) <= MOST_CELLS:
            of_all = count_pair(one, two)
            for risk, same in sharing.items():
                table = risk.pair(one, two, of_all)
                families.extend(view.add_cells(pair, table) for view in same)
    limit, tests = can_be_hot(families, level)
    scans = (
        sum(item.ordered for item in population.categories)
        + len(population.orders)
        + 1
        + len(ROUND_NUMBERS) * len(population.starts)
    )
    return limit, -(-tests // max(len(views), 1)) + scans


def _candidates(view: View, limit: float, limits: Limits, small: list[Floats]) -> list[Candidate]:
    """All descriptions worth comparing; the log p-values of all tests that could matter are appended to `small`."""
    worth = float(np.log(limits.level))
    found: list[Candidate] = []
    single: list[Candidate | None] = []
    for at, category in enumerate(view.population.categories):
        log_p, best = view.value_tests(at, limit, worth)
        small.append(log_p)
        found += best
        if category.ordered:
            single.append(view.range_test(at, worth))
    single += view.tail_tests()
    single += [view.run_test(order.name, worth) for order in view.population.orders]
    single.append(view.period_test(worth))
    for cells in view.cells:
        log_p, best = view.cell_tests(cells, limit, worth)
        small.append(log_p)
        found += best
    kept = [one for one in single if one is not None and one.log_p <= worth]
    small.append(np.asarray([one.log_p for one in kept]))
    return found + kept


def _worth_saying(view: View, one: Candidate, limits: Limits) -> bool:
    bad, total = len(view.bad), view.rows
    inside = (one.hits + 0.5) / (one.size - one.hits + 0.5)
    outside = (bad - one.hits + 0.5) / (total - one.size - (bad - one.hits) + 0.5)
    # A small share is worth it where the place is nearly all damaged and the rest is not.
    share = limits.share if inside < _STRIKING * outside else limits.share / 5
    return one.hits >= max(limits.rows, share * view.first_bad) and inside >= limits.odds * outside


def _best(view: View, candidates: list[Candidate], control: _Control, limits: Limits) -> Claim | None:
    level = float(np.log(limits.level))
    significant = [one for one in candidates if control.log_q(one.log_p) <= level and one.score > 0]
    significant.sort(key=lambda one: -one.score)
    choices = [(one, control.log_q(one.log_p)) for one in significant if _worth_saying(view, one, limits)]
    # A seed need not be worth a sentence itself: worker 3 and batch 17 may each be faint, and their meeting all damaged.
    for seed in significant[:_SEEDS]:
        narrowed, log_q = seed, control.log_q(seed.log_p)
        while (
            len(narrowed.parts) < limits.parts
            and (step := _narrowed(view, narrowed, control, limits)) is not None
        ):
            narrowed, log_q = step[0], max(log_q, step[1])
        if narrowed is not seed and _worth_saying(view, narrowed, limits):
            choices.append((narrowed, log_q))
    if not choices:
        return None
    best, log_q = max(choices, key=lambda choice: choice[0].score)
    best = _shortest(view, best)
    also = _other_names(view, best, [one for one in significant if one is not best])
    return Claim(view.kind, best.parts, log_q, best.score, also)


def _narrowed(
    view: View, seed: Candidate, control: _Control, limits: Limits
) -> tuple[Candidate, float] | None:
    """The best narrowing of `seed` by one more part and its adjusted p-value (log), if it is significant within the seed's rows
    and gains more than it costs."""
    best, tests = narrower(view, seed, float(np.log(limits.level)))
    if best is not None and best.score <= seed.score:
        best = None
    log_q = control.one_more(best.log_p if best is not None else 0.0, tests)
    return (best, log_q) if best is not None and log_q <= np.log(limits.level) else None


def _shortest(view: View, one: Candidate) -> Candidate:
    """`one` without the parts that leave nothing out (a run within a batch is that run), or so little that choosing the line for
    it costs more than it gains (a field that nearly all rows of the place have)."""
    bad, total = len(view.bad), view.rows
    lines = len(view.population.categories) + len(view.population.orders)
    gained = float(log_likelihood_ratio(one.hits, one.size, bad, total))
    for at in range(len(one.parts)):
        fewer = one.parts[:at] + one.parts[at + 1 :]
        if not fewer:
            continue
        rows = view.alive(fewer)
        size, hits = int(np.count_nonzero(rows)), int(np.count_nonzero(rows[view.bad]))
        gain = float(log_likelihood_ratio(hits, size, bad, total))
        if one.size >= _NO_LOSS * size or gained < gain + np.log(lines):
            costs = one.costs[:at] + one.costs[at + 1 :]
            return _shortest(view, replace(one, parts=fewer, size=size, hits=hits, gain=gain, costs=costs))
    return one


def _other_names(view: View, best: Candidate, others: list[Candidate]) -> tuple[tuple[Part, ...], ...]:
    """Descriptions that cover nearly the same rows (Jaccard index of 0.9 or more), one a dimension."""
    mine = covered_by_all(best.parts, view.population)
    said = {tuple(part.dimension for part in best.parts)}
    names = []
    for one in others:
        dimensions = tuple(part.dimension for part in one.parts)
        if len(one.parts) > 1 or dimensions in said or not 0.8 <= one.size / max(best.size, 1) <= 1.25:
            continue
        theirs = covered_by_all(one.parts, view.population)
        if np.count_nonzero(mine & theirs) >= _SAME_ROWS * np.count_nonzero(mine | theirs):
            said.add(dimensions)
            names.append(one.parts)
    return tuple(names)
