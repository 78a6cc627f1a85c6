"""Files that grow at their end, written and hashed by a thread of their own.

Arrow makes the bytes of a record batch, which are mostly the buffers of the batch itself; they go to the thread as they are, and
what it appends to the file it hashes from memory: nothing is read back. One file is open at a time, however many there are.
Another thread (`syncer.py`) sees to it that all of it reaches the disk.
"""

from __future__ import annotations

import errno
import hashlib
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from vecforensics.collect.syncer import Syncer
from vecforensics.errors import EvidenceError, printable

__all__ = ["Appender", "BucketFile"]

# Pieces that wait; each is about a bucket's share of the memory.
_DEPTH: Final = 4
# Arrow hands out the small parts of a batch (headers, padding, offsets) one by one.
_SMALL_BYTES: Final = 2**16
# What has just been written still lies in the processor's cache when it is hashed; the kernel copies short pieces faster, too.
_BLOCK_BYTES: Final = 2**18


@dataclass(slots=True)
class _Piece:
    path: Path
    parts: list[Any]
    done: Callable[[], None]
    kept: bool


class Appender:
    """Appends pieces to files in the order in which they come, and keeps the SHA-256 of each file."""

    def __init__(self) -> None:
        self._line: queue.Queue[_Piece | None] = queue.Queue(_DEPTH)
        self._digests: dict[Path, Any] = {}
        self._syncer = Syncer()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="append", daemon=True)
        self._thread.start()

    def append(self, path: Path, parts: list[Any], done: Callable[[], None], *, kept: bool = True) -> None:
        """Take over `parts`, whose memory must not change until `done` is called. Raises what an earlier piece met with.

        A file that is not `kept` is neither hashed nor synced.
        """
        self._raise()
        self._line.put(_Piece(path, parts, done, kept))

    def settle(self) -> None:
        """Wait until all that was taken over has been written. Raises EvidenceError where the disk refused it."""
        self._line.join()
        self._raise()

    def moved(self, old: Path, new: Path) -> None:
        """The file `old`, settled, has taken the place of `new`."""
        self._digests[new] = self._digests.pop(old)
        self._syncer.written(new, 0)

    def close(self) -> dict[Path, str]:
        """End the threads; the digest of every file, sorted. All files are on the disk. Raises EvidenceError where it refused."""
        self._end()
        if self._error is None:
            try:
                self._syncer.finish()
            except OSError as error:
                self._error = error
        self._raise()
        return {path: digest.hexdigest() for path, digest in sorted(self._digests.items())}

    def abandon(self) -> None:
        """End the threads; nobody wants the files."""
        self._end()
        self._syncer.abandon()

    def _end(self) -> None:
        if self._thread.is_alive():
            self._line.put(None)
            self._thread.join()

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
            try:
                # After an error the line is only emptied, so that nobody waits for ever.
                if self._error is None:
                    self._append(piece)
            except Exception as error:
                if isinstance(error, OSError) and error.filename is None:
                    error.filename = str(piece.path)
                self._error = error
            finally:
                piece.done()
                del piece
                self._line.task_done()

    def _append(self, piece: _Piece) -> None:
        path, parts = piece.path, [memoryview(part) for part in piece.parts]
        size = sum(map(len, parts))
        digest = self._digests.setdefault(path, hashlib.sha256()) if piece.kept else None
        # Not to append: what has been reserved is the end of the file already.
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644), "wb") as file:
            _reserve(file.fileno(), file.seek(0, os.SEEK_END), size)
            for part in parts:
                for start in range(0, len(part), _BLOCK_BYTES):
                    block = part[start : start + _BLOCK_BYTES]
                    file.write(block)
                    if digest is not None:
                        digest.update(block)
        if digest is not None:
            self._syncer.written(path, size)


def _reserve(handle: int, start: int, size: int) -> None:
    """Let the file system find room for what is about to be written, all at once; ext4 takes half as long to copy it then."""
    if not size or not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(handle, start, size)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENODEV, errno.EOPNOTSUPP):
            raise


class BucketFile:
    """One Arrow IPC file that grows by record batches. `kept`: whether it is there to stay, and so is hashed and synced."""

    def __init__(self, path: Path, schema: pa.Schema, appender: Appender, *, kept: bool = True) -> None:
        self.path, self._appender, self._kept = path, appender, kept
        self._sink = _Sink()
        self._file = pa.PythonFile(self._sink, mode="w")
        self._writer = pa.ipc.new_file(self._file, schema)

    def write(self, batch: pa.RecordBatch, done: Callable[[], None] = lambda: None) -> None:
        """Append `batch`; its memory must not change until `done` is called, on the appender's thread."""
        if batch.num_rows:
            self._writer.write_batch(batch)
            self._appender.append(self.path, self._sink.taken(), done, kept=self._kept)

    def close(self) -> None:
        """Append the footer."""
        self._writer.close()
        self._appender.append(self.path, self._sink.taken(), lambda: None, kept=self._kept)


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
