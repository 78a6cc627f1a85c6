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


SAME = 3000


def one_vector(missing: dict[int, dict[str, object]]) -> World:
    """Three thousand records that expect one vector; those missing carry metadata of their own."""
    world = World.make(count=SAME, dimension=16, seed=3)
    world.expected[:] = world.expected[0]
    world.parents = [None] * SAME
    world.metadata = [{"plan": "free", "score": n % 7, "tags": [f"t{n % 5}"]} for n in range(SAME)]
    for row, metadata in missing.items():
        world.metadata[row] = dict(metadata)
    world.target = [
        (text, world.expected[row].copy(), dict(world.metadata[row]))
        for row, text in enumerate(world.ids)
        if row not in missing
    ]
    return world


def kinds(diff: Diff) -> dict[str, int]:
    return {kind: count for kind, count in diff.counts.items() if count}


@pytest.mark.parametrize("change", ["none", "float16"])
@pytest.mark.parametrize("others", [0, 1, 40])
def test_a_lost_id_among_thousands_of_equal_vectors_is_the_missing_records(
    tmp_path: Path, others: int, change: str
) -> None:
    lost = {"plan": "team", "score": 99, "tags": ["x"]}
    # The others are missing too, and nothing stands for them.
    gone = {2900 - 50 * n: {"plan": "pro", "score": n, "tags": []} for n in range(1, others + 1)}
    world = one_vector({2900: lost, **gone})
    vector = world.expected[0].astype(np.float16) if change == "float16" else world.expected[0]
    world.target.append(("NaN", vector.astype(np.float32), dict(lost)))
    diff = investigate(world, tmp_path, buckets=4, impact=False)
    assert diff.of_kind("mangled_id")["source_id"].to_pylist() == [world.ids[2900]]
    assert diff.of_kind("mangled_id")["target_id"].to_pylist() == ["NaN"]
    assert diff.counts["missing"] == others
    assert diff.counts["duplicate"] == diff.counts["orphan"] == 0


def test_a_missing_record_with_the_metadata_of_present_ones_is_preferred_to_them(tmp_path: Path) -> None:
    world = one_vector({2900: {"plan": "free", "score": 3, "tags": ["t0"]}})
    world.target.append(("NaN", world.expected[0].copy(), dict(world.metadata[2900])))
    assert kinds(investigate(world, tmp_path, impact=False)) == {"mangled_id": 1}


def test_a_copy_with_the_metadata_of_a_present_record_is_not_the_missing_one(tmp_path: Path) -> None:
    world = one_vector({2900: {"plan": "team", "score": 99, "tags": ["x"]}})
    world.target.append(("NaN", world.expected[0].copy(), dict(world.metadata[4])))
    assert kinds(investigate(world, tmp_path / "crowd", impact=False)) == {"duplicate": 1, "missing": 1}
    few = World.make(count=60, dimension=16)
    few.expected[7] = few.expected[4]
    few.parents = [None] * 60
    few.target[4] = (few.ids[4], few.expected[4].copy(), few.metadata[4])
    few.target[7] = ("NaN", few.expected[4].copy(), dict(few.metadata[4]))
    diff = investigate(few, tmp_path / "few", impact=False)
    assert kinds(diff) == {"duplicate": 1, "missing": 1}
    assert diff.of_kind("duplicate")["source_id"].to_pylist() == [few.ids[4]]


def test_a_copy_is_the_records_that_alone_has_its_metadata_wherever_it_stands(tmp_path: Path) -> None:
    world = one_vector({})
    world.metadata[1500] = {"plan": "team", "score": 99, "tags": ["x"]}
    world.target[1500] = (world.ids[1500], world.expected[1500].copy(), dict(world.metadata[1500]))
    world.target.append(("copy", world.expected[0].copy(), {**world.metadata[1500], "batch": 7}))
    diff = investigate(world, tmp_path, buckets=4, impact=False)
    assert kinds(diff) == {"duplicate": 1}
    assert diff.of_kind("duplicate")["source_id"].to_pylist() == [world.ids[1500]]


def test_a_copy_with_metadata_of_nobody_is_some_records(tmp_path: Path) -> None:
    world = one_vector({})
    world.target.append(("copy", world.expected[0].copy(), {"plan": "nobody's"}))
    world.target.append(("copy without any", world.expected[0].copy(), {}))
    assert kinds(investigate(world, tmp_path, impact=False)) == {"duplicate": 2}


def test_two_missing_records_that_nothing_tells_apart_leave_an_orphan(tmp_path: Path) -> None:
    lost = {"plan": "team", "score": 99, "tags": ["x"]}
    world = one_vector({2800: lost, 2900: lost})
    world.target.append(("NaN", world.expected[0].copy(), dict(lost)))
    assert kinds(investigate(world, tmp_path, impact=False)) == {"missing": 2, "orphan": 1}
