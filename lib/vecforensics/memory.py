"""Memory that was freed and is held all the same, and memory that is searched for what could be freed.

Arrow's pool and glibc keep what they were given back, for the next time. Between two passes over a collection there is no next
time of that kind: what the threads of one pass have freed would lie beside what the next one needs, a hundred bytes a row.

Python's collector looks for cycles each time some hundred objects have been made. A pass makes many small ones that live to its
end and are in no cycle.
"""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import pyarrow as pa

__all__ = ["give_back", "seldom_collected", "system_pool"]

# So many more objects made than freed before the collector looks for cycles: some ten megabytes.
_OBJECTS: Final = 100_000


@cache
def _trim() -> Any:
    """`malloc_trim` of glibc; None where the C library has none."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None


def give_back() -> None:
    """Return freed memory to the system; for the end of a pass, not for its inside."""
    pa.default_memory_pool().release_unused()
    trim = _trim()
    if trim is not None:
        trim(0)


@contextmanager
def system_pool() -> Iterator[None]:
    """Arrow allocates from glibc meanwhile, unless the user has named a pool in `ARROW_DEFAULT_MEMORY_POOL`.

    Arrow's own pools keep what each thread has freed for that thread, a sixth of what a diff holds at its peak, and are no faster
    for it; for the large blocks of decoding, in `collect`, they are by a third. The pool is the process's: where two diffs of one
    process overlap, the last to end leaves glibc's.
    """
    if os.environ.get("ARROW_DEFAULT_MEMORY_POOL"):
        yield
        return
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Python's collector looks for cycles seldom meanwhile, where it is set to look more often than that.

    The thresholds are the process's: where two diffs of one process overlap, the last to end leaves those of the first.
    """
    before = gc.get_threshold()
    if 0 < before[0] < _OBJECTS:
        gc.set_threshold(_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
