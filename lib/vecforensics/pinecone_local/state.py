"""The state of one index: its namespaces, and how late a write becomes visible in each.

Every write is acknowledged at once, in the order in which it came, and takes the next log sequence number of its namespace. It
becomes visible `lag_s` later: until then it waits in a queue, and a read first carries out what is due at the head of that queue.
So the visible state is always one that was acknowledged, only earlier. Records are immutable, so both states share them.

All methods may be called from any thread.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vecforensics.pinecone_local.rows import (
    Record,
    Values,
    canonical,
    checked_id,
    checked_metadata,
    checked_probe,
    checked_sparse,
    checked_values,
    record_of,
)
from vecforensics.pinecone_local.wire import Refused, dumps, loads

__all__ = ["METRICS", "IndexState"]

METRICS = ("cosine", "dotproduct", "euclidean")
_MOST_ROWS = 1_000
_MOST_MATCHES = 10_000


@dataclass(frozen=True, slots=True)
class _Write:
    """One acknowledged write: first everything goes where `clear` says so, then rows go, then rows come."""

    due: float
    lsn: int
    put: Sequence[Record] = ()
    removed: Sequence[str] = ()
    clear: bool = False
    exists: bool = True

    def apply(self, rows: dict[str, Record]) -> bool:
        """Carry it out; whether other ids stand there afterwards."""
        before = len(rows)
        if self.clear:
            rows.clear()
        for one in self.removed:
            rows.pop(one, None)
        changed = self.clear or len(rows) != before
        before = len(rows)
        rows.update((record.id, record) for record in self.put)
        return changed or len(rows) != before


class _Namespace:
    """One namespace: what is acknowledged, what is visible, and the writes in between."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, Record] = {}
        self.visible: dict[str, Record] = {}
        self.exists = self.seen = False
        self.lsn = self.visible_lsn = 0
        self._pending: deque[_Write] = deque()
        # Both are made when somebody asks and thrown away when they no longer hold: a page costs no sorting.
        self._sorted: list[str] | None = None
        self._matrix: Values | None = None

    def write(self, due: float, **what: Any) -> int:
        self.lsn += 1
        write = _Write(due, self.lsn, **what)
        write.apply(self.acknowledged)
        self.exists = write.exists
        self._pending.append(write)
        return self.lsn

    def settle(self, now: float) -> None:
        """Make visible what is due. Never past one that is not: the order of writes is kept even if the lag was changed."""
        while self._pending and self._pending[0].due <= now:
            write = self._pending.popleft()
            if write.apply(self.visible):
                self._sorted = None
            self._matrix = None
            self.seen, self.visible_lsn = write.exists, write.lsn

    def ids(self) -> list[str]:
        """The visible ids in the order of their bytes, which for ASCII is that of their characters."""
        if self._sorted is None:
            self._sorted = sorted(self.visible)
        return self._sorted

    def matrix(self) -> Values:
        """The visible vectors in the order of `ids()`."""
        if self._matrix is None:
            self._matrix = np.stack([self.visible[one].values for one in self.ids()])
        return self._matrix


