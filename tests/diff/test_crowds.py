"""Whose vector is this, where thousands of vectors are much alike: boilerplate texts, one topic, one text a thousand times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World

from vecforensics.diff import Diff
from vecforensics.findings import Kind
from vecforensics.run_folder import RunFolder

COUNT, PAIRS = 4000, 40


def crowd(tight: float, change: str, clusters: int = 2) -> tuple[World, dict[str, str]]:
    """Clusters in which a vector is `tight` (a share of its length) from its centre; 40 pairs exchanged, each with a
    `change`. The world, and whose vector stands under each id."""
    rng = np.random.default_rng(7)
    world = World.make(count=COUNT, seed=7)
    centres = rng.normal(size=(clusters, world.dimension))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    spread = tight * rng.normal(size=(COUNT, world.dimension)) / np.sqrt(world.dimension)
    world.expected = (centres[rng.integers(0, clusters, COUNT)] + spread).astype(np.float32)
    held = world.expected.copy()
    pairs = rng.permutation(COUNT)[: 2 * PAIRS].reshape(-1, 2)
    for one, other in pairs.tolist():
        for row, owner in ((one, other), (other, one)):
            vector = world.expected[owner]
            if change == "noise":
                vector = vector * (1 + rng.normal(size=world.dimension).astype(np.float32) * np.float32(1e-6))
            elif change == "float16":
                vector = vector.astype(np.float16).astype(np.float32)
            held[row] = vector
    world.target = [(text, held[row], world.metadata[row]) for row, text in enumerate(world.ids)]
    owners = {
        world.ids[row]: world.ids[owner] for pair in pairs.tolist() for row, owner in (pair, pair[::-1])
    }
    return world, owners


def named(diff: Diff) -> dict[str, str]:
    rows = diff.table.to_pylist()
    return {row["source_id"]: row["partner_id"] for row in rows if row["kind"] == Kind.SWAPPED.value}


@pytest.mark.parametrize("change", ["none", "noise", "float16"])
def test_exchanged_vectors_in_a_crowd_are_named_whatever_the_buckets(tmp_path: Path, change: str) -> None:
    written = set()
    for buckets in (1, 4):
        world, owners = crowd(0.05, change)
        diff = investigate(world, tmp_path / str(buckets), buckets=buckets, workers=2)
        assert named(diff) == owners
        run = RunFolder.open(diff.path)
        written.add((run.findings_json.read_bytes(), run.findings_parquet.read_bytes()))
    assert len(written) == 1


def test_vectors_that_differ_by_less_than_the_tolerance_are_nobodys_damage(tmp_path: Path) -> None:
    world, _ = crowd(1e-5, "noise", clusters=1)
    diff = investigate(world, tmp_path, workers=2)
    assert diff.verdict.value == "clean"


def test_a_strangers_vector_in_a_crowd_stays_nobodys(tmp_path: Path) -> None:
    world, owners = crowd(0.05, "noise")
    rng = np.random.default_rng(8)
    away = [row for row, text in enumerate(world.ids) if text not in owners][:30]
    for row in away:
        text, _, metadata = world.target[row]
        stranger = rng.normal(size=world.dimension).astype(np.float32)
        world.target[row] = (text, stranger, metadata)
    diff = investigate(world, tmp_path, buckets=2, workers=2)
    rows = diff.table.to_pylist()
    drifted = {row["source_id"] for row in rows if row["kind"] == Kind.DRIFTED.value}
    assert drifted == {world.ids[row] for row in away}
    assert named(diff) == owners
