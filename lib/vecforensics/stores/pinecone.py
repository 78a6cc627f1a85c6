"""Pinecone: a namespace of a serverless index is a collection, `__default__` the one without a name.

The store answers over the network and shows a write late, and both shape this adapter.

1. A scan lists all ids (`pinecone_listing.py`) and on several threads fetches what stands under them; the rows come in the order
   of the listing. An id that is listed and cannot be fetched was deleted in between, and is left out.
2. Whether a scan saw everything is judged afterwards by the index's own count, which comes about by other means. Where both
   agree, now or a little later, reading has settled; where they do not, nobody can tell what is missing from what is late.
3. A write returns when it can be read back, or after a minute; then whoever verifies it finds that it cannot.

Beside vector and metadata a row may hold a sparse vector: nothing here judges it, and it outlives the row's being written again.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain
from math import isfinite
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
import stamina

from vecforensics.arrow_columns import numbers, texts
from vecforensics.errors import TargetError, TargetNotThere
from vecforensics.records import metadata_json, target_schema
from vecforensics.retry import Retry
from vecforensics.stores.habits import is_double
from vecforensics.stores.keeping import whole_rows
from vecforensics.stores.pinecone_client import DEFAULT, PineconeIndex, groups
from vecforensics.stores.pinecone_listing import list_ids
from vecforensics.stores.protocol import Ack, CollectionInfo, Columns, Freshness, VectorReader, VectorWriter
from vecforensics.stores.shape import as_target_batch

__all__ = ["PineconeReader", "PineconeWriter"]

_Result = TypeVar("_Result")

_OWN: Final = pa.schema(
    [
        ("id", pa.string()),
        ("vector", pa.list_(pa.float32())),
        ("metadata", pa.string()),
        ("sparse_values", pa.string()),
    ]
)
"""A row as the store holds it. `sparse_values`: JSON, `{"indices": […], "values": […]}`, null where there is none."""

_COLUMNS: Final = Columns()
_FETCHERS: Final = 8
# Answers that wait to be used: what is fetched ahead stays small beside a batch.
_AHEAD: Final = 4 * _FETCHERS
_BATCH_ROWS: Final = 2_048
_DELETED_IDS: Final = 1_000
# A request may have 2 MB and 1,000 rows; a float32 spelt as a double and its comma take at most 25 bytes.
_SENT_BYTES, _SENT_ROWS, _NUMBER_BYTES = 1_800_000, 1_000, 25
_COUNTED_S: Final = 10.0
_VISIBLE_S: Final = 60.0


class PineconeReader(VectorReader):
    """Reads the namespaces of one index. `place`: its name, or the address of its data plane."""

    _retry = Retry()

    def __init__(self, place: str, key: str, *, uri: str = "", section: str = "target") -> None:
        self.uri = uri or f"pinecone:{place}"
        self._index = PineconeIndex(place, key, uri=self.uri, section=section)
        self._section = section
        self._seen: dict[str, int] = {}
        self._dimension, _ = self._index.counts()
        if not self._dimension:
            raise TargetError(
                "the index holds sparse vectors only",
                where=self.uri,
                hint="There is no dense vector to compare; name another index",
            )

    def collections(self) -> list[str]:
        """The names at hand, sorted."""
        return sorted(name or DEFAULT for name in self._index.counts()[1])

    def describe(self, collection: str) -> CollectionInfo:
        """Rows by the index's own count, which lags behind, and its dimension."""
        namespace, counted = _namespace(collection), self._index.counts()[1]
        if namespace not in counted and not self._index.page(namespace)[0]:
            there = ", ".join(sorted(name or DEFAULT for name in counted)) or "none"
            raise TargetNotThere(
                f"there is no namespace {collection!r}",
                where=self.uri,
                hint=f"Check {self._section}.collection; namespaces there: {there}",
            )
        rows = counted.get(namespace)
        said = "" if rows is None else f"{rows:,} vectors by its own count"
        return CollectionInfo(collection, rows, self._dimension, said)

    def scan(self, collection: str, batch_rows: int = 8_192) -> Iterator[pa.RecordBatch]:
        """Every row that is listed, as target batches."""
        namespace, rows = _namespace(collection), min(batch_rows, _BATCH_ROWS)
        seen, gathered = 0, _OWN.empty_table()
        for found in self._listed(namespace):
            gathered = pa.concat_tables([gathered, found])
            while gathered.num_rows >= rows:
                yield self._shaped(gathered.slice(0, rows))
                gathered = gathered.slice(rows)
            seen += found.num_rows
        if gathered.num_rows:
            yield self._shaped(gathered)
        self._seen[namespace] = seen

    def fetch(self, collection: str, ids: Sequence[str]) -> pa.Table:
        """The rows under `ids`."""
        found = self._fetched(_namespace(collection), ids)
        if not found.num_rows:
            return target_schema(self._dimension).empty_table()
        return pa.Table.from_batches([self._shaped(found)])

    def preimage(self, collection: str, ids: Sequence[str]) -> pa.Table:
        """The rows under `ids`, with their sparse vectors where one of them has any."""
        found = self._fetched(_namespace(collection), ids)
        some = found.column("sparse_values").null_count < found.num_rows
        return found if some else found.drop_columns(["sparse_values"])

    def freshness(self, collection: str) -> Freshness:
        """Whether the last scan gave as many rows as the index counts, now or a little later."""
        namespace = _namespace(collection)
        seen, counted = self._seen.get(namespace, 0), 0

        def agreed() -> bool:
            nonlocal counted
            counted = _patiently(self._index.counts)[1].get(namespace, 0)
            return counted == seen

        try:
            if _within(_COUNTED_S, agreed):
                return Freshness(True, f"{seen:,} vectors were read, and the index counts as many")
        except TargetError as error:
            return Freshness(
                False, f"{seen:,} vectors were read, and the index's own count could not be had: {error.what}"
            )
        return Freshness(
            False,
            f"{seen:,} vectors were read and the index counts {counted:,}: it shows writes late, or somebody is writing",
            max(0, counted - seen),
        )

    def write_blocked(self) -> str:
        """By type only: what a key may do is not told to who holds it."""
        return (
            "the handle has no write method; a key of a role that may only read would refuse a write as well"
        )

    def _fetched(self, namespace: str, ids: Sequence[str]) -> pa.Table:
        """The rows under `ids`, however many, in the store's own columns."""
        with ThreadPoolExecutor(_FETCHERS, "pinecone") as pool:
            asked = [(group, pool.submit(self._group, namespace, group)) for group in groups(ids)]
            found = [self._answer(future, namespace, group) for group, future in asked]
        return pa.concat_tables([_OWN.empty_table(), *found])

    def _group(self, namespace: str, ids: Sequence[str]) -> pa.Table:
        return _own_rows(self._index.fetch(namespace, ids))

    def _answer(self, future: Future[pa.Table], namespace: str, ids: Sequence[str]) -> pa.Table:
        """What a fetch gave, or gives when it is tried again: here, where Ctrl-C is heard, and not on the thread that fetched."""
        for attempt in self._retry.around():
            with attempt:
                return future.result() if attempt.num == 1 else self._group(namespace, ids)
        raise AssertionError("an attempt either returns or raises")

    def _listed(self, namespace: str) -> Iterator[pa.Table]:
        """What is fetched under the listed ids, in their order."""
        counted = self._index.counts()[1].get(namespace, 0)
        waiting: deque[tuple[Future[pa.Table], list[str]]] = deque()
        pool = ThreadPoolExecutor(_FETCHERS, "pinecone")
        try:
            for ids in list_ids(partial(_patiently, self._index.page, namespace), counted):
                for group in groups(ids):
                    waiting.append((pool.submit(self._group, namespace, group), group))
                while len(waiting) > _AHEAD:
                    future, ids = waiting.popleft()
                    yield self._answer(future, namespace, ids)
            while waiting:
                future, ids = waiting.popleft()
                yield self._answer(future, namespace, ids)
        finally:
            # Whoever leaves early does not wait for answers that nobody wants.
            pool.shutdown(wait=False, cancel_futures=True)

    def _shaped(self, rows: pa.Table) -> pa.RecordBatch:
        return as_target_batch(rows, _COLUMNS, self._dimension, where=self.uri)


