"""Another model's vectors: wrong for each record, consistent among themselves.

A group that another model produced (or the right one with its axes turned) cannot be told from noise row by row. What gives it
away is the geometry: records that are close in the expected space are close in the actual one too. For each row in question its
similarities to a set of anchor rows are computed in both spaces and correlated; a row of noise correlates like a coin, a row of
the group far beyond. Anchors start as a sample of all rows in question; the better half of each round gives those of the next.

A row that has drifted from its own expected vector is consistent with it as well, but still points at it; a foreign one does not.
(Comparing similarity structures instead of vectors: Kriegeskorte et al. 2008, representational similarity analysis.)
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["foreign_rows"]

_ANCHORS: Final = 384
_FEWEST: Final = 8
_ROUNDS: Final = 4
_SURE: Final = 6.0  # standard errors of a correlation of nothing
_BLOCK: Final = 4096


def foreign_rows(
    expected: npt.NDArray[np.float32], actual: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Which of the pairs (k, d) belong to a foreign group, and each row's correlation with it. Rows are finite and not zero."""
    count = len(expected)
    nobody = np.zeros(count, np.bool_)
    if count < _FEWEST:
        return nobody, np.zeros(count)
    one, other = _unit(expected), _unit(actual)
    own = np.einsum("ij,ij->i", one, other)
    away = own < _own_limit(one, other, own, _spread(np.arange(count)))
    candidates = np.flatnonzero(away)
    if len(candidates) < _FEWEST:
        return nobody, np.zeros(count)
    # The better half of the rows become the next anchors: rows of noise among the anchors blur what the group has in common.
    anchors = _spread(candidates)
    for _ in range(_ROUNDS):
        scores = _profile_correlations(one, other, anchors)
        kept = max(len(candidates) // 2, min(_FEWEST, len(candidates)))
        best = np.argsort(-scores[candidates].round(6), kind="stable")[:kept]
        anchors = _spread(np.sort(candidates[best]))
    members = nobody
    for _ in range(2):
        scores = _profile_correlations(one, other, anchors)
        sure = min(max(_SURE / np.sqrt(len(anchors)), 0.15), 0.9)
        members = (scores > sure) & away & _among_neighbours(one, other, anchors)
        chosen = np.flatnonzero(members)
        if len(chosen) < _FEWEST:
            return nobody, scores
        anchors = _spread(chosen)
    return members, scores


def _spread(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """At most `_ANCHORS` of the rows, evenly spread."""
    places = np.linspace(0, len(rows) - 1, min(len(rows), _ANCHORS)).astype(np.int64)
    spread: npt.NDArray[np.int64] = rows[np.unique(places)]
    return spread


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    # In double precision: the square of a garbled component may be beyond what single precision holds.
    wide = vectors.astype(np.float64)
    unit: npt.NDArray[np.float32] = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _own_limit(
    one: npt.NDArray[np.float32],
    other: npt.NDArray[np.float32],
    own: npt.NDArray[np.float32],
    anchors: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """The similarity to its own expected vector from which a row points at its record: far above its similarity to others'."""
    limits = np.empty(len(one))
    for start in range(0, len(one), _BLOCK):
        others = other[start : start + _BLOCK] @ one[anchors].T
        limits[start : start + _BLOCK] = np.minimum(others.mean(axis=1) + 4 * others.std(axis=1), 0.95)
    return limits


def _among_neighbours(
    one: npt.NDArray[np.float32], other: npt.NDArray[np.float32], anchors: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Whether a row's nearest anchor is about as near as it should be.

    In a clustered space noise correlates with the few clusters by chance, but it lies in none of them.
    """
    place = np.full(len(one), -1)
    place[anchors] = np.arange(len(anchors))
    near = np.zeros(len(one), np.bool_)
    for start in range(0, len(one), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(one)))
        inside = np.flatnonzero(place[rows] >= 0)
        nearest = []
        for space in (one, other):
            similar = space[rows] @ space[anchors].T
            similar[inside, place[rows][inside]] = -1
            nearest.append(similar.max(axis=1))
        near[rows] = nearest[1] >= nearest[0] / 2
    return near


def _profile_correlations(
    one: npt.NDArray[np.float32], other: npt.NDArray[np.float32], anchors: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """For each row the correlation of its similarities to the anchors in one space with those in the other; itself left out."""
    scores = np.zeros(len(one))
    place = np.full(len(one), -1)
    place[anchors] = np.arange(len(anchors))
    for start in range(0, len(one), _BLOCK):
        stop = min(start + _BLOCK, len(one))
        first = (one[start:stop] @ one[anchors].T).astype(np.float64)
        second = (other[start:stop] @ other[anchors].T).astype(np.float64)
        weight = np.ones_like(first)
        inside = np.flatnonzero(place[start:stop] >= 0)
        weight[inside, place[start:stop][inside]] = 0
        total = np.maximum(weight.sum(axis=1), 1)
        first -= ((first * weight).sum(axis=1) / total)[:, None]
        second -= ((second * weight).sum(axis=1) / total)[:, None]
        with np.errstate(all="ignore"):
            score = (first * second * weight).sum(axis=1) / np.sqrt(
                (first**2 * weight).sum(axis=1) * (second**2 * weight).sum(axis=1)
            )
        scores[start:stop] = np.nan_to_num(score)
    return scores
