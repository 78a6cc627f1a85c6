"""Which record does a row of the target stand for? For the one whose id it has, to the last character.

Rows are joined on the hash of the id, and the ids themselves decide, so a collision costs time and never an error. Where several
rows stand under one id, one is the record's own, and it is with that one that the record is compared (`copies.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.arrow_columns import as_numpy, numbers, whole
from vecforensics.diff.compare.copies import own_first
from vecforensics.diff.lookup import find

__all__ = ["Standing", "join_ids"]

Rows = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Standing:
    """Of each target row of a bucket: `record` int32 (n,), the source row of the bucket that it stands for, -1 for none, and
    `own` bool (n,), whether it is that record's own row and no further one."""

    record: Rows
    own: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, source: pa.Table, target: pa.Table) -> Standing:
        record, own = np.full(target.num_rows, -1, np.int32), np.zeros(target.num_rows, np.bool_)
        source_row, target_row, more_source, more_target = join_ids(source, target)
        record[target_row], record[more_target] = source_row, more_source
        own[target_row] = True
        return cls(record, own)


def join_ids(source: pa.Table, target: pa.Table) -> tuple[Rows, Rows, Rows, Rows]:
    """Joined pairs (source row, target row), then the further target rows of ids that stand more than once (source row, target
    row); which of these is the joined one says `copies.py`.
    """
    source_hash, target_hash = (as_numpy(whole(side["id_hash"])) for side in (source, target))
    # Both sides sorted: a search with sorted keys walks through memory once, and equal sides need none.
    order, target_order = np.argsort(source_hash), np.argsort(target_hash)
    ordered, wanted_hash = source_hash[order], target_hash[target_order]
    if np.array_equal(ordered, wanted_hash):
        source_row, target_row = order.astype(np.int32), target_order.astype(np.int32)
    else:
        at, hit = find(ordered, wanted_hash)
        target_row = target_order[hit].astype(np.int32)
        source_row = order[at[hit]].astype(np.int32)
    source_row, target_row = _by_source(source_row, target_row, source.num_rows)
    ids = whole(source["id"])
    if len(source_row) < source.num_rows or (source_row[1:] == source_row[:-1]).any():
        ids = ids.take(numbers(source_row))
    same = pc.equal(ids, whole(target["id"]).take(numbers(target_row)))
    if not pc.all(same).as_py() and len(source_row):
        source_row, target_row = _by_source(*_join_by_text(source, target), source.num_rows)
    again = np.r_[False, source_row[1:] == source_row[:-1]] if len(source_row) else np.empty(0, np.bool_)
    several = np.flatnonzero(again | np.r_[again[1:], False]) if again.any() else np.empty(0, np.intp)
    # Only the few ids that stand more than once are ranked; the rows of each keep their places among the others.
    target_row[several] = target_row[several][
        own_first(source, target, source_row[several], target_row[several])
    ]
    return source_row[~again], target_row[~again], source_row[again], target_row[again]


def _by_source(source_row: Rows, target_row: Rows, rows: int) -> tuple[Rows, Rows]:
    """Pairs in the order of the source; those of one record in any order."""
    held = np.full(rows, -1, np.int32)
    held[source_row] = target_row
    there = np.flatnonzero(held >= 0)
    if len(there) == len(source_row):
        # Each record once: put into its place, with nothing to sort.
        return there.astype(np.int32), held[there]
    order = np.argsort(source_row)
    return source_row[order], target_row[order]


def _join_by_text(source: pa.Table, target: pa.Table) -> tuple[Rows, Rows]:
    """The same join where two ids of one bucket share a hash."""
    rows = {text: row for row, text in enumerate(source["id"].to_pylist())}
    pairs = [(rows[text], row) for row, text in enumerate(target["id"].to_pylist()) if text in rows]
    joined = np.array(pairs, np.int32).reshape(-1, 2)
    return joined[:, 0], joined[:, 1]
