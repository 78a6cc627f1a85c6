"""Runs: is there a stretch of an order, or of neighbouring values, in which damage stands too close together?

A scan looks at many windows at once and answers with one p-value. The windows are laid down before the damage is seen: for
each length 2, 4, 8, ... one window every half length. Any stretch holds a window of at least a third of its length, so
little power is lost, and there are fewer than two windows a row in all. Each length gets the same share of the error
allowed, each window of a length the same share of that (the Bonferroni scan: G. Walther, "Optimal and fast detection of
spatial clusters with scan statistics", Annals of Statistics 38 (2010); the idea of dyadic windows: Arias-Castro, Donoho,
Huo, IEEE Transactions on Information Theory 51 (2005)). So the p-value is a bound, without simulation and without a seed.

Where several rows share a rank (they were written in the same second), windows and stretches are laid over the ranks and hold
the rows of each whole; how many those are depends on the ranks alone, so the bound stands.

Where a scan is significant, the stretch itself is the one of the greatest likelihood. For given rates inside and outside
that is a stretch of the greatest sum (each damaged row adds, each sound one subtracts), found in one pass; the rates are
then taken from it and the pass is repeated until the likelihood stops growing. It may stop short of the greatest, so it is begun
from the densest windows of several lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from vecforensics.diff.hotspots.statistics import Ints, log_likelihood_ratio, log_tail
from vecforensics.diff.hotspots.windows import windows_of_values

__all__ = ["Stretch", "Tied", "scan_ranks", "scan_values"]

_ROUNDS = 12  # the likelihood grows in each; in practice it stands still after two to four
_STARTS = 4


@dataclass(frozen=True, slots=True)
class Stretch:
    """`first`..`last` inclusive (ranks or value indices), `size` rows of which `hits` damaged; `log_p` of the whole scan."""

    first: int
    last: int
    hits: int
    size: int
    log_p: float
    gain: float


def _scores(hits: float, size: float, bad: int, total: int) -> tuple[float, float]:
    """What a damaged and a sound row add to a stretch's log-likelihood when the rates are those of (hits, size)."""
    inside = (hits + 0.5) / (size + 1.0)
    outside = (bad - hits + 0.5) / (total - size + 1.0)
    return float(np.log(inside / outside)), float(np.log((1.0 - inside) / (1.0 - outside)))


@dataclass(frozen=True, slots=True)
class Tied:
    """`ranks` many of which each is the rank of any number of rows; `before(some)`: how many rows have a lower rank than each of
    `some` (`ranks` itself among them: all rows)."""

    ranks: int
    before: Callable[[Ints], Ints]


@dataclass(frozen=True, slots=True)
class _Between:
    """What is damaged between two borders: `ranks`, ascending, unique, and the damaged rows of each, `hits`; `before` and
    `behind`: how many rows of all have a lower rank, and how many no higher one. `begin`, `end`: the borders."""

    ranks: Ints
    hits: Ints
    before: Ints
    behind: Ints
    begin: int
    end: int


def scan_ranks(
    damaged: Ints, total: int, worth: float, borders: Ints | None = None, tied: Tied | None = None
) -> Stretch | None:
    """The stretch of greatest likelihood among `total` rows. `damaged`: ranks of damaged rows, ascending from 0; each rank is one
    row's, unless they are `tied`. `borders`: ascending ranks from 0 on at which something else begins (another collection): no
    window and no stretch goes on across them.

    None unless the scan's log p-value is `worth` or less.
    """
    bad = len(damaged)
    if bad < 2 or bad == total:
        return None
    count = total if tied is None else tied.ranks
    borders = np.zeros(1, np.int64) if borders is None else borders
    parts = list(_between(damaged, count, borders, tied))
    log_p, starts = _windows_of_ranks(parts, bad, total, count, len(borders), tied)
    if not starts or log_p > worth:
        return None
    grown = [_grow_ranks(part, bad, total, start) for part in parts for start in starts]
    # Of equals the first.
    first, last, hits, size, gain = max(grown, key=lambda one: (one[4], -one[0]))
    return Stretch(first, last, hits, size, log_p, gain) if gain > 0 else None


