"""In which order the records of a case can be written: parents before children, over all collections.

A record's level is 0 where it depends on nothing, else one more than the highest of its parents. Only ids are held in memory,
never texts or vectors. Two kinds of record have no place in any order and are refused with their reason: one whose parent the
source does not hold, and one that depends on itself by way of others. Whoever depends on a refused record is refused with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from vecforensics.case import Case
from vecforensics.evidence import Evidence
from vecforensics.records import PARENT_PREFIX

__all__ = ["Key", "Outline", "outline", "parents_of"]

Key = tuple[str, str]
"""Collection (of the case file) and id."""


@dataclass(frozen=True, slots=True)
class Outline:
    """`levels`: collection → id → level, for every record that has one, in the order of the source. `refused`: key → reason."""

    levels: Mapping[str, Mapping[str, int]]
    refused: Mapping[Key, str]

    def holds(self, key: Key) -> bool:
        """Whether the source holds that record."""
        return key[1] in self.levels.get(key[0], {}) or key in self.refused

    def in_order(self, wanted: Mapping[str, set[str]] | None = None) -> Iterator[Key]:
        """The keys that can be written, parents first; within a level by collection and source order. `wanted`: only these."""
        buckets: dict[int, list[Key]] = {}
        for collection, levels in self.levels.items():
            chosen = None if wanted is None else wanted.get(collection, set())
            for record_id, level in levels.items():
                if chosen is None or record_id in chosen:
                    buckets.setdefault(level, []).append((collection, record_id))
        for level in sorted(buckets):
            yield from buckets[level]


def parents_of(batch: pa.RecordBatch, parents: tuple[str, ...]) -> list[list[Key]]:
    """What each row of a source batch depends on; a row that names itself depends on nothing by that."""
    found: list[list[Key]] = [[] for _ in range(batch.num_rows)]
    for parent in parents:
        for row, value in enumerate(batch.column(f"{PARENT_PREFIX}{parent}").to_pylist()):
            if value is not None:
                found[row].append((parent, value))
    return found


def outline(evidence: Evidence, case: Case) -> Outline:
    """Read the ids and parents of every collection and find each record's level."""
    levels: dict[str, dict[str, int]] = {name: {} for name in case.collections}
    waiting: dict[Key, list[Key]] = {}
    order: dict[str, pa.Array] = {}
    for name in _parents_first(case):
        parents = tuple(case.collections[name].source.depends_on)
        ids = []
        for batch in evidence.iter_source(name):
            ids.append(batch.column("id"))
            for record_id, needs in zip(
                batch.column("id").to_pylist(), parents_of(batch, parents), strict=True
            ):
                key = (name, record_id)
                needs = [need for need in needs if need != key]
                known = [levels[collection].get(parent) for collection, parent in needs]
                if None in known:
                    waiting[key] = needs
                else:
                    levels[name][record_id] = 1 + max(
                        (level for level in known if level is not None), default=-1
                    )
        order[name] = pa.chunked_array(ids, pa.string())
    refused = _settle(levels, waiting)
    if waiting:
        levels = {
            name: {i: levels[name][i] for i in order[name].to_pylist() if i in levels[name]}
            for name in levels
        }
    return Outline(levels, refused)


def _parents_first(case: Case) -> list[str]:
    """The collections in an order in which most parents come first; circles between collections are broken anywhere."""
    ordered: list[str] = []
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name not in seen:
            seen.add(name)
            for parent in case.collections[name].source.depends_on:
                visit(parent)
            ordered.append(name)

    for name in case.collections:
        visit(name)
    return ordered


def _settle(levels: dict[str, dict[str, int]], waiting: Mapping[Key, list[Key]]) -> dict[Key, str]:
    """Give a level to every waiting record that can have one (Kahn's algorithm); the reason why not for the others."""
    children: dict[Key, list[Key]] = {}
    missing: dict[Key, int] = {}
    for key, needs in waiting.items():
        open_needs = {need for need in needs if need[1] not in levels[need[0]]}
        missing[key] = len(open_needs)
        for need in open_needs:
            children.setdefault(need, []).append(key)
    ready = [key for key in waiting if not missing[key]]
    while ready:
        key = ready.pop()
        levels[key[0]][key[1]] = 1 + max((levels[c][i] for c, i in waiting[key]), default=-1)
        for child in children.get(key, ()):
            missing[child] -= 1
            if not missing[child]:
                ready.append(child)
    refused: dict[Key, str] = {}
    stack = []
    for key, needs in waiting.items():
        gone = [need for need in needs if need[1] not in levels[need[0]] and need not in waiting]
        if gone:
            refused[key] = f"depends on {gone[0][0]}/{gone[0][1]}, which the source does not hold"
            stack.append(key)
    while stack:
        key = stack.pop()
        for child in children.get(key, ()):
            if child not in refused:
                refused[child] = f"depends on {key[0]}/{key[1]}, which cannot be written"
                stack.append(child)
    for key in waiting:
        if missing[key] and key not in refused:
            refused[key] = "waits for itself: its parents depend on it in a circle"
    return refused
