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
from vecforensics.diff.vectors import MappedVectors

__all__ = ["Places", "find_stale"]

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
    place, rows = place[matches], rows[matches]
    ranks = as_numpy(whole(earlier["rank"]))[rows]
    # Of each record the highest comes last, and stays.
    ascending = np.lexsort((ranks, place))
    versions = earlier["version"].take(numbers(rows[ascending])).to_pylist()
    return dict(zip(place[ascending].tolist(), versions, strict=True))
