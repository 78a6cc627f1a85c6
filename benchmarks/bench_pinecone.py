"""How fast is an index read whole, beside the loop that the vendor's documentation gives, and beside what listing alone takes?

A local service in a process of its own speaks the store's REST API; every answer takes as long as `--latency-ms` says, as over a
network. Both sides go through the vendor's client, and both must give the same vectors, or the benchmark stops. They take turns,
and a ratio is one within a turn; medians are given. What a real index adds (its own time, its rate limits) is not in it.

    make bench-pinecone                   make bench-pinecone ARGS="--rows 20000 --dimension 1536 --latency-ms 50"
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from pinecone import Pinecone

from vecforensics.arrow_columns import matrix_of
from vecforensics.stores.pinecone import PineconeReader

KEY = "local"
Read = tuple[int, float]
"""Rows, and the sum of all their components in float64."""


def main() -> int:
    arguments = _arguments()
    print(
        "| latency | contestant | seconds | vectors a second | times as fast as the loop |\n|---|---|---:|---:|---:|"
    )
    for latency_ms in arguments.latency_ms:
        with _service(arguments.dimension, latency_ms / 1000) as url:
            index = Pinecone(api_key=KEY, host=url).Index("bench")
            wanted = _fill(index, arguments.rows, arguments.dimension)
            reader = PineconeReader(index.host, KEY)
            contestants: dict[str, Callable[[], Read]] = {
                "the vendor's loop: list a page, fetch it": partial(_loop, index),
                "**vecforensics** scan": partial(_scan, reader),
                "bound: listing alone": partial(_listing, index, wanted),
            }  # fmt: skip
            turns = [
                {name: _timed(read, wanted) for name, read in contestants.items()}
                for _ in range(arguments.repeats)
            ]
            for name in contestants:
                seconds = median(turn[name] for turn in turns)
                ratio = median(next(iter(turn.values())) / turn[name] for turn in turns)
                print(
                    f"| {latency_ms:g} ms | {name} | {seconds:.2f} | {arguments.rows / seconds:,.0f} | {ratio:.2f} |",
                    flush=True,
                )
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--latency-ms", type=float, nargs="+", default=[0, 20, 50])
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


@contextmanager
def _service(dimension: int, latency_s: float) -> Iterator[str]:
    command = [
        sys.executable, "-m", "vecforensics.pinecone_local", "--port", "0", "--api-key", KEY,
        "--index", f"bench:{dimension}", "--latency-s", str(latency_s),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        said = running.stdout.readline()
        try:
            yield said.split()[1].rstrip(";")
        finally:
            running.terminate()


def _fill(index: Any, rows: int, dimension: int) -> Read:
    vectors = np.random.default_rng(57).standard_normal((rows, dimension), np.float32)
    for start in range(0, rows, 100):
        some = vectors[start : start + 100].tolist()
        index.upsert(vectors=[{"id": f"user-{start + n:07}", "values": one} for n, one in enumerate(some)])
    return rows, float(vectors.sum(dtype=np.float64))


def _loop(index: Any) -> Read:
    """What the client's own documentation shows, with the vectors put into numpy."""
    count, total = 0, 0.0
    for page in index.list():
        found = index.fetch(ids=[one.id for one in page.vectors]).vectors
        matrix = np.array([one.values for one in found.values()], np.float32)
        count, total = count + len(matrix), total + float(matrix.sum(dtype=np.float64))
    return count, total


def _listing(index: Any, wanted: Read) -> Read:
    """The ids alone: there is nothing to add up."""
    return sum(len(page.vectors) for page in index.list()), wanted[1]


def _scan(reader: PineconeReader) -> Read:
    count, total = 0, 0.0
    for batch in reader.scan("__default__"):
        matrix = matrix_of(batch.column("vector"))
        count, total = count + len(matrix), total + float(matrix.sum(dtype=np.float64))
    return count, total


def _timed(read: Callable[[], Read], wanted: Read) -> float:
    began = time.perf_counter()
    count, total = read()
    passed = time.perf_counter() - began
    assert count == wanted[0], f"{count} rows instead of {wanted[0]}"
    assert abs(total - wanted[1]) < 1e-6 * wanted[0], "other vectors came out than went in"
    return passed


if __name__ == "__main__":
    raise SystemExit(main())
