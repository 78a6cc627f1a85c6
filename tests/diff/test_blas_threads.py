"""Numpy was imported first, as in a notebook: its BLAS has threads of its own, and ours must not wait for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from planted_run import freeze
from planted_world import World
from planting import PLANTERS
from threadpoolctl import threadpool_info, threadpool_limits

from vecforensics.blas_threads import one_blas_thread
from vecforensics.diff import diff_vectors, execute, impact


def blas_threads() -> dict[str, int]:
    """The number of each BLAS that is loaded, by its file (numpy and scipy bring one each)."""
    return {
        pool["filepath"]: int(pool["num_threads"]) for pool in threadpool_info() if pool["user_api"] == "blas"
    }


def several() -> Any:
    """Three threads whatever the machine has."""
    return threadpool_limits(3, "blas")


def test_while_vectors_are_compared_and_searched_blas_has_one_thread_and_afterwards_what_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World.make(count=200)
    PLANTERS["swapped"](world, 9)
    case, run = freeze(world, tmp_path)
    seen: list[dict[str, int]] = []

    def watched(module: Any, name: str) -> None:
        real = getattr(module, name)

        def look(*arguments: Any, **named: Any) -> Any:
            seen.append(blas_threads())
            return real(*arguments, **named)

        monkeypatch.setattr(module, name, look)

    watched(execute, "compare_bucket")
    watched(impact, "measure_impact")
    with several():
        before = blas_threads()
        diff_vectors(case, run, workers=2)
        after = blas_threads()
    assert set(before.values()) == {3}
    assert {file: after[file] for file in before} == before
    assert len(seen) == 3
    assert {threads for pools in seen for threads in pools.values()} == {1}


def test_a_diff_that_fails_gives_the_threads_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case, run = freeze(World.make(count=20), tmp_path)

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a fault")

    monkeypatch.setattr(execute, "compare_bucket", broken)
    with several():
        with pytest.raises(RuntimeError, match="a fault"):
            diff_vectors(case, run)
        assert 3 in blas_threads().values()


def test_whoever_has_set_a_number_in_the_environment_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    with several(), one_blas_thread():
        assert 3 in blas_threads().values()
