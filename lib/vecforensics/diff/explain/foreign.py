"""Another model's vectors: wrong for each record, consistent among themselves.

A group that another model produced (or the right one with its axes turned) cannot be told from noise row by row. What gives it
away is that one map takes what was expected to what is there, for rows too that had no part in finding the map:

1. A row that still points at its own expected vector has drifted and is left out. Of the others a sample is dealt out to folds.
2. Each fold is judged by a map learnt from the other folds (ridge regression): does it say where within its neighbourhood a row
   lies? Neighbourhoods are subtracted on both sides, since that a row lies in the right topic would say little where there are
   few of them: every second row of a space of two topics does so by chance.
3. The same question about every wrong pairing (row i with the expected vector of row j) shows what chance looks like in this very
   space. A limit is drawn where next to none of those beyond it can be chance; no such limit, no group.
4. The group has to agree better than its rows would with the expected vectors nearest to their own (else it is right about topics
   only, as other texts of the same topics are), and better than with the expected vectors as they stand (else it is the same
   model's vectors of changed texts).

The first maps are learnt from all rows; where that does not explain them all, once more from those whose similarities to one
another follow the expected ones (representational similarity analysis, Kriegeskorte et al. 2008), noise being left out.
Pairings as decoys: Elias and Gygi 2007, target-decoy search; the share of chance rows: Storey 2002.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["foreign_rows"]

_Floats = npt.NDArray[np.float32]
_Rows = npt.NDArray[np.int64]

_FEWEST: Final = 8
# Rows from which maps are learnt, and of them those that one map is learnt from.
_SAMPLE: Final = 1024
_ANCHORS: Final = 384
# Below the variance within a topic (0.04 where spread and distance of topics are as 1 to 10), or it would be smoothed away.
_RIDGE: Final = 0.01
_NEIGHBOURS: Final = 12
_DECOYS_NEARBY: Final = 8
# The share of chance rows in a group, of wrong pairings beyond its limit, and how likely chance alone may be to make a group.
_CHANCE: Final = 0.02
_BEYOND: Final = 0.25
_BY_ACCIDENT: Final = 1e-7
# Standard errors by which a group agrees better with its own expected vectors than with those nearest to them.
_SURE: Final = 4.0
# Pointing at one's own record explains a group that agrees with it this much, in parts of what the map explains.
_OWN: Final = 0.75
# A chance row let in costs as much as so many foreign ones left out: a rotation leaves none of them in doubt.
_COST: Final = 10.0
_BLOCK: Final = 4096


def foreign_rows(
    expected: npt.NDArray[np.float32], actual: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Which of the pairs (k, d) belong to a foreign group, and how well each agrees with it, at most 1; 0 for all where there is
    no group. Rows are finite and not zero.
    """
    count = len(expected)
    nobody, scores = np.zeros(count, np.bool_), np.zeros(count)
    if count < _FEWEST:
        return nobody, scores
    one, other = _unit(expected), _unit(actual)
    away = _cosines(one, other) < _own_limit(one, other, _spread(np.arange(count)))
    candidates = np.flatnonzero(away)
    if len(candidates) < _FEWEST:
        return nobody, scores
    sample = np.random.default_rng(0).permutation(candidates)[:_SAMPLE]
    group = _group(one[sample], other[sample])
    if group is None:
        return nobody, scores
    among = np.empty(count, np.bool_)
    for start in range(0, count, _BLOCK):
        rows = slice(start, start + _BLOCK)
        scores[rows] = group.model.agreement(one[rows], other[rows])
        among[rows] = group.model.closeness(one[rows], other[rows]) >= group.closeness
    # A row that a map was learnt from is judged by another map.
    scores[sample], among[sample] = group.scores, group.among
    members = (scores >= group.limit) & among & away
    return (members, scores) if members.sum() >= _FEWEST else (nobody, np.zeros(count))


