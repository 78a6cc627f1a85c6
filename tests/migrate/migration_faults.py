"""A real store that fails when it is told to: before a call, so that nothing happened, or after it, so that everything did."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from vecforensics import stores
from vecforensics.case import Target
from vecforensics.stores import VectorWriter

Row = dict[str, Any]


class Asked(ConnectionError):
    """An answer with a status, as HTTP clients raise it."""

    def __init__(self, status: int, retry_after: float | None = None) -> None:
        super().__init__(f"status {status}")
        self.status_code = status
        if retry_after is not None:
            self.retry_after = retry_after


@dataclass
class Faults:
    """`plan`: (method, its n-th call from 1, "before" or "after") → the error. `refuses`: why the store refuses a row, or ""."""

    plan: dict[tuple[str, int, str], Exception] = field(default_factory=dict)
    refuses: Callable[[Row], str] = lambda row: ""
    calls: list[tuple[str, int]] = field(default_factory=list)
    most_at_once: int = 0
    _under_way: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> Faults:
        """From now on every writer that is opened fails as planned."""
        real = stores.open_writer

        def open_writer(target: Target, folder: Path) -> VectorWriter:
            writer = real(target, folder)
            for method in ("upsert", "delete", "fetch", "preimage", "restore"):
                setattr(writer, method, self._wrapped(method, getattr(writer, method)))
            return writer

        monkeypatch.setattr(stores, "open_writer", open_writer)
        return self

    def count(self, method: str) -> int:
        """How often `method` was called."""
        return sum(name == method for name, _ in self.calls)

    def sizes(self, method: str) -> list[int]:
        """How many rows or ids each call of `method` had."""
        return [size for name, size in self.calls if name == method]

    def _wrapped(self, method: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(collection: str, rows: pa.Table | Sequence[str], *more: Any) -> Any:
            with self._lock:
                self.calls.append((method, len(rows)))
                nth = self.count(method)
                self._under_way += 1
                self.most_at_once = max(self.most_at_once, self._under_way)
            try:
                self._fail((method, nth, "before"))
                if method == "upsert":
                    for row in rows.to_pylist():
                        reason = self.refuses(row)
                        if reason:
                            raise ValueError(reason)
                result = original(collection, rows, *more)
                self._fail((method, nth, "after"))
                return result
            finally:
                with self._lock:
                    self._under_way -= 1

        return call

    def _fail(self, point: tuple[str, int, str]) -> None:
        if point in self.plan:
            raise self.plan[point]
