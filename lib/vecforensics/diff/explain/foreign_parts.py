"""Which rows follow one model, where the rows of several are mixed: those whose similarities to one another agree.

Two rows of one model are as similar as they are expected to be, whichever model it is; rows of two models are similar by chance.
The product of the expected and the held similarity of each pair is positive on average within a model and nothing on average
between models, so that the leading eigenvectors of all products lie each on the rows of one model. A model shows where it has
more rows than the root of all of them (the spectrum of chance; Baik, Ben Arous and Péché 2005). Similarities are those within
neighbourhoods: topics are alike in any model. A neighbour of a row is near to it on both sides, and therefore of its model.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.explain.foreign_map import cosines, most_similar, spread

__all__ = ["consistent_parts", "have_nothing_in_common", "nearest_rows", "pair_agreement"]

_Floats = npt.NDArray[np.float32]
_Rows = npt.NDArray[np.int64]

_FEWEST: Final = 8
_PARTS: Final = 4
_NEIGHBOURS: Final = 12
# Eigenvectors of like strength span the same models and are looked at together.
_TOGETHER: Final = 4
_LIKE: Final = 0.5
# Standard errors by which a row of a part agrees with the others of the part.
_SURE: Final = 2.0
_TURNS: Final = 10
_STARTS: Final = 8
# Standard deviations beyond which the agreement of a pair counts no more.
_MOST: Final = 3.0
# Parts of one model agree between them as they do within: this share of it.
_COMMON: Final = 0.1


def pair_agreement(one: _Floats, other: _Floats) -> _Floats:
    """(k, k): expected times held similarity of each pair of rows (k, d), within neighbourhoods; 0 for itself and neighbours."""
    expected, held = (_directions(space - space.mean(axis=0)) for space in (one, other))
    near_both = np.minimum(expected @ expected.T, held @ held.T)
    np.fill_diagonal(near_both, -2)
    near = most_similar(near_both, _NEIGHBOURS)
    similar = np.take_along_axis(near_both, near, axis=1)
    weight = ((similar >= similar[:, :1] / 2) & (similar > 0)).astype(np.float32)
    weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1)
    weights = np.zeros_like(near_both)
    np.put_along_axis(weights, near, weight, axis=1)
    first, second = (_directions(space - weights @ space) for space in (expected, held))
    agreement: _Floats = (first @ first.T) * (second @ second.T)
    agreement[(weights > 0) | (weights.T > 0)] = 0
    np.fill_diagonal(agreement, 0)
    # A few pairs that agree entirely would be eigenvectors of their own.
    most = _MOST * np.sqrt((agreement**2).mean())
    return agreement.clip(-most, most)


def consistent_parts(agreement: _Floats) -> list[_Rows]:
    """At most four sets of rows that agree among themselves, by the `pair_agreement` (k, k), the strongest first. Whether a part
    is more than chance is not asked: something is always the strongest."""
    from scipy.linalg import eigh

    left = np.arange(len(agreement))
    parts: list[_Rows] = []
    while len(left) >= 2 * _FEWEST and len(parts) < _PARTS:
        among = agreement[np.ix_(left, left)]
        squares = among**2
        values, vectors = eigh(among, subset_by_index=[len(left) - _TOGETHER, len(left) - 1])
        like = values > _LIKE * values[-1]
        vectors = (vectors * np.sqrt(np.maximum(values, 0)))[:, like]
        # What a row that stands out has in common with each: no sign and no rotation of equal eigenvectors is in that.
        out = np.argsort(-(vectors**2).sum(axis=1).round(6), kind="stable")[:: max(len(left) // _STARTS, 1)]
        member = max(
            (_members(among, squares, vectors @ vectors[row]) for row in out[: _STARTS // 2]),
            key=lambda one: _strength(among, one),
        )
        if member.sum() < _FEWEST:
            break
        parts.append(left[member])
        left = left[~member]
    return _closest(agreement, parts)


def have_nothing_in_common(agreement: _Floats, first: _Rows, second: _Rows) -> bool:
    """Whether the rows of two parts agree so little that they are of two models."""
    among = [agreement[np.ix_(rows, rows)].sum() / (len(rows) * (len(rows) - 1)) for rows in (first, second)]
    return bool(agreement[np.ix_(first, second)].mean() < _COMMON * np.sqrt(max(among[0] * among[1], 0)))


def _members(among: _Floats, squares: _Floats, start: _Floats) -> npt.NDArray[np.bool_]:
    """The rows that agree with the others among them, beginning with those of the greatest `start`; perhaps too few."""
    member: npt.NDArray[np.bool_] = start > np.sort(start)[-_FEWEST:].mean() / 3
    for _ in range(_TURNS):
        sure = _sure(among, squares, member)
        following: npt.NDArray[np.bool_] = sure > max(_SURE, float(np.median(sure[member])) / 2)
        if following.sum() < _FEWEST or (following == member).all():
            break
        member = following
    return member


def _closest(agreement: _Floats, parts: list[_Rows]) -> list[_Rows]:
    """The parts, each row where it agrees best."""
    squares = agreement**2
    for _ in range(_TURNS):
        if len(parts) < 2:
            break
        sure = np.stack(
            [_sure(agreement, squares, np.isin(np.arange(len(agreement)), rows)) for rows in parts]
        )
        best = np.where(sure.max(axis=0) > _SURE, sure.argmax(axis=0), -1)
        now = [np.flatnonzero(best == number) for number in range(len(parts))]
        same = all(np.array_equal(*pair) for pair in zip(parts, now, strict=True))
        parts = [rows for rows in now if len(rows) >= _FEWEST]
        if same:
            break
    return parts


def _sure(agreement: _Floats, squares: _Floats, member: npt.NDArray[np.bool_]) -> _Floats:
    """How far the sum of what each row has in common with the members is from nothing, in its standard errors."""
    chosen = member.astype(np.float32)
    sure: _Floats = agreement @ chosen / np.sqrt(np.maximum(squares @ chosen, np.float32(1e-12)))
    return sure


def _strength(among: _Floats, member: npt.NDArray[np.bool_]) -> float:
    """How much members agree with one another: less for two models together than for one of them, less for half a model."""
    return float(round(among[np.ix_(member, member)].sum() / max(member.sum(), _FEWEST) ** 1.5, 6))


def _directions(vectors: _Floats) -> _Floats:
    directions: _Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return directions


def nearest_rows(one: _Floats, other: _Floats, rows: _Rows) -> _Rows:
    """At most `_ANCHORS` of the rows: those whose similarities (k, k) to one another follow the expected ones.

    Rows of noise among the anchors blur what the group has in common: they are far from where their neighbours are, so that the
    nearer half comes first, then twice the half that correlates better, and then whoever does beyond doubt.
    """
    expected, held = one @ one.T, other @ other.T
    anchors, half = spread(rows), max(len(rows) // 2, min(_FEWEST, len(rows)))
    for turn in range(4):
        nearer = turn < 2
        score = (
            _nearness(expected, held, rows, anchors)[1]
            if nearer
            else _correlations(expected, held, rows, anchors)
        )
        best = np.argsort(-score.round(6), kind="stable")[:half]
        anchors = spread(rows[np.sort(best)])
    for _ in range(2):
        # Six standard errors of a correlation of nothing.
        sure = min(max(6 / np.sqrt(len(anchors)), 0.15), 0.9)
        wanted, there = _nearness(expected, held, rows, anchors)
        chosen = np.flatnonzero((_correlations(expected, held, rows, anchors) > sure) & (there >= wanted / 2))
        if len(chosen) < _FEWEST:
            break
        anchors = spread(rows[chosen])
    return anchors


def _nearness(
    expected: _Floats, held: _Floats, rows: _Rows, anchors: _Rows
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """How similar each row should be to the six anchors expected nearest to it, and how similar it is."""
    wanted = np.where(rows[:, None] == anchors, np.float32(-2), expected[np.ix_(rows, anchors)])
    nearest = most_similar(wanted, min(6, len(anchors) - 1))
    there = np.take_along_axis(held[np.ix_(rows, anchors)], nearest, axis=1)
    return np.take_along_axis(wanted, nearest, axis=1).mean(axis=1), there.mean(axis=1)


def _correlations(expected: _Floats, held: _Floats, rows: _Rows, anchors: _Rows) -> npt.NDArray[np.float32]:
    """For each row the correlation of its similarities to the anchors in one space with those in the other; itself left out."""
    weight = (rows[:, None] != anchors).astype(np.float32)
    total = np.maximum(weight.sum(axis=1, keepdims=True), 1)
    first, second = expected[np.ix_(rows, anchors)], held[np.ix_(rows, anchors)]
    first = (first - (first * weight).sum(axis=1, keepdims=True) / total) * weight
    second = (second - (second * weight).sum(axis=1, keepdims=True) / total) * weight
    return cosines(first, second)
