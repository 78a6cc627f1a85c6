"""What was not seen of the order of writes: sentences for people."""

from __future__ import annotations

from collections.abc import Iterator

from vecforensics.diff.resolved import Resolved
from vecforensics.diff.sides import Sides
from vecforensics.diff.writing.writes import Writes

__all__ = ["writing_limits"]


def writing_limits(sides: Sides, writes: Writes, resolved: Resolved) -> Iterator[str]:
    """Sentences on one collection."""
    name = sides.frozen.name
    if writes.undecided:
        yield (
            f"{name}: {writes.undecided:,} writes in the logs name an id that another collection knows too, and not which is "
            "meant; they were left aside."
        )
    if sides.frozen.parents and not writes.known:
        if writes.undecided:
            yield f"{name}: of no other write anything is known; `premature` was not checked."
        else:
            yield f"{name}: neither logs nor metadata say when records were written; `premature` was not checked."
    if resolved.unordered:
        yield " ".join(
            [
                f"{name}: nothing says whether {resolved.unordered:,} records were written before or after a parent; "
                "`premature` was not checked for these.",
                *_why_unordered(resolved),
            ]
        )


def _why_unordered(resolved: Resolved) -> Iterator[str]:
    if resolved.one_zone:
        yield (
            f"Of {resolved.one_zone:,} of them the time of only one of the two names its zone, and they lie less than 14 hours "
            "apart."
        )
    if resolved.put_back:
        yield (
            f"Of {resolved.put_back:,} of them the order of lines in the log contradicts the times, which name no zone: the "
            "clock was put back, or the lines were written late."
        )
