"""What it costs: how many of the right neighbours a search still finds, and how many people see another top 10.

Two questions are asked of a sample of records:

* *Search*: somebody asks with a fresh, right vector. Of the k records that the expected vectors name, how many does the
  target return? That is recall@k; what is lost is the damage to the collection.
* *Recommendation*: the record asks with the vector that stands under its own id, as "people like you" does. Its top k has
  changed if one of the right records is missing from it. A record whose own vector is gone gets nothing.

A returned record counts as right if by the expected vectors it is as near as the k-th, give or take 1e-6: among equals a
store may choose freely. Records without an expected vector are outside of both questions: they do not ask, they are no right
answer, and what the target holds under their ids takes nobody's place. Where not every record was asked, intervals are given
that cover at least what they say: Clopper-Pearson for shares; for recall, a mean of k shares ("at least j lost"), Clopper-
Pearson each with the error split by k.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from vecforensics.arrow_columns import text
from vecforensics.diff.impact.results import HurtQuery, Impact, Neighbour, Neighbours
from vecforensics.diff.impact.search import Floats32, Found, Metric, Rows, nearest, prepared, similarity
from vecforensics.diff.rows import CollectionVectors, RowDimensions
from vecforensics.diff.sampling.estimate import clopper_pearson
from vecforensics.errors import InputError

__all__ = ["HurtQuery", "Impact", "Neighbour", "Neighbours", "compare_neighbours", "measure_impact"]

Engine = Literal["exact", "usearch"]
_Read = Callable[[Rows], tuple[Floats32, npt.NDArray[np.bool_]]]
_Find = Callable[[Floats32, Rows, Floats32, Rows], Found]

AS_NEAR: Final = 1e-6
_QUERIES_AT_ONCE: Final = 2048
_RANKED_AT_ONCE: Final = 64
_IDS_AT_ONCE: Final = 2**20
_HURT: Final = 10


@dataclass(frozen=True, slots=True)
class _Answer:
    """One query, ranked: rows and similarities by the expected vectors and in the target; how many right ones are there."""

    row: int
    before: Rows
    before_scores: npt.NDArray[np.float64]
    after: Rows
    after_scores: npt.NDArray[np.float64]
    right: npt.NDArray[np.bool_]

    @property
    def found(self) -> int:
        """How many right records came back."""
        return int(np.count_nonzero(self.right))


def _raw(vectors: CollectionVectors, read: _Read, rows: Rows, metric: Metric) -> dict[int, Floats32]:
    """The raw vectors of those of `rows` that have a usable one, by row number; further rows are numbered behind the records."""
    wanted = np.unique(rows[rows >= 0])
    inside, beyond = wanted[wanted < vectors.rows], wanted[wanted >= vectors.rows]
    found, has = read(inside)
    has = has & prepared(found, metric)[1]
    out = {row: found[at] for at, row in enumerate(inside.tolist()) if has[at]}
    return out | dict(zip(beyond.tolist(), vectors.further(beyond - vectors.rows), strict=True))


def _rank(
    query: Floats32, rows: Rows, raw: dict[int, Floats32], k: int, metric: Metric
) -> tuple[Rows, npt.NDArray[np.float64]]:
    rows = np.unique(rows[rows >= 0])
    if len(rows) == 0:
        return rows, np.zeros(0)
    scores = similarity(query, np.stack([raw[int(row)] for row in rows]), metric)
    order = np.argsort(-scores, kind="stable")[:k]
    return rows[order], scores[order]


def _answer(
    row: int,
    right_vector: Floats32,
    asks: Floats32,
    candidates: tuple[Rows, Rows],
    raw: tuple[dict[int, Floats32], dict[int, Floats32]],
    k: int,
    metric: Metric,
) -> _Answer:
    """Ranks one query's candidates of both sides, whose vectors are `raw`; `asks`: the vector with which it asks the target."""
    near, near_scores = _rank(right_vector, candidates[0], raw[0], k, metric)
    got, got_scores = _rank(asks, candidates[1], raw[1], k, metric)
    limit = near_scores[-1] - AS_NEAR * max(1.0, abs(float(near_scores[-1]))) if len(near) else np.inf
    right = np.zeros(len(got), dtype=bool)
    # Neither further rows nor what should not be found at all, being zero.
    known = [at for at, one in enumerate(got.tolist()) if one in raw[0]]
    if known:
        right[known] = (
            similarity(right_vector, np.stack([raw[0][int(got[at])] for at in known]), metric) >= limit
        )
    return _Answer(row, near, near_scores, got, got_scores, right)


