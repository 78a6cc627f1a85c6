"""Parents before children: the records of a migration in levels.

Level 0 depends on nothing, level n on something of level n-1 and nothing higher. Of several records with one id the highest
version counts, for the others are its past. A parent that is not among the records is somebody else's to have written
(an earlier chunk), and a record that names itself waits for nobody.
"""

from __future__ import annotations

from collections.abc import Sequence

from vecforensics.errors import SourceError
from vecforensics.records import Record

__all__ = ["dependency_levels"]


def dependency_levels(records: Sequence[Record]) -> list[list[Record]]:
    """The newest version of each record, by level; within a level in the order given. Raises SourceError for a circle."""
    newest: dict[str, Record] = {}
    for record in records:
        known = newest.get(record.id)
        if known is None or record.version >= known.version:
            newest[record.id] = record
    waits_for = {
        record.id: {parent for parent in record.depends_on if parent in newest and parent != record.id}
        for record in newest.values()
    }
    children: dict[str, list[str]] = {}
    for child, parents in waits_for.items():
        for parent in parents:
            children.setdefault(parent, []).append(child)
    place = {key: position for position, key in enumerate(newest)}
    levels: list[list[Record]] = []
    ready = [key for key, parents in waits_for.items() if not parents]
    while ready:
        levels.append([newest[key] for key in ready])
        freed = []
        for parent in ready:
            for child in children.get(parent, ()):
                waits_for[child].discard(parent)
                if not waits_for[child]:
                    freed.append(child)
        ready = sorted(freed, key=place.__getitem__)
    if sum(map(len, levels)) < len(newest):
        stuck = sorted(key for key, parents in waits_for.items() if parents)
        raise SourceError(
            f"{len(stuck)} records wait for one another in a circle, among them {stuck[0]!r}",
            where="depends_on",
            hint="No order of writing can be right; mend the source",
        )
    return levels
