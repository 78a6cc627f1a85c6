"""A parent that no source has: the reference is broken there, and no repair of the target promises to mend it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World

from vecforensics.diff import Diff

IDS = World.make(count=60).ids


def said(diff: Diff) -> dict[str, object]:
    """Of each dangling record whether the source has its parent, and None where nothing is said of that."""
    rows = diff.of_kind("dangling").to_pylist()
    return {row["source_id"]: json.loads(row["detail"]).get("in_source") for row in rows}


@pytest.mark.parametrize("buckets", [1, 4])
def test_a_parent_that_the_source_lacks_too_is_told_from_one_that_was_lost(
    tmp_path: Path, buckets: int
) -> None:
    """Record 31 names a lost parent, record 32 and 33 one that never was, and 34 one that stands under another id."""
    world = World.make(count=60, dimension=8)
    world.target.pop(world.place(IDS[1]))
    world.parents[32], world.parents[33] = "nobody", "nobody else"
    at = world.place(IDS[4])
    world.target[at] = (IDS[4].upper(), *world.target[at][1:])
    diff = investigate(world, tmp_path, buckets=buckets, impact=False)
    assert said(diff) == {IDS[31]: None, IDS[32]: False, IDS[33]: False, IDS[34]: None}
    notes = [note for note in diff.collections["things"].notes if "dangling:" in note]
    assert notes == [
        "dangling: 2 of the parents named are not in the source of things either; these references are broken there, and no "
        "repair of the target mends them."
    ]
    assert diff.collections["things"].broken_references == 2
    assert notes[0] in str(diff)


def test_a_lost_record_whose_reference_is_broken_too_is_only_missing(tmp_path: Path) -> None:
    world = World.make(count=60, dimension=8)
    world.parents[32] = "nobody"
    world.target.pop(world.place(IDS[32]))
    diff = investigate(world, tmp_path, impact=False)
    assert said(diff) == {}
    assert not any("dangling" in note for note in diff.collections["things"].notes)


def test_where_all_parents_are_in_the_source_nothing_is_said(tmp_path: Path) -> None:
    world = World.make(count=60, dimension=8)
    world.target.pop(world.place(IDS[1]))
    world.vector(40, np.zeros(8))
    diff = investigate(world, tmp_path, impact=False)
    assert said(diff) == {IDS[31]: None}
    assert not any("dangling" in note for note in diff.collections["things"].notes)
