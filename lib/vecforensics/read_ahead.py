"""What is read next is read while the last is used: an iterator on a thread of its own."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["ahead"]

T = TypeVar("T")
_Line = queue.Queue[tuple[bool, T | BaseException | None]]


def ahead(items: Iterator[T], depth: int = 2) -> Iterator[T]:
    """The same items, at most `depth` of them made before they are asked for; the first are made at once. What `items` raises
    is raised where they are used.

    Worth a thread only where making them leaves the interpreter alone, as decoding Parquet does.
    """
    return _Ahead(items, depth)


class _Ahead(Generic[T]):
    """The side that uses the items. The thread does not know it, so that it goes, and the thread ends, when nobody wants more."""

    def __init__(self, items: Iterator[T], depth: int) -> None:
        self._line: _Line[T] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=_make, args=(items, self._line, self._stop), name="read-ahead", daemon=True
        )
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._stop.is_set():
            raise StopIteration
        made, item = self._line.get()
        if made:
            return item  # type: ignore[return-value]
        self._stop.set()
        self._thread.join()
        if item is None:
            raise StopIteration
        assert isinstance(item, BaseException)
        raise item

    def __del__(self) -> None:
        self._stop.set()


def _make(items: Iterator[T], line: _Line[T], stop: threading.Event) -> None:
    def offer(made: bool, item: T | BaseException | None) -> bool:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                line.put((made, item), timeout=0.1)
                return True
        return False

    try:
        for item in items:
            if not offer(True, item):
                return
        offer(False, None)
    except BaseException as error:
        offer(False, error)