class _Group(NamedTuple):
    """What the sample shows: a map, how each row of the sample agrees with a map that it had no part in, the limits, and how
    well all of it agrees together."""

    model: _Model
    scores: npt.NDArray[np.float64]
    among: npt.NDArray[np.bool_]
    limit: float
    closeness: float
    total: float


class _Model:
    """A linear map from expected to held vectors, learnt from anchors (s, d), seen within neighbourhoods of them.

    A held vector counts as far as the anchors' held vectors span it: with fewer anchors than dimensions the map says nothing
    about the rest.
    """

    def __init__(self, one: _Floats, other: _Floats) -> None:
        self._anchors, self._held = one, other
        self._means = one.mean(axis=0), other.mean(axis=0)
        first, second = (
            (space - mean).astype(np.float64) for space, mean in zip((one, other), self._means, strict=True)
        )
        ridge = _RIDGE * np.eye(len(one))
        inverse = np.linalg.inv(first @ first.T + ridge)
        weights = inverse @ second
        self._map = (first.T @ weights).astype(np.float32)
        # Where an anchor would lie by the map from all the others: its residual, divided as in leave-one-out regression.
        self._without = (second - weights / inverse.diagonal()[:, None]).astype(np.float32)
        self._span = (second.T @ np.linalg.solve(second @ second.T + ridge, second)).astype(np.float32)
        # A neighbourhood is that of an anchor: the nearest others, none of another topic while there are some of its own.
        similar = one @ one.T
        near = np.argsort(-similar.round(6), axis=1, kind="stable")[:, :_NEIGHBOURS]
        weight = np.take_along_axis(similar, near, axis=1)
        weight = (weight >= (weight[:, 1:2] + similar.mean(axis=1, keepdims=True)) / 2).astype(np.float32)
        weight[:, 0] = 1
        weight /= weight.sum(axis=1, keepdims=True)
        self._centres = tuple(
            np.einsum("sn,snd->sd", weight, space[near])
            for space in (self._mapped(one), self._spanned(other), one, other)
        )

    def _mapped(self, one: _Floats) -> _Floats:
        mapped: _Floats = (one - self._means[0]) @ self._map
        return mapped

    def _spanned(self, other: _Floats) -> _Floats:
        spanned: _Floats = (other - self._means[1]) @ self._span
        return spanned

    def _place(self, one: _Floats) -> _Rows:
        nearest: _Rows = (one @ self._anchors.T).argmax(axis=1)
        return nearest

    def agreement(self, one: _Floats, other: _Floats) -> _Floats:
        """The cosine, for each row, of where it is and where the map puts it, both from the centre of its neighbourhood."""
        place = self._place(one)
        return _cosines(
            self._mapped(one) - self._centres[0][place], self._spanned(other) - self._centres[1][place]
        )

    def anchors_agreement(self) -> _Floats:
        """The same of the anchors, each by the map from all the others."""
        return _cosines(self._without - self._centres[0], self._spanned(self._held) - self._centres[1])

    def sameness(self, one: _Floats, other: _Floats) -> _Floats:
        """The same without a map: a row that changed in its own space lies where it was expected, more or less."""
        place = self._place(one)
        return _cosines(one - self._centres[2][place], other - self._centres[3][place])

    def closeness(self, one: _Floats, other: _Floats) -> _Floats:
        """How similar each row is to the anchor nearest to it, in parts of what is expected of it. Noise can lie in the right
        direction by chance, but it lies far away from where the group is."""
        wanted = (one @ self._anchors.T).max(axis=1)
        there = (other @ self._held.T).max(axis=1)
        # Where no anchor is expected to be near, nothing is asked.
        closeness: _Floats = np.where(
            wanted > 0.01, there / np.maximum(wanted, np.float32(0.01)), np.float32(1)
        )
        return closeness

    def pairings(self, one: _Floats, other: _Floats) -> _Floats:
        """(k, k): the agreement of each held row (down) with each expected one (across)."""
        place = self._place(one)
        mapped = self._mapped(one) - self._centres[0][place]
        mapped /= np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), 1e-9)
        held, centre = self._spanned(other), self._centres[1][place]
        along = held @ mapped.T - (mapped * centre).sum(axis=1)
        length = (held**2).sum(axis=1)[:, None] - 2 * held @ centre.T + (centre**2).sum(axis=1)
        paired: _Floats = along / np.sqrt(np.maximum(length, 1e-9))
        return paired


