"""A part of the rows that can be said in words: a batch, a range of batches, a run of rows, every k-th row, a tail.

`Part` is the answer's vocabulary. It knows which rows it covers, so that what is claimed can be counted again by anybody,
and what it is called. Row numbers in words count from 1, as people do; `first` and `last` count from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from vecforensics.diff.hotspots.lines import Population
from vecforensics.diff.hotspots.orders import METADATA_PREFIX, PARENT_PREFIX
from vecforensics.diff.hotspots.statistics import Ints
from vecforensics.diff.hotspots.windows import Counts, Laid
from vecforensics.diff.id_order import narrow
from vecforensics.errors import printable

__all__ = [
    "PERIODS",
    "ROUND_NUMBERS",
    "Part",
    "are_several",
    "at_places",
    "covered",
    "covered_by_all",
    "every",
    "in_words",
    "periods",
    "places_of_run",
    "positions",
    "rows_at_places",
    "run",
    "stretch_of",
    "tails",
    "values",
]

Form = Literal["values", "run", "every"]

# Batch and page sizes that people choose: a last, incomplete one is what gets lost (chroma #2912: only full thousands were left).
ROUND_NUMBERS: Final = (
    100,
    128,
    200,
    250,
    256,
    300,
    400,
    500,
    512,
    1000,
    1024,
    2000,
    2048,
    2500,
    4096,
    5000,
    8192,
    10_000,
)
PERIODS: Final = tuple(sorted({*range(2, 65), 96, *ROUND_NUMBERS}))
# The next period that is a multiple of each, 0 = none: what stands at its places tells what stands at those of the shorter one.
_MULTIPLE: Final = {
    period: next((longer for longer in PERIODS if longer > period and longer % period == 0), 0)
    for period in PERIODS
}

_WORKER_LIKE: Final = frozenset({"worker", "namespace", "collection"})
# For 200 rows one pass takes 0.10 ms and period by period 0.24 ms, for 5,000 rows 1.7 and 0.8 ms.
_FEW_ROWS: Final = 500


@dataclass(frozen=True, slots=True)
class Part:
    """`first`..`last` inclusive: codes of a category, ranks of an order, or places within every `period` rows. `to_the_end`: of a
    run, whether nothing comes behind it in its order, or, where that is the source's own, in its collection."""

    dimension: str
    form: Form
    first: int
    last: int
    label: str
    metadata: bool = False
    period: int = 0
    to_the_end: bool = False

    def as_dict(self) -> dict[str, Any]:
        shown = {
            "dimension": self.dimension,
            "form": self.form,
            "first": self.first,
            "last": self.last,
            "label": self.label,
        }
        if self.form == "run":
            shown["to_the_end"] = self.to_the_end
        return shown | ({"period": self.period} if self.form == "every" else {})


