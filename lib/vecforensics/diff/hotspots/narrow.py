"""A place narrowed by one more part: within its rows alone, does the damage gather once more?

"Batches 17–19", and within them "worker 3"; "every tenth row", and of these "rows 501–1,000"; "rows 401–520", and in them "every
fourth row". A period and a run both speak of the position in the source and still say different things: a period is narrowed by
a run of whole periods, and a run by a period that damage keeps to within it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from vecforensics.diff.hotspots.lines import Population
from vecforensics.diff.hotspots.orders import Order
from vecforensics.diff.hotspots.parts import (
    Part,
    at_places,
    periods,
    places_of_run,
    positions,
    run,
    stretch_of,
    values,
)
from vecforensics.diff.hotspots.periodic import Among
from vecforensics.diff.hotspots.risk import sizes_of
from vecforensics.diff.hotspots.scan import Tied, scan_ranks, scan_values
from vecforensics.diff.hotspots.statistics import log_likelihood_ratio, log_tail
from vecforensics.diff.hotspots.view import Candidate, View

__all__ = ["narrower"]


@dataclass(frozen=True, slots=True)
class _Step:
    """A place narrowed by one more part: all `parts`, counts and the p-value (log) within the place, and the cost (nats)."""

    parts: tuple[Part, ...]
    hits: int
    size: int
    log_p: float
    cost: float


def narrower(view: View, seed: Candidate, worth: float) -> tuple[Candidate | None, int]:
    """(the best narrowing of `seed` by one more part, which may be none, tests made); its p-value is that within the seed."""
    mask = view.alive(seed.parts)
    rows, bad = np.flatnonzero(mask), view.bad[mask[view.bad]]
    if len(bad) in (0, len(rows)):
        return None, 0
    taken = {part.dimension for part in seed.parts}
    steps: list[_Step] = []
    tests = 0
    for at, category in enumerate(view.population.categories):
        if category.name not in taken:
            found, made = _to_values(view.population, seed, at, rows, bad, worth)
            steps, tests = steps + found, tests + made
    for order in view.population.orders:
        if order.name not in taken:
            steps, tests = steps + _to_runs(view.population, seed, order, rows, bad, worth), tests + 1
    places = [part for part in seed.parts if part.dimension == "position"]
    if len(places) == 1:
        further = _to_stretch_of_period if places[0].form == "every" else _to_period_of_stretch
        steps, tests = steps + further(view, seed, places[0], rows, bad, worth), tests + 1
    narrowed = (
        replace(
            seed,
            parts=step.parts,
            hits=step.hits,
            size=step.size,
            log_p=step.log_p,
            gain=float(log_likelihood_ratio(step.hits, step.size, len(view.bad), view.rows)),
            costs=(*seed.costs, step.cost),
        )
        for step in steps
    )
    return max(narrowed, key=lambda one: one.score, default=None), tests


def _to_values(
    population: Population,
    seed: Candidate,
    at: int,
    rows: npt.NDArray[Any],
    bad: npt.NDArray[Any],
    worth: float,
) -> tuple[list[_Step], int]:
    """(the fullest value of a category within some rows, and the best range where values have an order; tests made)."""
    category = population.categories[at]
    count = len(category.labels)
    sizes = sizes_of(category.codes[rows], count)
    hits = np.bincount(category.codes[bad], minlength=len(sizes)).astype(np.int64)
    sizes[0] = hits[0] = 0
    tests = int((sizes > 1).sum()) + int(category.ordered)
    some = np.flatnonzero(hits > 1)
    if len(some) == 0 or hits.sum() == sizes.sum():
        return [], tests
    gain = log_likelihood_ratio(hits[some], sizes[some], hits.sum(), sizes.sum())
    code = int(some[int(np.argmax(gain))])
    log_p = float(log_tail(hits[code], sizes[code], hits.sum(), sizes.sum()))
    parts = (*seed.parts, values(population, at, code, code))
    steps = [_Step(parts, int(hits[code]), int(sizes[code]), log_p, float(np.log(count)))]
    stretch = scan_values(hits[1:], sizes[1:], worth) if category.ordered else None
    if stretch is not None:
        parts = (*seed.parts, values(population, at, stretch.first + 1, stretch.last + 1))
        cost = float(np.log(count * (count + 1) / 2))
        steps.append(_Step(parts, stretch.hits, stretch.size, stretch.log_p, cost))
    return steps, tests


def _to_runs(
    population: Population,
    seed: Candidate,
    order: Order,
    rows: npt.NDArray[Any],
    bad: npt.NDArray[Any],
    worth: float,
) -> list[_Step]:
    """The best run of an order within some rows, if there is one."""
    ranks, hit = order.of(rows), order.of(bad)
    ranks, hit = ranks[ranks >= 0], np.sort(hit[hit >= 0])
    held, count = np.unique(ranks, return_counts=True)
    borders = np.searchsorted(held, population.starts) if order.ranks is None else None
    tied = None if order.before is None else Tied(len(held), np.r_[0, np.cumsum(count)].__getitem__)
    found = scan_ranks(np.searchsorted(held, hit), len(ranks), worth, borders, tied)
    if found is None:
        return []
    part = run(population, order.name, int(held[found.first]), int(held[found.last]))
    cost = float(2 * np.log(len(ranks)) - np.log(2))
    return [_Step((*seed.parts, part), found.hits, found.size, found.log_p, cost)]


def _to_stretch_of_period(
    view: View, seed: Candidate, every: Part, rows: npt.NDArray[Any], bad: npt.NDArray[Any], worth: float
) -> list[_Step]:
    """The best run of whole periods, where the seed says `every` so many rows."""
    population = view.population
    held, count = np.unique(rows - positions(population, rows) % every.period, return_counts=True)
    hit = np.searchsorted(held, bad - positions(population, bad) % every.period)
    tied = Tied(len(held), np.r_[0, np.cumsum(count)].__getitem__)
    found = scan_ranks(hit, len(rows), worth, np.searchsorted(held, population.starts), tied)
    if found is None:
        return []
    last = int(held[found.last]) + every.period - 1
    stretch = stretch_of(population, every, int(held[found.first]), last)
    cost = float(2 * np.log(len(rows)) - np.log(2))
    return [_Step((*seed.parts, stretch), found.hits, found.size, found.log_p, cost)]


def _to_period_of_stretch(
    view: View, seed: Candidate, stretch: Part, rows: npt.NDArray[Any], bad: npt.NDArray[Any], worth: float
) -> list[_Step]:
    """The best period within a run of rows, and that run as one of whole periods."""
    if not periods(view.population):
        return []
    if len(seed.parts) == 1:
        gone = view.gone[slice(*np.searchsorted(view.gone, (stretch.first, stretch.last + 1)))]
        sizes = places_of_run(view.population, stretch.first, stretch.last) - at_places(view.population, gone)
    else:
        sizes = at_places(view.population, rows)
    among = Among(view.population, bad, np.searchsorted(rows, bad), len(rows), sizes)
    # As among all rows, a period must have room to come back.
    found = among.best_period(worth, (stretch.last - stretch.first + 1) // 4)
    if found is None:
        return []
    whole = stretch_of(view.population, found.part, stretch.first, stretch.last)
    parts = (*(whole if part is stretch else part for part in seed.parts), found.part)
    mask = view.alive(parts)
    hits, size = int(np.count_nonzero(mask[view.bad])), int(np.count_nonzero(mask))
    return [_Step(parts, hits, size, found.log_p, found.cost)]
