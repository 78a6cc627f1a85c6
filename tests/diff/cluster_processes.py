"""A real dask cluster of separate processes on 127.0.0.1, and other servers that tests start."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

_SCHEDULER = """
import asyncio
from distributed import Scheduler
async def main():
    async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
        print(scheduler.address, flush=True)
        await scheduler.finished()
asyncio.run(main())
"""
_WORKER = """
import asyncio, sys, time
from distributed import Worker
async def main(address, slow):
    if slow:
        import vecforensics.diff.compare.bucket as bucket
        import vecforensics.evidence as evidence
        opened = evidence.Evidence.open
        def slowly(path):
            time.sleep(0.4)
            return opened(path)
        evidence.Evidence.open = slowly
    async with Worker(address, nthreads=1, host="127.0.0.1", dashboard=False) as worker:
        print("ready", flush=True)
        await worker.finished()
asyncio.run(main(sys.argv[1], len(sys.argv) > 2))
"""


def start(
    program: str, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> tuple[subprocess.Popen[str], str]:
    """A Python process and the first line that it prints."""
    child = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=cwd or Path(__file__).parent,
        env={**os.environ, **(env or {})},
    )
    assert child.stdout is not None
    return child, child.stdout.readline().strip()


def stop(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()
    if child.stdout is not None:
        child.stdout.close()


@contextlib.contextmanager
def dask_cluster(
    workers: int,
    *,
    slow: bool = False,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    scratch: Path | None = None,
) -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    """The scheduler's address and its workers. `slow`: each bucket takes 0.4 s longer to open. `scratch`: worker n keeps its
    files in a folder `n` there."""
    scheduler, address = start(_SCHEDULER)
    children = []
    for number in range(workers):
        own = {} if scratch is None else {"DASK_TEMPORARY_DIRECTORY": str(scratch / str(number))}
        arguments = (address, *(["slow"] if slow else []))
        children.append(start(_WORKER, *arguments, env={**(env or {}), **own}, cwd=cwd)[0])
    try:
        yield address, children
    finally:
        for child in (*children, scheduler):
            stop(child)
