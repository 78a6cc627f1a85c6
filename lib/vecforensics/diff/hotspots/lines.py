"""Along which lines damage may gather: the fields of all records of a run, made narrow.

Two shapes serve every line. A `Category` gives each row one of few values (batch, worker, collection, plan): unsigned codes
of one or two bytes, 0 where the value is not known; where neighbouring values are neighbours in fact (batch 17, 18, 19),
ranges of them are tried as well. An `Order` (`orders.py`) gives each row a rank among all (position in the source, id, time of
writing): what gathers there is a run.

A text field with nearly as many values as rows (names, ids) says nothing about where damage gathers; it is left out, and
`Population.skipped` says so, as it does where there are too many ids to rank. Numbers and time stamps with many values become
an order instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics import arrow_columns as arrow
from vecforensics.arrow_columns import as_numpy
from vecforensics.diff.hotspots.orders import (
    METADATA_PREFIX,
    PARENT_PREFIX,
    Order,
    order_of_ids,
    order_of_values,
    text_key,
)
from vecforensics.diff.rows import Field, RowDimensions
from vecforensics.errors import printable

__all__ = ["ABSENT", "Category", "Population", "lay_out"]

ABSENT: Final = "(absent)"
MANY_VALUES: Final = (
    65_536  # beyond it, and beyond a quarter of the rows, a field names rows rather than groups of them
)
# Ids cost half a second a million and some tens of bytes a row to put in order; beyond it they are not ranked.
SORTED_IDS: Final = 20_000_000
_TIME_LIKE: Final = r'^"?\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?"?$'
_A_FEW: Final = 100
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Category:
    """One of few values a row. `codes`: unsigned, shape (rows,), 0 = not known, c = `labels[c - 1]`."""

    name: str
    codes: npt.NDArray[Any]
    labels: tuple[str, ...]
    ordered: bool = False

    @property
    def is_metadata(self) -> bool:
        return self.name.startswith(METADATA_PREFIX)

    def label(self, first: int, last: int) -> str:
        """The values from code `first` to code `last`, in words."""
        one, two = (printable(self.labels[code - 1], _SHOWN) for code in (first, last))
        if self.is_metadata:
            shown = printable(self.name.removeprefix(METADATA_PREFIX), _SHOWN)
            return f"{shown} = {one}" if first == last else f"{shown} from {one} to {two}"
        parents = self.name.startswith(PARENT_PREFIX)
        shown = "parent" if parents else printable(self.name, _SHOWN)
        whose = f" in {printable(self.name.removeprefix(PARENT_PREFIX), _SHOWN)}" if parents else ""
        plural = "es" if shown.endswith("ch") else "s"
        return f"{shown} {one}{whose}" if first == last else f"{shown}{plural} {one}–{two}{whose}"


@dataclass(frozen=True, slots=True)
class Population:
    """All rows among which damage is looked for. `starts`: where each collection's rows begin; `collections`: their names.
    `side`: whose rows they are. Those of the target stand in no order that means anything, so places in it are not asked for.
    `parents`: for each collection that others depend on a code a row, signed, shape (rows,), which parent it names, -1 = none."""

    rows: int
    categories: tuple[Category, ...]
    orders: tuple[Order, ...]
    starts: npt.NDArray[np.int64]
    collections: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    side: str = "source"
    sampled: bool = False
    parents: tuple[npt.NDArray[Any], ...] = ()

    def order(self, name: str) -> Order:
        return next(order for order in self.orders if order.name == name)

    def category(self, name: str) -> Category:
        return next(category for category in self.categories if category.name == name)

    @property
    def ends(self) -> npt.NDArray[np.int64]:
        return np.append(self.starts[1:], self.rows)


def _natural(text: str) -> tuple[Any, ...]:
    """A sorting key by which `batch-9` comes before `batch-10`."""
    parts = re.split(r"([0-9]+)", text)
    return tuple(
        (0, int(part), "") if part.isdecimal() and len(part) < 19 else (1, 0, part) for part in parts
    )


def _numbers(values: pa.Array) -> npt.NDArray[Any] | None:
    """The values as numbers, if all of them are: int64 where that holds them, since several of more than 2^53 share a float.
    Names are told from a few of them, not from a million."""
    for kind, null in ((pa.int64(), 0), (pa.float64(), np.nan)):
        with suppress(pa.ArrowInvalid):
            values[:_A_FEW].cast(kind)
            return as_numpy(values.cast(kind), null)
    return None


def _are_times(values: pa.Array) -> bool:
    """Are all values dates or time stamps in ISO form, which sort as texts do?"""
    return len(values) > 0 and all(
        bool(pc.all(pc.match_substring_regex(part, _TIME_LIKE)).as_py()) for part in (values[:_A_FEW], values)
    )


def _joined(name: str, rows: Sequence[RowDimensions]) -> Field:
    """One field of all collections; -1 where a collection has no such field or the row no such value."""
    having = [one.fields[name] for one in rows if name in one.fields]
    if len(having) == len(rows) == 1:
        return having[0]
    encoded = pa.concat_arrays([given.values.cast(pa.string()) for given in having]).dictionary_encode()
    places, at, parts = as_numpy(encoded.indices), 0, []
    for one in rows:
        if name in one.fields:
            count = len(one.fields[name].values)
            place = np.append(places[at : at + count], -1).astype(np.int32)
            parts.append(place[one.fields[name].codes])
            at += count
        else:
            parts.append(np.full(len(one.kinds), -1, dtype=np.int32))
    return Field(np.concatenate(parts), encoded.dictionary)


def _with_absent(name: str, field: Field, rows: Sequence[RowDimensions]) -> Field:
    """A metadata field whose absence in a record is a value of its own; collections without the field stay not known."""
    given = np.repeat([name in one.fields for one in rows], [len(one.kinds) for one in rows])
    absent = (field.codes < 0) & given
    if not absent.any():
        return field
    codes = np.where(absent, np.min_scalar_type(-len(field.values) - 1).type(len(field.values)), field.codes)
    return Field(codes, pa.concat_arrays([field.values.cast(pa.string()), arrow.texts([ABSENT])]))


def _as_category(name: str, field: Field, numbers: npt.NDArray[Any] | None) -> Category:
    """Codes renumbered from 1 in the order of the values: numbers by size, other texts as a person would sort them."""
    labels = field.values.to_pylist()
    # Several spellings of one number (1 and 01) stand in an order of their own, not in that in which they were met.
    if numbers is not None:  # "(absent)" stands behind them all
        spelt = text_key(field.values)[: len(numbers)]
        by = np.append(np.lexsort((spelt, numbers)), np.arange(len(numbers), len(labels)))
    else:
        by = np.asarray(sorted(range(len(labels)), key=lambda at: (_natural(labels[at]), labels[at])))
    place = np.zeros(len(labels) + 1, dtype=np.min_scalar_type(len(labels)))
    place[by] = np.arange(1, len(labels) + 1)
    ordered = (numbers is not None or not name.startswith((METADATA_PREFIX, PARENT_PREFIX))) and len(
        labels
    ) > 2
    return Category(name, place[field.codes], tuple(labels[at] for at in by), ordered)


def lay_out(rows: Sequence[RowDimensions], side: str = "source") -> Population:
    """The lines along which damage may gather, over all collections of a run (empty ones are left out)."""
    rows = [one for one in rows if len(one.kinds)]
    sizes = [len(one.kinds) for one in rows]
    total, starts = sum(sizes), np.cumsum([0, *sizes])[:-1].astype(np.int64)
    categories = []
    skipped = []
    of = "" if side == "source" else " of the target"
    parents = []
    orders = [Order("position", None, total)] if side == "source" else []
    if len(rows) > 1:
        codes = np.repeat(np.arange(1, len(rows) + 1).astype(np.min_scalar_type(len(rows))), sizes)
        categories.append(Category("collection", codes, tuple(one.collection for one in rows)))
    for name in sorted({name for one in rows for name in one.fields}):
        field = _joined(name, rows)
        if name.startswith(PARENT_PREFIX):
            parents.append(field.codes)
        distinct = len(field.values)
        numbers = _numbers(field.values)
        made = None
        if name == "written_at" or _are_times(field.values):
            made = order_of_values(name, field, text_key(field.values))
        elif distinct <= max(64, min(MANY_VALUES, total // 4)):
            field = _with_absent(name, field, rows) if name.startswith(METADATA_PREFIX) else field
            if len(field.values) > 1:
                categories.append(_as_category(name, field, numbers))
        elif numbers is not None:
            made = order_of_values(name, field, numbers)
        else:
            skipped.append(f"{printable(name, _SHOWN)}, which has {distinct:,} values in {total:,} rows{of}")
        # An order that only repeats the position would say everything twice.
        if made is not None and not made.repeats_the_position():
            orders.append(made)
    if total > SORTED_IDS:
        skipped.append(
            f"id, since {total:,} rows{of} are more than the {SORTED_IDS:,} that are put in its order"
        )
    elif rows and (by_id := order_of_ids(rows, side)) is not None:
        orders.append(by_id)
    return Population(
        total,
        tuple(categories),
        tuple(orders),
        starts,
        tuple(one.collection for one in rows),
        tuple(skipped),
        side,
        any(one.note for one in rows),
        tuple(parents),
    )