def _group(one: _Floats, other: _Floats) -> _Group | None:
    """The group among the sample: by maps from all rows or, where those leave some out, from such as agree with one another."""
    count = len(one)
    expected, held = one @ one.T, other @ other.T
    # Four folds leave more to learn from, and in few rows too few to be paired.
    folds = 4 if 32 <= count < 256 else 2
    fold = np.arange(count) % folds
    found: _Group | None = None
    for settled in (False, True):
        own, beside, nearby, close = np.empty((4, count))
        rank, chance, models = np.empty(count), [], []
        for number in range(folds):
            rows, others = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
            anchors = _settled(expected, held, others) if settled else _spread(others)
            model = _Model(one[anchors], other[anchors])
            for _ in range(2 if settled else 0):
                if len(anchors) < 2 * _FEWEST:
                    break
                following = model.anchors_agreement()
                middle = float(np.median(following))
                anchors = anchors[following >= min(middle / 2, middle)]
                model = _Model(one[anchors], other[anchors])
            models.append(model)
            paired = model.pairings(one[rows], other[rows])
            own[rows] = paired.diagonal()
            chance.append(paired[~np.eye(len(rows), dtype=np.bool_)])
            similar = expected[np.ix_(rows, rows)]
            np.fill_diagonal(similar, -2)
            near = np.argsort(-similar.round(6), axis=1, kind="stable")[
                :, : min(_DECOYS_NEARBY, len(rows) - 1)
            ]
            decoys, mine = np.take_along_axis(paired, near, axis=1), own[rows, None]
            rank[rows] = ((decoys < mine).mean(axis=1) + (decoys <= mine).mean(axis=1)) / 2
            nearby[rows] = decoys.max(axis=1)
            beside[rows] = model.sameness(one[rows], other[rows])
            close[rows] = model.closeness(one[rows], other[rows])
        limit = _limit(own, np.concatenate(chance))
        if limit is None:
            continue
        members = own >= limit
        # Rows that agree with any of their neighbourhood: choosing those that agree with their own would decide the question.
        asked = np.maximum(own, nearby) >= limit
        lead = (rank[asked].mean() - 0.5) * np.sqrt(12 * asked.sum())
        if lead < _SURE or beside[members].mean() > _OWN * own[members].mean():
            continue
        closeness = min(float(np.median(close[members])) / 2, 1.0)
        among = close >= closeness
        agreed = own[members & among]
        if found is None or agreed.sum() > found.total:
            found = _Group(models[0], own, among, limit, closeness, float(agreed.sum()))
        if len(agreed) > 0.98 * count:
            break
    return found


def _limit(own: npt.NDArray[np.float64], chance: _Floats) -> float | None:
    """The agreement beyond which next to no row of the sample is there by chance; None where there is no such group."""
    from scipy.special import bdtrc

    count, own, chance = len(own), np.sort(own), np.sort(chance)
    at = own[::-1]
    above = count - np.searchsorted(own, at, "left")
    beyond = (len(chance) - np.searchsorted(chance, at, "left") + 1) / (len(chance) + 1)
    # Of the rows that are there by chance as many lie below as of the wrong pairings.
    by_chance = np.minimum((count - above + 1) / np.maximum(1 - beyond, 1e-9), count) * beyond
    good = (
        (above >= _FEWEST)
        & (beyond <= _BEYOND)
        & (by_chance <= _CHANCE * above)
        & (bdtrc(above - 1.0, count, beyond) < _BY_ACCIDENT)
    )
    if not good.any():
        return None
    best = at[int(np.where(good, above - _COST * by_chance, -np.inf).argmax())]
    below = max(np.quantile(chance, 1 - _BEYOND), own[own < best].max(initial=-1.0))
    return float((best + min(below, best)) / 2)


