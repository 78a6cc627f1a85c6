"""Expected vectors from another store that is known to be good: a backup, or the collection before it was migrated.

The other store is scanned once into an Arrow file; only a hash of each id stays in memory (16 bytes a row). Each batch of source
records then finds its vectors by binary search and gathers them from the mapped file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.arrow_columns import flags, numbers, whole
from vecforensics.errors import TargetError
from vecforensics.evidence import hash_text
from vecforensics.stores import VectorReader

__all__ = ["KnownGood"]


class KnownGood:
    """The vectors of `collection` in `reader`, by id. A context manager, since it holds a temporary file."""

    def __init__(self, reader: VectorReader, collection: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="vecforensics-")
        path = Path(self._folder.name) / "vectors.arrow"
        hashes: list[npt.NDArray[np.uint64]] = []
        writer = None
        with pa.OSFile(str(path), "wb") as file:
            for batch in reader.scan(collection):
                narrow = batch.select(["id", "vector"])
                hashes.append(hash_text(narrow.column(0)))
                writer = writer or pa.ipc.new_file(file, narrow.schema)
                writer.write_batch(narrow)
            if writer is None:
                raise TargetError(
                    f"the collection {collection!r} is empty",
                    where=reader.uri,
                    hint="Check expected.collection in the case file",
                )
            writer.close()
        joined = np.concatenate(hashes)
        self._order = np.argsort(joined, kind="stable")
        self._sorted = joined[self._order]
        with pa.memory_map(str(path)) as mapped:
            self._table = pa.ipc.open_file(mapped).read_all()
        self.dimension: int = self._table.schema.field("vector").type.list_size

    def vectors(self, ids: pa.Array) -> pa.Array:
        """A fixed-size list column with the vector of each id, null where the other store has none of that id."""
        wanted = hash_text(ids)
        at = np.searchsorted(self._sorted, wanted)
        end = np.searchsorted(self._sorted, wanted, "right")
        rows = np.full(len(wanted), -1)
        # Two ids may share a hash; the ids themselves decide, of all rows that have it.
        while len(open_ids := np.flatnonzero((rows < 0) & (at < end))):
            some = self._order[at[open_ids]]
            there = whole(self._table["id"].take(numbers(some)))
            same = flags(pc.equal(there, ids.take(numbers(open_ids))))
            rows[open_ids[same]] = some[same]
            at[open_ids] += 1
        return whole(self._table["vector"].take(numbers(np.maximum(rows, 0), rows >= 0)))

    def joined(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Source batches with the expected vectors as their column `vector`."""
        for batch in batches:
            yield batch.append_column("vector", self.vectors(batch.column("id")))

    def __enter__(self) -> KnownGood:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._table
        self._folder.cleanup()
