"""Is it the vector of an earlier version of the same record? Earlier versions share the bucket of their record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vecforensics.arrow_columns import as_numpy, numbers, whole
from vecforensics.diff.compare.grids import Grid
from vecforensics.diff.compare.relation import Relation, compare_pairs
from vecforensics.diff.lookup import ranges
from vecforensics.diff.sides import Index, Sides
from vecforensics.diff.vectors import MappedVectors

__all__ = ["find_stale", "stale_records"]

Places = npt.NDArray[np.integer[Any]]


def find_stale(
    earlier: pa.Table,
    id_hash: npt.NDArray[np.uint64],
    held: Callable[[Places], npt.NDArray[np.float32]],
    tolerance: float,
    grid: Grid | None = None,
) -> dict[int, str | None]:
    """Which of some records (by place in `id_hash`) hold what an earlier version of theirs should have held, and the highest such
    version. `earlier`: of their bucket. `held`: the vectors, float32 (k, d), that stand under the records at these places."""
    if not earlier.num_rows or not len(id_hash):
        return {}
    vectors = MappedVectors(earlier)
    earlier_hash = as_numpy(whole(earlier["id_hash"]))
    order = np.argsort(earlier_hash, kind="stable")
    low = np.searchsorted(earlier_hash[order], id_hash, "left")
    counts = np.searchsorted(earlier_hash[order], id_hash, "right") - low
    place, rows = np.repeat(np.arange(len(id_hash)), counts), order[ranges(low, counts)]
    there = vectors.present[rows]
    place, rows = place[there], rows[there]
    if not len(place):
        return {}
    matches = compare_pairs(vectors.take(rows), held(place), tolerance, grid).relation <= Relation.INT8
    versions = earlier["version"].take(numbers(rows[matches])).to_pylist()
    stale: dict[int, str | None] = {}
    for number, version in zip(place[matches].tolist(), versions, strict=True):
        known = stale.setdefault(number, version)
        if version is not None and (known is None or version > known):
            stale[number] = version
    return stale


def stale_records(
    sides: Sides, rows: Index, held: Callable[[Places], npt.NDArray[np.float32]], tolerance: float
) -> dict[int, str | None]:
    """The same for records of a whole collection, given by their running numbers; by place in `rows`."""
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
