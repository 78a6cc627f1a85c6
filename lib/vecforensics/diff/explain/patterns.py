"""Rows that hold another record's vector, read as a figure: exchanged, shifted, or one vector under many ids.

Every such row points at the record whose vector it holds. In source order, rows that all point the same number of records on are
a shifted run (one record skipped, and everything after it moved up). Three or more rows under one vector are a broadcast, of one
owner, however many records expect that vector. What is left are exchanges: cycles, where each holds the next one's vector, a pair
being the shortest; copies, whose vector stands under its owner too, or where a cycle or a run has put it; and chains, whose
vector stands nowhere else. A long random exchange contains short runs by chance; a run counts where most of its exchange moves by
the same offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.lookup import find
from vecforensics.findings import Kind

__all__ = ["Explained", "explain_exchanges"]

_SHORTEST_RUN: Final = 3
_LONG_RUN: Final = 16
_GAP: Final = 3
_SAME_OFFSET: Final = 0.6
# Every second row of a run may be otherwise damaged; where most are, each overwrote its neighbour for a reason of its own.
_LEAST_DENSITY: Final = 0.5
_BROADCAST: Final = 3

Index = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Explained:
    """One entry a wrong row: its `kind`, what a finding says of it, and `named_by`, int64 (k,): the row whose owner is to be
    named for it, itself but in a broadcast."""

    kind: list[Kind]
    detail: list[dict[str, Any]]
    named_by: Index


def explain_exchanges(
    row: Index, owner: Index, vector: Index, owner_holds_it: Flags, overwritten: Flags | None = None
) -> Explained:
    """`row`, `owner` int64 (k,): records by their number in source order; row i holds a vector of owner i, `vector` int64
    (k,) a number for it: an owner that was edited had several, and several owners may expect one. `owner_holds_it`: whether it
    stands under its owner as well. `overwritten`: rows whose id the owner's became, which moved for that reason and with no run.
    Rows are distinct.
    """
    count = len(row)
    kinds = [Kind.SWAPPED] * count
    details: list[dict[str, Any]] = [{} for _ in range(count)]
    named_by = np.arange(count)
    holders = _counts(vector) + _any(vector, owner_holds_it)
    component = _components(row, owner)
    offset = owner - row
    _, of_owner = np.unique(np.stack([owner, vector]), axis=1, return_inverse=True)
    single = _counts(of_owner) + owner_holds_it < _BROADCAST
    if overwritten is not None:
        single &= ~overwritten
    # Where many records expect one vector the nearest of them is an owner by chance: one vector makes no run.
    shifted = [
        members
        for members in _runs(row, offset, component, single)
        if len(np.unique(vector[members])) >= _SHORTEST_RUN
    ]
    for members in shifted:
        first, last = int(row[members].min()), int(row[members].max())
        # Of a block that was rotated all rows moved by the same, those that went over its end as well.
        moved = min(offset[members].tolist(), key=abs)
        for member in members.tolist():
            kinds[member] = Kind.SHIFTED
            details[member] = {
                "offset": moved,
                "run": len(members),
                "begins_at": first,
                "ends_at": last,
            }
            if offset[member] != moved:
                details[member]["over_the_end"] = True
    taken = {member for members in shifted for member in members.tolist()}
    # Of several owners the first that has it, else the first.
    first_of = _first(vector, np.lexsort((owner, ~owner_holds_it)))
    for member in np.flatnonzero(holders >= _BROADCAST).tolist():
        if member not in taken:
            kinds[member] = Kind.BROADCAST
            named_by[member] = first_of[member]
            details[member] = {
                "group": int(holders[member]),
                "owner_holds_it_too": bool(owner_holds_it[first_of[member]]),
            }
    lengths = _cycle_lengths(row, owner, component)
    moved_on = lengths > 0
    moved_on[list(taken)] = True
    # What stands where a cycle or a run has put it, or under its owner, and here as well.
    copied = owner_holds_it | np.isin(vector, vector[moved_on])
    for member in range(count):
        if kinds[member] is not Kind.SWAPPED:
            continue
        if lengths[member] == 2:
            details[member] = {"form": "pair"}
        elif lengths[member] > 2:
            details[member] = {"form": "cycle", "length": int(lengths[member])}
        else:
            details[member] = {"form": "copy" if copied[member] else "chain"}
    return Explained(kinds, details, named_by)


def _counts(values: Index) -> Index:
    """How often each value is there."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    found: Index = counts[inverse]
    return found


