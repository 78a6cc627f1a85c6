"""How often each metadata field drifted, and how: in findings.json, in the terminal and in a notebook."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from planted_run import investigate
from planted_world import World

from vecforensics.diff import Diff


@pytest.fixture
def diff(tmp_path: Path) -> Diff:
    """Of 400 records 300 have a score that became a text, 10 another plan, and one of these no score at all."""
    world = World.make(count=400, dimension=8, shape="words", seed=2)
    world.parents = [None] * 400
    for row, (text, vector, metadata) in enumerate(world.target):
        held = dict(metadata)
        if row < 300:
            held["score"] = str(held["score"])
        if row < 10:
            held["plan"] = "another"
        if row == 0:
            del held["score"]
        world.target[row] = (text, vector, held)
    return investigate(world, tmp_path, impact=False)


COUNTS = {
    "plan": {"changed": 10, "missing": 0, "retyped": 0},
    "score": {"changed": 0, "missing": 1, "retyped": 299},
}


def test_the_fields_are_counted_in_findings_json(diff: Diff) -> None:
    assert diff.counts["metadata_drift"] == 300
    held = json.loads((diff.path / "findings.json").read_text())
    assert held["collections"]["things"]["metadata_fields"] == COUNTS


def test_the_fields_are_counted_in_the_terminal_and_in_a_notebook(diff: Diff) -> None:
    for shown in (str(diff), diff._repr_html_()):
        assert "metadata field plan: 10 changed" in shown
        assert "metadata field score: 1 missing, 299 retyped" in shown


def test_where_nothing_drifted_nothing_is_said_of_fields(tmp_path: Path) -> None:
    diff = investigate(World.make(count=40, dimension=8), tmp_path, impact=False)
    assert diff.collections["things"].metadata_fields == {}
    assert "metadata field" not in str(diff) + diff._repr_html_()
