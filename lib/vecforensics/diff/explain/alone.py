"""Without expected vectors: what a target shows by itself.

Nobody can say then whether a vector belongs to its record, and nothing here makes a collection clean. What can be said: an
orphan that holds the vector of a record that is there is a further copy; one vector under three or more records whose texts
differ is a broadcast; and a vector whose length or direction lies far outside what the others do, or that stands far from its
neighbours where those are close together (`neighbours.py`), is worth a look (`unchecked`, with the suspicion named). Where
vectors are expected of some records only, one vector under several of the others is a broadcast just as well.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import numpy.typing as npt
import xxhash

from vecforensics.diff.collected import FoundRows
from vecforensics.diff.explain.leftovers import nobodys_groups
from vecforensics.diff.explain.neighbours import find_lonely
from vecforensics.diff.explain.owners import Owners
from vecforensics.diff.lookup import ranges
from vecforensics.diff.sides import Index, Sides
from vecforensics.findings import Kind

__all__ = ["alike_rows", "copies_of_present", "find_shared_vectors", "find_suspicious", "rows_alone"]

_FAR: Final = 8.0  # robust standard deviations
_MOST_SUSPICIOUS: Final = 1000
_BLOCK: Final = 4096
_MOST_HOLDERS: Final = 8


def rows_alone(sides: Sides, unchecked: int) -> npt.NDArray[np.bool_]:
    """Which running target rows are the own ones of records without an expected vector; none where a sample was drawn, so that
    more contents are `unchecked` than could not be compared."""
    own = sides.own_rows()
    buckets = range(sides.source.buckets)
    bare = ~np.concatenate([sides.source.vectors(bucket).present for bucket in buckets])
    unusable = sides.source.integers("digest") == 0
    found = np.zeros(sides.target.rows, np.bool_)
    if int(((own >= 0) & (bare | unusable)).sum()) == unchecked:
        found[own[(own >= 0) & bare]] = True
    return found


def alike_rows(sides: Sides, among: npt.NDArray[np.bool_] | None = None) -> Index:
    """For each running target row the number of the group of rows that hold its vector too, float noise included; -1 for none.

    Zero vectors and those that are not finite are in no group, nor are rows that are not `among` those, if that is given.
    """
    label = np.full(sides.target.rows, -1, np.int64)
    digests = sides.target.integers("digest")
    nothing = xxhash.xxh3_64_intdigest(bytes(4 * sides.target.dimension))
    asked = (digests != 0) & (digests != np.uint64(nothing))
    rows = np.flatnonzero(asked if among is None else asked & among).astype(np.int64)
    for number, members in enumerate(nobodys_groups(sides, rows, fewest=2)):
        label[rows[members]] = number
    return label


def copies_of_present(sides: Sides, orphans: Index, label: Index) -> Owners:
    """For each orphan (by its place in `orphans`) present records that hold the same vector, eight at most.

    `label`: of `alike_rows`.
    """
    asked = np.flatnonzero(label[orphans] >= 0)
    rows = np.flatnonzero(np.isin(label, np.unique(label[orphans[asked]]))).astype(np.int64)
    record = sides.records_of(rows)
    rows, record = rows[record >= 0], record[record >= 0]
    order = np.lexsort((sides.source.integers("position", record), label[rows]))
    held, record = label[rows][order], record[order]
    low = np.searchsorted(held, label[orphans[asked]])
    count = np.minimum(np.searchsorted(held, label[orphans[asked]], "right") - low, _MOST_HOLDERS)
    query = np.repeat(asked, count).astype(np.int64)
    owner = record[ranges(low, count)]
    return Owners(query, owner, np.ones(len(query), np.bool_), np.zeros(len(query)))


def find_shared_vectors(sides: Sides, found: FoundRows, label: Index) -> None:
    """Add a broadcast for each group of three or more records with different texts under one vector. `label`: of `alike_rows`."""
    rows = np.flatnonzero(label >= 0).astype(np.int64)
    counts = np.bincount(label[rows])
    rows = rows[counts[label[rows]] >= 3]
    records = sides.records_of(rows)
    rows, records = rows[records >= 0], records[records >= 0]
    texts = [
        "".join(re.findall(r"\w+", (text or "").casefold())) for text in sides.source.text("text", records)
    ]
    order = np.argsort(label[rows], kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(label[rows][order])) + 1):
        if len({texts[member] for member in members}) < 3:
            continue
        for member in members.tolist():
            found.add(
                Kind.BROADCAST,
                source=int(records[member]),
                target=int(rows[member]),
                detail={"group": len(members), "owner": "unknown"},
            )


def find_suspicious(sides: Sides, found: FoundRows) -> list[str]:
    """Add an `unchecked` finding for each vector that is far from what the others do in length, direction or neighbourhood.

    Returns what is to be said of it in sentences.
    """
    if sides.target.rows < 30 or not sides.target.dimension:
        return []
    total = _in_length_and_direction(sides, found)
    lonely = find_lonely(sides.target)
    shown = [(row, float(ratio)) for row, ratio in zip(lonely.rows.tolist(), lonely.ratio, strict=True)]
    _suspect(sides, found, "neighbours", shown, lonely.usual)
    total += len(shown)
    said = [f"{total:,} vectors lie far outside what the others do; look at them"] if total else []
    said.append(
        f"{lonely.looked_at:,} of {lonely.vectors:,} different vectors were compared with their nearest neighbours"
    )
    return said


def _in_length_and_direction(sides: Sides, found: FoundRows) -> int:
    mean = np.zeros(sides.target.dimension)
    numbers, lengths = [], []
    for rows, block in sides.target.blocks(_BLOCK):
        with np.errstate(all="ignore"):
            length = np.linalg.norm(block.astype(np.float64), axis=1)
            good = np.isfinite(length) & (length > 0)
            mean += (block[good] / length[good, None]).sum(axis=0)
        numbers.append(rows[good])
        lengths.append(length[good])
    norm = np.linalg.norm(mean)
    rows_seen = np.concatenate([np.empty(0, np.int64), *numbers])
    if not len(rows_seen) or not norm:
        return 0
    length = np.concatenate(lengths)
    direction = np.concatenate(
        [
            sides.target.take(rows_seen[at : at + _BLOCK]) @ (mean / norm)
            for at in range(0, len(rows_seen), _BLOCK)
        ]
    )
    total = 0
    for what, values in (("length", length), ("direction", direction / length)):
        far, usual = _outliers(values)
        total += len(far)
        _suspect(
            sides, found, what, [(int(rows_seen[row]), float(values[row])) for row in far.tolist()], usual
        )
    return total


def _suspect(sides: Sides, found: FoundRows, what: str, shown: list[tuple[int, float]], usual: float) -> None:
    """One finding for each of the most striking rows (running target rows) under a record's id; of those that hold one vector the
    records that stand first in the source."""
    rows = np.array([row for row, _ in shown], np.int64)
    records = sides.records_of(rows)
    known = records >= 0
    positions = np.full(len(rows), -1, np.int64)
    positions[known] = sides.source.integers("position", records[known])
    striking = sorted(
        (
            (float(f"{value:.4g}"), position, record, row)
            for (row, value), position, record in zip(
                shown, positions.tolist(), records.tolist(), strict=True
            )
            if record >= 0
        ),
        key=lambda one: (-abs(one[0] - usual), one[1]),
    )
    for value, _, record, target in striking[:_MOST_SUSPICIOUS]:
        found.add(
            Kind.UNCHECKED,
            source=record,
            target=target,
            detail={"suspicion": what, "value": value, "usual": float(f"{usual:.4g}")},
        )


def _outliers(values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.intp], float]:
    """Where values lie more than eight robust standard deviations (median absolute deviation) from the median, and the median."""
    usual = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - usual)))
    return np.flatnonzero(np.abs(values - usual) > max(_FAR * spread, 1e-3 * abs(usual), 1e-6)), usual
