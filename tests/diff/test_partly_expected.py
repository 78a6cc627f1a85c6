"""Vectors are expected of some records only: the others are looked at no less than where none is expected at all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import planted_run
import pyarrow as pa
import pytest
from planted_run import investigate
from planted_world import World

from vecforensics.diff import Diff, passes
from vecforensics.diff.resolved import Resolved
from vecforensics.evidence import Evidence

COUNT, EXPECTED = 200, 50


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """200 records, of the first 50 of which vectors are expected."""
    whole = planted_run.source_batches

    def partly(world: World, expected: bool) -> list[pa.RecordBatch]:
        table = pa.Table.from_batches(whole(world, expected))
        if not expected:
            return table.to_batches(max_chunksize=97)
        kept = pa.array([row < EXPECTED for row in range(COUNT)])
        at = table.schema.get_field_index("vector")
        column = table["vector"].combine_chunks()
        values = [
            one if keep else None for one, keep in zip(column.to_pylist(), kept.to_pylist(), strict=True)
        ]
        table = table.set_column(at, table.schema.field(at), pa.array(values, column.type))
        return table.to_batches(max_chunksize=97)

    monkeypatch.setattr(planted_run, "source_batches", partly)
    made = World.make(count=COUNT, dimension=24, seed=5)
    made.parents = [None] * COUNT
    return made


def kinds(diff: Diff) -> dict[str, int]:
    return dict(Counter(diff.table["kind"].to_pylist()))


def said(diff: Diff, kind: str) -> dict[str, dict[str, Any]]:
    return {row["source_id"]: json.loads(row["detail"]) for row in diff.of_kind(kind).to_pylist()}


def lose_id(world: World, row: int, text: str = "NaN") -> None:
    world.target[row] = (text, *world.target[row][1:])


@pytest.mark.parametrize("expected", [True, False])
@pytest.mark.parametrize("strays", [0, 1])
@pytest.mark.parametrize("buckets", [1, 3])
def test_one_vector_under_records_without_an_expected_one_is_a_broadcast(
    world: World, tmp_path: Path, expected: bool, strays: int, buckets: int
) -> None:
    for row in range(100, 130):
        world.vector(row, world.expected[115])
    for number in range(strays):
        vector = world.rng.normal(size=world.dimension).astype(np.float32)
        world.target.append((f"stray{number}", vector, {"plan": "free"}))
    diff = investigate(world, tmp_path, impact=False, expected=expected, buckets=buckets)
    assert said(diff, "broadcast") == {
        world.ids[row]: {"group": 30, "owner": "unknown"} for row in range(100, 130)
    }
    assert kinds(diff).get("orphan", 0) == strays


def test_a_broadcast_goes_by_the_rows_without_an_expected_vector_alone(world: World, tmp_path: Path) -> None:
    for row in (10, 11, 12, 100, 101):
        world.vector(row, world.expected[115])
    diff = investigate(world, tmp_path, impact=False)
    # Row 115 is the third.
    assert said(diff, "broadcast") == {
        **{world.ids[row]: {"group": 3, "owner": "unknown"} for row in (10, 11, 12)},
        **{world.ids[row]: {"group": 3, "owner": "unknown"} for row in (100, 101, 115)},
    }


@pytest.mark.parametrize("expected", [True, False])
def test_a_lost_id_over_metadata_that_one_record_has_is_that_record(
    world: World, tmp_path: Path, expected: bool
) -> None:
    lose_id(world, 170)
    diff = investigate(world, tmp_path, impact=False, expected=expected)
    assert said(diff, "mangled_id") == {world.ids[170]: {"by": "metadata", "conversion": "id lost"}}
    assert not {"missing", "orphan"} & kinds(diff).keys()
    assert diff.collections["things"].unchecked == (COUNT - EXPECTED if expected else COUNT)


def test_metadata_do_not_speak_for_a_record_whose_expected_vector_another_row_would_hold(
    world: World, tmp_path: Path
) -> None:
    lose_id(world, 20)
    world.target[20] = ("NaN", world.rng.normal(size=world.dimension).astype(np.float32), world.target[20][2])
    diff = investigate(world, tmp_path, impact=False)
    assert (kinds(diff)["missing"], kinds(diff)["orphan"]) == (1, 1)


@pytest.mark.parametrize("held", ["of two records", "of none"])
def test_metadata_that_are_not_one_records_alone_say_nothing(world: World, tmp_path: Path, held: str) -> None:
    _, vector, metadata = world.target[170]
    if held == "of two records":
        world.metadata[171] = dict(world.metadata[170])
        world.target[171] = (world.ids[171], world.target[171][1], dict(metadata))
    else:
        metadata = {**metadata, "plan": "enterprise"}
    world.target[170] = ("NaN", vector, metadata)
    diff = investigate(world, tmp_path, impact=False)
    assert (kinds(diff)["missing"], kinds(diff)["orphan"]) == (1, 1)


def test_another_spelling_of_a_present_records_id_is_no_missing_record(world: World, tmp_path: Path) -> None:
    lose_id(world, 170, world.ids[60].upper())
    diff = investigate(world, tmp_path, impact=False)
    assert (kinds(diff)["missing"], kinds(diff)["orphan"]) == (1, 1)


def test_a_sample_says_what_it_said(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for row in range(100, 130):
        world.vector(row, world.expected[115])
    diff = investigate(world, tmp_path / "drawn", impact=False, sample=60)
    assert "broadcast" not in kinds(diff)
    resolve_collection = passes.resolve_collection

    def of_a_sample(*given: Any) -> Resolved:
        with monkeypatch.context() as embedded:
            embedded.setattr(Evidence, "sampled", True)
            return resolve_collection(*given)

    monkeypatch.setattr(passes, "resolve_collection", of_a_sample)
    lose_id(world, 170)
    diff = investigate(world, tmp_path / "embedded", impact=False)
    assert "broadcast" not in kinds(diff)
    assert (kinds(diff)["missing"], kinds(diff)["orphan"]) == (1, 1)