def _any(values: Index, flags: Flags) -> Flags:
    """Whether any entry of the same value is flagged."""
    _, inverse = np.unique(values, return_inverse=True)
    found: Flags = np.bincount(inverse, flags) > 0
    return np.asarray(found[inverse])


def _first(values: Index, order: npt.NDArray[np.intp]) -> Index:
    """For each entry the one of the same value that comes first in `order`."""
    _, first, inverse = np.unique(values[order], return_index=True, return_inverse=True)
    found = np.empty(len(values), np.int64)
    found[order] = order[first[inverse]]
    return found


def _components(row: Index, owner: Index) -> Index:
    """For each edge row → owner its connected component, named by the smallest node in it.

    Every node takes the smallest label among its neighbours, then its label's label, until nothing moves: about log n rounds
    (Shiloach and Vishkin 1982).
    """
    nodes, position = np.unique(np.r_[row, owner], return_inverse=True)
    start, end = position[: len(row)], position[len(row) :]
    label = np.arange(len(nodes))
    while True:
        before = label.copy()
        np.minimum.at(label, label[start], before[end])
        np.minimum.at(label, label[end], before[start])
        label = label[label]
        if np.array_equal(label, before):
            components: Index = label[start]
            return components


def _runs(row: Index, offset: Index, component: Index, single: Flags) -> list[npt.NDArray[np.intp]]:
    """Members of each shifted run, rows in order."""
    by_row = np.argsort(row, kind="stable")
    order = by_row[single[by_row]]
    if len(order) < _SHORTEST_RUN:
        return []
    breaks = (np.diff(offset[order]) != 0) | (np.diff(row[order]) > 1 + _GAP)
    pieces = np.split(order, np.flatnonzero(breaks) + 1)
    # Of each row how many are in its exchange, and how many of these moved as it did.
    size = _counts(component)
    _, figure = np.unique(np.stack([component, offset]), axis=1, return_inverse=True)
    alike = _counts(figure.reshape(-1))
    ordered = row[by_row]
    runs = []
    for piece in pieces:
        first, last = int(row[piece[0]]), int(row[piece[-1]])
        if len(piece) < max(_SHORTEST_RUN, _LEAST_DENSITY * (last - first + 1)):
            continue
        moved = int(offset[piece[0]])
        named, place = np.unique(component[piece], return_index=True)
        together, steady = int(size[piece[place]].sum()), int(alike[piece[place]].sum())
        if len(piece) < _LONG_RUN and steady < _SAME_OFFSET * together:
            continue
        # A block that was rotated: the last rows of the run point back to its beginning.
        low, high = (
            np.searchsorted(ordered, first - abs(moved)),
            np.searchsorted(ordered, last + abs(moved) + 1),
        )
        near = np.sort(by_row[low:high])
        over = np.isin(component[near], named) & (offset[near] != moved)
        over &= np.abs(offset[near]) == len(piece) + together - steady - abs(moved)
        runs.append(np.r_[piece, near[over]])
    return runs


def _cycle_lengths(row: Index, owner: Index, component: Index) -> Index:
    """The length of the cycle that each row lies on, 0 where it lies on none.

    Each row has one owner, so whoever follows the owners comes to an end, or round a cycle for ever: after as many steps as there
    are rows only cycles are reached, and all of each. Steps are doubled. A component has one cycle at most.
    """
    count = len(row)
    order = np.argsort(row)
    at, there = find(row[order], owner)
    # One place more, for those who came to an end.
    step = np.append(np.where(there, order[at], count), count)
    for _ in range(count.bit_length()):
        step = step[step]
    on_cycle = np.zeros(count + 1, np.bool_)
    on_cycle[step] = True
    on_cycle = on_cycle[:count]
    size = np.bincount(component[on_cycle], minlength=component.max(initial=-1) + 1)
    lengths: Index = np.where(on_cycle, size[component], 0)
    return lengths