class PineconeWriter(PineconeReader, VectorWriter):
    """A reader that may also change the index. Whoever writes retries himself, reading included."""

    _retry = Retry(attempts=1)

    def create(self, collection: str, dimension: int) -> None:
        """Nothing: a namespace comes with its first row. Raises TargetError where the index holds other lengths."""
        if dimension != self._dimension:
            raise TargetError(
                f"the index holds vectors of length {self._dimension}, and {dimension} are expected",
                where=self.uri,
                hint="Check expected in the case file",
            )

    def upsert(self, collection: str, batch: pa.Table, kept: pa.Table | None = None) -> Ack:
        """Replace the rows under the batch's ids, or insert them."""
        return self._put(_namespace(collection), whole_rows(batch, kept, _COLUMNS, _OWN, where=self.uri))

    def delete(self, collection: str, ids: Sequence[str]) -> Ack:
        """Remove the rows under `ids`."""
        namespace = _namespace(collection)
        there = list(chain.from_iterable(groups(ids)))
        for start in range(0, len(there), _DELETED_IDS):
            self._index.delete(namespace, there[start : start + _DELETED_IDS])
        _within(_VISIBLE_S, lambda: not self.preimage(collection, there).num_rows)
        return Ack(len(ids))

    def refuses(self, collection: str, batch: pa.Table) -> str:
        """Why metadata like those of `batch` cannot be held, "" where they can."""
        reasons = (_refused(json.loads(text or "{}")) for text in batch.column("metadata").to_pylist())
        return next(filter(None, reasons), "")

    def restore(self, collection: str, ids: Sequence[str], rows: pa.Table) -> Ack:
        """What stands under `ids` becomes `rows`, sparse vectors and all."""
        kept = set(rows.column("id").to_pylist())
        gone = [one for one in ids if one not in kept]
        ack = self.delete(collection, gone) if gone else Ack(0)
        return self._put(_namespace(collection), rows) if kept else ack

    def _put(self, namespace: str, rows: pa.Table) -> Ack:
        """Upsert rows in the store's own columns, and wait until they can be read."""
        sent, size = list[dict[str, Any]](), 0
        for row in self._sendable(rows):
            more = _NUMBER_BYTES * len(row["values"]) + len(json.dumps({**row, "values": []}))
            if sent and (size + more > _SENT_BYTES or len(sent) == _SENT_ROWS):
                self._index.upsert(namespace, sent)
                sent, size = [], 0
            sent.append(row)
            size += more
        if sent:
            self._index.upsert(namespace, sent)
        unseen = _spelt(rows)

        def visible() -> bool:
            found = _spelt(self.preimage(namespace or DEFAULT, list(unseen)))
            for one, what in found.items():
                if unseen[one] == what:
                    del unseen[one]
            return not unseen

        _within(_VISIBLE_S, visible)
        return Ack(rows.num_rows)

    def _sendable(self, rows: pa.Table) -> list[dict[str, Any]]:
        """Rows in the store's own columns as the client takes them; what is null is not sent. Raises TargetError, before anything
        is sent, for what would become something else on the way."""
        sendable = []
        for one in rows.to_pylist():
            metadata = json.loads(one["metadata"] or "{}")
            if reason := _refused(metadata):
                raise TargetError(reason, where=self.uri, hint="Mend the source")
            row: dict[str, Any] = {"id": one["id"], "values": one["vector"] or []}
            if kept := {name: value for name, value in metadata.items() if value is not None}:
                row["metadata"] = kept
            if one.get("sparse_values"):
                row["sparse_values"] = json.loads(one["sparse_values"])
            sendable.append(row)
        return sendable


