"""A store that shows other rows after some fetches, as one does that makes acknowledged writes visible late."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from planted_run import target_batches
from planted_world import World

from vecforensics.records import target_schema
from vecforensics.stores import VectorReader

Row = tuple[str, np.ndarray, dict[str, Any]]


class LaterStore(VectorReader):
    """Shows `now` for the first `after` fetches, then `later`."""

    uri = "later:"

    def __init__(self, dimension: int, now: Iterable[Row], later: Iterable[Row], after: int = 0) -> None:
        self.now, self.later, self.after = list(now), list(later), after
        self.dimension, self.fetches = dimension, 0
        self.asked: set[str] = set()

    @classmethod
    def of(cls, world: World, later: Iterable[Row] | None = None, *, after: int = 0) -> LaterStore:
        """The world's target, then `later`: unless given, every record as it should be."""
        if later is None:
            later = zip(world.ids, world.expected, world.metadata, strict=True)
        return cls(world.dimension, world.target, later, after)

    def fetch(self, collection: str, ids: Sequence[str]) -> pa.Table:
        self.fetches += 1
        self.asked |= set(ids)
        shown = [row for row in (self.later if self.fetches > self.after else self.now) if row[0] in set(ids)]
        return pa.Table.from_batches(target_batches(shown, self.dimension), target_schema(self.dimension))

    def collections(self) -> list[str]:
        return ["things"]

    def describe(self, collection: str) -> Any:
        raise NotImplementedError

    def scan(self, collection: str, batch_rows: int = 8192) -> Iterator[pa.RecordBatch]:
        raise NotImplementedError

    def freshness(self, collection: str) -> Any:
        raise NotImplementedError

    def write_blocked(self) -> str:
        return "it has no writes"
