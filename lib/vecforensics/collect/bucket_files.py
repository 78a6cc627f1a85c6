"""Files that grow at their end, hashed while they grow, and batches that are made while the last ones are written."""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa

__all__ = ["BucketFile", "FileDigests", "ahead", "gathered"]


class BucketFile:
    """One Arrow IPC file that grows by record batches."""

    def __init__(self, path: Path, schema: pa.Schema, digests: FileDigests | None) -> None:
        self.path, self._digests = path, digests
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            self._writer.write_batch(batch)
            self._hash()

    def close(self) -> None:
        self._writer.close()
        self._hash()
        self._sink.close()

    def _hash(self) -> None:
        if self._digests is not None:
            self._digests.up_to(self.path, self._sink.tell())


class FileDigests:
    """SHA-256 of files that grow at their end, on a thread that follows the writer."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sha256")
        self._state: dict[Path, tuple[Any, int]] = {}

    def up_to(self, path: Path, end: int) -> None:
        """The first `end` bytes of `path` will not change any more."""
        self._pool.submit(self._follow, path, end)

    def again(self, path: Path) -> None:
        """`path` has been replaced as a whole."""

        def whole() -> None:
            self._state.pop(path, None)
            self._follow(path, path.stat().st_size)

        self._pool.submit(whole)

    def close(self) -> dict[Path, str]:
        """Wait for the thread; the digest of every file."""
        self._pool.shutdown(wait=True)
        return {path: digest.hexdigest() for path, (digest, _) in sorted(self._state.items())}

    def _follow(self, path: Path, end: int) -> None:
        digest, done = self._state.get(path, (hashlib.sha256(), 0))
        with path.open("rb", buffering=0) as file:
            while done < end:
                block = os.pread(file.fileno(), min(2**20, end - done), done)
                if not block:
                    # The file has been replaced by a shorter one meanwhile; `again` follows in the queue.
                    break
                digest.update(block)
                done += len(block)
        self._state[path] = (digest, done)


def ahead(batches: Iterator[pa.RecordBatch], depth: int = 2) -> Iterator[pa.RecordBatch]:
    """The same batches, made on a thread of their own while the last ones are used."""
    line: queue.Queue[pa.RecordBatch | BaseException | None] = queue.Queue(depth)
    stop = threading.Event()

    def offer(item: pa.RecordBatch | BaseException | None) -> bool:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                line.put(item, timeout=0.1)
                return True
        return False

    def make() -> None:
        try:
            for batch in batches:
                if not offer(batch):
                    return
            offer(None)
        except BaseException as error:
            offer(error)

    thread = threading.Thread(target=make, name="batches", daemon=True)
    thread.start()
    try:
        while (item := line.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()


def gathered(batches: Iterator[pa.RecordBatch], most_bytes: int) -> Iterator[pa.RecordBatch]:
    """Batches joined until they hold `most_bytes`, so that each bucket gets a worthwhile share of each."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        if batch.num_rows == 0:
            continue
        held.append(batch)
        size += batch.nbytes
        if size >= most_bytes:
            yield pa.concat_batches(held) if len(held) > 1 else held[0]
            held, size = [], 0
    if held:
        yield pa.concat_batches(held) if len(held) > 1 else held[0]
