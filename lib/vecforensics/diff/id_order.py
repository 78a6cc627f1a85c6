"""The order of many ids, shorter ones first (2 before 10), without holding them.

Ids are told apart eight bytes at a time: rows of one length are sorted by the first eight bytes, those still alike by the next
eight, and so on (most-significant-digit radix sort, Knuth, The Art of Computer Programming, vol. 3, 5.2.5). Where only few are
left that begin alike, their texts are fetched and sorted as such. A row costs some tens of bytes for the time of the sort,
however long its id.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.arrow_columns import as_numpy, numbers

__all__ = ["id_order", "narrow", "words"]

_WORD: Final = 8
# So few texts are sorted as texts.
_FEW: Final = 65_536

Words = npt.NDArray[np.uint64]


def narrow(count: int) -> type[np.int32] | type[np.int64]:
    """The type of row numbers among `count` rows."""
    return np.int32 if count < 2**31 else np.int64


def words(texts: pa.StringArray, at: int) -> Words:
    """Bytes `at` to `at + 7` of each text as one big-endian number, uint64 (n,): zeros beyond its end, and for a null."""
    if not len(texts):
        return np.empty(0, np.uint64)
    _, offsets, data = texts.buffers()
    # More than 2 GB of texts in one piece count their offsets in eight bytes.
    wide = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    ends = np.frombuffer(offsets, wide)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    first, last = int(ends[0]), int(ends[-1])
    # Seven bytes behind the last one, since each row reads eight.
    held = np.zeros(last - first + _WORD, np.uint8)
    if last > first:
        held[: last - first] = np.frombuffer(data, np.uint8)[first:last]
    begins = ends[:-1] - first + at
    left = ends[1:] - first - begins
    windows = np.ndarray(len(held) - _WORD + 1, ">u8", held.data, strides=(1,))
    found: Words = windows[np.where(left > 0, begins, 0)].astype(np.uint64)
    beyond = (8 * np.clip(_WORD - left, 0, _WORD - 1)).astype(np.uint64)
    found = found >> beyond << beyond
    found[left <= 0] = 0
    return found


def id_order(
    lengths: npt.NDArray[Any], word: Callable[[int], Words], texts: Callable[[npt.NDArray[Any]], pa.Array]
) -> npt.NDArray[Any]:
    """Row numbers in the order of the rows' ids, equal ids in the order of the rows: int32 (n,) where that is wide enough.

    `lengths` in bytes; `word(at)`: the bytes from `at` on of every id (`words`); `texts(rows)`: the ids of some rows.
    """
    order = np.argsort(lengths, kind="stable").astype(narrow(len(lengths)))
    # The places in `order` whose rows are not told apart yet from those of the same group beside them.
    places: slice | npt.NDArray[np.int64] = slice(None)
    group, left = lengths[order], len(order)
    longest = int(group[-1]) if left else 0
    for at in range(0, longest, _WORD):
        if left <= _FEW:
            break
        rows = order[places]
        key = word(at)[rows]
        by = np.argsort(key) if group[0] == group[-1] else np.lexsort((key, group))
        order[places] = rows[by]
        key = key[by]
        del by, rows
        first = np.r_[True, (key[1:] != key[:-1]) | (group[1:] != group[:-1])]
        del key
        alike = np.flatnonzero(~(first & np.r_[first[1:], True]))
        group, left = np.cumsum(first)[alike], len(alike)
        places = alike if isinstance(places, slice) else places[alike]
    if left:
        rows = order[places]
        order[places] = rows[_by_text(group, texts(rows), rows)]
    return order


def _by_text(group: npt.NDArray[Any], texts: pa.Array, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    columns = {"group": numbers(group), "text": texts, "row": numbers(rows)}
    table = pa.Table.from_arrays(list(columns.values()), list(columns))
    return as_numpy(pc.sort_indices(table, sort_keys=[(name, "ascending") for name in columns]))
