"""The neighbours of one record, as they should be and as they are, from the command line to the answer."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from planted_run import freeze
from planted_world import World

from vecforensics.__main__ import main
from vecforensics.diff import diff_vectors
from vecforensics.diff.one_record import neighbours_of
from vecforensics.errors import EvidenceError, InputError


def test_what_a_swapped_record_recommends_before_and_after(tmp_path: Path) -> None:
    world = World.make(count=120, dimension=24, clustered=True, seed=4)
    one, other = world.take(2)
    world.vector(one, world.expected[other])
    world.vector(other, world.expected[one])
    _, run = freeze(world, tmp_path, buckets=3)
    found = neighbours_of(run, "things", world.ids[one], k=5)
    unit = world.expected / np.linalg.norm(world.expected, axis=1, keepdims=True)
    likeness = unit @ unit[one]
    likeness[one] = -2
    assert [near.id for near in found.before] == [world.ids[row] for row in np.argsort(-likeness)[:5]]
    assert found.after is not None
    assert {near.id for near in found.before} != {near.id for near in found.after}
    assert str(found).startswith(f"{world.ids[one]}: asked with the expected vector, a search finds ")
    assert "found with its own vector" in str(found)


def test_a_stray_vector_takes_a_place_and_a_missing_record_gets_nothing(tmp_path: Path) -> None:
    world = World.make(count=60, dimension=24, seed=4)
    world.target.append(("stray", world.expected[7] * 1.01, {}))
    del world.target[20]
    _, run = freeze(world, tmp_path)
    after = neighbours_of(run, "things", world.ids[7], k=3).after
    assert after
    assert after[0].id not in world.ids
    assert after[0].similarity == pytest.approx(1, abs=1e-6)
    assert neighbours_of(run, "things", world.ids[20], k=3).after is None


@pytest.mark.parametrize("how", ["missing", "mangled_id", "zero", "wrong_dimension"])
def test_a_record_without_a_usable_vector_is_asked_for_with_the_expected_one_and_its_fate_is_told(
    tmp_path: Path, how: str
) -> None:
    world = World.make(count=200, dimension=24, clustered=True, seed=4, shape="numeric")
    world.parents = [None] * 200
    text, vector, metadata = world.target[20]
    world.target[20] = (
        f"{text}.0" if how == "mangled_id" else text,
        {"zero": np.zeros(24, np.float32), "wrong_dimension": vector[:8]}.get(how, vector),
        metadata,
    )
    if how == "missing":
        del world.target[20]
    case, run = freeze(world, tmp_path)
    alone = neighbours_of(run, "things", text, k=5)
    assert alone.said == ()
    diff_vectors(case, run, impact=False)
    found = neighbours_of(run, "things", text, k=5)
    assert (found.before, found.searched, found.after) == (alone.before, alone.searched, None)
    assert len(found.searched) == 5
    said = f"{how}, stands under the id '{text}.0'" if how == "mangled_id" else how
    expected = f"{text} has no usable vector under its id in the target ({said}); asked with the expected one, a search finds "
    assert str(found).startswith(expected)
    assert "(nothing)" not in str(found)
    assert expected.replace("'", "&#39;") in found._repr_html_()


def test_the_verb_shows_it_and_bad_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World.make(count=40, dimension=16, seed=4)
    _, run = freeze(world, tmp_path)
    with run.stage("collect"):
        pass
    assert main(["neighbours", str(run.path), "things", world.ids[3], "--k", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        lines[0]
        == f"{world.ids[3]}: asked with the expected vector, a search finds 2 of the 2 right neighbours"
    )
    assert re.split(" {2,}", lines[1]) == ["", "should be found", "found in the target"]
    assert [line[:6] for line in lines[2:4]] == ["   1. ", "   2. "]
    assert lines[-1] == str(run.path)
    assert main(["neighbours", str(run.path), "things", "nobody"]) == 2
    assert "no record 'nobody'" in capsys.readouterr().err
    with pytest.raises(EvidenceError, match="no collection 'others' was frozen"):
        neighbours_of(run, "others", world.ids[3])


def test_without_expected_vectors_it_says_what_is_missing(tmp_path: Path) -> None:
    world = World.make(count=40, dimension=16, seed=4)
    _, run = freeze(world, tmp_path, expected=False)
    with pytest.raises(InputError, match="there are no expected vectors"):
        neighbours_of(run, "things", world.ids[3])


def test_the_sentence_about_the_cost_has_both_intervals_where_records_were_sampled(tmp_path: Path) -> None:
    world = World.make(count=900, dimension=12, seed=4)
    for row in world.take(90):
        world.vector(row, np.zeros(12))
    case, run = freeze(world, tmp_path)
    diff = diff_vectors(case, run)
    assert diff.impact is not None
    one = diff.impact["things"]
    assert one["queries"] < one["population"]
    said = next(line for line in str(diff).splitlines() if "recall@10" in line)
    assert (
        f"{one['changed_share']:.1%} ({one['changed_low']:.1%} to {one['changed_high']:.1%}) of the records"
        in said
    )
