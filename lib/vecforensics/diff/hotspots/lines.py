"""Along which lines damage may gather: the fields of all records of a run, made narrow.

Two shapes serve every line. A `Category` gives each row one of few values (batch, worker, collection, plan): unsigned codes
of one or two bytes, 0 where the value is not known; where neighbouring values are neighbours in fact (batch 17, 18, 19),
ranges of them are tried as well. An `Order` gives each row a rank among all (position in the source, id, time of writing):
what gathers there is a run.

A text field with nearly as many values as rows (names, ids) says nothing about where damage gathers; it is left out, and
`Population.skipped` says so. Numbers and time stamps with many values become an order instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics import arrow_columns as arrow
from vecforensics.arrow_columns import as_numpy
from vecforensics.diff.id_order import id_order, narrow
from vecforensics.diff.rows import Field, RowDimensions
from vecforensics.errors import printable

__all__ = ["ABSENT", "METADATA_PREFIX", "PARENT_PREFIX", "Category", "Order", "Population", "lay_out"]

ABSENT: Final = "(absent)"
METADATA_PREFIX: Final = "metadata:"
PARENT_PREFIX: Final = "parent:"
MANY_VALUES: Final = (
    65_536  # beyond it, and beyond a quarter of the rows, a field names rows rather than groups of them
)
SORTED_IDS: Final = (
    20_000_000  # sorting texts is the one step here that is not linear; beyond it, ids are not ranked
)
_ORDERED_AT_MOST: Final = 65_536  # values that are sorted as a person would, one by one
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
class Order:
    """A rank a row: `ranks`, shape (rows,), -1 = not known, else 0, 1, 2, ... without a gap or a tie; None = the row's index.

    `known`: how many rows have one. `text` names a row, given its index (its id, its time of writing).
    """

    name: str
    ranks: npt.NDArray[Any] | None
    known: int
    text: Callable[[int], str] = str

    def of(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The ranks of the rows with these indices."""
        return rows if self.ranks is None else self.ranks[rows]

    def label(self, first: int, last: int) -> str:
        """The run from rank `first` to rank `last`, in words."""
        assert self.ranks is not None
        rows = (int(np.argmax(self.ranks == rank)) for rank in (first, last))
        one, two = (printable(self.text(row), _SHOWN) for row in rows)
        if self.name == "id":
            return f"ids {one} … {two}" if first != last else f"id {one}"
        name = (
            "written"
            if self.name == "written_at"
            else printable(self.name.removeprefix(METADATA_PREFIX), _SHOWN)
        )
        return f"{name} from {one} to {two}" if first != last else f"{name} at {one}"


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


def _numbers(values: pa.Array) -> npt.NDArray[np.float64] | None:
    """The values as numbers, if all of them are. Names are told from a few of them, not from a million."""
    try:
        values[:_A_FEW].cast(pa.float64())
        return as_numpy(values.cast(pa.float64()), np.nan)
    except pa.ArrowInvalid:
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


def _ranked(key: npt.NDArray[Any], known: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """The rank of each row by `key`, ties in the order of the rows; -1 where not known."""
    rows = np.flatnonzero(known)
    ranks = np.full(len(key), -1, narrow(len(key)))
    ranks[rows[np.argsort(key[rows], kind="stable")]] = np.arange(len(rows))
    return ranks


def _as_category(name: str, field: Field, numbers: npt.NDArray[np.float64] | None) -> Category:
    """Codes renumbered from 1 in the order of the values: numbers by size, other texts as a person would sort them."""
    labels = field.values.to_pylist()
    if numbers is not None:  # "(absent)" stands behind them all
        by = np.append(np.argsort(numbers, kind="stable"), np.arange(len(numbers), len(labels)))
    elif len(labels) <= _ORDERED_AT_MOST:
        by = np.asarray(sorted(range(len(labels)), key=lambda at: _natural(labels[at])), dtype=np.int64)
    else:
        by = np.arange(len(labels))
    place = np.zeros(len(labels) + 1, dtype=np.min_scalar_type(len(labels)))
    place[by] = np.arange(1, len(labels) + 1)
    ordered = (numbers is not None or not name.startswith((METADATA_PREFIX, PARENT_PREFIX))) and len(
        labels
    ) > 2
    return Category(name, place[field.codes], tuple(labels[at] for at in by), ordered)


def _as_order(name: str, field: Field, key: npt.NDArray[Any]) -> Order | None:
    """`key`: one a value, in the order of which rows are ranked."""
    known = field.codes >= 0
    values, codes = field.values, field.codes
    ranks = _ranked(key[codes], known) if known.any() else None
    return (
        None
        if ranks is None
        else Order(name, ranks, int(known.sum()), lambda row: str(values[int(codes[row])].as_py()))
    )


def _text_key(values: pa.Array) -> npt.NDArray[np.int64]:
    key = np.empty(len(values), dtype=np.int64)
    key[as_numpy(pc.sort_indices(values))] = np.arange(len(values))
    return key


def _by_id(rows: Sequence[RowDimensions], total: int, side: str) -> Order | None:
    """Rows in the order of their ids, shorter ids first (2 before 10); None where they stand so in the source already."""
    starts = np.cumsum([0, *(len(one.kinds) for one in rows)])

    def texts(some: npt.NDArray[Any]) -> pa.Array:
        parts, places = [], []
        for one, start, stop in zip(rows, starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            place = np.flatnonzero((some >= start) & (some < stop))
            parts.append(one.ids(some[place] - start))
            places.append(place)
        back = np.argsort(np.concatenate(places), kind="stable")
        return pa.concat_arrays(parts).take(arrow.numbers(back))

    def of_all(each: Callable[[RowDimensions], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return each(rows[0]) if len(rows) == 1 else np.concatenate([each(one) for one in rows])

    order = id_order(
        of_all(lambda one: one.ids.lengths()), lambda at: of_all(lambda one: one.ids.words(at)), texts
    )
    if side == "source" and bool(np.all(order[1:] > order[:-1])):
        return None
    ranks = np.empty(total, order.dtype)
    ranks[order] = np.arange(total, dtype=order.dtype)
    return Order("id", ranks, total, lambda row: str(texts(np.array([row]))[0].as_py()))


def lay_out(rows: Sequence[RowDimensions], side: str = "source") -> Population:
    """The lines along which damage may gather, over all collections of a run (empty ones are left out)."""
    rows = [one for one in rows if len(one.kinds)]
    sizes = [len(one.kinds) for one in rows]
    total, starts = sum(sizes), np.cumsum([0, *sizes])[:-1].astype(np.int64)
    categories = []
    skipped = [f"{printable(one.collection, _SHOWN)}: {one.note}" for one in rows if one.note]
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
        if name == "written_at" or _are_times(field.values):
            made = _as_order(name, field, _text_key(field.values))
        elif distinct <= max(64, min(MANY_VALUES, total // 4)):
            made = None
            field = _with_absent(name, field, rows) if name.startswith(METADATA_PREFIX) else field
            if len(field.values) > 1:
                categories.append(_as_category(name, field, numbers))
        elif numbers is not None:
            made = _as_order(name, field, numbers)
        else:
            made = None
            skipped.append(f"{printable(name, _SHOWN)}: {distinct:,} values in {total:,} rows")
        # An order that only repeats the position (stamps that count upwards) would say everything twice.
        if made is None or made.ranks is None:
            continue
        if not np.array_equal(made.ranks, np.arange(total)):
            orders.append(made)
    if total > SORTED_IDS:
        skipped.append(f"id: not ranked beyond {SORTED_IDS:,} rows")
    elif rows and (by_id := _by_id(rows, total, side)) is not None:
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
