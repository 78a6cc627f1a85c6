"""Files that grow at their end, written and hashed by a thread of their own.

Arrow makes the bytes of a record batch, which are mostly the buffers of the batch itself; they go to the thread as they are, and
what it appends to the file it hashes from memory: nothing is read back. One file is open at a time, however many there are.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from vecforensics.errors import EvidenceError, printable

__all__ = ["Appender", "BucketFile"]

# Pieces that wait; each is about a bucket's share of the memory.
_DEPTH: Final = 4
# Arrow hands out the small parts of a batch (headers, padding, offsets) one by one.
_SMALL_BYTES: Final = 2**16
# What has just been written still lies in the processor's cache when it is hashed; the kernel copies short pieces faster, too.
_PIECE_BYTES: Final = 2**19


class Appender:
    """Appends pieces to files in the order in which they come, and keeps the SHA-256 of each file."""

    def __init__(self) -> None:
        self._line: queue.Queue[tuple[Path, list[Any], Callable[[], None]] | None] = queue.Queue(_DEPTH)
        self._digests: dict[Path, Any] = {}
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="append", daemon=True)
        self._thread.start()

    def append(self, path: Path, parts: list[Any], done: Callable[[], None]) -> None:
        """Take over `parts`, whose memory must not change until `done` is called. Raises what an earlier piece met with."""
        self._raise()
        self._line.put((path, parts, done))

    def settle(self) -> None:
        """Wait until all that was taken over has been written. Raises EvidenceError where the disk refused it."""
        self._line.join()
        self._raise()

    def moved(self, old: Path, new: Path) -> None:
        """The file `old`, settled, has taken the place of `new`."""
        self._digests[new] = self._digests.pop(old)

    def close(self) -> dict[Path, str]:
        """End the thread; the digest of every file, sorted."""
        if self._thread.is_alive():
            self._line.put(None)
            self._thread.join()
        return {path: digest.hexdigest() for path, digest in sorted(self._digests.items())}

    def _raise(self) -> None:
        if self._error is not None:
            if not isinstance(self._error, OSError):
                raise self._error
            raise EvidenceError(
                f"cannot be written ({printable(self._error.strerror)})",
                where=str(self._error.filename or ""),
                hint="Make room, or choose another folder: --out",
            ) from self._error

    def _work(self) -> None:
        while (piece := self._line.get()) is not None:
            path, parts, done = piece
            try:
                # After an error the line is only emptied, so that nobody waits for ever.
                if self._error is None:
                    self._append(path, parts)
            except Exception as error:
                if isinstance(error, OSError) and error.filename is None:
                    error.filename = str(path)
                self._error = error
            finally:
                done()
                del piece, parts, done
                self._line.task_done()

    def _append(self, path: Path, parts: list[Any]) -> None:
        digest = self._digests.setdefault(path, hashlib.sha256())
        with path.open("ab") as file:
            for part in parts:
                data = memoryview(part)
                for start in range(0, len(data), _PIECE_BYTES):
                    piece = data[start : start + _PIECE_BYTES]
                    file.write(piece)
                    digest.update(piece)


class BucketFile:
    """One Arrow IPC file that grows by record batches."""

    def __init__(self, path: Path, schema: pa.Schema, appender: Appender) -> None:
        self.path, self._appender = path, appender
        self._sink = _Sink()
        self._file = pa.PythonFile(self._sink, mode="w")
        self._writer = pa.ipc.new_file(self._file, schema)

    def write(self, batch: pa.RecordBatch, done: Callable[[], None] = lambda: None) -> None:
        """Append `batch`; its memory must not change until `done` is called, on the appender's thread."""
        if batch.num_rows:
            self._writer.write_batch(batch)
            self._appender.append(self.path, self._sink.taken(), done)

    def close(self) -> None:
        """Append the footer."""
        self._writer.close()
        self._appender.append(self.path, self._sink.taken(), lambda: None)


class _Sink:
    """A file for Arrow to write to that keeps what it is given: `bytes` and, for the columns' own buffers, `pyarrow.Buffer`."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[Any] = []
        self._size = 0

    def write(self, data: Any) -> int:
        size = len(data)
        self._parts.append(data)
        self._size += size
        return size

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def taken(self) -> list[Any]:
        """What was written since the last call, small neighbours joined."""
        joined: list[Any] = []
        small = bytearray()
        for part in self._parts:
            if len(part) < _SMALL_BYTES:
                small += part
                continue
            if small:
                joined.append(bytes(small))
                small.clear()
            joined.append(part)
        if small:
            joined.append(bytes(small))
        self._parts.clear()
        return joined
