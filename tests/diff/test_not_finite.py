"""NaN and infinity in a vector: which components, and are the others right? The same answer whatever the store does."""

from __future__ import annotations

import itertools
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


def partners(diff: Diff) -> dict[str, tuple[str, str | None, str]]:
    return {
        row["source_id"]: (row["kind"], row["partner_id"], json.loads(row["detail"])["others"])
        for row in diff.table.to_pylist()
        if row["severity"] == "corrupt"
    }


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_whose_the_other_components_are_is_said_where_they_are_another_records(
    tmp_path: Path, name: str, clustered: bool
) -> None:
    store = rounded_but_for_what_is_not_finite(ALL[name])
    world = World.make(count=300, dimension=48, seed=6, normalised=False, clustered=clustered)
    for row in range(300):
        world.vector(row, store(world.expected[row]))
    one, two, run, most, few, nobody = world.take(6)
    owner, other = world.take(2)

    def put(row: int, base: np.ndarray, places: Any, value: Any) -> None:
        vector = base.copy()
        vector[places] = value
        world.vector(row, store(vector))

    put(one, world.expected[two], 7, np.nan)
    put(two, world.expected[one], [3, 40], [np.inf, np.nan])
    put(run, world.expected[owner], slice(8, 40), np.nan)
    put(most, world.expected[other], slice(12, 48), np.nan)
    put(few, world.expected[other], slice(3, 48), np.nan)
    put(nobody, world.rng.normal(size=48).astype(np.float32), 0, np.nan)
    ids, another = world.ids, "another record's"
    assert partners(investigate(world, tmp_path, impact=False)) == {
        ids[one]: ("non_finite", ids[two], another),
        ids[two]: ("non_finite", ids[one], another),
        ids[run]: ("non_finite", ids[owner], another),
        ids[most]: ("non_finite", ids[other], another),
        ids[few]: ("non_finite", None, "not right"),
        ids[nobody]: ("non_finite", None, "not right"),
    }


def test_an_owner_among_several_of_the_other_components_is_not_said(tmp_path: Path) -> None:
    world = World.make(count=100, dimension=24)
    row, first, second, third = world.take(4)
    # Two records are the same in all that is left, a third one is nearly so.
    world.expected[second] = world.expected[first]
    world.expected[second][5] += 1
    world.expected[third] = world.expected[first] * (1 + 1e-6 * world.rng.normal(size=24))
    for one in (second, third):
        world.vector(one, world.expected[one])
    vector = world.expected[first].copy()
    vector[5] = np.nan
    world.vector(row, vector)
    diff = investigate(world, tmp_path / "both", impact=False)
    assert partners(diff) == {world.ids[row]: ("non_finite", None, "not right")}
    vector[6:8] = np.nan
    world.expected[second][9] += 1
    world.vector(second, world.expected[second])
    world.vector(row, vector)
    diff = investigate(world, tmp_path / "one", impact=False)
    assert partners(diff) == {world.ids[row]: ("non_finite", world.ids[first], "another record's")}


def test_owners_of_other_components_do_not_depend_on_buckets_and_are_looked_for_within_a_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World.make(count=200, dimension=16)
    rows = sorted(world.take(6))
    for row, owner in zip(rows, rows[1:] + rows[:1], strict=True):
        vector = world.expected[owner].copy()
        vector[row % 16] = np.nan
        world.vector(row, vector)
    monkeypatch.setattr("vecforensics.diff.explain.owners_of_rests._BUDGET", 4 * 2 * 200 * 16)
    seen = set()
    for buckets in (1, 5):
        diff = investigate(world, tmp_path / str(buckets), buckets=buckets, impact=False)
        named = {text: partner for text, (_, partner, _) in partners(diff).items() if partner}
        assert named == {world.ids[row]: world.ids[owner] for row, owner in itertools.pairwise(rows[:5])}
        assert any("2 vectors with NaN or infinity" in note for note in diff.collections["things"].notes)
        seen.add(json.dumps(diff.as_dict(), sort_keys=True))
    assert len(seen) == 1


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