@lru_cache(maxsize=16)
def rows_at_places(lengths: tuple[int, ...]) -> Counts:
    """Of each of `periods` how many rows stand at each place, over collections of so many rows: not to be changed."""
    sizes = np.array(lengths, np.int64)
    return Counts.of(
        [
            (sizes // period).sum() + ((sizes % period)[:, None] > np.arange(period)).sum(axis=0)
            for period in _periods(max(lengths))
        ]
    )


@lru_cache(maxsize=16)
def _periods(longest: int) -> tuple[int, ...]:
    return tuple(period for period in PERIODS if period * 4 <= longest)


def periods(population: Population) -> tuple[int, ...]:
    """The periods that come back often enough in the longest collection, ascending."""
    return _periods(int((population.ends - population.starts).max(initial=0)))


def at_places(population: Population, rows: npt.NDArray[Any]) -> Counts:
    """Of some rows, for each of `periods` how many stand at each place."""
    here, tried = positions(population, rows), periods(population)
    laid = Laid.of(tried)
    # Few rows are counted in all periods at once; of many, the places of a shorter period are summed up from a longer one's.
    if len(here) <= _FEW_ROWS:
        place = here % np.array(tried, np.int64)[:, None] + laid.begins[:, None]
        return Counts(laid, np.bincount(place.ravel(), minlength=laid.room))
    numbers = np.zeros(laid.room, np.int64)
    known: dict[int, Ints] = {}
    for begin, period in zip(reversed(laid.begins.tolist()), reversed(tried), strict=True):
        known[period] = numbers[begin : begin + period]
        multiple = _MULTIPLE[period]
        if multiple in known:
            np.add.reduce(known[multiple].reshape(-1, period), axis=0, out=known[period])
        else:
            known[period][:] = np.bincount(here % period, minlength=period)
    return Counts(laid, numbers)


def places_of_run(population: Population, first: int, last: int) -> Counts:
    """The same of the rows `first`..`last` of one collection, without counting them."""
    begin, rows = int(positions(population, np.array([first]))[0]), last - first + 1
    each = []
    for period in periods(population):
        places = np.full(period, rows // period, np.int64)
        places[(begin + np.arange(rows % period)) % period] += 1
        each.append(places)
    return Counts.of(each)


def positions(population: Population, rows: npt.NDArray[Any]) -> Ints:
    """For row indices, the place of each row within its own collection, counted from 0."""
    rows = rows.astype(np.int64)
    if len(population.starts) == 1:
        return rows
    return rows - population.starts[np.searchsorted(population.starts, rows, side="right") - 1]


def covered(part: Part, population: Population) -> npt.NDArray[np.bool_]:
    """For every row: does it belong to `part`?"""
    if part.form == "values":
        codes = population.category(part.dimension).codes
        return np.asarray((codes >= part.first) & (codes <= part.last))
    ranks = population.order(part.dimension).ranks
    if ranks is None:
        ranks = np.arange(population.rows, dtype=narrow(population.rows))
    if part.form == "run":
        return np.asarray((ranks >= part.first) & (ranks <= part.last))
    place = positions(population, ranks) % part.period
    return np.asarray((place >= part.first) & (place <= part.last))


def covered_by_all(parts: Sequence[Part], population: Population) -> npt.NDArray[np.bool_]:
    """For every row: does it belong to each of `parts`?"""
    mask = covered(parts[0], population)
    for part in parts[1:]:
        mask &= covered(part, population)
    return mask


def values(population: Population, at: int, first: int, last: int) -> Part:
    """The values with the codes `first`..`last` of category number `at`."""
    category = population.categories[at]
    return Part(category.name, "values", first, last, category.label(first, last), category.is_metadata)


def _rows(population: Population, rank: int) -> tuple[int, str, int, bool]:
    """(number of the row counted from 1, its collection, that collection's length, is it the collection's last row)."""
    at = int(np.searchsorted(population.starts, rank, side="right")) - 1
    start, end = int(population.starts[at]), int(population.ends[at])
    return rank - start + 1, printable(population.collections[at], 60), end - start, rank == end - 1


def run(population: Population, name: str, first: int, last: int) -> Part:
    """The ranks `first`..`last` of the order `name`."""
    if name != "position":
        order = population.order(name)
        is_metadata, to_the_end = name.startswith(METADATA_PREFIX), last == order.last
        return Part(name, "run", first, last, order.label(first, last), is_metadata, to_the_end=to_the_end)
    begin, collection, _, _ = _rows(population, first)
    end, other, length, to_the_end = _rows(population, last)
    if collection != other:
        label = f"row {begin:,} of {collection} to row {end:,} of {other}"
        return Part(name, "run", first, last, label, to_the_end=to_the_end)
    if not (to_the_end and 1 < begin < end):
        return _plain_run(population, first, last)
    of = f" of {collection}" if len(population.collections) > 1 else ""
    left = next((size for size in sorted(ROUND_NUMBERS, reverse=True) if (begin - 1) % size == 0), 0)
    exactly = f": beyond the first {begin - 1:,}, a multiple of {left:,}" if left else ""
    label = f"the last {length - begin + 1:,} rows{of} (from row {begin:,}{exactly})"
    return Part(name, "run", first, last, label, to_the_end=True)


def _plain_run(population: Population, first: int, last: int) -> Part:
    """The rows `first`..`last` of one collection."""
    (begin, collection, _, _), (end, _, _, to_the_end) = (_rows(population, row) for row in (first, last))
    of = f" of {collection}" if len(population.collections) > 1 else ""
    label = f"rows {begin:,}–{end:,}{of}" if begin != end else f"row {begin:,}{of}"
    return Part("position", "run", first, last, label, to_the_end=to_the_end)


def stretch_of(population: Population, every: Part, first: int, last: int) -> Part:
    """The run in which the rows at the places of `every` between `first` and `last`, which are of one collection, stand: of whole
    periods, so that its places can be counted from its beginning; where a period has one place it begins with that row."""
    at = int(np.searchsorted(population.starts, first, side="right")) - 1
    start, end = int(population.starts[at]), int(population.ends[at])
    rows = np.arange(first - start, min(last, end - 1) - start + 1)
    there = rows[(rows % every.period >= every.first) & (rows % every.period <= every.last)]
    begin, behind = (int(row) // every.period * every.period for row in (there[0], there[-1] + every.period))
    if every.first == every.last:
        begin = int(there[0])
    return _plain_run(population, start + begin, min(start + behind, end) - 1)


def every(period: int, first: int, last: int) -> Part:
    """The rows at the places `first`..`last` of every `period` rows of a collection."""
    beginning = f" (from row {first + 1:,} on)" if first == last else " rows"
    return Part("position", "every", first, last, _counted(period, first, last) + beginning, period=period)


def _counted(period: int, first: int, last: int) -> str:
    """The same in words without what they are counted in: "every 10th row", "the last 3 of every 10"."""
    if first == last:
        ending = {1: "st", 2: "nd", 3: "rd"}.get(period % 10 if period % 100 not in (11, 12, 13) else 0, "th")
        return f"every {period:,}{ending} row"
    if last == period - 1:
        return f"the last {last - first + 1:,} of every {period:,}"
    if first == 0:
        return f"the first {last + 1:,} of every {period:,}"
    return f"numbers {first + 1:,}–{last + 1:,} of every {period:,}"


def tails(population: Population) -> list[tuple[int, int]]:
    """(first rank, last rank) of what lies beyond the last full `size` of each collection, for each round `size`; no repeats."""
    found = set()
    for start, end in zip(population.starts.tolist(), population.ends.tolist(), strict=True):
        for size in ROUND_NUMBERS:
            over = (end - start) % size
            if end - start > size and over:
                found.add((end - over, end - 1))
    return sorted(found)


def _in_order(parts: Sequence[Part]) -> list[Part]:
    """Parts in the order in which they are said."""
    counted = any(part.form == "every" for part in parts)

    def rank(part: Part) -> int:
        if part.dimension in _WORKER_LIKE:
            return 5
        if part.metadata:
            return 4
        if part.dimension == "batch":
            return 0
        # A period is followed by the rows that it is counted in.
        return 3 if not counted or part.dimension != "position" else 1 if part.form == "every" else 2

    return sorted(parts, key=rank)


def _of_rows(part: Part) -> bool:
    """Whether a part says what rows have, rather than names what they are: "rows with plan = free", but "batch 17"."""
    named = part.form != "run" or part.dimension in ("position", "id")
    return part.metadata or part.dimension.startswith(PARENT_PREFIX) or not named


def in_words(parts: Sequence[Part]) -> str:
    """What several parts have in common, as one phrase: "batches 17–19 of worker 3", "every 10th row of rows 501–1,000"."""
    ordered = _in_order(parts)
    forms = {part.form for part in parts if part.dimension == "position"}
    text = ""
    for part in ordered:
        label = part.label
        if part.form == "every" and "run" in forms:
            label = _counted(part.period, part.first, part.last)
        if part is ordered[0]:
            with_ = "" if part.dimension == "written_at" else "with "
            text = f"rows {with_}{label}" if _of_rows(part) else label
        elif part.dimension in _WORKER_LIKE or (part.form == "run" and "every" in forms):
            text += f" of {label}"
        else:
            text += f" with {label}" if part.metadata else f", {label}"
    return text


def are_several(parts: Sequence[Part]) -> bool:
    """Whether that phrase stands for several things, so that they hold and it does not hold."""
    lead = _in_order(parts)[0]
    return _of_rows(lead) or lead.first != lead.last
