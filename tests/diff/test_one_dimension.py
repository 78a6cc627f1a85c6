"""Vectors of one component: a number has no direction but its sign, and that is all that a comparison of directions sees."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World

from vecforensics.findings import Verdict


def world() -> World:
    """Sixty different numbers, the first half of them above nought."""
    made = World.make(count=60, dimension=1, normalised=False)
    made.expected = (np.linspace(1.1, 7.3, 60) * np.where(np.arange(60) < 30, 1, -1)).astype(np.float32)[
        :, None
    ]
    made.target = [(text, made.expected[row].copy(), made.metadata[row]) for row, text in enumerate(made.ids)]
    return made


def test_another_number_of_the_same_sign_is_a_rescaled_copy_and_the_limits_say_so(tmp_path: Path) -> None:
    one = world()
    one.vector(3, one.expected[9])
    one.vector(9, one.expected[3])
    one.vector(5, one.expected[5] * np.float32(1.7))
    diff = investigate(one, tmp_path, impact=False)
    assert diff.verdict is Verdict.CLEAN
    assert {row["source_id"]: row["kind"] for row in diff.table.to_pylist()} == {
        one.ids[row]: "normalised" for row in (3, 5, 9)
    }
    assert any("one component: any number of the same sign" in limit for limit in diff.limits)


@pytest.mark.parametrize("dimension", [2, 8])
def test_more_components_have_a_direction_and_no_such_limit(tmp_path: Path, dimension: int) -> None:
    one = World.make(count=60, dimension=dimension)
    one.vector(3, one.expected[9])
    diff = investigate(one, tmp_path, impact=False)
    assert diff.counts["swapped"] == 1
    assert not any("one component" in limit for limit in diff.limits)


def test_what_does_not_depend_on_a_direction_is_seen_in_one_component_too(tmp_path: Path) -> None:
    one = world()
    one.parents = [None] * 60
    one.vector(1, np.zeros(1))
    one.vector(2, np.full(1, np.nan))
    one.vector(4, np.ones(2))
    one.vector(6, -one.expected[6])
    one.earlier.append((one.ids[40], np.full(1, 3.3, np.float32)))
    one.vector(40, one.earlier[0][1])
    one.target = [entry for entry in one.target if entry[0] != one.ids[8]]
    one.target.append(("stranger", np.full(1, 0.3, np.float32), {}))
    said = {
        (row["kind"], row["source_id"]): json.loads(row["detail"])
        for row in investigate(one, tmp_path, impact=False).table.to_pylist()
    }
    assert {row for kind, row in said if kind == "zero"} == {one.ids[1]}
    assert {row for kind, row in said if kind == "non_finite"} == {one.ids[2]}
    assert {row for kind, row in said if kind == "wrong_dimension"} == {one.ids[4]}
    assert {row for kind, row in said if kind == "stale"} == {one.ids[40]}
    # The other sign is some record's direction; which one, nobody can say.
    assert {row for kind, row in said if kind in ("swapped", "drifted")} == {one.ids[6]}
