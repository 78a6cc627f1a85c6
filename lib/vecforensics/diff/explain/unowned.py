"""Wrong rows that hold no record's vector as a whole: four explanations, from the most certain to the least.

One block of another record's vector, bit for bit; the same stranger under several ids; a part that is right up to a factor and
the rounding of the store; and what is left: a group of another model, or drift. Each takes the rows that those before it have
left.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.collected import FoundRows
from vecforensics.diff.compare.pairs import Pairs
from vecforensics.diff.compare.relation import LEAST_RIGHT, Relation
from vecforensics.diff.explain.foreign import foreign_groups
from vecforensics.diff.explain.garbled import garbled
from vecforensics.diff.explain.leftovers import block_owners, nobodys_groups
from vecforensics.diff.explain.partial_copies import owners_of_blocks, partly_right
from vecforensics.diff.explain.said import say, what_is_right
from vecforensics.diff.lookup import portions
from vecforensics.diff.resolved import Resolved
from vecforensics.diff.sides import Index, Sides
from vecforensics.findings import Kind

__all__ = ["explain_unowned"]

# So many vectors are looked at closely whatever the store; 0.1 s.
_FEW: Final = 5000
_MOSTLY_RIGHT: Final = 0.5
_FEWEST_OF_NOBODY: Final = 2

Done = npt.NDArray[np.bool_]


def explain_unowned(
    sides: Sides, pairs: Pairs, rest: Index, resolved: Resolved, done: Done, tolerance: float
) -> None:
    """Name the pairs `rest` (places in `pairs`), and mark them in `done`, bool (pairs,)."""
    found = resolved.found
    # Groups are compared by a few of their rows: which few must not hang on how many buckets there are.
    position = sides.source.integers("position", pairs.source[rest])
    rest = rest[np.argsort(position, kind="stable")]
    left = _name_exact_blocks(sides, pairs, rest, found, done)
    rest = rest[~done[rest]]
    _name_strangers(sides, pairs, rest, found, done, tolerance)
    rest = rest[~done[rest]]
    # Where most vectors are as they were given, a part that is right is mostly so bit for bit, and has been seen; a store that
    # normalises what is of length one already changes only what was damaged.
    if len(rest) > 0 and (len(rest) <= _FEW or 2 * len(pairs.source) > resolved.compared):
        left += _name_rounded_parts(sides, pairs, rest, found, done)
        rest = rest[~done[rest]]
    left = min(left, len(rest))
    if left:
        resolved.notes.append(
            f"{left:,} vectors with one wrong block were not looked up by that block, their blocks being too various; they are "
            "called drifted"
        )
    if len(rest):
        _name_foreign_and_drifted(sides, pairs, rest, found, done, tolerance)


def _name_exact_blocks(sides: Sides, pairs: Pairs, rest: Index, found: FoundRows, done: Done) -> int:
    """Returns how many with one wrong block were not looked up by it."""
    blocks = rest[pairs.state[rest] == Relation.PART_OTHER]
    owners, left = block_owners(sides, pairs.source, pairs.target, pairs.start, pairs.stop, blocks)
    named = np.array(list(owners), np.int64)
    details = [{**detail, "rest": "another record's"} for detail in what_is_right(pairs, named)]
    say(found, pairs, named, Kind.PARTIAL, details, np.array(list(owners.values()), np.int64))
    done[named] = True
    return left


def _name_strangers(
    sides: Sides, pairs: Pairs, rest: Index, found: FoundRows, done: Done, tolerance: float
) -> None:
    groups = nobodys_groups(sides, pairs.target[rest])
    # Whoever has no expected vector (not sampled, say) may own it.
    owner = "unknown" if groups and sides.source.lacks_vectors else "nobody"
    for group in groups:
        # Of vectors that are their own records', garbled, one enormous component may point them all the same way.
        forms, _ = _forms(sides, pairs, rest[group], tolerance)
        members = group[[not form for form in forms]]
        if len(members) < _FEWEST_OF_NOBODY:
            continue
        detail = {"group": len(members), "owner": owner}
        say(found, pairs, rest[members], Kind.BROADCAST, [detail] * len(members))
        done[rest[members]] = True


def _name_rounded_parts(sides: Sides, pairs: Pairs, rest: Index, found: FoundRows, done: Done) -> int:
    """Returns how many with one wrong block were not looked up by it."""
    left = 0
    for stretch in portions(len(rest), 16 * sides.source.dimension):
        part = rest[stretch]
        expected, actual = sides.source.take(pairs.source[part]), sides.target.take(pairs.target[part])
        partly = partly_right(expected, actual, sides.grid, sides.noise)
        owner = np.full(len(part), -1, np.int64)
        block = np.flatnonzero(partly.block)
        if len(block):
            owner[block], unseen = owners_of_blocks(
                sides.source,
                pairs.source[part[block]],
                actual[block],
                partly.start[block],
                partly.stop[block],
                partly.coarse[block],
            )
            left += unseen
        named = np.flatnonzero(partly.zero | (owner >= 0))
        done[part[named]] = True
        say(
            found,
            pairs,
            part[named],
            Kind.PARTIAL,
            [
                {
                    "right": round(float(partly.share[place]), 4),
                    "wrong_from": int(partly.start[place]),
                    "wrong_to": int(partly.stop[place]),
                    "rest": "zero" if partly.zero[place] else "another record's",
                }
                for place in named.tolist()
            ],
            owner[named],
        )
    return left


def _forms(
    sides: Sides, pairs: Pairs, rows: Index, tolerance: float
) -> tuple[list[dict[str, Any]], npt.NDArray[np.bool_]]:
    """What `garbled` says of each of the pairs `rows`, and whether neither of its vectors is zero."""
    forms, something = list[dict[str, Any]](), np.empty(len(rows), np.bool_)
    # Both vectors, and what a form makes of them, in double precision too.
    for stretch in portions(len(rows), 32 * sides.source.dimension):
        part = rows[stretch]
        expected, actual = sides.source.take(pairs.source[part]), sides.target.take(pairs.target[part])
        forms += garbled(expected, actual, tolerance, sides.grid)
        something[stretch] = expected.any(axis=1) & actual.any(axis=1)
    return forms, something


def _name_foreign_and_drifted(
    sides: Sides, pairs: Pairs, rest: Index, found: FoundRows, done: Done, tolerance: float
) -> None:
    forms, meant = _forms(sides, pairs, rest, tolerance)
    # What is right bit for bit in the greater part, or its own record's in another form, is no other model's.
    meant &= (pairs.right[rest] < _MOSTLY_RIGHT) & np.array([not form for form in forms], np.bool_)
    number, scores = np.full(len(rest), -1, np.int64), np.zeros(len(rest))
    asked = rest[meant]
    number[meant], scores[meant] = foreign_groups(
        lambda rows: (sides.source.take(pairs.source[rows]), sides.target.take(pairs.target[rows])), asked
    )
    sizes = np.bincount(number[number >= 0])
    first = rest[[int((number == group).argmax()) for group in range(len(sizes))]]
    of = sides.source.text("id", pairs.source[first]) if len(sizes) else []
    details: list[dict[str, Any]] = []
    right = pairs.right[rest].astype(np.float64).round(4).tolist()
    for place, (group, form) in enumerate(zip(number.tolist(), forms, strict=True)):
        detail: dict[str, Any] = {}
        if group >= 0:
            detail = {
                "group": int(sizes[group]),
                "group_of": of[group],
                "consistency": round(float(scores[place]), 3),
            }
        elif not form and not sides.noise and pairs.right[rest[place]] >= LEAST_RIGHT:
            detail = {"right": right[place]}
        details.append(detail | form)
    done[rest] = True
    kinds = [Kind.FOREIGN_MODEL if group >= 0 else Kind.DRIFTED for group in number.tolist()]
    say(found, pairs, rest, kinds, details)
