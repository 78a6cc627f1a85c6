"""One BLAS thread while our own threads are at work.

OpenBLAS's threads wait for one another in a spin, and beside threads of ours most of that wait is for a core. Importing
vecforensics sets their number in the environment, which numpy reads once; where numpy was there before (a notebook), it has to be
set in the library itself, for the time of the work and no longer: the notebook's own products want their threads back.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["one_blas_thread"]


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread; whoever has set another number in `OPENBLAS_NUM_THREADS` keeps it.

    The number is the process's. Where two stages of one process overlap, the first one's thread decides, and the other is slower
    from then on (threadpoolctl lets one thread at a time set it, so that nobody's number is lost).
    """
    if os.environ.get("OPENBLAS_NUM_THREADS", "1") != "1":
        yield
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        yield
