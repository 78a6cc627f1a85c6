"""What the first import of vecforensics settles for the libraries under it, before they read it, and what it leaves alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SHOW = (
    "import vecforensics, pyarrow as pa; from threadpoolctl import threadpool_info; import numpy; "
    "print(pa.default_memory_pool().backend_name, {pool['num_threads'] for pool in threadpool_info()})"
)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, "system {1}"),
        ({"ARROW_DEFAULT_MEMORY_POOL": "mimalloc"}, "mimalloc {1}"),
    ],
)
def test_arrow_allocates_where_everybody_does_and_blas_has_one_thread_unless_the_user_said_otherwise(
    given: dict[str, str], shown: str
) -> None:
    names = ("ARROW_DEFAULT_MEMORY_POOL", "OPENBLAS_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in names} | given
    done = subprocess.run(
        [sys.executable, "-c", SHOW], capture_output=True, text=True, check=True, env=environment, timeout=60
    )
    assert done.stdout.strip() == shown
