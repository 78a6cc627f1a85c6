"""Vectors of a bucket where they lie: rows gathered from the mapped file, and nothing copied that is not asked for.

A bucket's vectors stand in several record batches, each contiguous, at offsets that have nothing in common. All of them lie in
one mapped file, though, so every row is a window of `dimension` floats into it. A strided view with one window for each float
lets numpy gather any rows in one call, whatever batch they stand in, at about the speed of memory.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vecforensics.arrow_columns import present

__all__ = ["MappedVectors", "lengths", "rows_at_once"]

# Blocks of vectors are gathered and forgotten thousands of times. glibc gives freed memory back to the system above a threshold
# that starts low, and every block would fault in its pages anew, at three times the cost of comparing it. The threshold follows
# the largest block that was ever mapped and freed: this one, which no page is spent on.
_freed = np.empty(8 * 2**20, np.uint8)
del _freed


# 512 vectors of 384 floats and what they are compared with stay in cache. Fewer rows than 501 at a time, and numpy gathers them
# without giving up Python's lock (NPY_BEGIN_THREADS_THRESHOLDED in its mapiter), so that threads would wait for one another.
_BYTES_AT_ONCE: Final = 512 * 384 * 4
_FEWEST_ROWS: Final = 512


def rows_at_once(dimension: int) -> int:
    """How many vectors of so many floats are best looked at together."""
    return max(_BYTES_AT_ONCE // (4 * max(dimension, 1)), _FEWEST_ROWS)


def lengths(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Of each vector (n, d), in double precision, in which no finite length is too great or too small to be squared."""
    squares: npt.NDArray[np.float64] = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    return np.sqrt(squares)


class MappedVectors:
    """The column `vector` of a table as float32 rows. `present` is bool (n,): which rows have a vector of the right length."""

    def __init__(self, table: pa.Table) -> None:
        self.rows = table.num_rows
        self.dimension = 0
        self.present: npt.NDArray[np.bool_] = np.zeros(self.rows, np.bool_)
        # Row r of batch b begins at float `_base[b] + r * dimension` of the file.
        self._first: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._base: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        if "vector" not in table.schema.names:
            return
        self.dimension = int(table.schema.field("vector").type.list_size)
        chunks = [chunk for chunk in table["vector"].chunks if len(chunk)]
        if not chunks or not self.dimension:
            return
        addresses = [chunk.buffers()[2].address for chunk in chunks]
        base = min(addresses)
        end = max(address + chunk.buffers()[2].size for address, chunk in zip(addresses, chunks, strict=True))
        self._first = np.cumsum([0, *(len(chunk) for chunk in chunks[:-1])])
        self._base = np.array(
            [
                (address - base) // 4 + chunk.values.offset + (chunk.offset - first) * self.dimension
                for address, chunk, first in zip(addresses, chunks, self._first.tolist(), strict=True)
            ]
        )
        self.present = np.concatenate([present(chunk) for chunk in chunks])
        # One buffer over all batches; `_keep` holds the mapping open for as long as the view lives.
        whole = pa.foreign_buffer(base, end - base, base=table)
        flat = np.frombuffer(whole, np.float32, (end - base) // 4)
        self._keep: Any = whole
        self._flat: npt.NDArray[np.float32] = flat
        windows = len(flat) - self.dimension + 1
        self._windows = np.lib.stride_tricks.as_strided(
            flat, (windows, self.dimension), (4, 4), writeable=False
        )

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float32]:
        """Float32 (k, dimension): these rows, not to be written to; what stands under an absent row means nothing."""
        if not len(rows):
            return np.empty((0, self.dimension), np.float32)
        batch = np.searchsorted(self._first, rows, "right") - 1
        begins = self._base[batch] + rows.astype(np.int64) * self.dimension
        first, last = int(begins[0]), int(begins[-1])
        if last - first == (len(begins) - 1) * self.dimension and (np.diff(begins) == self.dimension).all():
            # Neighbours in the file: a view, nothing is copied.
            return self._flat[first : last + self.dimension].reshape(len(begins), self.dimension)
        gathered: npt.NDArray[np.float32] = self._windows[begins]
        return gathered
