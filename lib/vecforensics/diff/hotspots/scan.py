"""Runs: is there a stretch of an order, or of neighbouring values, in which damage stands too close together?

A scan looks at many windows at once and answers with one p-value. The windows are laid down before the damage is seen: for
each length 2, 4, 8, ... one window every half length. Any stretch holds a window of at least a third of its length, so
little power is lost, and there are fewer than two windows a row in all. Each length gets the same share of the error
allowed, each window of a length the same share of that (the Bonferroni scan: G. Walther, "Optimal and fast detection of
spatial clusters with scan statistics", Annals of Statistics 38 (2010); the idea of dyadic windows: Arias-Castro, Donoho,
Huo, IEEE Transactions on Information Theory 51 (2005)). So the p-value is a bound, without simulation and without a seed.

Where a scan is significant, the stretch itself is the one of the greatest likelihood. For given rates inside and outside
that is a stretch of the greatest sum (each damaged row adds, each sound one subtracts), found in one pass; the rates are
then taken from it and the pass is repeated until the likelihood stops growing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from vecforensics.diff.hotspots.statistics import Floats, Ints, log_likelihood_ratio, log_tail

__all__ = ["Counts", "Laid", "Stretch", "may_hold", "scan_ranks", "scan_values"]

_ROUNDS = 12  # the likelihood grows in each; in practice it stands still after two to four


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


def scan_ranks(damaged: Ints, total: int, worth: float, borders: Ints | None = None) -> Stretch | None:
    """The stretch of greatest likelihood among `total` ranks. `damaged`: ranks of damaged rows, sorted, unique, 0..total-1.
    `borders`: ascending ranks from 0 on at which something else begins (another collection): no window and no stretch goes on
    across them.

    None unless the scan's log p-value is `worth` or less.
    """
    bad = len(damaged)
    if bad < 2 or bad == total:
        return None
    borders = np.zeros(1, np.int64) if borders is None else borders
    parts = [
        (part - border, int(border))
        for part, border in zip(
            np.split(damaged, np.searchsorted(damaged, borders[1:])), borders.tolist(), strict=True
        )
        if len(part)
    ]
    log_p, start = _windows_of_ranks([part for part, _ in parts], bad, total, len(borders))
    if start is None or log_p > worth:
        return None
    grown = [(*_grow_ranks(part, bad, total, start), border) for part, border in parts]
    first, last, hits, size, gain, border = max(grown, key=lambda one: (one[4], -one[5]))
    return Stretch(first + border, last + border, hits, size, log_p, gain) if gain > 0 else None


def _windows_of_ranks(
    parts: list[Ints], bad: int, total: int, borders: int
) -> tuple[float, tuple[float, float] | None]:
    """(log p of the scan, (hits, size) of its densest window): counts of half windows are merged from length to length."""
    counted = [(part, np.ones(len(part), dtype=np.int64)) for part in parts]
    lengths, most = [], []
    length = 2
    while length <= max(total // 2, 2):
        fullest, merged = 0, []
        for cells, counts in counted:
            beside = np.flatnonzero(cells[1:] == cells[:-1] + 1)
            pair = int((counts[beside] + counts[beside + 1]).max()) if len(beside) else 0
            fullest = max(fullest, pair, int(counts.max()))
            half = cells >> 1
            edges = np.concatenate([[0], np.flatnonzero(half[1:] != half[:-1]) + 1])
            merged.append((half[edges], np.add.reduceat(counts, edges)))
        lengths.append(length)
        most.append(fullest)
        counted = merged
        length *= 2
    size = np.asarray(lengths, dtype=np.float64)
    hits = np.minimum(np.asarray(most, dtype=np.float64), size)
    # Each border begins windows anew: one more of each length.
    windows = np.ceil(total / (size / 2.0)) + (borders - 1)
    log_p = log_tail(hits, size, bad, total) + np.log(windows) + np.log(len(size))
    gain = log_likelihood_ratio(hits, size, bad, total)
    at = int(np.argmax(gain))
    if gain[at] <= 0:
        return 0.0, None
    return float(min(log_p.min(), 0.0)), (float(hits[at]), float(size[at]))


def _grow_ranks(
    damaged: Ints, bad: int, total: int, start: tuple[float, float]
) -> tuple[int, int, int, int, float]:
    """`damaged`: those of one part between borders, of `bad` in all."""
    index = np.arange(len(damaged), dtype=np.float64)
    where = damaged.astype(np.float64)
    best = (int(damaged[0]), int(damaged[-1]), len(damaged), int(damaged[-1] - damaged[0]) + 1, 0.0)
    hits, size = start
    for _ in range(_ROUNDS):
        more, less = _scores(hits, size, bad, total)
        before = index * (more - less) + where * less
        lowest = np.minimum.accumulate(before)
        last = int(np.argmax((index + 1) * (more - less) + (where + 1) * less - lowest))
        first = int(np.argmin(before[: last + 1]))
        hits, size = last - first + 1, int(damaged[last] - damaged[first]) + 1
        gain = float(log_likelihood_ratio(hits, size, bad, total))
        if gain <= best[4]:
            break
        best = (int(damaged[first]), int(damaged[last]), int(hits), int(size), gain)
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
    first, last, starts = _windows_of_values(values, singles)
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


def may_hold(hits: Counts, sizes: Counts, worth: float) -> list[int]:
    """In which of many sequences `scan_values(..., singles=True)` may find a stretch, by number: no false "no", in one pass.

    The fullest window of each length is taken as if it had the fewest rows of its length. The p-value of a window is about
    exp(-gain), and below it by no more than a factor of sqrt(8 hits) (R. B. Ash, Information Theory, 1965, lemma 4.7.2).
    """
    laid = hits.laid
    most, bad = hits.most
    fewest, total = sizes.fewest
    least = np.maximum(fewest, most)
    bound = laid.log_windows - log_likelihood_ratio(most, least, bad, total) - 0.5 * np.log(8.0 * most + 8.0)
    may: list[int] = np.unique(laid.sequence[bound <= worth]).tolist()
    return may


@dataclass(frozen=True, eq=False)
class Counts:
    """A number for each value of many sequences, `numbers`, int64 (laid.room,): 0 where no sequence lies."""

    laid: Laid
    numbers: Ints

    @classmethod
    def of(cls, each: Sequence[Ints]) -> Counts:
        laid = Laid.of(tuple(map(len, each)))
        numbers = np.zeros(laid.room, np.int64)
        for begin, one in zip(laid.begins.tolist(), each, strict=True):
            numbers[begin : begin + len(one)] = one
        return cls(laid, numbers)

    def __getitem__(self, number: int) -> Ints:
        """One sequence."""
        begin = int(self.laid.begins[number])
        return self.numbers[begin : begin + self.laid.lengths[number]]

    def __sub__(self, other: Counts) -> Counts:
        return Counts(self.laid, self.numbers - other.numbers)

    @cached_property
    def most(self) -> tuple[Ints, Ints]:
        """Of each entry of `laid` the largest sum over a window, and the sum over its sequence."""
        return self.laid.extremes(self.numbers, np.maximum)

    @cached_property
    def fewest(self) -> tuple[Ints, Ints]:
        """Of each entry of `laid` the smallest sum over a window, and the sum over its sequence."""
        return self.laid.extremes(self.numbers, np.minimum)


@dataclass(frozen=True, slots=True)
class Laid:
    """Many sequences of `lengths` laid end to end, and the windows of `_windows_of_values(..., True)` over each as sums of two
    blocks of half their length. All windows of a length and a sequence are one entry of `sequence` (whose they are) and of
    `log_windows` (what the p-value of one is multiplied by), shape (entries,), shorter windows first.

    `begins`: where each sequence begins, at a whole number of its longest blocks; `room`: how long all are; `edges`: of each
    length, flat, the first block and the one behind the last that a window of each sequence begins with; `last`: of each entry
    the window that ends with the sequence, its first value and the one behind it, shape (2, entries).
    """

    lengths: tuple[int, ...]
    begins: Ints
    room: int
    edges: tuple[Ints, ...]
    last: Ints
    sequence: Ints
    log_windows: Floats

    @classmethod
    @lru_cache(maxsize=16)
    def of(cls, lengths: tuple[int, ...]) -> Laid:
        values = np.array(lengths, np.int64)
        counts = np.array([len(_lengths_of_windows(one, True)) for one in lengths], np.int64)
        begins, at = np.zeros(len(values), np.int64), 0
        for number, (one, count) in enumerate(zip(lengths, counts.tolist(), strict=True)):
            block = max(2 ** (count - 2), 1)
            begins[number] = at = -(-at // block) * block
            at += one
        edges, lasts, sequences, logs = [], [], [], []
        for level in range(int(counts.max())):
            window, block = 2**level, max(2 ** (level - 1), 1)
            of = np.flatnonzero(counts > level)
            regular = -(-(values[of] - window) // block)
            first = begins[of] // block
            edges.append(np.stack([first, first + regular], axis=1).ravel())
            end = begins[of] + values[of]
            lasts.append(np.stack([end - window, end]))
            sequences.append(of)
            logs.append(np.log(regular + 1) + np.log(counts[of]))
        # A whole number of the longest blocks, with two more for the window that would begin with the last one.
        block = 2 ** len(edges)
        room = -(-at // block) * block + 2 * block
        return cls(
            lengths,
            begins,
            room,
            tuple(edges),
            np.concatenate(lasts, axis=1),
            np.concatenate(sequences),
            np.concatenate(logs),
        )

    def extremes(self, numbers: Ints, of: np.ufunc) -> tuple[Ints, Ints]:
        """Of each entry the largest or smallest (`of`) sum over a window, and the sum over its sequence, int64 (entries,)."""
        run = np.zeros(self.room + 1, np.int64)
        np.cumsum(numbers, out=run[1:])
        found, blocks = [], numbers
        for level, edges in enumerate(self.edges):
            windows = blocks
            if level:
                windows = blocks[:-1] + blocks[1:]
                blocks = windows[::2]
            found.append(of.reduceat(windows, edges)[::2])
        sums = np.diff(run[np.append(self.begins, self.room)])
        return of(np.concatenate(found), run[self.last[1]] - run[self.last[0]]), sums[self.sequence]


def _lengths_of_windows(values: int, singles: bool) -> list[int]:
    """2, 4, 8, ... up to half of the values; with `singles` 1 as well; where no length is short enough the shortest."""
    lengths = [1] if singles else []
    while (longer := 2 ** len(lengths) * (1 if singles else 2)) <= max(values // 2, 1):
        lengths.append(longer)
    return lengths or [1]


@lru_cache(maxsize=256)
def _windows_of_values(values: int, singles: bool) -> tuple[Ints, Ints, Ints]:
    """(first value, value after the last) of each window, shortest first, and where in them each length begins."""
    lengths = _lengths_of_windows(values, singles)
    # None is cut off at the end: the last one of each length ends with the last value.
    first = [
        np.append(np.arange(0, values - length, max(length // 2, 1)), values - length) for length in lengths
    ]
    last = [one + length for one, length in zip(first, lengths, strict=True)]
    starts = np.cumsum([0, *(len(one) for one in first)])[:-1]
    return np.concatenate(first), np.concatenate(last), starts


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
