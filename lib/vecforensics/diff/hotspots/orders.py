"""Orders in which damage may stand together: position in the source, id, time of writing, numbers with many values.

Rows of one value have one rank, since nothing tells them apart: a run that began or ended between two rows written in the same
second would name that second and count a part of it. So runs begin and end where the value changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.arrow_columns import as_numpy, flags, numbers
from vecforensics.diff.id_order import id_order, narrow
from vecforensics.diff.rows import Field, RowDimensions
from vecforensics.errors import printable

__all__ = ["METADATA_PREFIX", "PARENT_PREFIX", "Order", "order_of_ids", "order_of_values", "text_key"]

METADATA_PREFIX: Final = "metadata:"
PARENT_PREFIX: Final = "parent:"
_SHOWN: Final = 60
_WORD: Final = 8
# So few ids are compared as texts.
_FEW: Final = 65_536


@dataclass(frozen=True, slots=True)
class Order:
    """A rank a row: `ranks`, shape (rows,), -1 = not known, else 0, 1, 2, ... without a gap, the same for rows of one value;
    None = the row's index.

    `known`: how many rows have one; `before`, shape (values + 1,): of each rank how many rows have a lower one, and `known` at
    the end; None where each rank is one row's. `text` names the value of a rank.
    """

    name: str
    ranks: npt.NDArray[Any] | None
    known: int
    text: Callable[[int], str] = str
    before: npt.NDArray[Any] | None = None

    def of(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The ranks of the rows with these indices."""
        return rows if self.ranks is None else self.ranks[rows]

    @property
    def last(self) -> int:
        """The highest rank."""
        return (self.known if self.before is None else len(self.before) - 1) - 1

    def repeats_the_position(self) -> bool:
        """Whether every row is known, and rows stand in this order already (as stamps that only count upwards)."""
        ranks = self.ranks
        return ranks is None or (self.known == len(ranks) and bool(np.all(ranks[1:] >= ranks[:-1])))

    def label(self, first: int, last: int) -> str:
        """The run from rank `first` to rank `last`, in words."""
        one, two = (printable(self.text(rank), _SHOWN) for rank in (first, last))
        if self.name == "id":
            return f"ids {one} … {two}" if first != last else f"id {one}"
        if self.name == "written_at":
            return f"written from {one} to {two}" if first != last else f"written at {one}"
        parents = self.name.startswith(PARENT_PREFIX)
        name = printable(self.name.removeprefix(METADATA_PREFIX).removeprefix(PARENT_PREFIX), _SHOWN)
        name = f"parent in {name}" if parents else name
        return f"{name} from {one} to {two}" if first != last else f"{name} = {one}"


def text_key(values: pa.Array) -> npt.NDArray[np.int64]:
    """The place of each of some different texts among them, sorted."""
    key = np.empty(len(values), dtype=np.int64)
    key[as_numpy(pc.sort_indices(values))] = np.arange(len(values))
    return key


def order_of_values(name: str, field: Field, key: npt.NDArray[Any]) -> Order | None:
    """Rows in the order of their values, None where fewer than two values are known. `key`: one a value, equal for those that
    are the same."""
    if not len(key):
        return None
    by = np.argsort(key, kind="stable")
    ascending = key[by]
    # All that is not a number is one value, and stands last.
    another = (ascending[1:] != ascending[:-1]) & (ascending[:-1] == ascending[:-1])
    rank_of = np.empty(len(key) + 1, np.int64)
    rank_of[by] = np.r_[0, np.cumsum(another)]
    # Values that no row has leave no gap.
    rows = np.bincount(field.codes[field.codes >= 0], minlength=len(key))
    held = np.bincount(rank_of[:-1], rows, minlength=len(key)).astype(np.int64)
    rank_of[:-1] = np.where(rows > 0, (np.cumsum(held > 0) - 1)[rank_of[:-1]], -1)
    rank_of[-1] = -1
    held = held[held > 0]
    if len(held) < 2:
        return None
    known = int(held.sum())

    def text(rank: int) -> str:
        # The least of several spellings, whatever order they came in.
        return str(min(field.values.take(numbers(np.flatnonzero(rank_of[:-1] == rank))).to_pylist()))

    kind = narrow(len(field.codes))
    ranks = rank_of.astype(kind)[field.codes]
    before = np.r_[0, np.cumsum(held)].astype(kind) if len(held) < known else None
    return Order(name, ranks, known, text, before)


def order_of_ids(rows: Sequence[RowDimensions], side: str) -> Order | None:
    """Rows in the order of their ids, shorter ids first (2 before 10); None where they stand so in the source already."""
    starts = np.cumsum([0, *(len(one.kinds) for one in rows)])
    total = int(starts[-1])

    def texts(some: npt.NDArray[Any]) -> pa.Array:
        parts, places = [], []
        for one, start, stop in zip(rows, starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            place = np.flatnonzero((some >= start) & (some < stop))
            parts.append(one.ids(some[place] - start))
            places.append(place)
        back = np.argsort(np.concatenate(places), kind="stable")
        return pa.concat_arrays(parts).take(numbers(back))

    def of_all(each: Callable[[RowDimensions], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return each(rows[0]) if len(rows) == 1 else np.concatenate([each(one) for one in rows])

    def word(at: int) -> npt.NDArray[np.uint64]:
        return of_all(lambda one: one.ids.words(at))

    lengths = of_all(lambda one: one.ids.lengths())
    order = id_order(lengths, word, texts)
    if side == "source" and bool(np.all(order[1:] > order[:-1])):
        return None
    another = np.r_[True, ~_alike(order, lengths, word, texts)]
    ranks = np.empty(total, order.dtype)
    ranks[order] = np.cumsum(another, dtype=order.dtype) - 1
    begins = np.flatnonzero(another)
    before = np.append(begins, total).astype(order.dtype) if len(begins) < total else None
    return Order("id", ranks, total, lambda rank: str(texts(np.array([np.argmax(ranks == rank)]))[0]), before)


def _alike(
    order: npt.NDArray[Any],
    lengths: npt.NDArray[Any],
    word: Callable[[int], npt.NDArray[np.uint64]],
    texts: Callable[[npt.NDArray[Any]], pa.Array],
) -> npt.NDArray[np.bool_]:
    """Of each row but the first whether it has the id of the one before it in `order`: eight bytes at a time, as they were
    sorted, until few are left that may have."""
    sorted_lengths = lengths[order]
    alike: npt.NDArray[np.bool_] = sorted_lengths[1:] == sorted_lengths[:-1]
    for at in range(0, int(sorted_lengths[-1]) if len(order) else 0, _WORD):
        left = np.flatnonzero(alike)
        if len(left) <= _FEW:
            break
        key = word(at)
        alike[left] = key[order[left + 1]] == key[order[left]]
    left = np.flatnonzero(alike)
    alike[left] = flags(pc.equal(texts(order[left + 1]), texts(order[left])))
    return alike
