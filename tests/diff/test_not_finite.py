"""NaN and infinity in a vector: which components, and are the others right? The same answer whatever the store does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World
from test_stores_that_change_vectors import STORES, bfloat16, float16, int8

from vecforensics.diff import Diff


def exact(vector: np.ndarray) -> np.ndarray:
    return vector


def rounded_but_for_what_is_not_finite(
    store: Callable[[np.ndarray], np.ndarray],
) -> Callable[[np.ndarray], np.ndarray]:
    """What a store does to the finite components; a norm leaves the others out."""

    def keep(vector: np.ndarray) -> np.ndarray:
        finite = np.isfinite(vector)
        kept = vector.astype(np.float32)
        if finite.any():
            kept[finite] = store(vector[finite].astype(np.float32))
        return kept

    return keep


ALL = {"exact": exact, **STORES}


def said(diff: Diff) -> dict[str, tuple[str, dict[str, Any]]]:
    return {
        row["source_id"]: (row["kind"], json.loads(row["detail"]))
        for row in diff.table.to_pylist()
        if row["severity"] == "corrupt"
    }


@pytest.mark.parametrize("already", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_which_components_are_not_finite_and_whether_the_others_are_right(
    tmp_path: Path, name: str, already: bool
) -> None:
    store = rounded_but_for_what_is_not_finite(ALL[name])
    world = World.make(count=200, dimension=48, seed=5, normalised=already)
    for row in range(200):
        world.vector(row, store(world.expected[row]))
    run, one, scattered, infinite, both, whole, wrong, stranger = world.take(8)

    def put(row: int, places: Any, value: Any, base: np.ndarray | None = None) -> None:
        vector = (world.expected[row] if base is None else base).copy()
        vector[places] = value
        world.vector(row, store(vector))

    put(run, slice(10, 30), np.nan)
    put(one, 7, np.nan)
    put(scattered, [3, 20, 41], np.nan)
    put(infinite, slice(40, 48), -np.inf)
    put(both, [5, 9], [np.nan, np.inf])
    put(whole, slice(None), np.nan)
    half = np.r_[world.expected[wrong][:24], world.rng.normal(size=24).astype(np.float32)]
    put(wrong, 0, np.nan, half)
    put(stranger, 0, np.nan, world.rng.normal(size=48).astype(np.float32))
    diff = investigate(world, tmp_path, impact=False)
    found = {
        row: said(diff)[world.ids[row]]
        for row in (run, one, scattered, infinite, both, whole, wrong, stranger)
    }
    right = (
        "right"
        if name == "exact" or (already and name == "normalised")
        else "right but for rounding or length"
    )
    rights = {found[row][1].pop("others") for row in (run, one, scattered, infinite, both)}
    assert rights <= {right, "right but for rounding or length"}
    assert name != "exact" or rights == {"right"}
    assert found[run] == (
        "partial",
        {"right": 0.5833, "rest": "NaN", "not_finite": 20, "wrong_from": 10, "wrong_to": 30},
    )
    assert found[one] == (
        "non_finite",
        {"right": 0.9792, "rest": "NaN", "not_finite": 1, "wrong_from": 7, "wrong_to": 8},
    )
    assert found[scattered] == ("non_finite", {"right": 0.9375, "rest": "NaN", "not_finite": 3})
    assert found[infinite] == (
        "non_finite",
        {"right": 0.8333, "rest": "infinity", "not_finite": 8, "wrong_from": 40, "wrong_to": 48},
    )
    assert found[both] == ("non_finite", {"right": 0.9583, "rest": "NaN and infinity", "not_finite": 2})
    assert found[whole] == (
        "non_finite",
        {"right": 0.0, "rest": "NaN", "not_finite": 48, "wrong_from": 0, "wrong_to": 48},
    )
    assert found[wrong][0] == found[stranger][0] == "non_finite"
    assert found[wrong][1]["others"] == "partly right"
    assert found[stranger][1]["others"] == "not right"


def test_without_an_expected_vector_the_components_are_named_all_the_same(tmp_path: Path) -> None:
    world = World.make(count=40, dimension=16)
    vector = world.expected[3].copy()
    vector[2:6] = np.nan
    world.vector(3, vector)
    diff = investigate(world, tmp_path, expected=False)
    assert said(diff) == {
        world.ids[3]: ("non_finite", {"rest": "NaN", "not_finite": 4, "wrong_from": 2, "wrong_to": 6})
    }


@pytest.mark.parametrize("store", [float16, bfloat16, int8])
def test_two_finite_components_prove_nothing_in_a_store_that_rounds(
    tmp_path: Path, store: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Any factor explains one component, and a second one by chance."""
    world = World.make(count=100, dimension=24, normalised=False)
    keep = rounded_but_for_what_is_not_finite(store)
    for row in range(100):
        world.vector(row, keep(world.expected[row]))
    row = world.take(1)[0]
    vector = np.full(24, np.nan, np.float32)
    vector[:2] = 3 * world.expected[row][:2]
    world.vector(row, vector)
    kind, detail = said(investigate(world, tmp_path))[world.ids[row]]
    assert (kind, detail["others"]) == ("non_finite", "not right")
