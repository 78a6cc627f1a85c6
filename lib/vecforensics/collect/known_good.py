"""Expected vectors from another store that is known to be good: a backup, or the collection before it was migrated.

The other store is scanned once into an Arrow file; only a hash of each id stays in memory (16 bytes a row). Each batch of source
records then finds its vectors by binary search and gathers them from the mapped file.

Stores without a unique key hold an id twice where a migration ran twice. Copies of one vector are as good as one; where they
differ, nobody knows which of them is the good one, so that none is expected, and a note says so. Rows without a vector, or whose
id is null, are nobody's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.arrow_columns import as_numpy, flags, numbers, present, text, whole
from vecforensics.collect.row_hashes import hash_rows
from vecforensics.errors import TargetError
from vecforensics.evidence import hash_text
from vecforensics.records import NO_ID
from vecforensics.stores import VectorReader

__all__ = ["KnownGood"]

# Rows with one id whose texts and hashes are in memory together: some 50 MB.
_TOGETHER: Final = 500_000


class KnownGood:
    """The vectors of `collection` in `reader`, by id. A context manager, since it holds a temporary file.

    `notes`: what a person has to know of them.
    """

    def __init__(self, reader: VectorReader, collection: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="vecforensics-")
        try:
            self._read(reader, collection, Path(self._folder.name) / "vectors.arrow")
        except BaseException:
            self._folder.cleanup()
            raise

    def _read(self, reader: VectorReader, collection: str, path: Path) -> None:
        hashes: list[npt.NDArray[np.uint64]] = []
        fitting: list[npt.NDArray[np.bool_]] = []
        others: list[npt.NDArray[np.bool_]] = []
        without_id = reader.describe(collection).without_id
        writer = None
        with pa.OSFile(str(path), "wb") as file:
            for batch in reader.scan(collection):
                narrow = batch.select(["id", "vector", "ragged"])
                hashes.append(hash_text(narrow.column(0)))
                owned = (
                    flags(pc.not_equal(narrow["id"], text(NO_ID)))
                    if without_id
                    else np.ones(narrow.num_rows, np.bool_)
                )
                fitting.append(owned & present(narrow["vector"]))
                others.append(owned & (as_numpy(pc.list_value_length(narrow["ragged"])) > 0))
                writer = writer or pa.ipc.new_file(file, narrow.schema)
                writer.write_batch(narrow)
            if writer is None:
                raise TargetError(
                    f"the collection {collection!r} is empty",
                    where=reader.uri,
                    hint="Check expected.collection in the case file",
                )
            writer.close()
        with pa.memory_map(str(path)) as mapped:
            self._table = pa.ipc.open_file(mapped).read_all()
        self.dimension: int = self._table.schema.field("vector").type.list_size
        joined, fits, odd = np.concatenate(hashes), np.concatenate(fitting), np.concatenate(others)
        self._order = np.argsort(joined, kind="stable")
        self._sorted = joined[self._order]
        differing, ids = self._differing(fits | odd)
        fits[differing] = False
        if not fits.all():
            kept = fits[self._order]
            self._order, self._sorted = self._order[kept], self._sorted[kept]
        self.notes = tuple(_notes(f"{reader.uri}: ", repr(collection), ids, int(odd.sum()), self.dimension))

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

    def _differing(self, held: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], int]:
        """The rows whose id stands over vectors that differ in bytes, and how many such ids there are; `held`: which rows have a
        vector. Only where the hash of an id comes twice are texts and vectors looked at, of some `_TOGETHER` rows at once."""
        same = self._sorted[1:] == self._sorted[:-1]
        if not same.any():
            return self._order[:0], 0
        twice = np.r_[False, same] | np.r_[same, False]
        twice[twice] = held[self._order[twice]]
        rows, hashes = self._order[twice], self._sorted[twice]
        passes = 1 + len(rows) // _TOGETHER
        found, ids = [rows[:0]], 0
        for number in range(passes):
            mine = np.sort(rows[hashes % np.uint64(passes) == number])
            if not len(mine):
                continue
            parts, start = [], 0
            for batch in self._table.to_batches():
                first, last = np.searchsorted(mine, (start, start + batch.num_rows))
                if first < last:
                    part = batch.take(numbers(mine[first:last] - start))
                    digests = numbers(hash_rows(part["vector"], part["ragged"]))
                    parts.append(pa.RecordBatch.from_pydict({"id": part["id"], "digest": digests}))
                start += batch.num_rows
            table = pa.Table.from_batches(parts)
            spread = table.group_by("id").aggregate([("digest", "min"), ("digest", "max")])
            several = spread["id"].filter(pc.not_equal(spread["digest_min"], spread["digest_max"]))
            found.append(mine[flags(whole(pc.is_in(table["id"], value_set=several)))])
            ids += len(several)
        return np.concatenate(found), ids

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


def _notes(where: str, collection: str, differing: int, odd: int, dimension: int) -> Iterator[str]:
    """`differing`: ids over vectors that differ. `odd`: vectors of another length than `dimension`."""
    if differing:
        stand = "id of {} stands" if differing == 1 else "ids of {} stand"
        yield (
            f"{where}{differing:,} {stand.format(collection)} over vectors that differ, and none of them is expected; leave only "
            "the right one there"
        )
    if odd:
        have = "vector of {} has" if odd == 1 else "vectors of {} have"
        yield f"{where}{odd:,} {have.format(collection)} another length than most, {dimension}: not expected of any record"
