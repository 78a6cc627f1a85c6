"""Several rows under one id: what is said of them does not hang on the order in which the store lists them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World

SHUFFLES = range(6)


@pytest.mark.parametrize("expected", [True, False])
@pytest.mark.parametrize("broken", ["NaN", "short", "nothing"])
def test_two_rows_of_the_same_broken_bytes_agree(tmp_path: Path, broken: str, expected: bool) -> None:
    world = World.make(count=100, dimension=8)
    vectors: dict[str, Any] = {
        "NaN": np.where(np.arange(8) == 3, np.nan, world.expected[7]),
        "short": world.expected[7][:5],
        "nothing": np.empty(0),
    }
    for row in (7, 9):
        world.vector(row, vectors[broken])
        text, vector, metadata = world.target[row]
        world.target.append((text, vector.copy(), dict(metadata)))
    # A third row under the one id, which differs from the two in its last number.
    text, vector, metadata = world.target[9]
    other = np.append(vector[:-1], np.float32(2.5)).astype(np.float32)
    world.target.append((text, other, dict(metadata)))
    diff = investigate(world, tmp_path, impact=False, expected=expected)
    details = [(row["source_id"], json.loads(row["detail"])) for row in diff.of_kind("duplicate").to_pylist()]
    assert [detail for text, detail in details if text == world.ids[7]] == [{"form": "same id"}]
    assert {"form": "same id", "vector": "another"} in [
        detail for text, detail in details if text == world.ids[9]
    ]


@pytest.mark.parametrize("buckets", [1, 3])
def test_a_further_row_says_how_its_vector_stands_to_the_records(tmp_path: Path, buckets: int) -> None:
    world = World.make(count=100, dimension=24)
    old = world.rng.normal(size=24).astype(np.float32)
    world.earlier.append((world.ids[12], old))
    further = {
        7: world.expected[7] * 2,
        8: world.expected[8].astype(np.float16),
        9: world.expected[9] * (1 + 1e-6 * world.rng.normal(size=24)),
        10: world.expected[30],
        11: np.zeros(24),
        12: old,
        13: np.append(world.expected[13], 1),
        14: world.expected[14],
    }
    for row, vector in further.items():
        world.target.append((world.ids[row], np.asarray(vector, np.float32), dict(world.metadata[row])))
    diff = investigate(world, tmp_path, impact=False, buckets=buckets)
    said = {row["source_id"]: json.loads(row["detail"]) for row in diff.of_kind("duplicate").to_pylist()}
    assert [said[world.ids[row]] for row in further] == [
        {"form": "same id", "vector": "its own at another length"},
        {"form": "same id", "vector": "its own as float16"},
        {"form": "same id", "vector": "its own but for float noise"},
        {"form": "same id", "vector": "another"},
        {"form": "same id", "vector": "another"},
        {"form": "same id", "vector": "its own of an earlier version", "version": "0000"},
        {"form": "same id", "vector": "another"},
        {"form": "same id"},
    ]


def test_batch_and_worker_are_those_of_the_row_that_is_compared(tmp_path: Path) -> None:
    """Its metadata are the source's; the retry's are not."""
    seen = set()
    for shuffle in SHUFFLES:
        world = World.make(count=100, dimension=8, seed=1)
        for text, vector, metadata in world.target[:20]:
            metadata["batch"] = 1
            world.target.append(
                (text, vector.copy(), {**metadata, "plan": "retried", "batch": 2, "worker": 3})
            )
        diff = investigate(world, tmp_path / str(shuffle), impact=False, shuffle=shuffle)
        assert set(diff.of_kind("duplicate")["batch"].to_pylist()) == {"1"}
        assert diff.table["worker"].null_count == diff.table.num_rows
        seen.add((diff.path / "findings.parquet").read_bytes())
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("field", "first", "later"),
    [("written_at", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"), ("seq", 0, 10_000)],
)
@pytest.mark.parametrize("early", [False, True])
def test_a_retry_of_the_parent_does_not_make_the_child_the_earlier_one(
    tmp_path: Path, early: bool, field: str, first: Any, later: Any
) -> None:
    for shuffle in SHUFFLES:
        world = World.make(count=100, dimension=8, seed=1)
        for n, (_, _, metadata) in enumerate(world.target):
            metadata[field] = f"2026-01-01T00:{n // 60:02d}:{n % 60:02d}Z" if field == "written_at" else n
        text, vector, metadata = world.target[20]
        world.target[20][2][field] = later if early else first
        world.target.append((text, vector.copy(), {**metadata, field: later}))
        diff = investigate(world, tmp_path / str(shuffle), impact=False, shuffle=shuffle)
        assert diff.of_kind("premature")["source_id"].to_pylist() == ([world.ids[70]] if early else [])


def test_of_a_row_without_a_time_nobody_knows_whether_it_was_the_first(tmp_path: Path) -> None:
    for shuffle in SHUFFLES:
        world = World.make(count=100, dimension=8, seed=1)
        for n, (_, _, metadata) in enumerate(world.target):
            metadata["written_at"] = f"2026-01-01T00:{n // 60:02d}:{n % 60:02d}Z"
        text, vector, metadata = world.target[20]
        world.target.append((text, vector.copy(), dict(metadata)))
        del world.target[-1][2]["written_at"]
        metadata["written_at"] = "2026-01-02T00:00:00Z"
        diff = investigate(world, tmp_path / str(shuffle), impact=False, shuffle=shuffle)
        assert diff.counts["premature"] == 0
