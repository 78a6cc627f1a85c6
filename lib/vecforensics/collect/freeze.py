"""Freeze both sides: batches in, hash-bucketed Arrow IPC files out, seen whole or not at all.

Everything streams. The rows of each batch are hashed and cut into buckets as they come; a bucket that has a few megabytes at hand
is appended to its file, and hashed with SHA-256, by a thread of its own. Where a source can be read ahead (Parquet), its reader
does so on another. All files grow in a hidden folder beside their place; `finish` moves them there and writes the index last: a
process killed at any moment leaves nothing that is taken for evidence, and neither does a loss of power: the index is written
once all that it names lies on the disk.

Two source rows with one id are an input error, unless there is a `version`: then the highest one counts and the lower ones go to
`earlier-NNNN` (`versions.py`). That is found out per bucket, after the last row.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vecforensics.arrow_columns import numbers
from vecforensics.collect.bucket_files import Appender, BucketFile
from vecforensics.collect.buckets import cut_into_files
from vecforensics.collect.row_hashes import empty_schema, hash_vectors, of_dimension, row_lanes
from vecforensics.collect.versions import NEWEST, version_ranks
from vecforensics.errors import EvidenceError
from vecforensics.evidence import (
    FORMAT,
    INDEX,
    Evidence,
    FrozenCollection,
    bucket_file,
    directory_name,
    hash_text,
)
from vecforensics.records import PARENT_PREFIX
from vecforensics.run_folder import sync, write_json

__all__ = ["EvidenceWriter"]

# So many buckets keep the cores of one machine busy. More of them only make the batches in a file shorter, and each batch costs
# its readers some kilobytes; so from there on buckets grow, and become more once they are four times as large.
_ROWS_A_BUCKET: Final = 65_536
_ENOUGH_BUCKETS: Final = 32
_MOST_BUCKETS: Final = 4096
_PARTIAL: Final = ".partial-"


@dataclass
class _Side:
    """One side of one collection while it grows."""

    rows: int = 0
    lanes: list[int] = field(default_factory=lambda: [0, 0])

    def add(self, lanes: npt.NDArray[np.uint64], sign: int = 1) -> None:
        self.rows += sign * lanes.shape[1]
        for number in (0, 1):
            total = int(lanes[number].sum(dtype=np.uint64))
            self.lanes[number] = (self.lanes[number] + sign * total) % 2**64

    @property
    def digest(self) -> str:
        return f"{self.lanes[0]:016x}{self.lanes[1]:016x}"


@dataclass
class _Growing:
    """A collection while it grows. `buckets` is fixed by the first side that is written, 0 before that."""

    directory: Path
    buckets: int = 0
    dimension: int = 0
    parents: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    expected: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    sides: dict[str, _Side] = field(default_factory=dict)


class EvidenceWriter:
    """Writes one evidence folder, once. `memory_mb` bounds the rows that wait to be written, however many buckets there are.

    Use as a context manager: leaving the block without `finish` removes what was written.
    """

    def __init__(self, folder: str | Path, *, memory_mb: int = 96, buckets: int | None = None) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / INDEX).exists():
            raise EvidenceError(
                "evidence has been frozen here already",
                where=str(self.folder),
                hint="Begin a new run; evidence is never written twice",
            )
        for left in self.folder.glob(_PARTIAL + "*"):
            shutil.rmtree(left, ignore_errors=True)
        self._place = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=self.folder))
        # Two thirds for vectors, one for what stands beside them.
        self._bytes = memory_mb * 2**21 // 3
        self._buckets = buckets
        self._growing: dict[str, _Growing] = {}
        self._appender = Appender()
        self._attached: dict[str, str] = {}

    def source(
        self,
        collection: str,
        batches: Iterable[pa.RecordBatch],
        *,
        metadata: Iterable[str] = (),
        parents: Iterable[str] = (),
        expected: str | None = None,
        rows_hint: int | None = None,
        where: str = "",
    ) -> int:
        """Write the records of a collection (source batches of `records.py`; `vector` where it is known); returns their number.

        `metadata`: the fields that the target should carry. `parents`: the collections that it depends on, which the batches say
        as well, if there are any. `expected`: how the expected vectors came about. `where`: what an error calls the source.
        Raises SourceError for an id that stands twice and whose versions do not say which row is the newest.
        """
        grown = self._collection(collection)
        grown.metadata, grown.parents, grown.expected = tuple(metadata), tuple(parents), expected
        side = self._write(collection, "source", batches, rows_hint)
        self._split_versions(grown, where or collection)
        return side.rows

    def target(
        self,
        collection: str,
        batches: Iterable[pa.RecordBatch],
        *,
        rows_hint: int | None = None,
        facts: Callable[[], Mapping[str, Any]] = dict,
    ) -> int:
        """Write what the store held (target batches of `records.py`); returns the number of rows. `facts` go into the index, and
        are asked for when the last row is written."""
        rows = self._write(collection, "target", batches, rows_hint).rows
        self._collection(collection).facts.update(facts())
        return rows

    def attach(self, name: str, data: bytes | Iterable[bytes]) -> None:
        """Freeze a further file (logs, the suspect code) under a plain `name` beside the index, which holds its SHA-256."""
        if Path(name).name != name or name == INDEX or name.startswith("."):
            raise EvidenceError(
                f"cannot attach a file named {name!r}", where=str(self.folder), hint="Give a plain name"
            )
        digest = hashlib.sha256()
        with (self._place / name).open("wb") as file:
            for chunk in (data,) if isinstance(data, bytes) else data:
                file.write(chunk)
                digest.update(chunk)
        sync(self._place / name)
        self._attached[name] = digest.hexdigest()

    def finish(self, **facts: Any) -> Evidence:
        """Move everything into place, the index last, and open it. `facts` describe the collection as a whole."""
        collections = {}
        for name, grown in self._growing.items():
            for side in ("source", "target"):
                if side not in grown.sides:
                    raise EvidenceError(f"the {side} of {name!r} was never written", where=str(self.folder))
            grown.sides.setdefault("earlier", _Side())
            collections[name] = FrozenCollection(
                name=name,
                directory=directory_name(name),
                dimension=grown.dimension,
                buckets=grown.buckets,
                rows={side: one.rows for side, one in grown.sides.items()},
                parents=grown.parents,
                metadata=grown.metadata,
                expected=grown.expected,
                digests={side: one.digest for side, one in grown.sides.items()},
                facts=grown.facts,
            ).as_dict()
        files = {
            str(path.relative_to(self._place)): digest for path, digest in self._appender.close().items()
        }
        # Names reach the disk in this order: files in their folders, these in theirs, and the index that vouches for them last.
        for grown in self._growing.values():
            sync(grown.directory)
        for entry in sorted(self._place.iterdir()):
            final = self.folder / entry.name
            if final.is_dir():
                shutil.rmtree(final)
            os.replace(entry, final)
        self._place.rmdir()
        sync(self.folder)
        write_json(
            self.folder / INDEX,
            {
                "format": FORMAT,
                "collections": collections,
                "files": {**files, **self._attached},
                "facts": {
                    "frozen_at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                    **json.loads(json.dumps(facts)),
                },
            },
        )
        return Evidence.open(self.folder)

    def abandon(self) -> None:
        """Remove everything that was written so far."""
        self._appender.abandon()
        shutil.rmtree(self._place, ignore_errors=True)

    def __enter__(self) -> EvidenceWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._place.exists():
            self.abandon()

    def _collection(self, name: str) -> _Growing:
        if name not in self._growing:
            directory = self._place / directory_name(name)
            directory.mkdir()
            self._growing[name] = _Growing(directory)
        return self._growing[name]

    def _write(
        self, collection: str, side: str, batches: Iterable[pa.RecordBatch], rows_hint: int | None
    ) -> _Side:
        grown = self._collection(collection)
        if side in grown.sides:
            raise EvidenceError(f"the {side} of {collection!r} is written already", where=str(self.folder))
        state = grown.sides[side] = _Side()
        batches = iter(batches)
        first: deque[pa.RecordBatch] = deque()
        if not grown.buckets:
            first, expected = _peek(batches, self._bytes, rows_hint or 0)
            grown.buckets = self._buckets or _bucket_count(expected)
        paths = [grown.directory / bucket_file(side, number) for number in range(grown.buckets)]
        frozen = self._all_frozen(grown, side, itertools.chain(_emptied(first), batches))
        head = deque(itertools.islice(frozen, 1))
        if head:
            schema = head[0].schema
            rows = itertools.chain(_emptied(head), frozen)
            cut_into_files(rows, schema, paths, self._appender, self._bytes)
        else:
            for path in paths:
                BucketFile(path, empty_schema(side, grown.dimension, grown.parents), self._appender).close()
        self._appender.settle()
        return state

    def _all_frozen(
        self, grown: _Growing, side: str, chunks: Iterable[pa.RecordBatch]
    ) -> Iterator[pa.RecordBatch]:
        state = grown.sides[side]
        for chunk in chunks:
            if chunk.num_rows:
                batch = self._frozen(grown, side, chunk, state.rows)
                state.add(row_lanes(batch))
                yield batch

    def _frozen(self, grown: _Growing, side: str, chunk: pa.RecordBatch, first_row: int) -> pa.RecordBatch:
        """The batch as it is frozen: its own columns, then position, id_hash and digest."""
        names = chunk.schema.names
        if "vector" in names:
            size = chunk.schema.field("vector").type.list_size
            if side == "source" or not grown.dimension:
                grown.dimension = grown.dimension or size
            if size != grown.dimension:
                chunk = of_dimension(chunk, grown.dimension)
        if side == "source":
            grown.parents = tuple(
                name.removeprefix(PARENT_PREFIX) for name in names if name.startswith(PARENT_PREFIX)
            )
        columns = dict(zip(names, chunk.columns, strict=True))
        columns["position"] = numbers(np.arange(first_row, first_row + chunk.num_rows, dtype=np.int64))
        columns["id_hash"] = numbers(hash_text(chunk["id"]))
        columns["digest"], sketches = hash_vectors(
            columns.get("vector"), chunk.num_rows, sketched=side == "source"
        )
        if sketches is not None:
            columns["sketch"] = numbers(sketches)
        return pa.RecordBatch.from_pydict(columns)

    def _split_versions(self, grown: _Growing, where: str) -> None:
        """Move the lower versions of a record from `source-NNNN` to `earlier-NNNN`; refuse an id that cannot be told apart."""
        verdicts = version_ranks(
            [grown.directory / bucket_file("source", number) for number in range(grown.buckets)], where
        )
        source, earlier = grown.sides["source"], grown.sides.setdefault("earlier", _Side())
        for number, ranks in verdicts:
            path = grown.directory / bucket_file("source", number)
            fresh = path.with_suffix(".fresh")
            with pa.memory_map(str(path)) as mapped:
                reader = pa.ipc.open_file(mapped)
                kept = BucketFile(fresh, reader.schema, self._appender)
                with_rank = reader.schema.append(pa.field("rank", pa.int64()))
                lower = BucketFile(
                    grown.directory / bucket_file("earlier", number), with_rank, self._appender
                )
                start = 0
                for index in range(reader.num_record_batches):
                    batch = reader.get_batch(index)
                    rank = ranks[start : start + batch.num_rows]
                    start += batch.num_rows
                    kept.write(batch.filter(numbers(rank == NEWEST)))
                    old = batch.filter(numbers(rank != NEWEST))
                    ranked = [*old.columns, numbers(rank[rank != NEWEST])]
                    lower.write(pa.RecordBatch.from_arrays(ranked, schema=with_rank))
                    lanes = row_lanes(old)
                    source.add(lanes, -1)
                    earlier.add(lanes)
                kept.close()
                lower.close()
            self._replace(fresh, path)

    def _replace(self, fresh: Path, path: Path) -> None:
        """Let a bucket file that was written anew take the place of the old one."""
        self._appender.settle()
        os.replace(fresh, path)
        self._appender.moved(fresh, path)


def _peek(
    batches: Iterator[pa.RecordBatch], most_bytes: int, rows_hint: int
) -> tuple[deque[pa.RecordBatch], int | None]:
    """The first batches, and how many rows will come; None where that is not known after `most_bytes`.

    The hint is the number of rows of the other side. It says nothing where this one has more: a migration broke off early.
    """
    first: deque[pa.RecordBatch] = deque()
    rows = size = 0
    while size < most_bytes:
        batch = next(batches, None)
        if batch is None:
            # A side without rows says nothing of the other one.
            return first, rows or rows_hint
        first.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if 0 < rows <= rows_hint:
            return first, rows_hint
    return first, None


def _emptied(batches: deque[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Each batch, held no longer than it is used."""
    while batches:
        yield batches.popleft()


def _bucket_count(rows: int | None) -> int:
    """A power of two that leaves about 65,536 rows a bucket, and up to four times as many where there are 32 buckets or more; 64
    where nobody knows how many rows will come."""
    if rows is None:
        return 64
    buckets = 1
    while (
        buckets < _MOST_BUCKETS and buckets * _ROWS_A_BUCKET * (4 if buckets >= _ENOUGH_BUCKETS else 1) < rows
    ):
        buckets *= 2
    return buckets