def _ask(
    vectors: CollectionVectors, rows: Rows, k: int, metric: Metric, find: _Find
) -> tuple[list[_Answer], list[_Answer | None], Found]:
    """(answers to the right vector, answers to the stored one (None = there is none), what was found) for these rows."""
    right, _ = vectors.expected(rows)
    stored, stands = vectors.actual(rows)
    ready, _ = prepared(right, metric)
    stored_ready, usable = prepared(stored, metric)
    usable &= stands
    other = np.flatnonzero(usable & (right != stored).any(axis=1))
    found = find(ready, rows, stored_ready[other], rows[other])
    place = {int(at): len(rows) + number for number, at in enumerate(other.tolist())}
    search: list[_Answer] = []
    recommended: list[_Answer | None] = []
    for start in range(0, len(rows), _RANKED_AT_ONCE):
        these = range(start, min(start + _RANKED_AT_ONCE, len(rows)))
        after = found.actual[[*these, *(place[at] for at in these if at in place)]]
        both = np.concatenate([found.expected[list(these)].ravel(), after[after < vectors.rows]])
        raw = (
            _raw(vectors, vectors.expected, both, metric),
            _raw(vectors, vectors.actual, after.ravel(), metric),
        )
        for at in these:
            row, before = int(rows[at]), found.expected[at]
            fresh = _answer(row, right[at], right[at], (before, found.actual[at]), raw, k, metric)
            search.append(fresh)
            if at in place:
                lists = (before, found.actual[place[at]])
                recommended.append(_answer(row, right[at], stored[at], lists, raw, k, metric))
            else:
                recommended.append(fresh if usable[at] else None)
    return search, recommended, found


def _draw(vectors: CollectionVectors, queries: int, seed: int, metric: Metric) -> Rows:
    """`queries` rows with a usable expected vector (or all, if there are fewer), ascending: a simple random sample."""
    order = np.random.default_rng(seed).permutation(vectors.rows)
    kept = [np.zeros(0, dtype=np.int64)]
    tried = 0
    while tried < len(order) and (missing := queries - sum(len(rows) for rows in kept)) > 0:
        rows = np.sort(order[tried : tried + missing])
        tried += len(rows)
        found, has = vectors.expected(rows)
        kept.append(rows[has & prepared(found, metric)[1]])
    return np.sort(np.concatenate(kept))


def _recall_limits(lost: npt.NDArray[np.int64], k: int, confidence: float) -> tuple[float, float]:
    """Limits for the mean recall: the mean loss is the mean over j = 1..k of the share of queries that lost j or more."""
    each = 1.0 - (1.0 - confidence) / k
    limits = [clopper_pearson(int((lost >= j).sum()), len(lost), each) for j in range(1, k + 1)]
    return 1.0 - sum(high for _, high in limits) / k, 1.0 - sum(low for low, _ in limits) / k


def _ids(rows: RowDimensions, wanted: Sequence[int], total: int) -> tuple[str, ...]:
    """Ids of rows in the given order; further rows of the target, which are no record's own, say so."""
    inside = sorted({row for row in wanted if row < total})
    names = (
        dict(zip(inside, rows.ids(np.asarray(inside, dtype=np.int64)).to_pylist(), strict=True))
        if inside
        else {}
    )
    return tuple(names.get(row, "(a row that is no record's own)") for row in wanted)


def _hurt(answer: _Answer, rows: RowDimensions, total: int, places: int) -> HurtQuery:
    after = set(answer.after.tolist())
    wrong = [
        row for row, right in zip(answer.after.tolist(), answer.right.tolist(), strict=True) if not right
    ]
    lost = [row for row in answer.before.tolist() if row not in after][: places - answer.found]
    return HurtQuery(
        _ids(rows, [answer.row], total)[0],
        answer.found / places,
        _ids(rows, lost, total),
        _ids(rows, wrong, total),
    )


def _finder(vectors: CollectionVectors, k: int, metric: Metric, memory_mb: int, engine: Engine) -> _Find:
    if engine == "usearch":
        from vecforensics.diff.impact.ann import Graphs

        return Graphs(vectors, k, metric).find
    return partial(nearest, vectors, k=k, metric=metric, memory_mb=memory_mb)


