"""Nobody knows the right vectors: what a target shows by itself, and that it accuses nobody where nothing is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import planted_run
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planted_run import investigate
from planted_world import World

from vecforensics.diff import Diff
from vecforensics.diff.explain import neighbours
from vecforensics.findings import Verdict


def suspected(diff: Diff, what: str) -> set[str]:
    return {
        row["source_id"]
        for row in diff.of_kind("unchecked").to_pylist()
        if row["source_id"] is not None and json.loads(row["detail"])["suspicion"] == what
    }


def with_noise(world: World, count: int) -> set[str]:
    """Replace some vectors by noise of the same length."""
    rows = world.take(count)
    for row in rows:
        noise = world.rng.normal(size=world.dimension)
        world.vector(row, noise * np.linalg.norm(world.expected[row]) / np.linalg.norm(noise))
    return {world.ids[row] for row in rows}


@settings(max_examples=16, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.fixed_dictionaries(
        {
            "count": st.sampled_from([60, 300, 900]),
            "dimension": st.sampled_from([2, 3, 8, 16, 33, 96]),
            "normalised": st.booleans(),
            "clustered": st.booleans(),
            "seed": st.integers(0, 10_000),
        }
    )
)
def test_a_clean_target_is_suspected_of_nothing(
    tmp_path_factory: pytest.TempPathFactory, shape: dict[str, int]
) -> None:
    diff = investigate(World.make(**shape), tmp_path_factory.mktemp("clean"), expected=False)  # type: ignore[arg-type]
    assert suspected(diff, "neighbours") == set()
    assert diff.rows_corrupt == 0
    assert diff.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("normalised", [True, False])
def test_noise_between_the_clusters_stands_alone(tmp_path: Path, normalised: bool) -> None:
    world = World.make(count=800, dimension=64, clustered=True, normalised=normalised, seed=5)
    bad = with_noise(world, 12)
    diff = investigate(world, tmp_path, expected=False)
    assert suspected(diff, "neighbours") == bad
    assert diff.verdict is Verdict.UNKNOWN
    assert (
        "800 of 800 different vectors were compared with their nearest neighbours"
        in diff.collections["things"].notes
    )


@pytest.mark.parametrize("other", ["a record", "a stray"])
def test_all_holders_of_a_lonely_vector_are_named_however_the_store_lists_them(
    tmp_path: Path, other: str
) -> None:
    seen = []
    for number, (shuffle, buckets) in enumerate([(1, 1), (2, 1), (3, 4), (4, 4)]):
        world = World.make(count=400, dimension=48, clustered=True, seed=2)
        bad = with_noise(world, 1)
        noise = next(vector for text, vector, _ in world.target if text in bad)
        if other == "a record":
            row = world.take(1)[0]
            world.vector(row, noise)
            bad.add(world.ids[row])
        else:
            world.target.append(("stray", noise.copy(), {}))
        diff = investigate(
            world, tmp_path / str(number), expected=False, impact=False, shuffle=shuffle, buckets=buckets
        )
        assert suspected(diff, "neighbours") == bad
        seen.append((diff.path / "findings.parquet").read_bytes())
    assert len(set(seen)) == 1


def test_of_too_many_suspicious_rows_the_same_are_named_however_the_store_lists_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vecforensics.diff.explain.alone._MOST_SUSPICIOUS", 5)
    seen = set()
    for shuffle, buckets in ((1, 1), (2, 4)):
        world = World.make(count=400, dimension=16, seed=2)
        for row in world.take(12):
            world.vector(row, np.full(16, 3.0))
        diff = investigate(
            world, tmp_path / str(shuffle), expected=False, impact=False, shuffle=shuffle, buckets=buckets
        )
        seen.add(frozenset(suspected(diff, "length")))
    assert [len(one) for one in seen] == [5]


def test_in_a_space_without_clusters_noise_cannot_be_seen(tmp_path: Path) -> None:
    world = World.make(count=500, dimension=64, seed=5)
    with_noise(world, 12)
    assert suspected(investigate(world, tmp_path, expected=False), "neighbours") == set()


def test_neighbours_of_a_clump_of_near_copies_are_not_accused(tmp_path: Path) -> None:
    world = World.make(count=600, dimension=48, clustered=True, seed=2)
    owner, *rest = world.take(40)
    for row in rest:
        world.vector(row, world.expected[owner] * (1 + 1e-6 * world.rng.normal(size=48)))
    assert suspected(investigate(world, tmp_path, expected=False), "neighbours") == set()


def test_beyond_the_budget_a_sample_is_searched_and_the_note_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "_MOST", 500)
    world = World.make(count=900, dimension=32, clustered=True, seed=3)
    bad = with_noise(world, 30)
    seen = set()
    for number, buckets in enumerate((1, 5)):
        diff = investigate(world, tmp_path / str(number), expected=False, buckets=buckets)
        assert diff.collections["things"].notes[-1].startswith("500 of 900 different vectors")
        found = suspected(diff, "neighbours")
        assert found <= bad
        assert 8 <= len(found) <= 25
        seen.add(frozenset(found))
    assert len(seen) == 1


def test_swapped_vectors_show_nothing_by_themselves(tmp_path: Path) -> None:
    world = World.make(count=300, dimension=32, clustered=True)
    one, other = world.take(2)
    world.vector(one, world.expected[other])
    world.vector(other, world.expected[one])
    diff = investigate(world, tmp_path, expected=False)
    assert suspected(diff, "neighbours") == set()
    assert diff.verdict is Verdict.UNKNOWN


def test_copies_with_float_noise_are_copies(tmp_path: Path) -> None:
    world = World.make(count=400, dimension=32, seed=8)
    owner, *rest = world.take(7)
    for row in rest:
        world.vector(row, world.expected[owner] * (1 + 1e-6 * world.rng.normal(size=32)))
    kept = world.take(4)
    for n, row in enumerate(kept):
        _, vector, metadata = world.target[world.place(world.ids[row])]
        noisy = vector * (1 + 1e-7 * world.rng.normal(size=32)).astype(np.float32)
        world.target.append((f"retry-{n}", noisy, dict(metadata)))
    world.target.append(("nothing", np.zeros(32, np.float32), {}))
    world.vector(world.take(1)[0], np.zeros(32))
    diff = investigate(world, tmp_path, expected=False, impact=False)
    assert set(diff.of_kind("broadcast")["source_id"].to_pylist()) == {
        world.ids[row] for row in (owner, *rest)
    }
    copies = {row["target_id"]: row["source_id"] for row in diff.of_kind("duplicate").to_pylist()}
    assert copies == {f"retry-{n}": world.ids[row] for n, row in enumerate(kept)}
    assert diff.of_kind("orphan")["target_id"].to_pylist() == ["nothing"]


def test_texts_that_are_the_same_may_share_a_vector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World.make(count=90, dimension=16, seed=8)
    for row in range(10, 20):
        world.vector(row, world.expected[10])
    same = {world.ids[row]: "an Empty note!" if row % 2 else "An empty note" for row in range(10, 20)}
    monkeypatch.setattr(planted_run, "text_of", lambda text: same.get(text, f"text of {text}"))
    diff = investigate(world, tmp_path, expected=False, impact=False)
    assert diff.counts["broadcast"] == 0


def test_where_only_some_records_have_an_expected_vector_copies_are_seen_in_the_target(
    tmp_path: Path,
) -> None:
    world = World.make(count=100, dimension=16, seed=8)
    world.expected[50:] = np.nan
    for row in (3, 70):
        text, vector, metadata = world.target[row]
        world.target.append((f"again {row}", vector.copy(), dict(metadata)))
        assert text == world.ids[row]
    diff = investigate(world, tmp_path, impact=False)
    copies = {row["target_id"]: row["source_id"] for row in diff.of_kind("duplicate").to_pylist()}
    assert copies == {"again 3": world.ids[3], "again 70": world.ids[70]}
    assert diff.verdict is Verdict.CORRUPT


@pytest.mark.parametrize("everybody", [True, False])
def test_a_vector_under_many_ids_may_be_that_of_a_record_of_which_nothing_is_expected(
    tmp_path: Path, everybody: bool
) -> None:
    world = World.make(count=100, dimension=16, seed=8)
    for row in range(10, 15):
        world.vector(row, world.expected[70] if not everybody else world.rng.normal(size=16))
    for row in range(11, 15):
        world.vector(row, world.target[10][1])
    if not everybody:
        world.expected[50:] = np.nan
    diff = investigate(world, tmp_path, impact=False)
    owners = {json.loads(row["detail"])["owner"] for row in diff.of_kind("broadcast").to_pylist()}
    assert owners == {"nobody" if everybody else "unknown"}


def test_an_id_that_was_lost_is_paired_by_metadata_that_only_one_record_has(tmp_path: Path) -> None:
    world = World.make(count=100, dimension=16, seed=8)
    for row, text in ((3, "NaN"), (50, "7f3a-fresh"), (70, "also fresh"), (71, "still fresh")):
        world.target[row] = (text, *world.target[row][1:])
    # What two records have says nothing; neither does what the target holds and no record has.
    world.metadata[70] = dict(world.metadata[71])
    world.target[70] = (*world.target[70][:2], {**world.metadata[70], "batch": 4})
    world.target[50][2].update({"batch": 3, "score": float(world.metadata[50]["score"])})
    diff = investigate(world, tmp_path, expected=False, impact=False, store="pinecone")
    pairs = {
        row["target_id"]: (row["source_id"], json.loads(row["detail"]))
        for row in diff.of_kind("mangled_id").to_pylist()
    }
    assert pairs == {
        "NaN": (world.ids[3], {"by": "metadata", "conversion": "id lost"}),
        "7f3a-fresh": (world.ids[50], {"by": "metadata", "conversion": "another id"}),
    }
    assert diff.counts["missing"] == diff.counts["orphan"] == 2
    assert diff.collections["things"].checked == 2


def test_metadata_of_few_values_pair_nobody(tmp_path: Path) -> None:
    world = World.make(count=100, dimension=16, seed=8)
    for row in range(100):
        world.metadata[row] = {"plan": ("free", "pro", "team")[row % 3]}
        world.target[row] = (*world.target[row][:2], dict(world.metadata[row]))
    world.target[3] = ("NaN", *world.target[3][1:])
    diff = investigate(world, tmp_path, expected=False, impact=False)
    assert (diff.counts["missing"], diff.counts["orphan"], diff.counts["mangled_id"]) == (1, 1, 0)
