"""The groups among a sample of rows: a map for each, and the limits of belonging to it.

1. A sample is dealt out to folds; in the others of each fold the rows that follow one model are sought (`consistent_parts`), and
   a map is learnt from them, so that no row has a part in the map that it is judged by. Which of the parts of the other folds is
   the first one's model, the first one's map says.
2. Does the map say where within its neighbourhood a row lies? The same question about every wrong pairing (row i with the
   expected vector of row j) shows what chance looks like in this very space. A limit is drawn where next to none of those beyond
   it can be chance; no such limit, no group.
3. The group has to agree better than its rows would with the expected vectors nearest to their own (else it is right about topics
   only, as other texts of the same topics are), and better than with the expected vectors as they stand (else it is the same
   model's vectors of changed texts).
4. Where that leaves rows in doubt, maps are also learnt from rows that are near where their neighbours are, and from all rows: a
   group that is small or bends the space shows there. The larger group is believed unless its rows agree far better with the
   map of their part, and none that has many rows of two parts that have nothing in common.
5. The group's rows are taken away, and what is left is asked again.

Pairings as decoys: Elias and Gygi 2007, target-decoy search; the share of chance rows: Storey 2002.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, combinations
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from vecforensics.diff.explain.foreign_map import Judged, Map, most_similar, spread
from vecforensics.diff.explain.foreign_parts import (
    consistent_parts,
    have_nothing_in_common,
    nearest_rows,
    pair_agreement,
)

__all__ = ["FEWEST", "Group", "learn_groups"]

_Floats = npt.NDArray[np.float32]
_Doubles = npt.NDArray[np.float64]
_Bools = npt.NDArray[np.bool_]
_Rows = npt.NDArray[np.int64]

FEWEST: Final = 8
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
# A map explains a part as well as the part's own map does if its rows agree with it this much of what they do with their own.
_WHOLE: Final = 0.9
# A group whose rows agree with their map as well as this leaves none of them in doubt.
_BEYOND_DOUBT: Final = 0.99
# A row stands apart from its group beyond so many times the usual distance from the middle, and beyond this blur of any map.
_FAR, _BLUR = 4.5, 0.15
# Rows that agree with their map no better than this make a group no larger.
_BLURRED: Final = 0.5
# Rows that agree half as well with another group's map as with their own are of the same model.
_SAME: Final = 0.5
# Rounds in which anchors that do not follow the map are dropped.
_REFITS: Final = 3
_APART: Final = 0.1
_TRIED: Final = 2
# The share of a group from which rows of another model are many.
_MANY: Final = 0.05


class Group(NamedTuple):
    """A map that a group follows, how well each row of the sample (k,) agrees with a map that it had no part in, which of them
    are members, and the limits for other rows."""

    map: Map
    agreement: _Doubles
    member: _Bools
    limit: float
    closeness: float

    def member_of(self, judged: Judged) -> _Bools:
        members: _Bools = (judged.agreement >= self.limit) & (judged.closeness >= self.closeness)
        return members


def learn_groups(one: _Floats, other: _Floats) -> list[list[Group]]:
    """The groups among rows (k, d) of length one, the strongest first: for each the maps that its rows follow, mostly one; a
    model that bends the space may need more. Their rows of the sample are apart."""
    groups: list[list[Group]] = []
    left = np.arange(len(one))
    while len(left) >= FEWEST:
        found = _group(one[left], other[left])
        if found is None:
            break
        agreement, member = np.zeros(len(one)), np.zeros(len(one), np.bool_)
        agreement[left], member[left] = found.agreement, found.member
        # Other rows are judged by a map from all members; one fold's may have been less pure.
        anchors = spread(np.flatnonzero(member))
        group = found._replace(map=Map(one[anchors], other[anchors]), agreement=agreement, member=member)
        own = float(agreement[member].mean())
        for earlier in chain.from_iterable(groups):
            taken = np.flatnonzero(earlier.member)
            judged = group.map.judge(one[taken], other[taken])
            better = group.member_of(judged) & (judged.agreement > earlier.agreement[taken])
            earlier.member[taken[better]], member[taken[better]] = False, True
            agreement[taken[better]] = judged.agreement[better]
        for same in groups:
            if same[0].map.judge(one[member], other[member]).agreement.mean() > _SAME * own:
                same.append(group)
                break
        else:
            groups.append([group])
        left = left[~found.member]
    return groups


def _group(one: _Floats, other: _Floats) -> Group | None:
    """The strongest group among the rows."""
    count = len(one)
    # Four folds leave more to learn from, and in few rows too few to be paired.
    folds = 2 if count < 32 or count >= 512 else 8 if count < 128 else 4
    fold = np.arange(count) % folds
    others = [np.flatnonzero(fold != number) for number in range(folds)]
    whole = _judged(one, other, fold, [Map(one[some], other[some]) for some in map(spread, others)])
    if whole is not None and whole.member.mean() > 0.98 and _of(whole, whole.member) > _WHOLE:
        return whole
    strongest = None
    for maps in _parts(one, other, others):
        strongest = _accepted(one, other, fold, maps)
        if strongest is not None:
            break
    if strongest is not None and _of(strongest, strongest.member) > _BEYOND_DOUBT:
        return strongest
    near = [_followed(one, other, nearest_rows(one, other, some), doubtful=True) for some in others]
    for further in (_accepted(one, other, fold, near), whole):
        if further is None or (further is whole and _mixed(one, other, whole)):
            continue
        if strongest is None or (
            _of(further, strongest.member) > _WHOLE * _of(strongest, strongest.member)
            and _worth(further) > _worth(strongest)
        ):
            strongest = further
    return strongest


def _accepted(one: _Floats, other: _Floats, fold: _Rows, maps: list[Map]) -> Group | None:
    group = _judged(one, other, fold, maps)
    if group is None:
        return None
    group = _refitted(one, other, fold, group)
    return None if _mixed(one, other, group) else group


def _refitted(one: _Floats, other: _Floats, fold: _Rows, group: Group) -> Group:
    """The group by maps from its own members in the other folds: one fold's part may have been less pure than the others'."""
    for _ in range(_REFITS):
        members = [np.flatnonzero(group.member & (fold != number)) for number in range(int(fold.max()) + 1)]
        if min(map(len, members)) < FEWEST:
            break
        again = _judged(one, other, fold, [Map(one[some], other[some]) for some in map(spread, members)])
        if again is None or again.member.sum() <= group.member.sum():
            break
        group = again
    return group


def _mixed(one: _Floats, other: _Floats, group: Group) -> bool:
    """Whether a group has many rows of each of two parts of all rows that have nothing in common."""
    agreement = pair_agreement(one, other)
    many = max(FEWEST, _MANY * group.member.sum())
    parts = [part for part in consistent_parts(agreement) if group.member[part].sum() >= many]
    return any(have_nothing_in_common(agreement, *pair) for pair in combinations(parts, 2))


def _worth(group: Group) -> float:
    """More rows make a group worth more, and a sharper map does: rows that agree by half only blur it."""
    return float((group.agreement[group.member] - _BLURRED).sum())


def _of(group: Group, rows: _Bools) -> float:
    return float(group.agreement[rows].mean())


def _parts(one: _Floats, other: _Floats, others: list[_Rows]) -> Iterator[list[Map]]:
    """For each part of the first fold's others: a map for each fold, all of one model."""
    parts = [_maps(one[some], other[some]) for some in others]
    for first, _ in parts[0][:_TRIED]:
        maps = [first]
        for some, further in zip(others[1:], parts[1:], strict=True):
            if not further:
                break
            agreed = first.judge(one[some], other[some]).agreement
            maps.append(further[int(np.argmax([agreed[rows].mean() for _, rows in further]))][0])
        else:
            yield maps


