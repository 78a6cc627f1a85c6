"""Another model's vectors against the same model's vectors of other texts: few topics, few dimensions, few rows."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World, make_vectors

from vecforensics.diff.explain.foreign import foreign_rows

Pairs = tuple[np.ndarray, np.ndarray]
GRID = [(topics, dimension) for topics in (1, 2, 3, 5, 8, 20) for dimension in (4, 16, 64, 384)]


def pairs_of(meaning: str, count: int, topics: int, dimension: int, seed: int) -> Pairs:
    """Expected and held vectors in a space of so many topics (0: of none), every second seed normalised."""
    rng = np.random.default_rng(seed)
    both = make_vectors(
        2 * count, dimension, rng, normalised=False, clustered=topics > 0, topics=topics or None
    ).astype(np.float64)
    expected, fresh = both[:count], both[count:]
    weights = rng.normal(size=(dimension, dimension)) / np.sqrt(dimension)
    if meaning == "other texts":
        held = fresh
    elif meaning == "noise":
        held = rng.normal(size=expected.shape)
    elif meaning == "turned":
        held = expected @ np.linalg.qr(weights)[0]
    else:
        held = np.tanh(expected @ weights)
    if seed % 2:
        expected, held = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (expected, held))
    return expected.astype(np.float32), held.astype(np.float32)


@pytest.mark.parametrize("topics", [2, 3, 5, 8])
@pytest.mark.parametrize("dimension", [16, 384])
def test_other_texts_of_few_topics_by_the_same_model_have_drifted(
    tmp_path: Path, topics: int, dimension: int
) -> None:
    world = World.make(1500, dimension=dimension, seed=3)
    made = make_vectors(1900, dimension, world.rng, normalised=False, clustered=True, topics=topics)
    world.expected, fresh = made[:1500], made[1500:]
    world.target = [(text, made[row].copy(), meta) for row, (text, _, meta) in enumerate(world.target)]
    for row, other in zip(world.take(400), fresh, strict=True):
        world.vector(row, other)
    counts = investigate(world, tmp_path, impact=False).counts
    assert counts["foreign_model"] == 0
    assert counts["drifted"] == 400


def test_noise_in_four_dimensions_is_no_group() -> None:
    for seed in range(12):
        expected, held = pairs_of("noise", 3000, 0, 4, seed)
        members, agreement = foreign_rows(expected, held)
        assert not members.any()
        assert not agreement.any()


@pytest.mark.parametrize("meaning", ["other texts", "noise"])
@pytest.mark.parametrize(("topics", "dimension"), GRID)
def test_what_follows_from_nothing_is_no_group(meaning: str, topics: int, dimension: int) -> None:
    for seed, count in enumerate((8, 40, 400)):
        assert not foreign_rows(*pairs_of(meaning, count, topics, dimension, seed))[0].any()


@pytest.mark.parametrize(("topics", "dimension"), GRID)
def test_turned_axes_are_found_in_few_topics_and_few_rows(topics: int, dimension: int) -> None:
    for seed, count in enumerate((8, 40, 400)):
        expected, held = pairs_of("turned", count, topics, dimension, seed + 4)
        assert foreign_rows(expected, held)[0].mean() >= 0.95


@pytest.mark.parametrize("topics", [0, 1, 2, 3, 5, 8, 20])
@pytest.mark.parametrize("dimension", [64, 384])
def test_a_model_of_another_kind_is_found_in_few_topics(topics: int, dimension: int) -> None:
    expected, held = pairs_of("another model", 400, topics, dimension, topics)
    assert foreign_rows(expected, held)[0].mean() >= 0.99


def test_texts_that_changed_within_their_topic_have_drifted() -> None:
    rng = np.random.default_rng(2)
    for topics in (1, 3, 8):
        centres = 2 * rng.normal(size=(topics, 64))
        topic = rng.integers(0, topics, 400)
        own, other = 0.4 * rng.normal(size=(2, 400, 64))
        expected = (centres[topic] + own).astype(np.float32)
        for kept in (0, 0.5):
            held = centres[topic] + kept * own + np.sqrt(1 - kept**2) * other
            assert not foreign_rows(expected, held.astype(np.float32))[0].any()


def test_the_group_is_told_from_other_texts_beside_it(tmp_path: Path) -> None:
    world = World.make(1200, dimension=64, topics=3, clustered=True, seed=5)
    turn = np.linalg.qr(world.rng.normal(size=(64, 64)))[0]
    foreign, noise = world.take(300), world.take(100)
    for row in foreign:
        world.vector(row, world.expected[row] @ turn)
    for row in noise:
        world.vector(row, world.rng.normal(size=64))
    diff = investigate(world, tmp_path, impact=False)
    said = {row["source_id"]: row["kind"] for row in diff.table.to_pylist()}
    assert Counter(said[world.ids[row]] for row in foreign) == {"foreign_model": 300}
    assert Counter(said[world.ids[row]] for row in noise) == {"drifted": 100}
    groups = {json.loads(text)["group"] for text in diff.of_kind("foreign_model")["detail"].to_pylist()}
    assert groups == {300}


def test_a_hundred_thousand_rows_of_another_model_take_about_a_second() -> None:
    expected, held = pairs_of("turned", 100_000, 5, 64, 1)
    began = perf_counter()
    assert foreign_rows(expected, held)[0].mean() > 0.99
    assert perf_counter() - began < 5
