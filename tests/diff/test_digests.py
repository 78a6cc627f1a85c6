"""Rows are compared by the digests of their vectors, which were frozen with them, and read only where these differ."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_run import freeze, investigate
from planted_world import World

from vecforensics.diff import diff_vectors
from vecforensics.diff.compare.bucket import BucketTask, compare_bucket
from vecforensics.diff.compare.relation import Relation, compare_pairs
from vecforensics.diff.vectors import MappedVectors
from vecforensics.evidence import Evidence
from vecforensics.metadata_rule import MetadataRule

COUNT, DIMENSION = 40, 12

flips = st.lists(
    st.tuples(st.integers(0, COUNT - 1), st.integers(0, DIMENSION - 1), st.integers(0, 31)), max_size=12
)


@settings(max_examples=40, deadline=None)
@given(flips)
def test_whatever_bit_of_whatever_vector_is_flipped_the_pair_is_looked_at_and_no_other(
    bits: list[tuple[int, int, int]],
) -> None:
    world = World.make(count=COUNT, dimension=DIMENSION, shape="numeric")
    for row, component, bit in bits:
        text, vector, metadata = world.target[row]
        vector.view(np.uint32)[component] ^= np.uint32(1 << bit)
        world.target[row] = (text, vector, metadata)
    held = np.array([vector for _, vector, _ in world.target])
    differ = (world.expected.view(np.uint32) != held.view(np.uint32)).any(axis=1)
    brute = compare_pairs(world.expected[differ], held[differ], 1e-5).relation
    wanted = dict(zip(np.array(world.ids)[differ].tolist(), brute.tolist(), strict=True))
    with tempfile.TemporaryDirectory() as folder:
        _, run = freeze(world, Path(folder), buckets=1)
        evidence = Evidence.open(run.evidence)
        task = BucketTask(str(run.evidence), "things", 0, 1e-5, MetadataRule())
        result = compare_bucket(task, evidence)
        ids = evidence.table("things", "source", 0)["id"].to_pylist()
        named = {
            ids[row]: state
            for row, state in zip(result.pairs.source.tolist(), result.pairs.state.tolist(), strict=True)
        }
    assert named == {text: state for text, state in wanted.items() if state != Relation.EQUAL}
    assert result.compared == COUNT


def test_of_rows_that_are_as_they_should_be_no_vector_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World.make(count=400)
    for row in world.take(3):
        world.vector(row, world.rng.normal(size=world.dimension))
    taken: list[int] = []
    take = MappedVectors.take

    def counting(self: MappedVectors, rows: Any) -> Any:
        taken.append(len(rows))
        return take(self, rows)

    monkeypatch.setattr(MappedVectors, "take", counting)
    diff = investigate(world, tmp_path, impact=False)
    assert diff.counts["drifted"] == 3
    assert 0 < sum(taken) < 60


def test_a_vector_that_changed_after_the_freezing_is_judged_as_it_was_frozen_and_verify_names_its_file(
    tmp_path: Path,
) -> None:
    world = World.make(count=60)
    case, run = freeze(world, tmp_path, buckets=1)
    path = run.evidence / "things" / "target-0000.arrow"
    content = bytearray(path.read_bytes())
    place = content.index(world.expected[7].tobytes())
    content[place + 2] ^= 0x40
    path.write_bytes(content)
    assert diff_vectors(case, run, impact=False).verdict == "clean"
    (line,) = Evidence.open(run.evidence).verify()
    assert line.startswith("things/target-0000.arrow: SHA-256 ")
