"""Where the buckets are compared: here, on a few threads, or on a cluster of processes.

The work of a bucket is numpy over mapped files and leaves Python's lock alone, so threads share one process's memory and page
tables and begin at once; a pool of processes would pay more for its start than a million rows cost. Beyond one machine the same
function runs as dask.distributed futures over evidence on shared storage, under the same path on every machine or below a URL
(`shared.py`): results are small, effects there are none, so a worker that dies costs nothing but the time of its buckets.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from vecforensics.diff.compare.bucket import BucketResult, BucketTask, compare_bucket
from vecforensics.diff.shared import SharedEvidence, compare_shared
from vecforensics.errors import MissingExtra, ToolFailed
from vecforensics.evidence import Evidence

__all__ = ["compare_all"]

PATIENCE_S = 20.0  # for a scheduler to answer, and for a worker to come where none is left


def compare_all(
    tasks: Sequence[BucketTask],
    evidence: Evidence,
    *,
    workers: int,
    cluster: str | None,
    shared: SharedEvidence | None = None,
    advance: Callable[[int], None] = lambda _done: None,
) -> list[BucketResult]:
    """Every task's result, in the order of the tasks whatever the order in which they end."""
    results: list[BucketResult] = []
    for result in (
        _on_cluster(tasks, evidence, cluster, shared) if cluster else _here(tasks, workers, evidence)
    ):
        results.append(result)
        advance(1)
    return results


def _here(tasks: Sequence[BucketTask], workers: int, evidence: Evidence) -> Iterator[BucketResult]:
    with ThreadPoolExecutor(workers, thread_name_prefix="bucket") as pool:
        yield from pool.map(partial(compare_bucket, evidence=evidence), tasks)


def _on_cluster(
    tasks: Sequence[BucketTask], evidence: Evidence, address: str, shared: SharedEvidence | None
) -> Iterator[BucketResult]:
    try:
        from distributed import Client
        from distributed.comm.addressing import get_address_host_port
    except ImportError:
        raise MissingExtra("cluster", "comparing on a cluster") from None
    try:
        # A client that was given no address would, at its end, wait long and complain at length.
        get_address_host_port(address)
        make_client: Any = Client
        client = make_client(address, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ToolFailed(
            f"the cluster does not answer ({error})",
            where=address,
            hint="Start a scheduler there: dask scheduler",
        ) from None
    # Silent until the client has closed too: of a scheduler that is lost it prints pages.
    with _silent("distributed.client"), client:
        # A bucket has no effect, so running it again after a worker's death is harmless.
        if shared is None:
            futures = client.map(compare_bucket, tasks, retries=3, pure=False)
        else:
            places = [
                shared.of(evidence.collection(task.collection).directory, task.bucket) for task in tasks
            ]
            futures = client.map(compare_shared, tasks, places, retries=3, pure=False)
        for future in futures:
            yield _result(client, future, address)
            future.release()


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """What goes wrong is an exception here; the library's own log of it would bury that line."""
    log = logging.getLogger(name)
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _result(client: Any, future: Any, address: str) -> BucketResult:
    """What a bucket came to. Raises ToolFailed where nobody is left who could tell."""
    from concurrent.futures import CancelledError

    from distributed import KilledWorker
    from distributed.comm.core import CommClosedError

    while True:
        try:
            result: BucketResult = future.result(timeout=PATIENCE_S)
            return result
        except TimeoutError:
            if future.done():
                raise
            if not client.nthreads():
                raise ToolFailed(
                    "no worker is left", where=address, hint=f"Start one and try again: dask worker {address}"
                ) from None
        except (CancelledError, CommClosedError):
            # Which of the two depends on what the client was at when the scheduler went.
            raise ToolFailed(
                "the cluster was lost", where=address, hint="Is the scheduler still there? Run the diff again"
            ) from None
        except KilledWorker:
            raise ToolFailed(
                "a bucket took several workers down with it",
                where=address,
                hint="Look at their logs; give them more memory",
            ) from None
