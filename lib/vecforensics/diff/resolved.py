"""What the stages of the second pass hand on: the joined rows that differ, and what is known of a collection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vecforensics.diff.collected import FoundRows
from vecforensics.diff.compare.bucket import BucketResult, State
from vecforensics.diff.compare.pairs import Pairs
from vecforensics.diff.sides import Index, Side, Sides

__all__ = ["Elsewhere", "Resolved", "joined_pairs", "running"]


class Elsewhere(NamedTuple):
    """The record of another `collection` that a row seems to be: its running source `row` there and its `id`. `by`: what says so;
    `candidates`: how many records the row may be as well as this one, this one counted."""

    collection: str
    row: int
    id: str
    by: str
    candidates: int = 1


@dataclass
class Resolved:
    """What is known of a collection after the second pass. `mangled`: running source row → the target row under another id.
    `late`: source rows that were not to be seen when the evidence was frozen but may well be there; `excused`: those that
    were as they should be at a second look, or are too young to be judged; `excused_strays`: target rows under another id that
    were gone at a second look, or are too young to be judged. `elsewhere`: running target row → the record of another collection
    that it seems to be. `unordered`: how many records stand there with a parent of which
    nothing says whether it was written before them, where something is known of the writing of others; `one_zone`: those of them
    where only one of the two times names its zone, `put_back`: those where the lines of one log contradict its times without a
    zone. `broken_references`: how many dangling records name a parent that the source does not have either."""

    found: FoundRows
    missing: Index
    orphans: Index
    notes: list[str] = field(default_factory=list)
    compared: int = 0
    unchecked: int = 0
    unusable: int = 0
    unordered: int = 0
    one_zone: int = 0
    put_back: int = 0
    broken_references: int = 0
    mangled: dict[int, int] = field(default_factory=dict)
    elsewhere: dict[int, Elsewhere] = field(default_factory=dict)
    late: Index = field(default_factory=lambda: np.empty(0, np.int64))
    excused: Index = field(default_factory=lambda: np.empty(0, np.int64))
    excused_strays: Index = field(default_factory=lambda: np.empty(0, np.int64))


def running(side: Side, parts: Iterable[tuple[int, npt.NDArray[np.int32]]]) -> Index:
    """Running numbers of rows of several buckets, each given with its bucket."""
    return np.concatenate([np.empty(0, np.int64), *(side.number(bucket, rows) for bucket, rows in parts)])


def joined_pairs(sides: Sides, results: Sequence[BucketResult]) -> Pairs:
    """The pairs of all buckets, by running numbers."""
    nobody = np.empty(0, np.int64)
    return Pairs.joined(
        [
            Pairs.of(nobody, nobody, State.RAGGED),
            *(
                replace(
                    result.pairs,
                    source=sides.source.number(result.bucket, result.pairs.source),
                    target=sides.target.number(result.bucket, result.pairs.target),
                    distance=result.pairs.distance.astype(np.float64),
                )
                for result in results
            ),
        ]
    )
