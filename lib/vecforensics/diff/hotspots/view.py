"""The damage of one kind, and the rows among which it is looked for, as counts that shrink when a spot is taken out.

What a spot explains is set aside, its sound rows too, and the rest is looked at afresh: so the same batch is not reported
again as a run of rows, a range of ids and a plan that happens to be frequent in it. All counting is `bincount` over narrow
codes and sorting of the damaged rows; nothing loops over rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.hotspots.lines import Population
from vecforensics.diff.hotspots.parts import (
    Part,
    at_places,
    covered_by_all,
    periods,
    run,
    tails,
    values,
)
from vecforensics.diff.hotspots.periodic import Among
from vecforensics.diff.hotspots.risk import AtRisk, sizes_of
from vecforensics.diff.hotspots.scan import Tied, scan_ranks, scan_values
from vecforensics.diff.hotspots.statistics import (
    Floats,
    Ints,
    log_likelihood_ratio,
    log_tail,
    smallest_log_p,
)
from vecforensics.diff.hotspots.windows import Counts
from vecforensics.diff.id_order import narrow

__all__ = ["MOST_CELLS", "Candidate", "Cells", "View"]

MOST_CELLS: Final = (
    1 << 20
)  # a table of two categories beyond this is not laid out; drilling down still finds its cells
_KEPT_CELLS: Final = 64
_KEPT_VALUES: Final = 3


@dataclass(frozen=True, slots=True)
class Candidate:
    """Parts that all must hold, with counts among the rows still looked at, and what saying each of them costs (nats)."""

    parts: tuple[Part, ...]
    hits: int
    size: int
    log_p: float
    gain: float
    costs: tuple[float, ...]

    @property
    def score(self) -> float:
        return self.gain - sum(self.costs)


@dataclass(frozen=True, slots=True)
class Cells:
    """The fullest cells of the table of two categories for one kind: codes, rows, damaged rows; and the tests it stands for."""

    pair: tuple[int, int]
    first: Ints
    second: Ints
    sizes: Ints
    hits: Ints
    total: int
    bad: int


def _without(before: npt.NDArray[Any], gone: npt.NDArray[Any]) -> Tied:
    """The ranks of an order (`Order.before`) without the rows that have the ranks `gone`, ascending."""
    return Tied(len(before) - 1, lambda ranks: before[ranks] - np.searchsorted(gone, ranks))


@dataclass(slots=True)
class View:
    """The rows still looked at for one kind. `bad`: damaged rows (indices), sorted; `gone`, sorted: those looked at no longer, or
    never, since they were not `at_risk`; `sizes`: of each category the rows a code; `places`: of each period those a place,
    None while nothing was taken out."""

    kind: str
    population: Population
    bad: npt.NDArray[Any]
    sizes: list[Ints]
    first_bad: int
    at_risk: AtRisk
    gone: npt.NDArray[Any] = field(init=False)
    places: Counts | None = None
    cells: list[Cells] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gone = self.at_risk.gone

    def hits(self, at: int) -> Ints:
        category = self.population.categories[at]
        return np.bincount(category.codes[self.bad], minlength=len(category.labels) + 1).astype(np.int64)

    @property
    def rows(self) -> int:
        """How many rows are still looked at."""
        return self.population.rows - len(self.gone)

    def alive(self, parts: tuple[Part, ...]) -> npt.NDArray[np.bool_]:
        """Which rows, of those still looked at, all `parts` cover."""
        mask = covered_by_all(parts, self.population)
        mask[self.gone] = False
        return mask

    def take_out(self, parts: tuple[Part, ...]) -> None:
        """Set aside every row, damaged or not, that all `parts` cover."""
        inside = self.alive(parts)
        rows = np.flatnonzero(inside).astype(narrow(self.population.rows))
        bad_inside = inside[self.bad]
        leaving, self.bad = self.bad[bad_inside], self.bad[~bad_inside]
        for at, category in enumerate(self.population.categories):
            self.sizes[at] = self.sizes[at] - sizes_of(category.codes[rows], len(category.labels))
        if periods(self.population):
            self.places = (self.places or self.at_risk.places) - at_places(self.population, rows)
        self.gone = np.sort(np.concatenate([self.gone, rows]))
        self.cells = [self._without(cells, rows, leaving) for cells in self.cells]

    def _without(self, cells: Cells, rows: npt.NDArray[Any], leaving: npt.NDArray[Any]) -> Cells:
        width = len(self.population.categories[cells.pair[1]].labels) + 1
        keys = cells.first * width + cells.second

        def count(which: npt.NDArray[Any]) -> tuple[Ints, int]:
            one, two = (self.population.categories[at].codes[which].astype(np.int64) for at in cells.pair)
            known = (one > 0) & (two > 0)
            found = np.searchsorted(keys, one[known] * width + two[known])
            found = np.minimum(found, len(keys) - 1)
            same = keys[found] == (one[known] * width + two[known])
            return np.bincount(found[same], minlength=len(keys)), int(known.sum())

        sizes, total = count(rows)
        hits, bad = count(leaving)
        return Cells(
            cells.pair,
            cells.first,
            cells.second,
            cells.sizes - sizes,
            cells.hits - hits,
            cells.total - total,
            cells.bad - bad,
        )

    def value_tests(self, at: int, limit: float, worth: float) -> tuple[Floats, list[Candidate]]:
        """Each value of category `at` as a test: (log p of all that are small enough to matter, the best few as candidates)."""
        sizes, hits = self.sizes[at].copy(), self.hits(at)
        sizes[0] = hits[0] = 0
        total, bad = int(sizes.sum()), int(hits.sum())
        full = np.flatnonzero(hits > 1)
        if bad < 2 or bad == total or len(full) == 0:
            return np.zeros(0), []
        log_p = log_tail(hits[full], sizes[full], bad, total)
        small = log_p <= worth
        full, log_p = full[small], log_p[small]
        if len(full) == 0:
            return log_p, []
        tests = smallest_log_p(sizes[full], bad, total) <= limit
        full, log_p = full[tests], log_p[tests]
        gain = log_likelihood_ratio(hits[full], sizes[full], bad, total)
        cost = float(np.log(len(sizes) - 1))
        best = np.argsort(-gain, kind="stable")[:_KEPT_VALUES]
        return log_p, [
            Candidate(
                (values(self.population, at, int(full[i]), int(full[i])),),
                int(hits[full[i]]),
                int(sizes[full[i]]),
                float(log_p[i]),
                float(gain[i]),
                (cost,),
            )
            for i in best
        ]

    def range_test(self, at: int, worth: float) -> Candidate | None:
        """Ranges of neighbouring values of an ordered category, as one test."""
        found = scan_values(self.hits(at)[1:], self.sizes[at][1:], worth)
        if found is None:
            return None
        count = len(self.sizes[at]) - 1
        part = values(self.population, at, found.first + 1, found.last + 1)
        cost = float(np.log(count * (count + 1) / 2))
        return Candidate((part,), found.hits, found.size, found.log_p, found.gain, (cost,))

    def run_test(self, name: str, worth: float) -> Candidate | None:
        """Runs in an order, as one test: where each rank is one row's, they are closed up over the rows that were set aside, then
        opened again."""
        order = self.population.order(name)
        ranks, gone = order.of(self.bad), order.of(self.gone)
        if order.ranks is not None:
            ranks, gone = np.sort(ranks[ranks >= 0]), np.sort(gone[gone >= 0])
        known = order.known - len(gone)
        if order.before is not None:
            found = scan_ranks(ranks, known, worth, tied=_without(order.before, gone))
        else:
            starts = self.population.starts
            borders = starts - np.searchsorted(gone, starts) if order.ranks is None else None
            closed = ranks - np.searchsorted(gone, ranks)
            found = scan_ranks(closed, known, worth, borders)
            if found is not None:
                first, last = ranks[np.searchsorted(closed, [found.first, found.last])].tolist()
                found = replace(found, first=first, last=last)
        if found is None:
            return None
        part = run(self.population, name, found.first, found.last)
        cost = float(np.log(known) * 2 - np.log(2))
        return Candidate((part,), found.hits, found.size, found.log_p, found.gain, (cost,))

    def period_test(self, worth: float) -> Candidate | None:
        """Every k-th row, for all periods, as one test."""
        if self.population.side != "source" or not periods(self.population):
            return None
        found = self._among().best_period(worth, max(periods(self.population)))
        if found is None:
            return None
        return Candidate((found.part,), found.hits, found.size, found.log_p, found.gain, (found.cost,))

    def _among(self) -> Among:
        """What is damaged among the rows still looked at."""
        number = self.bad - np.searchsorted(self.gone, self.bad)
        return Among(self.population, self.bad, number, self.rows, self.places or self.at_risk.places)

    def tail_tests(self) -> Iterator[Candidate]:
        """What lies beyond the last full hundred, thousand, ...: each tail is a test of its own. One whose damage lies in less
        than half of it is a run, and one that is damaged from end to end is a tail whatever the rest looks like."""
        total, bad = self.rows, len(self.bad)
        ends = tails(self.population)
        if self.population.side != "source" or bad == total or not ends:
            return
        first, last = np.array(ends).T
        begin, end = np.searchsorted(self.bad, first), np.searchsorted(self.bad, last, side="right")
        away = np.searchsorted(self.gone, last, side="right") - np.searchsorted(self.gone, first)
        among = self._among()
        for at in np.flatnonzero(end - begin > 1).tolist():
            inside, rows = slice(begin[at], end[at]), int(last[at] - first[at]) + 1
            if 2 * int(self.bad[inside][-1] - self.bad[inside][0] + 1) < rows:
                continue
            hits, size = int(end[at] - begin[at]), rows - int(away[at])
            log_p = float(log_tail(hits, size, bad, total))
            if hits < size:
                log_p = max(log_p, among.log_p_of_stretches(inside, size))
            gain = float(log_likelihood_ratio(hits, size, bad, total))
            part = run(self.population, "position", *ends[at])
            yield Candidate((part,), hits, size, log_p, gain, (float(np.log(len(ends))),))

    def add_cells(self, pair: tuple[int, int], table: Ints) -> tuple[Floats, Ints]:
        """Keep the fullest cells of a pair of categories, given rows a cell; returns (smallest log p, how many cells have it)."""
        one, two = (self.population.categories[at] for at in pair)
        width = len(two.labels) + 1
        shaped = table.reshape(-1, width)[1:, 1:]
        codes = one.codes[self.bad].astype(np.int64), two.codes[self.bad].astype(np.int64)
        known = (codes[0] > 0) & (codes[1] > 0)
        cell, hits = np.unique(codes[0][known] * width + codes[1][known], return_counts=True)
        kept = np.sort(np.argsort(-hits, kind="stable")[:_KEPT_CELLS])
        total, bad = int(shaped.sum()), int(known.sum())
        if len(kept):
            cell = cell[kept]
            self.cells.append(Cells(pair, cell // width, cell % width, table[cell], hits[kept], total, bad))
        counts = np.bincount(shaped.ravel())
        sizes = np.flatnonzero(counts[1:]) + 1
        return (smallest_log_p(sizes, bad, total) if 0 < bad < total else np.zeros(len(sizes))), counts[sizes]

    def cell_tests(self, cells: Cells, limit: float, worth: float) -> tuple[Floats, list[Candidate]]:
        """Each cell of a pair of categories as a test."""
        if cells.bad < 2 or cells.bad == cells.total:
            return np.zeros(0), []
        log_p = log_tail(cells.hits, np.maximum(cells.sizes, 1), cells.bad, cells.total)
        small = np.flatnonzero((log_p <= worth) & (cells.hits > 1))
        if len(small) == 0:
            return log_p[small], []
        small = small[smallest_log_p(cells.sizes[small], cells.bad, cells.total) <= limit]
        gain = log_likelihood_ratio(cells.hits, cells.sizes, cells.bad, cells.total)
        costs = tuple(float(np.log(len(self.population.categories[at].labels))) for at in cells.pair)
        best = small[np.argsort(-gain[small], kind="stable")[:_KEPT_VALUES]]
        one, two = cells.pair
        return log_p[small], [
            Candidate(
                (
                    values(self.population, one, int(cells.first[i]), int(cells.first[i])),
                    values(self.population, two, int(cells.second[i]), int(cells.second[i])),
                ),
                int(cells.hits[i]),
                int(cells.sizes[i]),
                float(log_p[i]),
                float(gain[i]),
                costs,
            )
            for i in best
        ]