def _namespace(collection: str) -> str:
    return "" if collection == DEFAULT else collection


def _patiently(call: Callable[..., _Result], *words: Any) -> _Result:
    """A scan of an hour does not end with one answer that failed."""
    for attempt in Retry().around():
        with attempt:
            return call(*words)
    raise AssertionError("an attempt either returns or raises")


class _NotYet(Exception):
    """What is waited for has not come about."""


def _within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether `holds` within `seconds`, asked ever more rarely."""
    try:
        for attempt in stamina.retry_context(
            on=_NotYet, attempts=None, timeout=seconds, wait_initial=0.05, wait_max=2.0, wait_jitter=0.0
        ):
            with attempt:
                if not holds():
                    raise _NotYet
    except _NotYet:
        return False
    return True


def _own_rows(rows: Sequence[Any]) -> pa.Table:
    """Rows of the client in the store's own columns. Numbers in metadata are doubles there, however JSON spells them."""
    lengths = np.fromiter((len(one.values or ()) for one in rows), np.int32, len(rows))
    flat = np.fromiter(
        chain.from_iterable(one.values or () for one in rows), np.float32, int(lengths.sum(dtype=np.int64))
    )
    offsets = np.zeros(len(rows) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    vectors = pa.ListArray.from_arrays(numbers(offsets), numbers(flat))
    metadata = [metadata_json(_doubles(one.metadata)) if one.metadata else None for one in rows]
    sparse = [_sparse(getattr(one, "sparse_values", None)) for one in rows]
    return pa.table([texts(one.id for one in rows), vectors, texts(metadata), texts(sparse)], schema=_OWN)


def _doubles(metadata: Any) -> dict[str, Any]:
    return {
        name: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in dict(metadata).items()
        if value is not None
    }


def _sparse(vector: Any) -> str | None:
    if vector is None or not vector.indices:
        return None
    return json.dumps({"indices": list(vector.indices), "values": list(vector.values)})


def _refused(metadata: Mapping[str, Any]) -> str:
    """Why the store cannot hold metadata as they are, "" where it can. Not all of this it says itself: a number that is none it
    drops, and a whole number that is no double it rounds."""
    for name, value in metadata.items():
        if isinstance(value, dict) or (
            isinstance(value, list) and not all(isinstance(one, str) for one in value)
        ):
            return f"the metadata field {name!r} is neither text, number, boolean nor a list of texts"
        if isinstance(value, float) and not isfinite(value):
            return f"the metadata field {name!r} is {value}, which the store drops"
        if isinstance(value, int) and not is_double(value):
            return f"the metadata field {name!r} is {value}, which the store rounds to a double"
    return ""


def _spelt(rows: pa.Table) -> dict[str, tuple[bytes, str, str | None]]:
    """Id → what stands there, spelt so that the same is spelt the same."""
    return {
        one["id"]: (
            np.array(one["vector"] or (), np.float32).tobytes(),
            metadata_json(_doubles(json.loads(one["metadata"] or "{}"))),
            one.get("sparse_values"),
        )
        for one in rows.to_pylist()
    }
