"""One best explanation for each wrong row, once it is known whose vector it holds, if anybody's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.compare.bucket import State
from vecforensics.diff.compare.pairs import Pairs
from vecforensics.diff.compare.relation import Relation
from vecforensics.diff.explain.earlier import earlier_owners
from vecforensics.diff.explain.elsewhere import Other, owners_elsewhere, said_of
from vecforensics.diff.explain.exchanges import name_exchanges
from vecforensics.diff.explain.not_finite import not_finite_parts
from vecforensics.diff.explain.owners import Owners, owners_among
from vecforensics.diff.explain.owners_of_rests import owners_of_rests
from vecforensics.diff.explain.said import say, what_is_right
from vecforensics.diff.explain.unowned import explain_unowned
from vecforensics.diff.lookup import portions
from vecforensics.diff.resolved import Resolved
from vecforensics.diff.sides import Index, Sides
from vecforensics.findings import Kind

__all__ = ["explain_pairs"]

_FORMATS: Final = {Relation.FLOAT16: "float16", Relation.BFLOAT16: "bfloat16", Relation.INT8: "int8"}


def _choose(
    sides: Sides, rows: Index, owners: Owners, wrong: npt.NDArray[np.int64], parts: npt.NDArray[np.bool_]
) -> Index:
    """For each questioned row the likeliest owner, -1 where there is none.

    Where several records expect the same vector: one that is in trouble itself before one that is well, one whose own vector
    stands here before others (an exchange), then the nearest in the source. A row that is right in part needs an exact owner.
    """
    chosen = np.full(len(rows), -1, np.int64)
    kept = (owners.owner != rows[owners.query]) & (owners.exact | ~parts[owners.query])
    query, owner = owners.query[kept], owners.owner[kept]
    if not len(query):
        return chosen
    position = sides.source.integers("position", owner).astype(np.int64)
    own_position = sides.source.integers("position", rows[query]).astype(np.int64)
    span = np.int64(max(sides.source.rows, 1))
    mutual = np.isin(owner * span + rows[query], rows[query] * span + owner)
    in_trouble = np.isin(owner, wrong)
    order = np.lexsort(
        (
            position,
            np.abs(position - own_position),
            ~in_trouble,
            ~mutual,
            owners.distance[kept].round(9),
            query,
        )
    )
    query, owner = query[order], owner[order]
    first = np.r_[True, query[1:] != query[:-1]]
    chosen[query[first]] = owner[first]
    return chosen


def explain_pairs(
    sides: Sides,
    others: Sequence[Other],
    pairs: Pairs,
    questioned: npt.NDArray[np.intp],
    owners: Owners,
    unmatched: set[int],
    resolved: Resolved,
    tolerance: float,
) -> None:
    """Name every pair, each once, in `resolved`.

    `questioned`: places in `pairs` of those whose vector may be another record's, `owners`: whose, by place in `questioned`;
    `unmatched`: running rows of the records without a vector of their own, which are the likelier owners for it.
    """
    found = resolved.found
    rows = pairs.source[questioned]
    states = pairs.state[questioned]
    wrong_states = pairs.state >= Relation.NON_FINITE
    troubled = np.r_[
        pairs.source[wrong_states & (pairs.state != Relation.UNUSABLE)], np.array(sorted(unmatched), np.int64)
    ]
    held = sides.target.integers("digest", pairs.target[questioned])
    position = sides.source.integers("position", rows).astype(np.int64)
    owners = Owners.joined([owners, owners_among(sides.source, np.unique(troubled), held, position)])
    chosen = _choose(sides, rows, owners, troubled, states != Relation.WRONG)
    unowned = np.flatnonzero((chosen < 0) & (states != Relation.PART_ZERO))
    earlier = earlier_owners(sides, pairs.target[questioned[unowned]])
    old = unowned[np.array(list(earlier), np.int64)]
    chosen[old] = [owner for owner, _ in earlier.values()]
    owned = np.flatnonzero(chosen >= 0)
    versions = dict(
        zip(np.searchsorted(owned, old).tolist(), (version for _, version in earlier.values()), strict=True)
    )
    asked = np.isin(owners.query, owned)
    candidates = np.searchsorted(owned, owners.query[asked]), owners.owner[asked]
    name_exchanges(
        sides, pairs, questioned[owned], chosen[owned], candidates, troubled, unmatched, versions, found
    )
    done = np.zeros(len(pairs.source), np.bool_)
    done[questioned[owned]] = True
    _name_elsewhere(sides, others, pairs, questioned[~done[questioned]], resolved, done, tolerance)
    rest = questioned[~done[questioned] & (pairs.state[questioned] != Relation.PART_ZERO)]
    explain_unowned(sides, pairs, rest, resolved, done, tolerance)
    _explain_each(sides, pairs, done, resolved)


def _name_elsewhere(
    sides: Sides,
    others: Sequence[Other],
    pairs: Pairs,
    rest: Index,
    resolved: Resolved,
    done: npt.NDArray[np.bool_],
    tolerance: float,
) -> None:
    """Name those of the pairs `rest` that hold a vector of another collection's record, and mark them in `done`."""
    target, partly = pairs.target[rest], pairs.state[rest] != Relation.WRONG
    owners = owners_elsewhere(sides, others, target, tolerance, exactly=partly)
    for place, one in sorted(owners.items()):
        pair = int(rest[place])
        resolved.elsewhere[int(pairs.target[pair])] = one
        resolved.found.add(
            Kind.SWAPPED,
            source=int(pairs.source[pair]),
            target=int(pairs.target[pair]),
            distance=float(pairs.distance[pair]),
            detail={"form": "another collection", **said_of(one)},
            partner_id=one.id,
        )
        done[pair] = True


