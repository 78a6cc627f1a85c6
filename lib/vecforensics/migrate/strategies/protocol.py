"""What a strategy is handed and what it may ask for: the fixed signature of a migration under test.

A strategy decides one thing only: in which order, and how much at once, records are embedded and written. Retries, pre-images,
time-outs and quarantine belong to what stands behind `embed` and `store`. So the same file runs in two worlds: in the race
laboratory, which tries every order of completion, and in production, where `embed` and `store` are the lanes to the ledger.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vecforensics.records import Record

__all__ = ["Embed", "Store", "Strategy", "Vector"]

Vector = npt.NDArray[np.float32]


class Embed(Protocol):
    """The vector of a record: float32, shape (dimension,)."""

    def __call__(self, record: Record, /) -> Coroutine[Any, Any, Vector]: ...


class Store(Protocol):
    """One space of ids. A call returns when the store has acknowledged it."""

    async def upsert(self, id: str, vector: Vector, metadata: Mapping[str, Any], /) -> None: ...

    async def fetch(self, id: str, /) -> Any: ...

    async def delete(self, id: str, /) -> None: ...


class Strategy(Protocol):
    """A migration. `width`: at most this many records are under way at once; serial takes none."""

    def __call__(
        self, records: Sequence[Record], embed: Embed, store: Store, /
    ) -> Coroutine[Any, Any, None]: ...
