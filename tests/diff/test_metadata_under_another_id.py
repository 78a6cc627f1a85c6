"""Records under a mangled id: their metadata are compared as those of all others, and may add a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from planted_run import investigate
from planted_world import World

from vecforensics.diff import Diff


def drifted(diff: Diff) -> dict[tuple[str, str], dict[str, Any]]:
    """(source id, target id) → the fields that drifted."""
    return {
        (row["source_id"], row["target_id"]): json.loads(row["detail"])["fields"]
        for row in diff.of_kind("metadata_drift").to_pylist()
    }


@pytest.mark.parametrize("expected", [True, False], ids=["vectors expected", "no vectors expected"])
def test_lost_zeros_and_a_wrong_plan_are_two_findings(tmp_path: Path, expected: bool) -> None:
    world = World.make(count=200, shape="padded")
    world.parents = [None] * 200
    for row in range(100):
        text, vector, metadata = world.target[row]
        world.target[row] = (text.lstrip("0"), vector, metadata | {"plan": "gone"})
    diff = investigate(world, tmp_path, expected=expected, impact=False)
    assert diff.counts["mangled_id"] == diff.counts["metadata_drift"] == 100
    assert drifted(diff) == {
        (world.ids[row], world.ids[row].lstrip("0")): {
            "plan": {"change": "changed", "expected": world.metadata[row]["plan"], "actual": "gone"}
        }
        for row in range(100)
    }
    assert diff.collections["things"].records_corrupt == 100


def test_a_lost_id_over_the_right_vector_and_a_field_too_few_are_two_findings(tmp_path: Path) -> None:
    world = World.make(count=200)
    text, vector, metadata = world.target[7]
    world.target[7] = ("nan", vector, {key: value for key, value in metadata.items() if key != "plan"})
    diff = investigate(world, tmp_path, impact=False)
    assert drifted(diff) == {(text, "nan"): {"plan": {"change": "missing", "expected": metadata["plan"]}}}
    assert diff.counts["mangled_id"] == 1


def test_a_mangled_id_over_metadata_that_are_right_is_one_finding(tmp_path: Path) -> None:
    world = World.make(count=200, shape="padded")
    for row in range(100):
        text, vector, metadata = world.target[row]
        world.target[row] = (text.lstrip("0"), vector, metadata | {"batch": 1})
    diff = investigate(world, tmp_path, impact=False)
    assert diff.counts["mangled_id"] == 100
    assert diff.counts["metadata_drift"] == 0


def test_what_a_store_does_by_nature_is_no_drift_under_a_mangled_id_either(tmp_path: Path) -> None:
    world = World.make(count=50, shape="padded")
    text, vector, metadata = world.target[3]
    world.target[3] = (text.lstrip("0"), vector, metadata | {"score": float(metadata["score"])})
    assert investigate(world, tmp_path / "a", store="pinecone", impact=False).counts["metadata_drift"] == 0
    assert investigate(world, tmp_path / "b", store="qdrant", impact=False).counts["metadata_drift"] == 1


def test_a_young_row_under_a_mangled_id_is_pending_with_all_that_it_seems(tmp_path: Path) -> None:
    world = World.make(count=50, shape="padded")
    text, vector, metadata = world.target[3]
    world.target[3] = (text.lstrip("0"), vector, metadata | {"plan": "gone"})
    diff = investigate(world, tmp_path, settle_s=3600, refetch={}, impact=False)
    (row,) = diff.table.to_pylist()
    assert row["kind"] == "pending"
    assert json.loads(row["detail"])["seems"] == "mangled_id, metadata_drift"