def _settled(expected: _Floats, held: _Floats, rows: _Rows) -> _Rows:
    """At most `_ANCHORS` of the rows: those whose similarities (k, k) to one another follow the expected ones.

    Rows of noise among the anchors blur what the group has in common: they are far from where their neighbours are, so that the
    nearer half comes first, then twice the half that correlates better, and then whoever does beyond doubt.
    """
    anchors, half = _spread(rows), max(len(rows) // 2, min(_FEWEST, len(rows)))
    for turn in range(4):
        nearer = turn < 2
        score = (
            _nearness(expected, held, rows, anchors)[1]
            if nearer
            else _correlations(expected, held, rows, anchors)
        )
        best = np.argsort(-score.round(6), kind="stable")[:half]
        anchors = _spread(rows[np.sort(best)])
    for _ in range(2):
        # Six standard errors of a correlation of nothing.
        sure = min(max(6 / np.sqrt(len(anchors)), 0.15), 0.9)
        wanted, there = _nearness(expected, held, rows, anchors)
        chosen = np.flatnonzero((_correlations(expected, held, rows, anchors) > sure) & (there >= wanted / 2))
        if len(chosen) < _FEWEST:
            break
        anchors = _spread(rows[chosen])
    return anchors


def _nearness(
    expected: _Floats, held: _Floats, rows: _Rows, anchors: _Rows
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """How similar each row should be to the six anchors expected nearest to it, and how similar it is."""
    wanted = np.where(rows[:, None] == anchors, np.float32(-2), expected[np.ix_(rows, anchors)])
    nearest = np.argsort(-wanted.round(6), axis=1, kind="stable")[:, : min(6, len(anchors) - 1)]
    there = np.take_along_axis(held[np.ix_(rows, anchors)], nearest, axis=1)
    return np.take_along_axis(wanted, nearest, axis=1).mean(axis=1), there.mean(axis=1)


def _correlations(expected: _Floats, held: _Floats, rows: _Rows, anchors: _Rows) -> npt.NDArray[np.float32]:
    """For each row the correlation of its similarities to the anchors in one space with those in the other; itself left out."""
    weight = (rows[:, None] != anchors).astype(np.float32)
    total = np.maximum(weight.sum(axis=1, keepdims=True), 1)
    first, second = expected[np.ix_(rows, anchors)], held[np.ix_(rows, anchors)]
    first = (first - (first * weight).sum(axis=1, keepdims=True) / total) * weight
    second = (second - (second * weight).sum(axis=1, keepdims=True) / total) * weight
    return _cosines(first, second)


def _spread(rows: _Rows) -> _Rows:
    """At most `_ANCHORS` of the rows, evenly spread."""
    places = np.linspace(0, len(rows) - 1, min(len(rows), _ANCHORS)).astype(np.int64)
    spread: _Rows = rows[np.unique(places)]
    return spread


def _unit(vectors: _Floats) -> _Floats:
    # In double precision: the square of a garbled component may be beyond what single precision holds.
    wide = vectors.astype(np.float64)
    unit: _Floats = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _cosines(one: _Floats, other: _Floats) -> _Floats:
    """The cosine of each pair of rows; 0 where one of them is nothing."""
    length = np.sqrt(np.einsum("ij,ij->i", one, one) * np.einsum("ij,ij->i", other, other))
    cosines: _Floats = np.einsum("ij,ij->i", one, other) / np.maximum(length, np.float32(1e-12))
    return cosines


def _own_limit(one: _Floats, other: _Floats, anchors: _Rows) -> npt.NDArray[np.float64]:
    """The similarity to its own expected vector from which a row points at its record: far above its similarity to others'."""
    limits = np.empty(len(one))
    for start in range(0, len(one), _BLOCK):
        others = other[start : start + _BLOCK] @ one[anchors].T
        limits[start : start + _BLOCK] = np.minimum(others.mean(axis=1) + 4 * others.std(axis=1), 0.95)
    return limits
