"""Neighbours by a graph index (usearch, HNSW), for asking most of a collection too large to compare with itself.

Exact search of n records among n grows with the square of n; a graph grows with n log n, at the price of missing a neighbour
now and then. So the graphs only propose candidates, generously; ranking and judging stay exact. What the graph of the
expected vectors proposes is looked up in the target too, so a right neighbour that the target holds is never called lost
because of a graph; what the graphs miss can only make the damage look smaller. One thread builds, so that a run can be
repeated. Method: Y. Malkov, D. Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical
navigable small world graphs", IEEE TPAMI 42 (2020).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.impact.search import SPARE, Floats32, Found, Metric, Rows, prepared
from vecforensics.diff.rows import CollectionVectors
from vecforensics.errors import MissingExtra

__all__ = ["Graphs"]

_BLOCK: Final = 16_384
_EFFORT: Final = 128
_METRIC: Final = {"cosine": "cos", "dot": "ip", "l2": "l2sq"}


def _new_index(dimension: int, metric: Metric) -> Any:
    try:
        from usearch.index import Index
    except ImportError:
        raise MissingExtra("ann", "approximate search for neighbours") from None
    return Index(
        ndim=dimension,
        metric=_METRIC[metric],
        dtype="f32",
        expansion_add=_EFFORT,
        expansion_search=2 * _EFFORT,
    )


def _candidates(index: Any, queries: Floats32, own_rows: Rows, keep: int, whose: Rows) -> Rows:
    """Rows of each query's candidates, its own record left out, -1 where there are fewer. `whose`: the record of each row."""
    out: Rows = np.full((len(queries), keep), -1, dtype=np.int64)
    if len(index) == 0 or len(queries) == 0:
        return out
    for start in range(0, len(queries), _BLOCK):
        part = queries[start : start + _BLOCK]
        found = index.search(part, min(keep + 1, len(index)), threads=1)
        keys = np.asarray(found.keys).astype(np.int64).reshape(len(part), -1)
        counts = np.broadcast_to(np.asarray(found.counts if len(part) > 1 else len(found)), (len(part),))
        valid = np.arange(keys.shape[1])[None, :] < counts[:, None]
        valid &= whose[keys] != own_rows[start : start + len(part), None]
        place = np.cumsum(valid, axis=1) - 1
        valid &= place < keep
        query, column = np.nonzero(valid)
        out[query + start, place[query, column]] = keys[query, column]
    return out


class Graphs:
    """A graph of each side, built once, in memory: the vectors and some 150 bytes each. `find` is as `search.nearest`."""

    def __init__(self, vectors: CollectionVectors, k: int, metric: Metric) -> None:
        self._keep = 2 * (k + SPARE)
        self._stands = np.zeros(vectors.rows + 1, dtype=bool)  # the last one is for the row -1: no candidate
        self._expected, self._actual = (
            _new_index(vectors.dimension, metric),
            _new_index(vectors.dimension, metric),
        )
        known = np.ones(vectors.rows + 1, dtype=bool)  # the last one: what is no record's is always in
        for start in range(0, vectors.rows, _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, vectors.rows), dtype=np.int64)
            right, known[rows] = vectors.expected(rows)
            _add(self._expected, rows, right, known[rows], metric)
            stored, stands = vectors.actual(rows)
            self._stands[rows] = _add(self._actual, rows, stored, stands & known[rows], metric)
        self._outside = int(np.count_nonzero(~known))
        owners = vectors.further_owners()
        self._whose: Rows = np.r_[np.arange(vectors.rows), owners]
        for start in range(0, len(owners), _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, len(owners)), dtype=np.int64)
            _add(self._actual, vectors.rows + rows, vectors.further(rows), known[owners[rows]], metric)

    def find(self, queries: Floats32, own_rows: Rows, also: Floats32, also_rows: Rows) -> Found:
        own = np.concatenate([own_rows, also_rows])
        expected = _candidates(self._expected, queries, own_rows, self._keep, self._whose)
        actual = _candidates(self._actual, np.concatenate([queries, also]), own, self._keep, self._whose)
        proposed = expected[np.searchsorted(own_rows, own)]  # `own_rows` ascend
        proposed = np.where(self._stands[proposed], proposed, -1)
        return Found(
            expected,
            np.concatenate([actual, proposed], axis=1),
            len(self._expected),
            len(self._actual),
            self._outside,
        )


def _add(
    index: Any, rows: Rows, given: Floats32, has: npt.NDArray[np.bool_], metric: Metric
) -> npt.NDArray[np.bool_]:
    """Adds the usable ones of `given`; returns which they are."""
    ready, usable = prepared(given, metric)
    usable = usable & has
    if usable.any():
        index.add(rows[usable].astype(np.uint64), ready[usable], threads=1)
    return usable