def measure_impact(
    vectors: CollectionVectors,
    rows: RowDimensions,
    *,
    queries: int = 1000,
    k: int = 10,
    seed: int = 0,
    memory_mb: int = 128,
    metric: Metric = "cosine",
    engine: Engine = "exact",
    confidence: float = 0.95,
) -> Impact | None:
    """What the damage costs this collection, on a seeded sample of `queries` of its records (all, if it has no more). None where
    fewer than two of them have a usable expected vector: then nobody has a neighbour to lose.

    `engine`: "exact" reads both sides once for each 2,048 queries; "usearch" (extra [ann]) builds two graph indexes instead,
    worth it when most of a large collection is to be asked. Raises InputError where `queries` or `k` is below 1.
    """
    if queries < 1 or k < 1:
        raise InputError(
            "an impact needs at least one query and one neighbour", hint="Give queries and k of 1 or more"
        )
    asking = _draw(vectors, queries, seed, metric)
    records = returnable = outside = places = changed = 0
    counts, worst = [np.zeros(0, dtype=np.int64)], list[_Answer]()
    find = _finder(vectors, k, metric, memory_mb, engine)
    for start in range(0, len(asking), _QUERIES_AT_ONCE):
        part = asking[start : start + _QUERIES_AT_ONCE]
        search, recommended, found = _ask(vectors, part, k, metric, find)
        records, returnable, outside = found.records, found.returnable, found.outside
        places = min(k, records - 1)
        counts.append(np.asarray([answer.found for answer in search], dtype=np.int64))
        changed += sum(answer is None or answer.found < places for answer in recommended)
        hurt = [answer for answer in search if answer.found < places]
        worst = sorted([*worst, *hurt], key=lambda answer: (answer.found, answer.row))[:_HURT]
    if places < 1:
        return None
    lost, asked = places - np.concatenate(counts), len(asking)
    recall = 1.0 - float(lost.sum()) / (places * asked)
    share = changed / asked
    recall_limits, share_limits = (recall, recall), (share, share)
    if asked < records:
        recall_limits = _recall_limits(lost, places, confidence)
        share_limits = clopper_pearson(changed, asked, confidence)
    how = (
        "exact blocked search"
        if engine == "exact"
        else "approximate search (usearch HNSW), candidates ranked exactly"
    )
    which = (
        "all records asked" if asked == records else f"simple random sample of {asked:,} records, seed {seed}"
    )
    interval = "" if asked == records else f"; Clopper–Pearson intervals, confidence {confidence:g}"
    without = f"; {outside:,} records without an expected vector are left out" if outside else ""
    return Impact(
        vectors.collection,
        metric,
        places,
        records,
        returnable,
        outside,
        asked,
        records,
        recall,
        *recall_limits,
        changed,
        share,
        *share_limits,
        tuple(np.bincount(lost, minlength=places + 1).tolist()),
        tuple(_hurt(answer, rows, vectors.rows, places) for answer in worst),
        seed,
        confidence,
        f"{how}, {metric}, k = {places}; {which}{interval}{without}",
    )


def _row_of(rows: RowDimensions, total: int, record: str) -> int:
    """The row of a record, -1 where there is none."""
    for start in range(0, total, _IDS_AT_ONCE):
        ids = rows.ids(np.arange(start, min(start + _IDS_AT_ONCE, total)))
        if (place := pc.index(ids, text(record)).as_py()) >= 0:
            return start + int(place)
    return -1


def compare_neighbours(
    vectors: CollectionVectors,
    rows: RowDimensions,
    record: str,
    *,
    k: int = 10,
    metric: Metric = "cosine",
    memory_mb: int = 128,
) -> Neighbours:
    """The neighbours of one record before and after: asked with its expected vector, and with what stands under its id.

    Raises InputError where the collection has no such record, or where it has no usable expected vector.
    """
    where = f"collection {vectors.collection}"
    row = _row_of(rows, vectors.rows, record)
    if row < 0:
        raise InputError(
            f"no record {record!r}", where=where, hint="Ids are compared as text, to the last character"
        )
    one = np.asarray([row], dtype=np.int64)
    found, has = vectors.expected(one)
    if not (has & prepared(found, metric)[1])[0]:
        raise InputError(f"record {record!r} has no expected vector to ask with", where=where)
    find = _finder(vectors, k, metric, memory_mb, "exact")
    search, recommended, answered = _ask(vectors, one, k, metric, find)
    fresh, own = search[0], recommended[0]
    total = vectors.rows

    def named(side: Rows, scores: npt.NDArray[np.float64]) -> tuple[Neighbour, ...]:
        return tuple(
            Neighbour(name, float(score))
            for name, score in zip(_ids(rows, side.tolist(), total), scores.tolist(), strict=True)
        )

    return Neighbours(
        record,
        named(fresh.before, fresh.before_scores),
        named(fresh.after, fresh.after_scores),
        fresh.found,
        None if own is None else named(own.after, own.after_scores),
        answered.outside,
    )
