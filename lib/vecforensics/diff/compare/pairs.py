"""Joined rows that differ: what is known of each before it is explained.

One record for a bucket's rows and for those of a whole collection. A comparison makes a `Pairs` of what it looked at, keeps what
differs, and is joined with the others; the numbers under which `detail` says more of a few move along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Pairs"]

_Ints = npt.NDArray[np.signedinteger[Any]]


@dataclass(frozen=True)
class Pairs:
    """Columns of one length n, an entry a joined row that differs.

    `source`, `target`: row numbers, int32 in a bucket, int64 in a collection; `state` uint8, a `Relation` or a `State`;
    `distance` the cosine distance, NaN where there is none; `right` float32, the share of the components that are right, and
    `start` and `stop` int32, between which they are not; `detail`: what else is said, by place.
    """

    source: _Ints
    target: _Ints
    state: npt.NDArray[np.uint8]
    distance: npt.NDArray[np.floating[Any]]
    right: npt.NDArray[np.float32]
    start: npt.NDArray[np.int32]
    stop: npt.NDArray[np.int32]
    detail: dict[int, dict[str, Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.source)

    @classmethod
    def of(
        cls, source: _Ints, target: _Ints, state: Any, detail: dict[int, dict[str, Any]] | None = None
    ) -> Pairs:
        """Rows of which no numbers are known, all of one `state` or each of its own."""
        count = len(source)
        states = np.full(count, state, np.uint8)
        nothing = np.zeros(count, np.int32)
        unknown = np.full(count, np.nan, np.float32)
        return cls(
            source, target, states, unknown, nothing.astype(np.float32), nothing, nothing, detail or {}
        )

    @classmethod
    def joined(cls, parts: Sequence[Pairs]) -> Pairs:
        """One after the other; `parts` is not empty."""
        starts = accumulate((len(part) for part in parts), initial=0)
        detail = {
            start + place: said
            for start, part in zip(starts, parts, strict=False)
            for place, said in part.detail.items()
        }
        columns = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in parts[0]._columns()
        }
        return replace(parts[0], **columns, detail=detail)

    def kept(self, places: npt.NDArray[np.intp]) -> Pairs:
        """Only those at these places, which ascend."""
        new = {int(place): number for number, place in enumerate(places.tolist())} if self.detail else {}
        detail = {new[place]: said for place, said in self.detail.items() if place in new}
        return replace(self, **{name: held[places] for name, held in self._columns().items()}, detail=detail)

    def _columns(self) -> dict[str, npt.NDArray[Any]]:
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "detail"}
