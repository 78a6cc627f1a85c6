"""What was done to a vector whose components are all there: named with its scale, through a store's rounding, never by chance."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World

from vecforensics.diff.compare.grids import Grid
from vecforensics.diff.explain.garbled import garbled

D = 48
TOLERANCE = 1e-5


def vectors(count: int = 6, dimension: int = D, seed: int = 1) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made


def said(expected: np.ndarray, actual: Any, tolerance: float = TOLERANCE) -> list[dict[str, Any]]:
    return garbled(expected, np.ascontiguousarray(actual, np.float32), tolerance)


def half_bits(one: np.ndarray) -> np.ndarray:
    return one.astype(np.float16).view(np.uint16)


FORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "negated": lambda one: -one,
    "signs lost": np.abs,
    "components in reverse": lambda one: one[:, ::-1],
    "halves exchanged": lambda one: np.roll(one, D // 2, axis=1),
    "components moved by 1": lambda one: np.roll(one, 1, axis=1),
    "components moved by -5": lambda one: np.roll(one, -5, axis=1),
    "components in another order": lambda one: one.reshape(-1, 6, 8).transpose(0, 2, 1).reshape(-1, D),
    "a constant added": lambda one: one + np.float32(0.5),
    "bytes in another order": lambda one: one.astype(">f4").view("<f4"),
    "doubles read as floats": lambda one: one[:, : D // 2].astype(np.float64).view(np.float32),
    "float16 read as bfloat16": lambda one: (half_bits(one).astype(np.uint32) << 16).view(np.float32),
    "bfloat16 read as float16": lambda one: (
        (one.view(np.uint32) >> 16).astype(np.uint16).view(np.float16).astype(np.float32)
    ),
    "floats read as whole numbers": lambda one: one.view(np.int32).astype(np.float32),
    "float16 read as whole numbers": lambda one: half_bits(one).astype(np.float32),
}
IN_PLACE = [
    "negated",
    "signs lost",
    "components in reverse",
    "halves exchanged",
    "components moved by 1",
    "components moved by -5",
    "components in another order",
]


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_named(form: str) -> None:
    one = vectors()
    assert said(one, FORMS[form](one)) == [{"form": form}] * len(one)


@pytest.mark.parametrize("form", IN_PLACE)
@pytest.mark.parametrize("factor", [2.0, 1 / 3])
def test_a_form_that_was_rescaled_says_by_how_much(form: str, factor: float) -> None:
    one = vectors()
    said_once = {"form": form, "scale": float(f"{factor:.4g}")}
    assert said(one, FORMS[form](one) * np.float32(factor)) == [said_once] * len(one)


@pytest.mark.parametrize("form", IN_PLACE)
@pytest.mark.parametrize(
    "stored",
    [
        lambda one: one * (1 + 1e-6 * np.random.default_rng(3).normal(size=one.shape)),
        lambda one: one.astype(np.float16),
    ],
    ids=["noise", "float16"],
)
def test_a_form_is_named_through_what_a_store_does_to_a_vector(
    form: str, stored: Callable[[np.ndarray], np.ndarray]
) -> None:
    one = vectors()
    assert said(one, stored(FORMS[form](one))) == [{"form": form}] * len(one)


def test_a_negated_vector_is_named_on_the_grid_of_its_store() -> None:
    one = vectors(dimension=4)
    step = np.array([np.abs(one).max() / 127])
    end = np.array([np.inf])
    grid = Grid(step, np.zeros(1), -end, end)
    held = (np.rint(-one / step) * step).astype(np.float32)
    assert garbled(one, held, TOLERANCE, grid) == [{"form": "negated"}] * len(one)


def test_one_component_that_was_lost_at_either_end_moved_the_others() -> None:
    one = vectors()
    lost_first = np.c_[one[:, 1:], np.zeros(len(one))]
    lost_last = np.c_[np.zeros(len(one)), one[:, :-1]]
    assert said(one, lost_first) == [{"form": "components moved by -1"}] * len(one)
    assert said(one, lost_last) == [{"form": "components moved by 1"}] * len(one)


@pytest.mark.parametrize("dimension", [1, 2, 3, 5, 8, 16, 64])
@pytest.mark.parametrize("tolerance", [0.0, 1e-5, 1e-2, 0.5])
def test_no_form_is_named_by_chance(dimension: int, tolerance: float) -> None:
    one, other = vectors(4000, dimension, 5), vectors(4000, dimension, 6)
    length = np.random.default_rng(7).uniform(0.5, 2, size=(4000, 1)).astype(np.float32)
    named = sum(map(bool, said(one, other * length, tolerance)))
    # At a tolerance of a hundredth eight dimensions are few.
    assert named <= (4 if dimension == 8 and tolerance >= 1e-2 else 0)


def test_two_texts_of_as_many_words_are_no_orders_of_one_another() -> None:
    rng = np.random.default_rng(2)
    rows = np.zeros((200, 256), np.float32)
    for row in rows:
        row[rng.choice(256, 12, replace=False)] = rng.choice([1, 2, 3], 12)
    counts = np.sort(rows, axis=1)
    assert not any(said(rows, rng.permuted(counts, axis=1)))
    assert not any(said(np.abs(rows), np.abs(rng.permuted(rows, axis=1)) * 2))


def test_what_is_no_number_or_nothing_has_no_form() -> None:
    one = vectors(3)
    assert said(np.zeros_like(one), one) == [{}] * 3
    assert said(one, np.zeros_like(one)) == [{}] * 3
    assert said(one[:0], one[:0]) == []


@pytest.mark.parametrize(("expected", "actual", "form"), [(0.5, -0.5, "negated"), (0.5, -0.7, None)])
def test_a_number_is_negated_only_where_its_size_is_the_same(
    expected: float, actual: float, form: str | None
) -> None:
    one, other = np.array([[expected]], np.float32), np.array([[actual]])
    assert said(one, other) == [{"form": form} if form else {}]


@pytest.mark.parametrize("count", [600, 100])
@pytest.mark.parametrize("form", ["signs lost", "bytes in another order"])
def test_vectors_garbled_in_one_way_are_drifted_in_that_form_and_nothing_else(
    tmp_path: Path, form: str, count: int
) -> None:
    """Without signs, vectors of few topics follow one map; with their bytes turned, one component decides where they point."""
    world = World.make(count=600, dimension=D, clustered=True, seed=2)
    world.parents = [None] * 600
    for row in range(count):
        with np.errstate(all="ignore"):
            world.vector(row, FORMS[form](world.expected[row : row + 1])[0].astype(np.float32))
    diff = investigate(world, tmp_path, impact=False)
    rows = diff.table.to_pylist()
    finite = [row for row in rows if row["kind"] != "non_finite"]
    assert len(rows) == count
    assert {row["kind"] for row in finite} == {"drifted"}
    assert {json.loads(row["detail"])["form"] for row in finite} == {form}
