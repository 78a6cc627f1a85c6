"""What a diff shows of its findings: an id that is not there is an empty cell, one that reads NaN is written out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted_run import investigate
from planted_world import World

from vecforensics import tables
from vecforensics.diff import Diff
from vecforensics.investigation import Investigation
from vecforensics.run_folder import RunFolder


@pytest.fixture
def diff(tmp_path: Path) -> Diff:
    """A record that is missing, a stranger, and another one whose id is NaN."""
    world = World.make(count=40, dimension=8)
    del world.target[3]
    world.parents = [None] * 40
    for text in ("stranger", "NaN"):
        world.target.append((text, world.rng.normal(size=8).astype(np.float32), {}))
    return investigate(world, tmp_path, impact=False)


def test_an_absent_id_is_an_empty_cell_in_text(diff: Diff) -> None:
    with pd.option_context("display.width", 400, "display.max_columns", None):
        shown = repr(diff.findings)
        chosen = repr(diff.findings[["source_id", "target_id", "kind", "distance"]])
    assert re.findall("NaN|None|<NA>|nan", shown) == ["NaN"]
    lines = [line.split() for line in chosen.splitlines()]
    assert lines[1:] == [["0", "post/3:a", "missing"], ["1", "NaN", "orphan"], ["2", "stranger", "orphan"]]


def test_an_absent_id_is_an_empty_cell_in_html(diff: Diff) -> None:
    shown = diff.findings.head(3)._repr_html_()
    assert re.findall(">(?:NaN|None|&lt;NA&gt;|nan)<", shown) == [">NaN<"]
    assert "<td></td>" in shown


def test_absent_values_are_absent_all_the_same(diff: Diff) -> None:
    frame = diff.findings
    assert frame["source_id"].isna().tolist() == [False, True, True]
    assert frame["target_id"].isna().tolist() == [True, False, False]
    assert frame[frame["kind"] == "orphan"]["distance"].isna().all()


def test_the_table_of_a_notebook_shows_gaps_as_well(diff: Diff) -> None:
    run = RunFolder.open(diff.path)
    table = tables.examples(Investigation(run.case(), run))
    assert re.findall(r"\b(?:NaN|None|nan)\b", str(table)) == ["NaN"]
    assert re.findall(">(?:NaN|None|nan)<", table._repr_html_()) == [">NaN<"]


def test_a_line_about_a_whole_collection_says_how_many_rows_it_stands_for(tmp_path: Path) -> None:
    world = World.make(count=60, dimension=16)
    world.vector(7, np.full(16, np.nan, np.float32))
    diff = investigate(world, tmp_path, expected=False)
    assert diff.said_at_once == {"unchecked": 60}
    for shown in (str(diff), diff._repr_html_()):
        assert "whole collections count as one, 60 rows" in shown
    assert "1 row is wrong (ids of all, contents of 0 of 60 records checked)" in diff.headline
