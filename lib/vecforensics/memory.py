"""Memory that was freed and is held all the same.

Arrow's pool and glibc keep what they were given back, for the next time. Between two passes over a collection there is no next
time of that kind: what the threads of one pass have freed would lie beside what the next one needs, a hundred bytes a row.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import pyarrow as pa

__all__ = ["give_back"]


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