def _explain_each(sides: Sides, pairs: Pairs, done: npt.NDArray[np.bool_], resolved: Resolved) -> None:
    """Pairs whose bucket has already said what they are."""
    not_finite, owner = _not_finite(sides, pairs, resolved)
    whole_collection = _benign_lines(sides, pairs, resolved)
    told = ~done & ~np.isin(pairs.state, [int(Relation.EQUAL), *whole_collection])
    for state in np.unique(pairs.state[told]).tolist():
        which = np.flatnonzero(told & (pairs.state == state))
        if state == Relation.NON_FINITE:
            named = [not_finite[pair] for pair in which.tolist()]
            kinds, details = [kind for kind, _ in named], [detail for _, detail in named]
            say(resolved.found, pairs, which, kinds, details, owner[which])
            continue
        say(resolved.found, pairs, which, *_named(pairs, which, state))
        if state == Relation.UNUSABLE:
            resolved.unusable += len(which)
            resolved.compared -= len(which)
            resolved.unchecked += len(which)


def _not_finite(
    sides: Sides, pairs: Pairs, resolved: Resolved
) -> tuple[dict[int, tuple[Kind, dict[str, Any]]], Index]:
    """Pair → what to call its vector, which is not all finite; and of all pairs whose the other components are, -1 for none."""
    rows = np.flatnonzero(pairs.state == Relation.NON_FINITE)
    said: dict[int, tuple[Kind, dict[str, Any]]] = {}
    owner = np.full(len(pairs.source), -1, np.int64)
    if not len(rows):
        return said, owner
    known = sides.source.integers("digest", pairs.source[rows]) != 0
    for has_expected in (True, False):
        some = rows[known == has_expected]
        for stretch in portions(len(some), 16 * sides.target.dimension):
            part = some[stretch]
            expected = sides.source.take(pairs.source[part]) if has_expected else None
            actual = sides.target.take(pairs.target[part])
            answers = not_finite_parts(expected, actual, sides.grid, sides.noise)
            said.update(zip(part.tolist(), answers, strict=True))
    strange = np.array(
        [pair for pair, (_, detail) in said.items() if detail.get("others") == "not right"], np.int64
    )
    if len(strange):
        owner[strange], left = owners_of_rests(sides, pairs.source[strange], pairs.target[strange])
        for pair in strange[owner[strange] >= 0].tolist():
            said[pair][1]["others"] = "another record's"
        if left:
            resolved.notes.append(
                f"{left:,} vectors with NaN or infinity in them were not looked up by their other components, being too many"
            )
    return said, owner


def _named(pairs: Pairs, which: Index, state: int) -> tuple[Kind, list[dict[str, Any]] | None]:
    """What pairs of one state are called, and what is said of each."""
    if state == State.RAGGED:
        return Kind.WRONG_DIMENSION, [pairs.detail[pair] for pair in which.tolist()]
    if state == State.STALE:
        return Kind.STALE, [pairs.detail.get(pair, {}) for pair in which.tolist()]
    relation = Relation(state)
    if relation in _FORMATS:
        return Kind.QUANTISED, [{"format": _FORMATS[relation]}] * len(which)
    if relation is Relation.PART_ZERO:
        return Kind.PARTIAL, [{**detail, "rest": "zero"} for detail in what_is_right(pairs, which)]
    if relation is Relation.UNUSABLE:
        return Kind.UNCHECKED, [{"reason": "the expected vector is not finite"}] * len(which)
    simple = {
        Relation.NOISE: Kind.NOISE,
        Relation.NORMALISED: Kind.NORMALISED,
        Relation.ZERO: Kind.ZERO,
    }
    return simple[relation], None


def _benign_lines(sides: Sides, pairs: Pairs, resolved: Resolved) -> set[int]:
    """What a store did to (nearly) every vector is one line and not one a row; returns the states that are said so."""
    said: set[int] = set()
    # What was damaged says nothing of what the store does to the others.
    in_order = resolved.compared - int((pairs.state >= Relation.NON_FINITE).sum())
    what = {
        Relation.NORMALISED: (Kind.NORMALISED, "normalised"),
        Relation.FLOAT16: (Kind.QUANTISED, "stored as float16"),
        Relation.BFLOAT16: (Kind.QUANTISED, "stored as bfloat16"),
        Relation.INT8: (Kind.QUANTISED, "stored as int8"),
        Relation.NOISE: (Kind.NOISE, "off by float noise within the tolerance"),
    }
    for relation, (kind, words) in what.items():
        count = int((pairs.state == relation).sum())
        if count < 20 or count < 0.5 * in_order:
            continue
        said.add(int(relation))
        detail: dict[str, Any] = {"whole_collection": True, "rows": count}
        if relation in _FORMATS:
            detail["format"] = _FORMATS[relation]
        if relation is Relation.INT8 and sides.grid is not None:
            detail |= sides.grid.described()
        resolved.found.add(kind, detail=detail)
        resolved.notes.append(
            f"{count:,} of {resolved.compared:,} vectors are {words}: the work of the store, benign"
        )
    return said
