"""What the catalogue says of an anti-pattern, and the shapes that both its forms are written against.

An entry is a module: its prose explains the mechanism, `PATTERN` carries the facts that a report quotes, `broken` is the
mistake as a competent person writes it, `fixed` is the smallest honest repair. The kinds are a promise that the tests
keep: over all schedules of `broken` exactly these occur, and none over those of `fixed`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vecforensics.findings import Kind
from vecforensics.race.model import Trouble
from vecforensics.records import Record

__all__ = ["BlockingStore", "Embed", "Entry", "Pattern", "Pending", "Row", "Store", "Thread", "Vector"]

Vector = npt.NDArray[np.float32]
Embed = Callable[[Record], Awaitable[Vector]]


class Row(Protocol):
    """What a fetch finds."""

    @property
    def id(self) -> str: ...
    @property
    def vector(self) -> Vector: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...


class Store(Protocol):
    """The target, as a coroutine migration sees it."""

    async def upsert(self, id: str, vector: Vector, metadata: Mapping[str, Any]) -> None: ...
    async def fetch(self, id: str) -> Row | None: ...
    async def delete(self, id: str) -> None: ...


class Pending(Protocol):
    """A request on its way; `get` waits for it and raises what went wrong."""

    def get(self) -> Any: ...


class BlockingStore(Protocol):
    """The target, as a migration on threads sees it."""

    def upsert(
        self, id: str, vector: Vector, metadata: Mapping[str, Any], *, async_req: bool = False
    ) -> Pending: ...


@dataclass(frozen=True, slots=True)
class Thread:
    """A public thread in which somebody met the pattern: where it stands, and what happened there in our words."""

    url: str
    what_happened: str


@dataclass(frozen=True, slots=True)
class Pattern:
    """The facts of one anti-pattern.

    `name` is the module's. `causes` are the kinds and troubles that its schedules produce, in the order of
    `Outcome.kinds`. `known_from` is where it was met in the wild. `faults` are the switches without which the broken form
    cannot fail. `versions` asks for records of which some have an earlier version in the list.
    """

    name: str
    title: str
    mechanism: str
    causes: tuple[Kind | Trouble, ...]
    known_from: tuple[Thread, ...]
    faults: tuple[str, ...] = ()
    versions: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """An anti-pattern with its two programs, both of the fixed signature `migrate(records, embed, store)`."""

    pattern: Pattern
    broken: Callable[[Sequence[Record], Any, Any], Any]
    fixed: Callable[[Sequence[Record], Any, Any], Any]
