"""Python's collector: looks seldom while a diff makes its many small objects, and afterwards as often as before."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from planted_run import freeze
from planted_world import World

from vecforensics.diff import diff_vectors, execute
from vecforensics.memory import seldom_collected


@pytest.fixture(autouse=True)
def thresholds_are_given_back() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_seldom_during_a_diff_and_as_before_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, run = freeze(World.make(count=20), tmp_path)
    seen: list[int] = []

    def broken(*_: Any, **__: Any) -> Any:
        seen.append(gc.get_threshold()[0])
        raise RuntimeError("a fault")

    monkeypatch.setattr(execute, "compare_bucket", broken)
    gc.set_threshold(700, 11, 12)
    with pytest.raises(RuntimeError, match="a fault"):
        diff_vectors(case, run)
    assert seen[0] == 100_000
    assert gc.get_threshold()[:2] == (700, 11)


@pytest.mark.parametrize("chosen", [0, 500_000])
def test_whoever_has_turned_it_off_or_down_keeps_that(chosen: int) -> None:
    gc.set_threshold(chosen)
    with seldom_collected():
        assert gc.get_threshold()[0] == chosen
