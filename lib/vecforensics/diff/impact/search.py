"""The nearest neighbours of some records, among the expected vectors and among what the target holds, in one pass.

Exact search is a matrix product a block of records. The expected vectors are read once, of the target's only those that
differ: where a row is bit for bit the expected one, its similarities are those that were just computed.
Candidates are picked in single precision, a few more than asked for, and ranked again in double precision: the answer does
not depend on how a BLAS adds up. Equal similarities go to the record that stands first in the source.

What a store cannot return is left out: records without a vector, NaN or infinite ones, zero ones under cosine (they have no
direction), and those of another length. Of a record without an expected vector nobody knows whom it should be near: it is outside
of the question, and what the target holds under its id is left out too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from vecforensics.diff.lookup import ranges
from vecforensics.diff.rows import CollectionVectors

__all__ = ["SPARE", "Floats32", "Found", "Metric", "Rows", "nearest", "prepared", "similarity"]

Metric = Literal["cosine", "dot", "l2"]
Floats32 = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

SPARE: Final = 6  # candidates beyond k: single precision misplaces neighbours closer than about 1e-7
_FULL: Final = 4
_SMALLEST_SQUARE: Final = np.float32(1e-20)
_LARGEST: Final = np.float32(1e37)  # products beyond are equal, with room left to compare


@dataclass(frozen=True, slots=True)
class Found:
    """Candidate rows of each query, shape (queries, k + SPARE), -1 where there are fewer; behind the records, from `vectors.rows`
    on, are numbered the further rows of the target.

    `expected`: of the first queries among the expected vectors; `actual`: of all queries among the target's.
    `records`, `returnable`: how many vectors either search could return; `outside`: how many records have no expected vector.
    """

    expected: Rows
    actual: Rows
    records: int
    returnable: int
    outside: int


def prepared(vectors: npt.NDArray[Any], metric: Metric) -> tuple[Floats32, npt.NDArray[np.bool_]]:
    """(vectors as the metric sees them, which of them a store can return). Shapes (n, d) and (n,)."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    usable = np.isfinite(vectors).all(axis=1) & np.isfinite(lengths)
    if metric != "cosine":
        return np.where(usable[:, None], vectors, np.float32(0)), usable
    usable &= lengths > 0
    safe = np.where(usable, lengths, 1.0)
    return np.where(usable[:, None], vectors / safe[:, None], 0.0).astype(np.float32), usable


def similarity(query: npt.NDArray[Any], vectors: npt.NDArray[Any], metric: Metric) -> npt.NDArray[np.float64]:
    """Similarity of one raw query, shape (d,), to raw vectors, shape (n, d), in double precision; more is nearer."""
    one, many = query.astype(np.float64), vectors.astype(np.float64)
    if metric == "l2":
        return np.asarray(-np.einsum("ij,ij->i", many - one, many - one), dtype=np.float64)
    product = np.einsum("ij,j->i", many, one)
    if metric == "dot":
        return np.asarray(product, dtype=np.float64)
    return np.asarray(
        product / (np.sqrt(np.einsum("ij,ij->i", many, many)) * np.sqrt(one @ one)), dtype=np.float64
    )


def _products(queries: Floats32, vectors: Floats32, metric: Metric) -> Floats32:
    with np.errstate(over="ignore", invalid="ignore"):
        out: Floats32 = queries @ vectors.T
        if metric == "l2":  # -|q - x|^2 without the part that is the same for all x
            out *= np.float32(2)
            out -= np.einsum("ij,ij->i", vectors, vectors)[None, :]
    if metric != "cosine":
        out[np.isnan(out)] = -np.inf
        np.minimum(out, _LARGEST, out=out)
    return out


def _scores(queries: Floats32, vectors: Floats32, metric: Metric) -> tuple[Floats32, npt.NDArray[np.bool_]]:
    """(`queries`, as `prepared`, against raw vectors, shape (q, n); which of the vectors a store can return, shape (n,)).

    Under cosine the products are divided by the lengths instead of the vectors: that spares a copy of everything. Vectors of
    a length that single precision cannot square take the long way.
    """
    if metric != "cosine":
        ready, usable = prepared(vectors, metric)
        return _products(queries, ready, metric), usable
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", vectors, vectors)
        usable = np.asarray((squares > _SMALLEST_SQUARE) & (squares < 1 / _SMALLEST_SQUARE))
        out: Floats32 = queries @ vectors.T
        out *= 1 / np.sqrt(np.where(usable, squares, np.float32(1)))
    odd = np.flatnonzero(~usable)
    if len(odd):
        ready, fit = prepared(vectors[odd], metric)
        out[:, odd] = _products(queries, ready, metric)
        usable[odd] = fit
    return out, usable


def _widest(scale: Floats32, scores: Floats32, metric: Metric) -> Floats32:
    """What rounding is relative to: 1 for a cosine, else the largest finite score seen."""
    if metric == "cosine" or scores.shape[1] == 0:
        return scale
    finite = np.where(np.isfinite(scores), np.abs(scores), np.float32(0))
    widest: Floats32 = np.maximum(scale, finite.max(axis=1))
    return widest


