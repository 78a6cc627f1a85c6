"""Whose is a row that is nobody's here? Perhaps a record's of another collection.

Writers that share a variable for the collection, for its namespace or for the connection send rows of one collection to another.
Where both have the id, the row there holds a vector that none of its own collection's records expects; where not, it is a stray.
The vector decides, bit for bit or within what counts as benign. Only of a record that no vector is expected of does the id
decide, together with all its metadata, and only where that record is missing: `1001` is an id in many a collection.

Of very many collections not each is held against each: a row is looked for in those whose vectors have its length or are not
known, and of these in those that miss the most records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.collected import Found
from vecforensics.diff.explain.crowded import Agreement
from vecforensics.diff.explain.owners import NEAREST, find_owners
from vecforensics.diff.lookup import find, portions
from vecforensics.diff.resolved import Elsewhere, Resolved
from vecforensics.diff.sides import Index, Side, Sides
from vecforensics.errors import printable
from vecforensics.findings import Kind

__all__ = [
    "MOST_OTHERS",
    "Other",
    "likeliest",
    "owners_elsewhere",
    "said_of",
    "say_where_missing_stand",
    "strays_elsewhere",
]

_NAME: Final = 60
# So many other collections are asked whose a row is.
MOST_OTHERS: Final = 32
_SAID_OF: Final = frozenset({Kind.SWAPPED, Kind.ORPHAN, Kind.DUPLICATE})


@dataclass(frozen=True, slots=True)
class Other:
    """Another collection of the run. `missing`: its records, by running rows, that stand in no row of its target."""

    sides: Sides
    missing: Index

    @property
    def name(self) -> str:
        return self.sides.frozen.name


def likeliest(sides: Sides, others: Iterable[Other]) -> list[Other]:
    """The others to ask of the rows of a target: where they are very many first those whose vectors may be the same, and of these
    those that miss the most records."""

    def rank(other: Other) -> tuple[bool, int, str]:
        expected = other.sides.source.dimension
        return expected not in (0, sides.target.dimension), -len(other.missing), other.name

    return sorted(others, key=rank)[:MOST_OTHERS]


def said_of(one: Elsewhere) -> dict[str, Any]:
    """What the detail of a finding says of it."""
    several = {"candidates": one.candidates, **({"at_least": True} if one.candidates >= NEAREST else {})}
    return {"collection": one.collection, "by": one.by, **(several if one.candidates > 1 else {})}


def owners_elsewhere(
    sides: Sides,
    others: Sequence[Other],
    target: Index,
    tolerance: float,
    exactly: npt.NDArray[np.bool_] | None = None,
) -> dict[int, Elsewhere]:
    """By place in `target` (running target rows) the record of another collection that expects the vector there: one of the same
    id before others, then the first. `exactly`: where nothing but the same bytes counts."""
    digests = sides.target.integers("digest", target)
    asked = np.flatnonzero(digests != 0)
    comparable = [other for other in others if other.sides.source.dimension == sides.target.dimension > 0]
    owners: dict[int, Elsewhere] = {}
    if not comparable:
        return owners
    exactly = np.zeros(len(target), np.bool_) if exactly is None else exactly
    for part in portions(len(asked), 4 * sides.target.dimension):
        places = asked[part]
        owners |= _owners(sides, comparable, target, places, digests[places], exactly[places], tolerance)
    return owners


def _owners(
    sides: Sides,
    others: Sequence[Other],
    target: Index,
    places: npt.NDArray[np.intp],
    digests: npt.NDArray[np.uint64],
    exactly: npt.NDArray[np.bool_],
    tolerance: float,
) -> dict[int, Elsewhere]:
    vectors = sides.target.take(target[places])
    hashes = sides.target.integers("id_hash", target[places])
    parts = []
    for one, other in enumerate(others):
        source = other.sides.source
        # In no place of that source are owners likelier than in another.
        anywhere = np.zeros(len(places), np.int64)
        found = find_owners(source, vectors, digests, anywhere, tolerance, sides.grid)
        kept = found.exact | ~exactly[found.query]
        query, row = found.query[kept], found.owner[kept]
        another_id = source.integers("id_hash", row) != hashes[query]
        position = source.integers("position", row).astype(np.int64)
        parts.append((query, ~found.exact[kept], another_id, np.full(len(row), one), position, row))
    query, inexact, another_id, number, position, row = map(np.concatenate, zip(*parts, strict=True))
    order = np.lexsort((position, number, another_id, inexact, query))
    query, inexact, number, row = query[order], inexact[order], number[order], row[order]
    first = np.flatnonzero(np.r_[True, query[1:] != query[:-1]][: len(query)])
    best = inexact == inexact[first][np.searchsorted(query[first], query)]
    counts = np.bincount(query[best], minlength=len(places))
    claimed: dict[int, Elsewhere] = {}
    for one, other in enumerate(others):
        some = first[number[first] == one]
        ids = other.sides.source.text("id", row[some])
        for place, record, text in zip(query[some].tolist(), row[some].tolist(), ids, strict=True):
            claimed[int(places[place])] = Elsewhere(
                other.name, record, text or "", "content", int(counts[place])
            )
    return claimed


def strays_elsewhere(
    sides: Sides, others: Sequence[Other], orphans: Index, tolerance: float
) -> dict[int, Elsewhere]:
    """The same of rows under ids that no record here has; those of records that no vector is expected of by id and metadata."""
    owners = owners_elsewhere(sides, others, orphans, tolerance)
    left = np.array([place for place in range(len(orphans)) if place not in owners], np.int64)
    claims = [claim for other in others for claim in _by_id(sides, other, orphans, left)]
    # What two collections lay claim to is neither's.
    times = Counter(place for place, _ in claims)
    return owners | {place: one for place, one in claims if times[place] == 1}


def _by_id(sides: Sides, other: Other, orphans: Index, places: Index) -> Iterable[tuple[int, Elsewhere]]:
    source, agree = other.sides.source, Agreement(other.sides)
    missing = other.missing[source.integers("digest", other.missing) == 0]
    if not agree.fields or not len(missing) or not len(places):
        return
    held = sides.target.integers("id_hash", orphans[places])
    wanted = source.integers("id_hash", missing)
    order = np.argsort(wanted, kind="stable")
    at, there = find(wanted[order], held)
    met = np.flatnonzero(there)
    records, rows = missing[order[at[met]]], orphans[places[met]]
    for place, record, theirs, ours in zip(
        places[met].tolist(),
        records.tolist(),
        _texts(source, records),
        _texts(sides.target, rows),
        strict=True,
    ):
        if theirs[0] == ours[0] and agree(theirs[1], ours[1]):
            yield place, Elsewhere(other.name, record, theirs[0], "id and metadata")


def _texts(side: Side, rows: Index) -> list[tuple[str, str | None]]:
    """Id and metadata of some rows."""
    ids = side.text("id", rows)
    return [(text or "", said) for text, said in zip(ids, side.text("metadata", rows), strict=True)]


def say_where_missing_stand(all_sides: Mapping[str, Sides], resolved: Mapping[str, Resolved]) -> None:
    """Of each missing record the row of another collection that is its own, and in the notes of that collection how many of its
    rows are others'."""
    standing: dict[str, dict[int, tuple[str, str]]] = {name: {} for name in resolved}
    for name, one in sorted(resolved.items()):
        # Of what was gone at a second look, or is too young to be judged, nothing of the kind is said any more.
        told = {found.target for found in one.found.rows if found.kind in _SAID_OF}
        owners = {target: owner for target, owner in one.elsewhere.items() if target in told}
        ids = all_sides[name].target.text("id", np.array(list(owners), np.int64))
        counts = Counter(owner.collection for owner in owners.values())
        for owner, text in sorted(zip(owners.values(), (text or "" for text in ids), strict=True)):
            if owner.candidates == 1:
                standing[owner.collection].setdefault(owner.row, (name, text))
        one.notes += [
            f"{count:,} {'row is that of a record' if count == 1 else 'rows are those of records'} of "
            f"{printable(collection, _NAME)}; was the wrong collection written to?"
            for collection, count in sorted(counts.items())
        ]
    for name, places in standing.items():
        if places:
            rows = resolved[name].found.rows
            rows[:] = [_with_place(found, places) for found in rows]


def _with_place(found: Found, places: Mapping[int, tuple[str, str]]) -> Found:
    if found.kind is not Kind.MISSING or found.source not in places:
        return found
    collection, text = places[found.source]
    return found._replace(detail={**found.detail, "stands_in": collection, "under": text})
