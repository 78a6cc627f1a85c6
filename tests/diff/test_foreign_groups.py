"""Another model's vectors against the same model's vectors of other texts: few topics, few dimensions, few rows."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World, make_vectors

from vecforensics.diff.explain.foreign import foreign_groups
from vecforensics.diff.explain.foreign_learn import learn_groups
from vecforensics.embedding import open_embedder

Pairs = tuple[np.ndarray, np.ndarray]
GRID = [(topics, dimension) for topics in (1, 2, 8) for dimension in (4, 16, 384)]


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


def members_of(expected: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Whether each row belongs to any group."""
    return groups_of(expected, held) >= 0


def groups_of(expected: np.ndarray, held: np.ndarray) -> np.ndarray:
    return foreign_groups(lambda rows: (expected[rows], held[rows]), np.arange(len(expected)))[0]


@pytest.mark.parametrize(("topics", "dimension"), [(2, 16), (2, 384), (8, 16)])
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
    for seed in range(2):
        assert not members_of(*pairs_of("noise", 3000, 0, 4, seed)).any()


@pytest.mark.parametrize("meaning", ["other texts", "noise"])
@pytest.mark.parametrize(("topics", "dimension"), GRID)
def test_what_follows_from_nothing_is_no_group(meaning: str, topics: int, dimension: int) -> None:
    for seed, count in enumerate((8, 40, 240)):
        assert not members_of(*pairs_of(meaning, count, topics, dimension, seed)).any()


@pytest.mark.parametrize(("topics", "dimension"), GRID)
def test_turned_axes_are_found_in_few_topics_and_few_rows(topics: int, dimension: int) -> None:
    for seed, count in enumerate((8, 40, 240)):
        expected, held = pairs_of("turned", count, topics, dimension, seed + 4)
        assert members_of(expected, held).mean() >= 0.95


@pytest.mark.parametrize(("topics", "dimension"), [(0, 384), (1, 64), (2, 384), (8, 64)])
def test_a_model_of_another_kind_is_found_in_few_topics(topics: int, dimension: int) -> None:
    expected, held = pairs_of("another model", 400, topics, dimension, topics)
    assert members_of(expected, held).mean() >= 0.99


def test_texts_that_changed_within_their_topic_have_drifted() -> None:
    rng = np.random.default_rng(2)
    for topics in (1, 3, 8):
        centres = 2 * rng.normal(size=(topics, 64))
        topic = rng.integers(0, topics, 400)
        own, other = 0.4 * rng.normal(size=(2, 400, 64))
        expected = (centres[topic] + own).astype(np.float32)
        for kept in (0, 0.5):
            held = centres[topic] + kept * own + np.sqrt(1 - kept**2) * other
            assert not members_of(expected, held.astype(np.float32)).any()


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


@pytest.mark.parametrize("topics", [0, 12])
@pytest.mark.parametrize("sizes", [(100, 100), (200, 50, 150)])
def test_each_of_several_models_is_a_group_of_its_own(
    tmp_path: Path, topics: int, sizes: tuple[int, ...]
) -> None:
    world = World.make(400, dimension=64, clustered=topics > 0, topics=topics or None, seed=11)
    wanted, start = {}, 0
    for size in sizes:
        turn = np.linalg.qr(world.rng.normal(size=(64, 64)))[0]
        for row in range(start, start + size):
            world.vector(row, world.expected[row] @ turn)
            wanted[world.ids[row]] = (size, world.ids[start])
        start += size
    diff = investigate(world, tmp_path, impact=False)
    assert diff.counts["drifted"] == 0
    found = {}
    for row in diff.of_kind("foreign_model").to_pylist():
        detail = json.loads(row["detail"])
        found[row["source_id"]] = (detail["group"], detail["group_of"])
    assert found == wanted


@pytest.mark.parametrize("dimension", [64, 384])
def test_models_that_bend_the_space_are_not_mixed(dimension: int) -> None:
    expected, held = pairs_of("another model", 400, 0, dimension, 1)
    weights = np.random.default_rng(5).normal(size=(dimension, dimension)) / np.sqrt(dimension)
    other = np.tanh(expected[::2] * np.sqrt(dimension) @ weights)
    held[::2] = other / np.linalg.norm(other, axis=1, keepdims=True)
    groups = groups_of(expected, held)
    assert (groups[::2] == 0).mean() >= 0.98
    assert (groups[1::2] == 1).mean() >= 0.98


def test_a_row_that_is_right_but_for_the_sign_of_one_component_is_no_other_models(tmp_path: Path) -> None:
    world = World.make(400, dimension=64, clustered=True, topics=12, seed=11)
    for row in range(400):
        vector = world.expected[row].copy()
        vector[world.rng.integers(0, 64)] *= -1
        world.vector(row, vector)
    diff = investigate(world, tmp_path, impact=False)
    assert diff.counts["foreign_model"] == 0
    assert {json.loads(text)["right"] for text in diff.of_kind("drifted")["detail"].to_pylist()} == {0.9844}


def test_texts_with_their_words_in_another_order_have_drifted(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    words = np.array(
        ["alpha", "beta", "delta", "red", "green", "blue", "cat", "dog", "house", "river", "cloud"]
    )
    texts = [f"Profile {n % 6}: likes {' '.join(rng.choice(words, 12))}, town {n % 50}." for n in range(600)]
    embed = open_embedder("hashing-384", tmp_path).embed
    world = World.make(600, dimension=384, seed=4)
    world.expected = embed(texts)
    world.target = [
        (text, world.expected[row].copy(), meta) for row, (text, _, meta) in enumerate(world.target)
    ]
    for row in range(100, 300):
        world.vector(row, embed([" ".join(rng.permutation(texts[row].split()))])[0])
    diff = investigate(world, tmp_path, impact=False)
    assert diff.counts["foreign_model"] == 0
    assert diff.counts["drifted"] > 190


def test_a_hundred_thousand_rows_of_another_model_are_judged_by_one_map_learnt_from_a_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected, held = pairs_of("turned", 100_000, 5, 64, 1)
    learnt: list[int] = []

    def learn(one: np.ndarray, other: np.ndarray) -> Any:
        learnt.append(len(one))
        return learn_groups(one, other)

    monkeypatch.setattr("vecforensics.diff.explain.foreign.learn_groups", learn)
    assert members_of(expected, held).mean() > 0.99
    assert len(learnt) <= 2
    assert max(learnt) <= 1024
