"""What this machine lets anybody do: the floors that two aims stand on.

`freeze` is the least that freezing evidence with a chain of custody costs: the Parquet lists are decoded, what was decoded is
written and reaches the disk, and all that is read and written goes through SHA-256. Nothing is joined, cut into buckets,
hashed by row or looked at. `collect` does all of this and more.

`twice` runs two diffs at once that share nothing but the machine, each a process on a core of its own. How much more they get
done than one of them alone is what a second core is worth to this work here, and about the most that one diff on two cores
could gain.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Work = Callable[[Path, Path], dict[str, Any]]
SIDES = ("source", "target")
BATCH_ROWS = 8_192
BLOCK_BYTES = 2**18
SYNC_BYTES = 2**25
CORES = 2


def freeze() -> Work:
    """Decode on one thread, write and hash on another, hash the inputs on a third."""
    import pyarrow.parquet as pq

    def work(folder: Path, out: Path) -> dict[str, Any]:
        line: queue.Queue[list[Any] | None] = queue.Queue(4)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            others = [
                threading.Thread(target=_hash_inputs, args=(folder,)),
                threading.Thread(target=_write, args=(Path(place), line)),
            ]
            for thread in others:
                thread.start()
            for name in SIDES:
                file = pq.ParquetFile(folder / f"{name}.parquet", pre_buffer=False)
                for batch in file.iter_batches(BATCH_ROWS):
                    line.put([one for column in batch.columns for one in column.buffers() if one is not None])
                line.put(None)
            for thread in others:
                thread.join()
        return {}

    return work


def _hash_inputs(folder: Path) -> None:
    for name in SIDES:
        with (folder / f"{name}.parquet").open("rb", buffering=0) as file:
            hashlib.file_digest(file, "sha256")


def _write(place: Path, line: queue.Queue[list[Any] | None]) -> None:
    for name in SIDES:
        digest, size, synced = hashlib.sha256(), 0, 0
        with (place / name).open("wb", buffering=0) as file:
            while (buffers := line.get()) is not None:
                for buffer in map(memoryview, buffers):
                    for start in range(0, len(buffer), BLOCK_BYTES):
                        block = buffer[start : start + BLOCK_BYTES]
                        file.write(block)
                        digest.update(block)
                    size += len(buffer)
                if size - synced > SYNC_BYTES:
                    os.fdatasync(file.fileno())
                    synced = size
            os.fsync(file.fileno())


def twice() -> Work:
    """Two diffs of the same evidence at once; `seconds` is from the start of both to the end of the later one."""

    def work(folder: Path, out: Path) -> dict[str, Any]:
        run = (folder / "run").resolve()
        context = multiprocessing.get_context("spawn")
        with tempfile.TemporaryDirectory(dir=folder) as place:
            runs = [Path(place) / str(number) / run.name for number in range(CORES)]
            for one in runs:
                # The evidence is the same bytes on the disk and in memory; what a diff writes is its own.
                shutil.copytree(run, one, symlinks=True, copy_function=_linked)
            begin = context.Barrier(CORES + 1)
            cores = sorted(os.sched_getaffinity(0))[:CORES]
            both = [
                context.Process(target=_diff_on, args=(core, str(one), begin))
                for core, one in zip(cores, runs, strict=True)
            ]
            for process in both:
                process.start()
            begin.wait()
            began = time.perf_counter()
            for process in both:
                process.join()
            seconds = time.perf_counter() - began
            if any(process.exitcode for process in both):
                raise RuntimeError("one of two diffs at once failed")
        return {"seconds": seconds}

    return work


def _linked(source: str, target: str) -> None:
    (os.link if source.endswith(".arrow") else shutil.copy2)(source, target)


def _diff_on(core: int, run: str, begin: Any) -> None:
    os.sched_setaffinity(0, {core})
    import scipy.special  # noqa: F401
    import threadpoolctl  # noqa: F401

    from vecforensics.diff import diff_vectors, hotspots  # noqa: F401
    from vecforensics.run_folder import RunFolder

    opened = RunFolder.open(Path(run))
    case = opened.case()
    begin.wait()
    diff_vectors(case, opened, workers=1, impact=False)
    # As in every contestant: what is left is the kernel's to take back.
    os._exit(0)
