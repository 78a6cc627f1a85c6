"""Both sides of a collection by running row numbers: texts of any size, and which record each row of the target stands for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from planted_run import freeze
from planted_world import World

from vecforensics.diff import sides as sides_module
from vecforensics.diff.sides import Sides
from vecforensics.evidence import Evidence


def both_sides(world: World, folder: Path, buckets: int = 3) -> Sides:
    _, run = freeze(world, folder, buckets=buckets)
    return Sides.of(Evidence.open(run.evidence), "things")


@pytest.mark.parametrize("asked", [7, 400])
def test_a_text_column_too_long_for_short_offsets_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: int
) -> None:
    sides = both_sides(World.make(), tmp_path)
    rows = np.random.default_rng(1).permutation(sides.source.rows)[:asked]
    wanted = sides.source.texts("id", rows)
    assert wanted.type == pa.string()
    monkeypatch.setattr(sides_module, "_MOST_BYTES", 50)
    found = sides.source.texts("id", rows)
    assert found.type == pa.large_string()
    assert found.to_pylist() == wanted.to_pylist()


def test_each_row_of_the_target_stands_for_the_record_whose_id_it_has(tmp_path: Path) -> None:
    world = World.make(count=60)
    del world.target[8]
    world.target.append(("stray", world.expected[8], {}))
    # A retry of record 5 that went wrong, before the row that is right.
    world.target.insert(0, (world.ids[5], world.expected[9], {}))
    sides = both_sides(world, tmp_path)
    held = sides.target.text("id", np.arange(sides.target.rows))
    records = sides.records_of(np.arange(sides.target.rows))
    assert {text: row >= 0 for text, row in zip(held, records.tolist(), strict=True)} == {
        text: text != "stray" for text in held
    }
    known = np.flatnonzero(records >= 0)
    assert sides.source.text("id", records[known]) == [held[row] for row in known.tolist()]
    others = sides.others()
    assert sorted(held[row] or "" for row in others.tolist()) == sorted(["stray", world.ids[5]])
    own = sides.own_rows()
    assert not set(own.tolist()) & set(others.tolist())
    missing = np.flatnonzero(own < 0)
    assert sides.source.text("id", missing) == [world.ids[8]]
    there = np.flatnonzero(own >= 0)
    assert np.array_equal(sides.source.integers("digest", there), sides.target.integers("digest", own[there]))