class _Best:
    """The best rows of each query so far, in single precision.

    Scores within `width` of the k-th best cannot be told apart in single precision (identical vectors too get scores that
    differ in the last bits); of these the first rows are kept, so that ties go to the first record whatever the BLAS.
    """

    def __init__(self, queries: int, k: int, width: float) -> None:
        self.k, self.keep, self.width = k, k + SPARE, width
        self.scores = np.full((queries, self.keep), -np.inf, dtype=np.float32)
        self.rows: Rows = np.full((queries, self.keep), -1, dtype=np.int64)
        self.limit = np.full(queries, -np.inf, dtype=np.float32)

    def add(self, scores: Floats32, first_row: int, scale: Floats32) -> None:
        """`scores`, shape (queries, block), -inf where the row is not to be returned; `scale`: what `width` is relative to."""
        near = scores > (self.limit - self.width * scale)[:, None]
        crowded = np.flatnonzero(np.count_nonzero(near, axis=1) > _FULL * self.keep)
        for query in crowded.tolist():
            near[query] = self._first(
                scores[query], float(self.limit[query]), self.width * float(scale[query])
            )
        flat = np.flatnonzero(near)  # several times faster than nonzero on two axes
        if len(flat) == 0:
            return
        whose, column = flat // scores.shape[1], flat % scores.shape[1]
        held = np.flatnonzero(self.rows.ravel() >= 0)
        owner: Rows = np.concatenate([held // self.keep, whose])
        score = np.concatenate([self.scores.ravel()[held], scores.ravel()[flat]])
        row = np.concatenate([self.rows.ravel()[held], column + first_row])
        order = np.lexsort((row, -score, owner))
        owner, score, row = owner[order], score[order], row[order]
        place = np.arange(len(owner)) - np.searchsorted(owner, owner)
        at = place == self.k - 1
        self.limit[owner[at]] = score[at]
        beyond = score - self.limit[owner]
        width = self.width * scale[owner]
        level = np.where(beyond > width, 0, np.where(beyond >= -width, 1, 2))
        order = np.lexsort((row, np.where(level == 1, 0, -score), level, owner))
        owner, score, row = owner[order], score[order], row[order]
        kept = place < self.keep
        self.rows[np.unique(owner)] = -1
        self.scores[owner[kept], place[kept]] = score[kept]
        self.rows[owner[kept], place[kept]] = row[kept]

    def _first(self, scores: Floats32, limit: float, width: float) -> npt.NDArray[np.bool_]:
        """Marks what is above the k-th best, and of what equals it the first rows."""
        at = max(len(scores) - self.k, 0)
        limit = max(limit, float(np.partition(scores, at)[at]))
        chosen: npt.NDArray[np.bool_] = scores > limit + width
        equal = np.flatnonzero((scores >= limit - width) & ~chosen & (scores > -np.inf))
        chosen[equal[: self.keep]] = True
        return chosen


def _blocks(total: int, rows: int) -> Iterator[Rows]:
    for start in range(0, total, rows):
        yield np.arange(start, min(start + rows, total), dtype=np.int64)


def nearest(
    vectors: CollectionVectors,
    queries: Floats32,
    own_rows: Rows,
    also: Floats32,
    also_rows: Rows,
    *,
    k: int,
    metric: Metric,
    memory_mb: int,
) -> Found:
    """Candidates for the `k` nearest records of each query.

    `queries`, shape (q, d), as `prepared`, are asked of both sides; `also`, shape (s, d), of the target alone. `own_rows` and
    `also_rows` are the records that ask, which are not their own neighbours. Works in blocks of some `memory_mb` in all.
    """
    asked = np.concatenate([queries, also])
    own = np.concatenate([own_rows, also_rows])
    # The error of a sum of d products in single precision grows with the root of d; 2e-7 is about three units in the last place.
    width = 2e-7 * float(np.sqrt(max(vectors.dimension, 1)))
    expected, actual = _Best(len(queries), k, width), _Best(len(asked), k, width)
    scale = np.ones(len(asked), dtype=np.float32)
    bytes_a_row = 8 * len(asked) + 32 * max(vectors.dimension, 1)
    block = int(np.clip(memory_mb * 1_000_000 // bytes_a_row, 64, 65_536))
    records = returnable = 0
    outside = np.zeros(vectors.rows + 1, dtype=bool)  # the last one is for the row -1: no record's
    for rows in _blocks(vectors.rows, block):
        right, has = vectors.expected(rows)
        same = vectors.same(rows) & has
        scores, usable = _scores(asked, right, metric)
        usable &= has
        outside[rows] = ~has
        scale = _widest(scale, scores, metric)
        mine = np.flatnonzero((own >= rows[0]) & (own <= rows[-1]))
        scores[mine, own[mine] - rows[0]] = -np.inf
        scores[:, ~usable] = -np.inf
        expected.add(scores[: len(queries)], int(rows[0]), scale[: len(queries)])
        records += int(usable.sum())
        changed = np.flatnonzero(~same & has)
        if len(changed):
            wrong, stands = vectors.actual(rows[changed])
            again, fit = _scores(asked, wrong, metric)
            fit &= stands
            scores[:, changed] = np.where(fit[None, :], again, -np.inf)
            scores[mine, own[mine] - rows[0]] = -np.inf
            returnable += int(fit.sum())
        returnable += int((usable & same).sum())
        actual.add(scores, int(rows[0]), scale)
    owners, by_own = vectors.further_owners(), np.argsort(own)
    for rows in _blocks(len(owners), block):
        scores, usable = _scores(asked, vectors.further(rows), metric)
        usable &= ~outside[owners[rows]]
        scale = _widest(scale, scores, metric)
        scores[:, ~usable] = -np.inf
        # Who asks is not his own neighbour, however often he stands there.
        first = np.searchsorted(own[by_own], owners[rows])
        times = np.searchsorted(own[by_own], owners[rows], "right") - first
        scores[by_own[ranges(first, times)], np.repeat(np.arange(len(rows)), times)] = -np.inf
        actual.add(scores, vectors.rows + int(rows[0]), scale)
        returnable += int(usable.sum())
    return Found(expected.rows, actual.rows, records, returnable, int(outside.sum()))
