"""`multiprocessing.pool.ThreadPool` on controlled threads: the pool of many a client library, and of many a script.

Its workers are plain threads and its queues are `queue.SimpleQueue`, both under control already. What is left is the thread that
looks after the workers, which waits for a pipe of the operating system, and results: one that was never asked for hides its
error (`apply_async` without `get`), as an unread future does.
"""

from __future__ import annotations

import multiprocessing.pool
import multiprocessing.util
import queue
from collections.abc import Callable
from multiprocessing.context import BaseContext
from typing import Any, Final

from vecforensics.race.driver import TaskInfo
from vecforensics.race.strands import current_strand

__all__ = ["THREAD_POOLS", "finalizers", "forget_pools"]


class _Notifier:
    """A queue that can be waited for without taking anything out: what the pool has a pipe for."""

    def __init__(self) -> None:
        self._items: Any = queue._PySimpleQueue()  # type: ignore[attr-defined]
        self._reader = self
        self.put, self.get, self.empty = self._items.put, self._items.get, self._items.empty

    def block(self) -> None:
        self.put(self.get())


class _Asked:
    """Whether anybody asked how a result ended."""

    def __init__(self, result: Any, info: TaskInfo) -> None:
        self.result, self.info, self.asked = result, info, False

    @property
    def lost(self) -> BaseException | None:
        """The error that nobody asked for."""
        result = self.result
        silent = self.asked or not result.ready() or result._success or result._error_callback is not None
        return None if silent else result._value


_real: Final[dict[str, Callable[..., Any]]] = {
    "SimpleQueue": BaseContext.SimpleQueue,
    "wait": multiprocessing.pool.wait,  # type: ignore[attr-defined]
    "init": multiprocessing.pool.ApplyResult.__init__,
    "get": multiprocessing.pool.ApplyResult.get,
    "del": multiprocessing.pool.Pool.__del__,
}


def _simple_queue(self: BaseContext) -> Any:
    return _Notifier() if current_strand() is not None else _real["SimpleQueue"](self)


def _wait(objects: list[Any], timeout: float | None = None) -> Any:
    if objects and isinstance(objects[0], _Notifier) and current_strand() is not None:
        objects[0].block()
        return objects
    return _real["wait"](objects, timeout)


def _init(self: Any, *args: Any, **kwargs: Any) -> None:
    _real["init"](self, *args, **kwargs)
    strand = current_strand()
    if strand is not None:
        self._asked = _Asked(self, strand.info)
        strand.strands.futures.append(self._asked)


def _get(self: Any, timeout: float | None = None) -> Any:
    asked = getattr(self, "_asked", None)
    if asked is not None:
        asked.asked = True
    return _real["get"](self, timeout)


def _del(self: Any) -> None:
    if not isinstance(getattr(self, "_change_notifier", None), _Notifier):  # one of ours ends with its run
        _real["del"](self)


THREAD_POOLS: Final[tuple[tuple[Any, str, Any], ...]] = (
    (BaseContext, "SimpleQueue", _simple_queue),
    (multiprocessing.pool, "wait", _wait),
    (multiprocessing.pool.ApplyResult, "__init__", _init),
    (multiprocessing.pool.ApplyResult, "get", _get),
    (multiprocessing.pool.Pool, "__del__", _del),
)


def finalizers() -> frozenset[Any]:
    """What multiprocessing would run at the end of the process, for `forget_pools`."""
    return frozenset(multiprocessing.util._finalizer_registry)  # type: ignore[attr-defined]


def forget_pools(before: frozenset[Any]) -> None:
    """The threads of a run are gone; a pool that it did not close must not be shut down once more when the process ends."""
    registry = multiprocessing.util._finalizer_registry  # type: ignore[attr-defined]
    for key in [key for key in registry if key not in before]:
        pool = registry.pop(key)._weakref()
        if pool is not None:
            pool._state = multiprocessing.pool.TERMINATE
