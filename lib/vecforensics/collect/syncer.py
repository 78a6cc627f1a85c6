"""What is vouched for lies on the disk: after a loss of power the index must not name files that the kernel still held in memory.

A file could be synced once, at its end. But all files of a side end together, and half the evidence would then be waited for
while nothing else is left to do. So a thread syncs them as they grow, each time some megabytes have come together: the disk works
while rows are read and hashed, and what is left for the end is the last few megabytes.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from vecforensics.run_folder import sync

__all__ = ["Syncer"]

# A twentieth of a second for a disk of 600 MB/s, which is what remains to be waited for at the end.
_AT_ONCE_BYTES: Final = 32 << 20


class Syncer:
    """Syncs files that other threads write."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._unsynced: set[Path] = set()
        self._bytes = 0
        self._over = False
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._work, name="sync", daemon=True)
        self._thread.start()

    def written(self, path: Path, size: int) -> None:
        """`size` bytes were added to `path`, and the file has been flushed."""
        with self._changed:
            self._unsynced.add(path)
            self._bytes += size
            if self._bytes >= _AT_ONCE_BYTES:
                self._changed.notify()

    def finish(self) -> None:
        """End the thread; everything that was written is on the disk now. Raises OSError where a disk refused it."""
        self.abandon()
        if self._error is None:
            self._sync(self._unsynced)
        if self._error is not None:
            raise self._error

    def abandon(self) -> None:
        """End the thread, whatever is still unsynced."""
        with self._changed:
            self._over = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._over or self._bytes >= _AT_ONCE_BYTES)
                if self._over or self._error is not None:
                    return
                paths, self._unsynced, self._bytes = self._unsynced, set(), 0
            self._sync(paths)

    def _sync(self, paths: set[Path]) -> None:
        for path in sorted(paths):
            try:
                sync(path)
            except FileNotFoundError:
                # It has another name by now, under which whoever gave it that has reported it again; or nobody wants it.
                continue
            except OSError as error:
                error.filename = error.filename or str(path)
                self._error = error
                return
