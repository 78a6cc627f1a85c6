"""Windows of 1, 2, 4, 8, ... neighbouring values, one every half length: those of one sequence of values, and of many at once.

Every k-th row is asked for many k, and of each k the places are a sequence of values to be scanned. Most hold nothing, which is
seen of all of them in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from vecforensics.diff.hotspots.statistics import Floats, Ints, log_likelihood_ratio

__all__ = ["Counts", "Laid", "may_hold", "windows_of_values"]


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
    """Many sequences of `lengths` laid end to end, and the windows of `windows_of_values(..., True)` over each as sums of two
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
        counts = np.array([len(_lengths(one, True)) for one in lengths], np.int64)
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


def _lengths(values: int, singles: bool) -> list[int]:
    """2, 4, 8, ... up to half of the values; with `singles` 1 as well; where no length is short enough the shortest."""
    lengths = [1] if singles else []
    while (longer := 2 ** len(lengths) * (1 if singles else 2)) <= max(values // 2, 1):
        lengths.append(longer)
    return lengths or [1]


@lru_cache(maxsize=256)
def windows_of_values(values: int, singles: bool) -> tuple[Ints, Ints, Ints]:
    """(first value, value after the last) of each window, shortest first, and where in them each length begins."""
    lengths = _lengths(values, singles)
    # None is cut off at the end: the last one of each length ends with the last value.
    first = [
        np.append(np.arange(0, values - length, max(length // 2, 1)), values - length) for length in lengths
    ]
    last = [one + length for one, length in zip(first, lengths, strict=True)]
    starts = np.cumsum([0, *(len(one) for one in first)])[:-1]
    return np.concatenate(first), np.concatenate(last), starts
