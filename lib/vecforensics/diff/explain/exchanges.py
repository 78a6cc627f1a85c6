"""Rows that hold another record's vector, and what they are called together (`patterns.py`).

Where many records expect one vector, the nearest of them is an owner by chance. A row among others that moved on moved with
them, if the record there expects its vector too; of a vector under many ids one owner is named, and of how many it might be. In
a store that rounds, records whose vectors are nearly one may own a row alike: there rows hold one vector only if they do. A
row whose owner has no vector of its own, because the owner's id became this one on the way, was overwritten, and is part of no
run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.collected import FoundRows
from vecforensics.diff.compare.bucket import State
from vecforensics.diff.compare.pairs import Pairs
from vecforensics.diff.explain.ids import conversions
from vecforensics.diff.explain.owners import how_many_expect
from vecforensics.diff.explain.patterns import Explained, explain_exchanges
from vecforensics.diff.explain.said import say
from vecforensics.diff.sides import Index, Sides
from vecforensics.findings import Kind

__all__ = ["name_exchanges"]

# So far beyond its ends a run may go on.
_REACH: Final = 3

Candidates = tuple[npt.NDArray[np.intp], Index]
"""Pairs of a place and a running source row that expects the vector of that place."""


def name_exchanges(
    sides: Sides,
    pairs: Pairs,
    which: Index,
    owner: Index,
    candidates: Candidates,
    troubled: Index,
    unmatched: set[int],
    versions: Mapping[int, str | None],
    found: FoundRows,
) -> None:
    """Name the pairs `which`, that hold a vector of `owner`: by place in `which` of the earlier version in `versions`, else the
    one that the owner should hold, which it does unless it is `troubled`. `candidates`: whose else it may be. `unmatched`:
    records that have no vector."""
    if not len(which):
        return
    order = np.sort(sides.source.integers("position")) if sides.frozen.rows["earlier"] else None
    rows = _rank(sides, order, pairs.source[which])
    collisions = _collisions(sides, pairs.source[which], owner, unmatched)
    overwritten = np.zeros(len(which), np.bool_)
    overwritten[list(collisions)] = True

    unsure = _several_vectors(sides, candidates, len(which))

    def look(owner: Index) -> Explained:
        vector, holds_it = _vectors(sides, pairs, which, owner, ~np.isin(owner, troubled), versions)
        vector[unsure] = len(vector) + _numbered(sides.target.integers("digest", pairs.target[which[unsure]]))
        return explain_exchanges(rows, _rank(sides, order, owner), vector, holds_it, overwritten)

    explained = look(owner)
    place, new = _with_a_run(rows, explained, candidates[0], _rank(sides, order, candidates[1]))
    if len(place):
        owner = owner.copy()
        owner[place] = candidates[1][new]
        explained = look(owner)
    for number, name in collisions.items():
        if explained.kind[number] is Kind.SWAPPED:
            explained.detail[number]["collision"] = name
    _say_of_how_many(sides, owner, explained, versions)
    begins = _first_ids(sides, order, pairs.source[which], explained.detail)
    for kind, detail in zip(explained.kind, explained.detail, strict=True):
        if kind is Kind.SHIFTED:
            detail["begins_with"] = begins[detail["begins_at"]]
    for number, version in versions.items():
        detail = explained.detail[number]
        if detail.get("form") in ("copy", "chain"):
            explained.detail[number] = {"form": "earlier version", "version": version}
        else:
            detail["earlier_version"] = version
    say(found, pairs, which, explained.kind, explained.detail, owner[explained.named_by])


def _vectors(
    sides: Sides,
    pairs: Pairs,
    which: Index,
    owner: Index,
    owner_is_right: npt.NDArray[np.bool_],
    versions: Mapping[int, str | None],
) -> tuple[Index, npt.NDArray[np.bool_]]:
    """A number for the vector that each row holds, and whether its owner holds it as well."""
    vector = _numbered(sides.source.integers("digest", owner))
    holds_it = owner_is_right.copy()
    old = np.array(list(versions), np.int64)
    if len(old):
        held = sides.target.integers("digest", pairs.target[which[old]])
        vector[old] = -1 - _numbered(held)
        stale = np.flatnonzero(pairs.state == State.STALE)
        standing = set(
            zip(
                pairs.source[stale].tolist(),
                sides.target.integers("digest", pairs.target[stale]).tolist(),
                strict=True,
            )
        )
        holds_it[old] = [pair in standing for pair in zip(owner[old].tolist(), held.tolist(), strict=True)]
    return vector, holds_it


def _several_vectors(sides: Sides, candidates: Candidates, count: int) -> npt.NDArray[np.intp]:
    """The places, of `count`, whose candidates expect several vectors."""
    place, owner = candidates
    digests = _numbered(sides.source.integers("digest", owner))
    pairs = np.unique(place.astype(np.int64) * (len(owner) + 1) + digests)
    several: npt.NDArray[np.intp] = np.flatnonzero(
        np.bincount(pairs // (len(owner) + 1), minlength=count) > 1
    )
    return several


def _numbered(values: npt.NDArray[np.uint64]) -> Index:
    """Equal values by one number, from 0."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _with_a_run(
    rows: Index, explained: Explained, place: npt.NDArray[np.intp], owner: Index
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows among runs of one offset that may have moved with them: their places, and which of the candidates (`place`, and
    `owner` by its rank in the source) is then the owner."""
    runs = np.array([kind is Kind.SHIFTED for kind in explained.kind], np.bool_)
    offset = np.array([detail.get("offset", 0) for detail in explained.detail], np.int64)
    chosen = np.zeros(len(place), np.bool_)
    for moved in np.unique(offset[runs]).tolist():
        members = rows[runs & (offset == moved)]
        first, last = members.min() - _REACH, members.max() + _REACH
        if 2 * len(members) >= np.count_nonzero((first <= rows) & (rows <= last)):
            here = rows[place]
            chosen |= ~runs[place] & (first <= here) & (here <= last) & (owner == here + moved)
    _, once = np.unique(place[chosen], return_index=True)
    which = np.flatnonzero(chosen)[once]
    return place[which], which


def _say_of_how_many(
    sides: Sides, owner: Index, explained: Explained, versions: Mapping[int, str | None]
) -> None:
    """Of a vector under many ids, how many records expect it, where they are several."""
    groups = [
        place for place, kind in enumerate(explained.kind) if kind is Kind.BROADCAST and place not in versions
    ]
    if not groups:
        return
    counts = how_many_expect(sides.source, sides.source.integers("digest", owner[groups]))
    for place, count in zip(groups, counts.tolist(), strict=True):
        if count > 1:
            explained.detail[place]["candidates"] = count


def _collisions(sides: Sides, rows: Index, owner: Index, unmatched: set[int]) -> dict[int, str]:
    """Place in `rows` → the conversion that made the owner's id the row's own: `User7` came to `user7`, and overwrote its vector.
    Asked where the owner has no row of its own."""
    places = np.flatnonzero(np.isin(owner, np.array(sorted(unmatched), np.int64)))
    places = places[np.argsort(sides.source.integers("position", rows[places]), kind="stable")]
    ids = (sides.source.text("id", side[places]) for side in (owner, rows))
    names = conversions([(theirs or "", ours or "") for theirs, ours in zip(*ids, strict=True)])
    return {int(places[place]): name for place, name in names.items()}


def _rank(sides: Sides, order: npt.NDArray[Any] | None, rows: Index) -> Index:
    """The place of records among all records: their position, less the earlier versions that stood before them."""
    position = sides.source.integers("position", rows).astype(np.int64)
    return position if order is None else np.searchsorted(order, position).astype(np.int64)


def _first_ids(
    sides: Sides, order: npt.NDArray[Any] | None, rows: Index, details: list[dict[str, Any]]
) -> dict[int, str | None]:
    """The id of the record at which each shifted run begins."""
    begins = sorted({detail["begins_at"] for detail in details if "begins_at" in detail})
    if not begins:
        return {}
    ranks = _rank(sides, order, rows)
    at = {int(rank): int(row) for rank, row in zip(ranks, rows, strict=True)}
    wanted = [at[begin] for begin in begins]
    return dict(zip(begins, sides.source.text("id", np.array(wanted, np.int64)), strict=True))
