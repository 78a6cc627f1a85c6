"""Other models' vectors: wrong for each record, consistent among themselves.

A group that another model produced (or the right one with its axes turned) cannot be told from noise row by row. What gives it
away is that one map takes what was expected to what is there, for rows too that had no part in finding the map. There may be
several such groups, each with its map.

A row that still points at its own expected vector has drifted and is left out. Of the others a sample is taken, whose groups are
learnt (`foreign_learn`), and all others are judged by their maps: a row belongs to the group that it agrees with best of those
whose limits it meets. What then belongs to none is asked once more, until no group is found: one beside which others are a
hundred times as many is not in the first sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.explain.foreign_learn import FEWEST, learn_groups
from vecforensics.diff.explain.foreign_map import cosines, spread

__all__ = ["foreign_groups"]

_Floats = npt.NDArray[np.float32]
_Rows = npt.NDArray[np.int64]
# The expected and the held vectors (k, d) of some rows.
Take = Callable[[_Rows], tuple[_Floats, _Floats]]

# Rows from which groups are learnt, and those that show how similar a row is to others' expected vectors.
_SAMPLE: Final = 1024
_OTHERS: Final = 384
_BLOCK: Final = 4096


def foreign_groups(take: Take, rows: _Rows) -> tuple[_Rows, npt.NDArray[np.float64]]:
    """For each of `rows` (k,) the number of the foreign group that it belongs to, -1 for none, and how well it agrees with the
    group, at most 1. Groups are counted from 0 in the order of their first rows. Rows are finite and not zero.
    """
    number, scores = np.full(len(rows), -1, np.int64), np.zeros(len(rows))
    if len(rows) < FEWEST:
        return number, scores
    left = _away(take, rows)
    groups = 0
    while len(left) >= FEWEST:
        sample = np.random.default_rng(0).permutation(left)[:_SAMPLE]
        found = learn_groups(*_units(take, rows[sample]))
        if not found:
            break
        maps = [(groups + place, one) for place, group in enumerate(found) for one in group]
        for part in _blocks(left):
            one, other = _units(take, rows[part])
            for group, learnt in maps:
                judged = learnt.map.judge(one, other)
                better = learnt.member_of(judged) & (judged.agreement > scores[part])
                number[part[better]], scores[part[better]] = group, judged.agreement[better]
        # A row that maps were learnt from is judged by others, and belongs where it was found.
        number[sample], scores[sample] = -1, 0
        for group, learnt in maps:
            number[sample[learnt.member]] = group
            scores[sample[learnt.member]] = learnt.agreement[learnt.member]
        groups += len(found)
        left = left[number[left] < 0]
    if not groups:
        return number, scores
    few = (number >= 0) & (np.bincount(number[number >= 0], minlength=groups) < FEWEST)[number]
    number[few], scores[few] = -1, 0
    first = np.full(groups, len(rows))
    np.minimum.at(first, number[number >= 0], np.flatnonzero(number >= 0))
    number[number >= 0] = np.argsort(np.argsort(first))[number[number >= 0]]
    return number, scores


def _away(take: Take, rows: _Rows) -> _Rows:
    """Places in `rows` of those that do not point at their own record: that are not far more similar to its expected vector than
    to those of others."""
    others = _unit(take(spread(rows, _OTHERS))[0])
    away = []
    for part in _blocks(np.arange(len(rows))):
        one, other = _units(take, rows[part])
        similar = other @ others.T
        limit = np.minimum(similar.mean(axis=1) + 4 * similar.std(axis=1), 0.95)
        away.append(part[cosines(one, other) < limit])
    return np.concatenate(away)


def _blocks(places: _Rows) -> Iterator[_Rows]:
    for start in range(0, len(places), _BLOCK):
        yield places[start : start + _BLOCK]


def _units(take: Take, rows: _Rows) -> tuple[_Floats, _Floats]:
    one, other = take(rows)
    return _unit(one), _unit(other)


def _unit(vectors: _Floats) -> _Floats:
    # The square of a garbled component may be beyond what single precision holds; the component in parts of the largest is not.
    parts = vectors / np.abs(vectors).max(axis=1, keepdims=True)
    unit: _Floats = parts / np.sqrt(np.einsum("ij,ij->i", parts, parts))[:, None]
    return unit
