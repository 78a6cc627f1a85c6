"""Vectors of earlier versions, over a whole collection: the record's own, or another record's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from vecforensics import arrow_columns as arrow
from vecforensics.diff.compare.stale import Places, find_stale
from vecforensics.diff.lookup import find
from vecforensics.diff.sides import Index, Sides

__all__ = ["earlier_owners", "stale_records"]


def stale_records(
    sides: Sides, rows: Index, held: Callable[[Places], npt.NDArray[np.float32]], tolerance: float
) -> dict[int, str | None]:
    """What `find_stale` says of records of any bucket, given by their running numbers; by place in `rows`."""
    stale: dict[int, str | None] = {}
    if not sides.frozen.rows["earlier"]:
        return stale
    for bucket, places, local in sides.source.split(rows):
        earlier = sides.source.evidence.table(sides.frozen.name, "earlier", bucket)
        hashes = sides.source.column("id_hash", bucket)[local]

        def of_bucket(some: Places, places: Places = places) -> npt.NDArray[np.float32]:
            return held(places[some])

        found = find_stale(earlier, hashes, of_bucket, tolerance, sides.grid)
        stale |= {int(places[place]): version for place, version in found.items()}
    return stale


def earlier_owners(sides: Sides, target: Index) -> dict[int, tuple[int, str | None]]:
    """Place in `target` → (record, version) of the earlier version whose expected vector stands there, bit for bit.

    Of several the one of which the most edits are older, and among those the one that stands first in the source.
    """
    found: dict[int, tuple[int, str | None]] = {}
    order_of: dict[int, tuple[int, int]] = {}
    if not sides.frozen.rows["earlier"] or not len(target):
        return found
    asked = sides.target.integers("digest", target)
    order = np.argsort(asked, kind="stable")
    ordered = asked[order]
    for bucket in range(sides.source.buckets):
        earlier = sides.source.evidence.table(sides.frozen.name, "earlier", bucket)
        held = arrow.as_numpy(arrow.whole(earlier["digest"]))
        low, there = find(ordered, held)
        hits = np.flatnonzero((held != 0) & there)
        if not len(hits):
            continue
        some = earlier.select(["id", "version", "rank", "position"]).take(arrow.numbers(hits))
        ids = arrow.whole(sides.source.table(bucket)["id"])
        record = sides.source.number(
            bucket, arrow.as_numpy(pc.index_in(arrow.whole(some["id"]), value_set=ids))
        )
        columns = (some[name].to_pylist() for name in ("version", "rank", "position"))
        for hit, row, version, rank, position in zip(hits.tolist(), record.tolist(), *columns, strict=True):
            for place in order[low[hit] : np.searchsorted(ordered, held[hit], "right")].tolist():
                better = (rank, -position)
                if place not in found or better > order_of[place]:
                    found[place] = (row, version)
                    order_of[place] = better
    return found
