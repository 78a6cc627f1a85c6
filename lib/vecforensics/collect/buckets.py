"""The rows of one side on their way into its bucket files.

Each bucket has a block of memory into which the vectors of its rows are gathered straight from the batch that brought them: the
one copy between what was read and what is written. A block that is full becomes a record batch and goes to the file as it lies,
and another takes its place. The narrow columns wait beside it. So a file's batches are long and even whatever came in, and the
memory is a block a bucket.

Where there is no memory for a block of every bucket (more than 256 of them at the usual setting, which is 67 million rows),
the rows go to as many files as there is memory for, each of a range of buckets, and these are cut again, one after the other: a
radix partition of two passes (Manegold, Boncz and Kersten 2002). It costs writing and reading such a side once more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vecforensics.arrow_columns import as_numpy, fixed_vectors, matrix_of, numbers, present
from vecforensics.collect.bucket_files import Appender, BucketFile

__all__ = ["cut_into_files"]

# Above the upper bound longer batches gain nothing; below the lower one they get too short.
_MOST_BYTES: Final = 2 * 2**20
_LEAST_BYTES: Final = 256 * 2**10
_ROWS_WITHOUT_VECTORS: Final = 8_192


def cut_into_files(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    paths: Sequence[Path],
    appender: Appender,
    memory_bytes: int,
) -> None:
    """Write batches of one schema (with `id_hash`) to the file `id_hash mod len(paths)`; rows keep their order within a file.

    `memory_bytes`: what the vectors that wait may take (but 512 KB at least); their other columns may take half as much.
    """
    _cut(batches, schema, paths, range(len(paths)), appender, memory_bytes)


def _cut(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    paths: Sequence[Path],
    wanted: range,
    appender: Appender,
    memory_bytes: int,
) -> None:
    """Write rows that all belong to the buckets `wanted`."""
    at_once = max(2, memory_bytes // _LEAST_BYTES)
    width = -(-len(wanted) // at_once)
    whole = width == 1
    starts = wanted[::width]
    files = [
        BucketFile(paths[start] if whole else _spill(paths[start], width), schema, appender, kept=whole)
        for start in starts
    ]
    number = partial(_number, buckets=len(paths), first=wanted.start, width=width)
    buckets = _Buckets(files, number, schema, memory_bytes)
    for batch in batches:
        buckets.add(batch)
    buckets.flush()
    for file in files:
        file.close()
    if whole:
        return
    del buckets, files
    appender.settle()
    for start in starts:
        spill = _spill(paths[start], width)
        part = range(start, min(start + width, wanted.stop))
        _cut(_batches(spill), schema, paths, part, appender, memory_bytes)
        spill.unlink()


def _spill(path: Path, width: int) -> Path:
    return path.with_suffix(f".{width}-spilled")


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(path)) as mapped:
        reader = pa.ipc.open_file(mapped)
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)


def _number(
    hashes: npt.NDArray[np.uint64], *, buckets: int, first: int, width: int
) -> npt.NDArray[np.uint16]:
    number = (hashes % np.uint64(buckets)).astype(np.uint16)
    return number if width == 1 and not first else (number - np.uint16(first)) // np.uint16(width)


class _Buckets:
    """Cuts batches by `number` of their `id_hash`: which of `files` a row goes to."""

    def __init__(
        self,
        files: Sequence[BucketFile],
        number: Callable[[npt.NDArray[np.uint64]], npt.NDArray[np.uint16]],
        schema: pa.Schema,
        memory_bytes: int,
    ) -> None:
        self._files, self._number, self._schema, self._memory = files, number, schema, memory_bytes
        at = schema.get_field_index("vector")
        self._dimension = int(schema.field(at).type.list_size) if at >= 0 else 0
        self._narrow_names = [name for name in schema.names if name != "vector" or not self._dimension]
        block = min(_MOST_BYTES, max(_LEAST_BYTES, memory_bytes // len(files)))
        self._rows = max(1, block // (4 * self._dimension)) if self._dimension else _ROWS_WITHOUT_VECTORS
        self._filled = [0] * len(files)
        self._narrow: list[list[pa.RecordBatch]] = [[] for _ in files]
        self._narrow_bytes = 0
        self._blocks: list[_Block | None] = [None] * len(files)
        # Blocks that have been written: their pages are there already, a new one's would have to be faulted in.
        self._free: deque[_Block] = deque()

    def add(self, batch: pa.RecordBatch) -> None:
        """Distribute the rows of `batch`."""
        number = self._number(as_numpy(batch["id_hash"]))
        order = np.argsort(number, kind="stable")
        ends = np.cumsum(np.bincount(number, minlength=len(self._files))).tolist()
        narrow = batch.select(self._narrow_names).take(numbers(order))
        self._narrow_bytes += narrow.nbytes
        matrix = valid = None
        if self._dimension:
            vectors = batch["vector"]
            matrix = matrix_of(vectors)
            valid = present(vectors) if vectors.null_count else None
        start = 0
        for bucket, end in enumerate(ends):
            while start < end:
                stop = min(end, start + self._rows - self._filled[bucket])
                if matrix is not None:
                    self._block(bucket).put(self._filled[bucket], matrix, valid, order[start:stop])
                self._narrow[bucket].append(narrow.slice(start, stop - start))
                self._filled[bucket] += stop - start
                start = stop
                if self._filled[bucket] == self._rows:
                    self._write(bucket)
        if self._narrow_bytes > self._memory // 2:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        for bucket, rows in enumerate(self._filled):
            if rows:
                self._write(bucket)
        self._narrow_bytes = 0

    def _block(self, bucket: int) -> _Block:
        block = self._blocks[bucket]
        if block is None:
            block = self._free.pop() if self._free else _Block(self._rows, self._dimension)
            self._blocks[bucket] = block
        return block

    def _write(self, bucket: int) -> None:
        parts, rows = self._narrow[bucket], self._filled[bucket]
        # The empty part makes a copy even of one: Arrow writes up to 64 bytes of what lies behind a slice, another bucket's rows.
        narrow = pa.concat_batches([*parts, parts[0].slice(0, 0)])
        columns = dict(zip(self._narrow_names, narrow.columns, strict=True))
        block = self._blocks[bucket]
        done: Callable[[], Any] = _nothing
        if block is not None:
            columns["vector"] = block.column(rows)
            done = partial(self._free.append, block)
        self._narrow[bucket], self._filled[bucket], self._blocks[bucket] = [], 0, None
        batch = pa.RecordBatch.from_arrays(
            [columns[name] for name in self._schema.names], schema=self._schema
        )
        self._files[bucket].write(batch, done)


class _Block:
    """Memory for the vectors of `rows` rows."""

    def __init__(self, rows: int, dimension: int) -> None:
        self._matrix = np.empty((rows, dimension), np.float32)
        self._valid = np.empty(rows, np.bool_)

    def put(
        self,
        at: int,
        matrix: npt.NDArray[np.float32],
        valid: npt.NDArray[np.bool_] | None,
        rows: npt.NDArray[np.int64],
    ) -> None:
        """Rows `rows` of `matrix` from row `at` on; `valid`: which of them have a vector, None for all."""
        # Any mode but "raise" gathers straight into `out`; the rows are known to be there.
        block = self._matrix[at : at + len(rows)]
        np.take(matrix, rows, axis=0, out=block, mode="clip")
        self._valid[at : at + len(rows)] = True if valid is None else valid[rows]
        if valid is not None:
            # What lies under a null is anybody's guess, and evidence has the same bytes each time.
            block[~valid[rows]] = 0

    def column(self, rows: int) -> pa.FixedSizeListArray:
        """The first `rows` rows as they lie."""
        valid = self._valid[:rows]
        return fixed_vectors(self._matrix[:rows], None if valid.all() else ~valid)


def _nothing() -> None:
    pass