class IndexState:
    """One vector index: a dimension, a metric, and namespaces of records."""

    def __init__(
        self,
        name: str,
        dimension: int,
        metric: str = "cosine",
        *,
        lag_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.dimension, self.metric, self.lag_s = name, dimension, metric, lag_s
        self._clock = clock
        self._lock = threading.RLock()
        self._namespaces: dict[str, _Namespace] = {}

    def upsert(self, namespace: str, rows: Sequence[object]) -> int:
        """Insert or replace `rows`, each with id, values, and perhaps metadata and sparseValues; the write's LSN.

        One row that the store refuses refuses them all.
        """
        if not rows:
            raise Refused(400, "No vectors to upsert: the list of vectors is empty")
        if len(rows) > _MOST_ROWS:
            raise Refused(400, f"You may only upsert up to {_MOST_ROWS} records at a time, got {len(rows)}")
        records = [record_of(row, self.dimension, self.metric) for row in rows]
        return self._write(namespace, put=records)

    def update(self, namespace: str, change: dict[str, Any]) -> int:
        """Change one row: values, sparse values, or some of its metadata keys. A row that is not there stays so."""
        row_id = checked_id(change.get("id"))
        parts: dict[str, Any] = {}
        if change.get("values"):
            parts["values"] = checked_values(change["values"], self.dimension, row_id)
        if change.get("sparseValues"):
            parts["sparse"] = checked_sparse(change["sparseValues"], self.metric, row_id)
        added = checked_metadata(change.get("setMetadata"), row_id)
        with self._lock:
            found = self._of(namespace).acknowledged.get(row_id)
            if found is None:
                return self._write(namespace)
            if added is not None:
                parts["metadata"] = checked_metadata({**(found.metadata or {}), **added}, row_id)
            return self._write(namespace, put=[replace(found, **parts)])

    def delete(self, namespace: str, ids: Sequence[object]) -> int:
        """Remove the rows under `ids`; those that are not there do no harm."""
        if not 1 <= len(ids) <= _MOST_ROWS:
            raise Refused(400, f"1 to {_MOST_ROWS} ids can be deleted at a time, got {len(ids)}")
        removed = [checked_id(one) for one in ids]
        return self._write_existing(namespace, removed=removed)

    def clear(self, namespace: str) -> int:
        """Remove every row; the namespace stays."""
        return self._write_existing(namespace, clear=True)

    def drop(self, namespace: str) -> int:
        """Remove a namespace and every row in it."""
        return self._write_existing(namespace, clear=True, exists=False)

    def create_namespace(self, namespace: str) -> int:
        """An empty namespace."""
        with self._lock:
            if self._exists(namespace):
                raise Refused(409, "Namespace already exists")
            return self._write(namespace)

    def rows(self, namespace: str) -> dict[str, dict[str, Any]]:
        """Every acknowledged row, visible yet or not, by its id, as a read will answer it."""
        with self._lock:
            records = list(self._of(namespace).acknowledged.values())
        return {record.id: loads(dumps(record.sent())) for record in records}

    def fetch(self, namespace: str, ids: Iterable[object]) -> tuple[list[Record], int]:
        """The visible records under `ids` that are there, and the LSN up to which writes are visible."""
        asked = dict.fromkeys(checked_id(one) for one in ids)
        if not 1 <= len(asked) <= _MOST_ROWS:
            raise Refused(400, f"1 to {_MOST_ROWS} ids can be fetched at a time, got {len(asked)}")
        with self._lock:
            space = self._settled(namespace)
            return [space.visible[one] for one in asked if one in space.visible], space.visible_lsn

    def page(self, namespace: str, prefix: str, limit: int, after: str) -> tuple[list[str], bool, int]:
        """Up to `limit` visible ids with `prefix`, in order, past the id `after`; whether more follow; the LSN."""
        with self._lock:
            space = self._settled(namespace)
            ids = space.ids()
            start = max(bisect_left(ids, prefix), bisect_right(ids, after) if after else 0)
            # Ids are ASCII, so whatever starts with the prefix sorts before the prefix with this behind it.
            end = bisect_left(ids, prefix + "\x80", lo=start)
            return ids[start : min(end, start + limit)], end > start + limit, space.visible_lsn

    def search(
        self, namespace: str, vector: object, row_id: object, top_k: object
    ) -> tuple[list[tuple[Record, float]], int]:
        """The `top_k` visible records nearest to a vector, or to the one under `row_id`: exact, ties by id."""
        if type(top_k) is not int or not 1 <= top_k <= _MOST_MATCHES:
            raise Refused(400, f"topK must be a whole number from 1 to {_MOST_MATCHES}, got {top_k!r}")
        if (vector is None) == (row_id is None):
            raise Refused(400, "Exactly one of vector and id must be given")
        with self._lock:
            space = self._settled(namespace)
            if row_id is not None:
                own = space.visible.get(checked_id(row_id))
                probe = own.values if own is not None else None
            else:
                probe = checked_probe(vector, self.dimension)
            if probe is None or not space.visible:
                return [], space.visible_lsn
            scores = _scores(space.matrix(), probe, self.metric)
            # A distance is better when it is small; ids are sorted and the sort is stable, so ties go by id.
            best = np.argsort(scores if self.metric == "euclidean" else -scores, kind="stable")[:top_k]
            ids = space.ids()
            # The shortest decimal of the float32 score, as with the values.
            return [(space.visible[ids[one]], float(str(scores[one]))) for one in best], space.visible_lsn

    def counts(self) -> dict[str, int]:
        """The visible namespaces and how many visible rows each has."""
        with self._lock:
            settled = {name: self._settled(name) for name in sorted(self._namespaces)}
            return {name: len(space.visible) for name, space in settled.items() if space.seen}

    def catch_up(self) -> None:
        """Make every acknowledged write visible now, whatever the lag."""
        with self._lock:
            for space in self._namespaces.values():
                space.settle(float("inf"))

    def _of(self, namespace: str) -> _Namespace:
        # A read of a namespace that nobody wrote to must not make it one.
        return self._namespaces.get(canonical(namespace)) or _Namespace()

    def _exists(self, namespace: str) -> bool:
        # The default namespace is always there on a vector index.
        return canonical(namespace) == "" or self._of(namespace).exists

    def _settled(self, namespace: str) -> _Namespace:
        space = self._of(namespace)
        space.settle(self._clock())
        return space

    def _write(self, namespace: str, **what: Any) -> int:
        with self._lock:
            space = self._namespaces.setdefault(canonical(namespace), _Namespace())
            return space.write(self._clock() + self.lag_s, **what)

    def _write_existing(self, namespace: str, **what: Any) -> int:
        with self._lock:
            if not self._exists(namespace):
                raise Refused(404, "Namespace not found")
            return self._write(namespace, **what)


def _scores(matrix: Values, probe: Values, metric: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The score of every row of `matrix`; for euclidean the squared distance, as the vendor answers it."""
    if metric == "euclidean":
        apart = matrix - probe
        return np.asarray(np.einsum("ij,ij->i", apart, apart), np.float32)
    products = matrix @ probe
    if metric == "cosine":
        # In doubles: the square of a float32 number can pass float32. The division, too, for the same reason.
        squares = np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64)
        own = np.einsum("j,j->", probe, probe, dtype=np.float64)
        # A stored vector is never zero; a query may be, and is then equally near to all.
        products = np.clip(products / np.sqrt(squares * (own or 1.0)), -1.0, 1.0)
    return np.asarray(products, np.float32)