def _maps(one: _Floats, other: _Floats) -> list[tuple[Map, _Rows]]:
    """Maps and the rows that each is learnt from, but for such as do not follow it."""
    return [(_followed(one, other, rows), rows) for rows in consistent_parts(pair_agreement(one, other))]


def _followed(one: _Floats, other: _Floats, rows: _Rows, *, doubtful: bool = False) -> Map:
    """A map from the rows, but for such as do not follow it: that stand apart, or where many are doubtful the lower ones."""
    anchors = spread(rows)
    learnt = Map(one[anchors], other[anchors])
    for _ in range(2 if doubtful else _REFITS):
        if doubtful and len(anchors) < 2 * FEWEST:
            break
        following = learnt.of_anchors()
        middle = float(np.median(following))
        apart = 1.5 * float(np.median(np.abs(following - middle)))
        kept = following > (min(middle / 2, middle - 1e-6) if doubtful else middle - max(3 * apart, _APART))
        if kept.all() or kept.sum() < FEWEST:
            break
        anchors = anchors[kept]
        learnt = Map(one[anchors], other[anchors])
    return learnt


def _judged(one: _Floats, other: _Floats, fold: _Rows, maps: list[Map]) -> Group | None:
    """The group that follows the maps, one for each fold, that the rows of the fold had no part in."""
    count = len(one)
    own, beside, nearby, close, rank = np.empty((5, count))
    chance = []
    for number, learnt in enumerate(maps):
        rows = np.flatnonzero(fold == number)
        paired = learnt.pairings(one[rows], other[rows])
        own[rows] = paired.diagonal()
        chance.append(paired[~np.eye(len(rows), dtype=np.bool_)])
        similar = one[rows] @ one[rows].T
        np.fill_diagonal(similar, -2)
        near = most_similar(similar, min(_DECOYS_NEARBY, len(rows) - 1))
        decoys, mine = np.take_along_axis(paired, near, axis=1), own[rows, None]
        rank[rows] = ((decoys < mine).mean(axis=1) + (decoys <= mine).mean(axis=1)) / 2
        nearby[rows] = decoys.max(axis=1)
        beside[rows] = learnt.sameness(one[rows], other[rows])
        close[rows] = learnt.judge(one[rows], other[rows]).closeness
    limit = _limit(own, np.concatenate(chance))
    if limit is None:
        return None
    # Where all others agree sharply, a row that does so by half is there by chance, whatever the wrong pairings allow.
    agreeing = own[own >= limit]
    middle = float(np.median(agreeing))
    limit = max(limit, middle - max(_FAR * float(np.median(np.abs(agreeing - middle))), _BLUR))
    members = own >= limit
    # Rows that agree with any of their neighbourhood: choosing those that agree with their own would decide the question.
    asked = np.maximum(own, nearby) >= limit
    lead = (rank[asked].mean() - 0.5) * np.sqrt(12 * asked.sum())
    if lead < _SURE or beside[members].mean() > _OWN * own[members].mean():
        return None
    closeness = min(float(np.median(close[members])) / 2, 1.0)
    member = members & (close >= closeness)
    return Group(maps[0], own, member, limit, closeness) if member.sum() >= FEWEST else None


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
        (above >= FEWEST)
        & (beyond <= _BEYOND)
        & (by_chance <= _CHANCE * above)
        & (bdtrc(above - 1.0, count, beyond) < _BY_ACCIDENT)
    )
    if not good.any():
        return None
    best = at[int(np.where(good, above - _COST * by_chance, -np.inf).argmax())]
    below = max(np.quantile(chance, 1 - _BEYOND), own[own < best].max(initial=-1.0))
    return float((best + min(below, best)) / 2)