def _between(damaged: Ints, count: int, borders: Ints, tied: Tied | None) -> Iterator[_Between]:
    """What is damaged between each two borders, where anything is."""
    if tied is None:
        ranks, hits = damaged, np.ones(len(damaged), np.int64)
        before, behind = ranks, ranks + 1
    else:
        ranks, hits = np.unique(damaged, return_counts=True)
        before, behind = tied.before(ranks), tied.before(ranks + 1)
    ends = [*borders[1:].tolist(), count]
    cuts = [0, *np.searchsorted(ranks, borders[1:]).tolist(), len(ranks)]
    for at, (begin, end) in enumerate(zip(borders.tolist(), ends, strict=True)):
        here = slice(cuts[at], cuts[at + 1])
        if cuts[at] < cuts[at + 1]:
            yield _Between(ranks[here], hits[here], before[here], behind[here], begin, end)


def _windows_of_ranks(
    parts: list[_Between], bad: int, total: int, count: int, borders: int, tied: Tied | None
) -> tuple[float, list[tuple[float, float]]]:
    """(log p of the scan, (hits, size) of its densest windows): counts of half windows are merged from length to length. `count`:
    how many ranks there are; of tied ones each is a window as well."""
    counted = [(part.ranks - part.begin, part.hits) for part in parts]
    lengths, densest = [], []
    length = 2 if tied is None else 1
    while length <= max(count // 2, 2):
        half = max(length // 2, 1)
        best = (0, length if tied is None else 1, 0.0)
        for part, (cells, hits) in zip(parts, counted, strict=True):
            inside = hits
            if length > 1:
                inside = hits.copy()
                inside[:-1] += hits[1:] * (cells[1:] == cells[:-1] + 1)
            if tied is None:
                best = max(best, (int(inside.max()), length, 0.0))
            else:
                first = part.begin + cells * half
                size = tied.before(np.minimum(first + length, part.end)) - tied.before(first)
                best = max(best, _densest(inside, size, bad, total), key=lambda one: one[2])
        if length > 1:
            counted = [_merged(cells >> 1, hits) for cells, hits in counted]
        lengths.append(length)
        densest.append(best[:2])
        length *= 2
    hits, size = np.asarray(densest, dtype=np.float64).T
    hits = np.minimum(hits, size)
    # Each border begins windows anew: one more of each length.
    windows = np.ceil(count / np.maximum(np.asarray(lengths) / 2.0, 1.0)) + (borders - 1)
    # Of tied ranks the window with the greatest gain stands for its length: its p-value is never below the smallest.
    log_p = log_tail(hits, size, bad, total) + np.log(windows) + np.log(len(size))
    gain = log_likelihood_ratio(hits, size, bad, total)
    best_of = [at for at in np.argsort(-gain, kind="stable")[:_STARTS] if gain[at] > 0]
    return float(min(log_p.min(), 0.0)), [(float(hits[at]), float(size[at])) for at in best_of]


def _densest(hits: Ints, sizes: Ints, bad: int, total: int) -> tuple[int, int, float]:
    """(hits, size, gain) of the window of greatest gain: of windows with as many hits none but the smallest need be looked at."""
    fewest = np.full(int(hits.max()) + 1, total + 1)
    np.minimum.at(fewest, hits, sizes)
    some = np.flatnonzero(fewest <= total)
    gain = log_likelihood_ratio(some, fewest[some], bad, total)
    at = int(np.argmax(gain))
    return int(some[at]), int(fewest[some[at]]), float(gain[at])


def _merged(cells: Ints, hits: Ints) -> tuple[Ints, Ints]:
    edges = np.concatenate([[0], np.flatnonzero(cells[1:] != cells[:-1]) + 1])
    return cells[edges], np.add.reduceat(hits, edges)


def _grow_ranks(
    part: _Between, bad: int, total: int, start: tuple[float, float]
) -> tuple[int, int, int, int, float]:
    """(first rank, last rank, hits, size, gain) of the best stretch of one part between borders; `bad` damaged rows in all."""
    through = np.cumsum(part.hits)
    earlier = through - part.hits
    size = float(part.behind[-1] - part.before[0])
    best = (int(part.ranks[0]), int(part.ranks[-1]), int(through[-1]), int(size), 0.0)
    hits, size = start
    for _ in range(_ROUNDS):
        more, less = _scores(hits, size, bad, total)
        lowest = np.minimum.accumulate(earlier * (more - less) + part.before * less)
        last = int(np.argmax(through * (more - less) + part.behind * less - lowest))
        first = int(np.argmin(earlier[: last + 1] * (more - less) + part.before[: last + 1] * less))
        hits, size = int(through[last] - earlier[first]), int(part.behind[last] - part.before[first])
        gain = float(log_likelihood_ratio(hits, size, bad, total))
        if gain <= best[4]:
            break
        best = (int(part.ranks[first]), int(part.ranks[last]), hits, size, gain)
    return best


def scan_values(hits: Ints, sizes: Ints, worth: float, *, singles: bool = False) -> Stretch | None:
    """The stretch of neighbouring values of greatest likelihood. `hits`, `sizes`: damaged rows and rows of each value, in order.

    `singles`: windows of one value count too (else they are tests of their own elsewhere). None unless the scan's log p-value
    is `worth` or less.
    """
    total, bad, values = int(sizes.sum()), int(hits.sum()), len(sizes)
    if bad < 2 or bad == total or values < 2:
        return None
    run_hits, run_sizes = (np.concatenate([[0], np.cumsum(counts)]) for counts in (hits, sizes))
    first, last, starts = windows_of_values(values, singles)
    inside = run_hits[last] - run_hits[first]
    # Most windows are empty, and nothing is gained by an empty one.
    gain, some = np.zeros(len(first)), np.flatnonzero(inside)
    size = run_sizes[last[some]] - run_sizes[first[some]]
    gain[some] = log_likelihood_ratio(inside[some], size, bad, total)
    at = int(np.argmax(gain))
    if (
        gain[at] <= 0 or gain[at] < -worth
    ):  # exp(-gain) times the number of windows is about the p-value: not worth computing
        return None
    ends = np.append(starts[1:], len(first))
    windows = np.log(ends - starts) + np.log(len(starts))
    best_of = np.asarray([one + int(np.argmax(gain[one:two])) for one, two in zip(starts, ends, strict=True)])
    # The p-value of one window of each length, chosen for its gain, is never below the smallest of its length: a bound still.
    size = run_sizes[last[best_of]] - run_sizes[first[best_of]]
    log_p = float(np.min(log_tail(inside[best_of], size, bad, total) + windows))
    if log_p > worth:
        return None
    best = _grow_values(hits, sizes, (float(inside[at]), float(run_sizes[last[at]] - run_sizes[first[at]])))
    return Stretch(*best[:4], min(log_p, 0.0), best[4])


def _grow_values(hits: Ints, sizes: Ints, start: tuple[float, float]) -> tuple[int, int, int, int, float]:
    total, bad = int(sizes.sum()), int(hits.sum())
    best = (0, len(sizes) - 1, bad, total, 0.0)
    inside, size = start
    sound, running = sizes - hits, np.zeros(len(hits) + 1)
    for _ in range(_ROUNDS):
        more, less = _scores(inside, size, bad, total)
        np.cumsum(hits * more + sound * less, out=running[1:])
        lowest = np.minimum.accumulate(running[:-1])
        last = int(np.argmax(running[1:] - lowest))
        # The latest of equal starts: values without rows do not belong to the stretch.
        first = last - int(np.argmin(running[: last + 1][::-1]))
        inside, size = float(hits[first : last + 1].sum()), float(sizes[first : last + 1].sum())
        gain = float(log_likelihood_ratio(inside, size, bad, total))
        if gain <= best[4]:
            break
        best = (first, last, int(inside), int(size), gain)
    return best
