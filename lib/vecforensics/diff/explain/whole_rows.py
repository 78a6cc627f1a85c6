"""Rows that are another record's as a whole: was it the vector that went astray, or the id?

A row that holds another record's vector and that record's metadata too is one mistake, made with the id, and one finding; were
its metadata its own, the vector alone would have been mixed up. And the record at the end of such a run, whose row stands under
an id that nobody has, is not there twice: that row is where it went.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np

from vecforensics.diff.collected import Found
from vecforensics.diff.explain.paired_metadata import drift_of_pairs
from vecforensics.diff.resolved import Resolved
from vecforensics.diff.sides import Sides
from vecforensics.diff.spellings import says_nothing
from vecforensics.findings import Kind

__all__ = ["join_whole_rows"]

_ANOTHERS: Final = (Kind.SWAPPED, Kind.SHIFTED, Kind.BROADCAST)
# So many rows' metadata are compared at once.
_AT_ONCE: Final = 65_536


def join_whole_rows(sides: Sides, resolved: Resolved) -> None:
    """Say of rows under another record's vector that their metadata moved along, instead of what drifted in them; and call the
    only row that holds a record's vector, where that record's id holds another's, mangled and not a further copy."""
    rows = resolved.found.rows
    anothers = {
        one.source: place
        for place, one in enumerate(rows)
        if one.kind in _ANOTHERS and one.partner >= 0 and one.target >= 0
    }
    if not anothers:
        return
    if not resolved.unchecked:
        # Else a row that nobody has looked at may hold the vector as well.
        _name_lost_rows(sides, resolved, anothers)
    drifted = {one.source: place for place, one in enumerate(rows) if one.kind is Kind.METADATA_DRIFT}
    moved = _moved_along(
        sides, rows, [anothers[source] for source in sorted(anothers.keys() & drifted.keys())]
    )
    for place in moved:
        rows[place] = rows[place]._replace(detail={**rows[place].detail, "metadata": "moved along"})
    said = {drifted[rows[place].source] for place in moved}
    if said:
        rows[:] = [one for place, one in enumerate(rows) if place not in said]


def _moved_along(sides: Sides, rows: list[Found], places: list[int]) -> list[int]:
    """Those of `places` in `rows` where the metadata are the partner's in all fields that are compared."""
    moved: list[int] = []
    for start in range(0, len(places), _AT_ONCE):
        some = places[start : start + _AT_ONCE]
        partner = np.array([rows[place].partner for place in some], np.int64)
        target = np.array([rows[place].target for place in some], np.int64)
        drift = drift_of_pairs(sides, partner, target)
        moved += [place for number, place in enumerate(some) if number not in drift]
    return moved


def _name_lost_rows(sides: Sides, resolved: Resolved, anothers: dict[int, int]) -> None:
    """Further copies of records of which no other row holds the vector; not of one that stands under another id as it is."""
    rows = resolved.found.rows
    copies = [
        place
        for place, one in enumerate(rows)
        if one.kind is Kind.DUPLICATE
        and one.detail.get("form") == "another id"
        and one.source in anothers
        and one.source not in resolved.mangled
    ]
    if not copies:
        return
    standing = Counter(rows[place].source for place in copies)
    standing.update(rows[place].partner for place in anothers.values())
    for place in copies:
        one = rows[place]
        if standing[one.source] == 1 and "candidates" not in one.detail:
            [text] = sides.target.text("id", np.array([one.target], np.int64))
            conversion = "id lost" if says_nothing(text or "") else "another id"
            rows[place] = one._replace(
                kind=Kind.MANGLED_ID, detail={"by": "content", "conversion": conversion}
            )
