"""What a sampled diff may say of a single finding, of the cost and of itself: no more than the sample shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_run import freeze, investigate
from planted_world import World

from vecforensics.diff import Diff, diff_vectors
from vecforensics.findings import Kind


def lonely(count: int = 900, dimension: int = 16) -> World:
    world = World.make(count=count, dimension=dimension)
    world.parents = [None] * count
    return world


def said(diff: Diff, *kinds: Kind) -> list[dict[str, Any]]:
    rows = [row for kind in kinds for row in diff.of_kind(kind).to_pylist()]
    return [json.loads(row["detail"]) for row in rows]


def holds(limits: tuple[str, ...], words: str) -> bool:
    return any(words in limit for limit in limits)


def test_a_shifted_run_of_which_a_sample_sees_pieces_has_no_beginning_no_end_and_no_form(
    tmp_path: Path,
) -> None:
    world = lonely()
    for row in range(200, 500):
        world.vector(row, world.expected[row + 1])
    diff = investigate(world, tmp_path, sample=300)
    details = said(diff, Kind.SWAPPED, Kind.SHIFTED)
    assert len(details) > 50
    assert all(detail.get("sampled") is True for detail in details)
    unknown = {"run", "begins_at", "ends_at", "begins_with"}
    assert not [detail for detail in details if unknown & set(detail) or detail.get("form") == "chain"]
    assert {detail["offset"] for detail in said(diff, Kind.SHIFTED)} <= {1}
    assert holds(diff.limits, "where a run begins and ends")


def test_a_pair_of_which_one_was_drawn_is_no_copy(tmp_path: Path) -> None:
    """Both of 100 pairs are wrong; a copy is only what stands under its own record as well, and was seen there."""
    world = lonely()
    rows = world.take(200)
    for one, other in zip(rows[::2], rows[1::2], strict=True):
        world.vector(one, world.expected[other])
        world.vector(other, world.expected[one])
    diff = investigate(world, tmp_path, sample=300)
    forms = [detail.get("form") for detail in said(diff, Kind.SWAPPED)]
    assert set(forms) == {None, "pair"}
    assert forms.count("pair") % 2 == 0


def test_a_copy_whose_owner_was_drawn_too_is_one(tmp_path: Path) -> None:
    world = lonely()
    rows = world.take(300)
    for one, other in zip(rows[::2], rows[1::2], strict=True):
        world.vector(one, world.expected[other])
    diff = investigate(world, tmp_path, sample=450)
    copies = {detail.get("form") for detail in said(diff, Kind.SWAPPED)}
    assert copies == {None, "copy"}


def test_who_was_not_looked_at_is_not_counted_in_a_crowd(tmp_path: Path) -> None:
    world = lonely()
    groups = [world.take(5) for _ in range(30)]
    for owner, *others in groups:
        for row in others:
            world.vector(row, world.expected[owner])
    diff = investigate(world, tmp_path, sample=450)
    by_owner: dict[str, list[dict[str, Any]]] = {}
    for row in diff.of_kind(Kind.BROADCAST).to_pylist():
        by_owner.setdefault(row["partner_id"], []).append(json.loads(row["detail"]))
    assert len(by_owner) > 10
    known = [details for details in by_owner.values() if "owner_holds_it_too" in details[0]]
    assert 0 < len(known) < len(by_owner)
    for details in by_owner.values():
        seen = len(details) + ("owner_holds_it_too" in details[0])
        assert all(detail["group"] == seen for detail in details)


def test_a_sample_that_took_in_everything_says_what_a_diff_of_everything_says(tmp_path: Path) -> None:
    world = lonely(400)
    for row in range(100, 140):
        world.vector(row, world.expected[row + 1])
    del world.target[300:310]
    whole, all_drawn = (
        investigate(world, tmp_path / name, sample=sample)
        for name, sample in (("whole", None), ("drawn", 5000))
    )
    assert whole.impact is not None
    assert all_drawn.impact == whole.impact
    assert all_drawn.table.equals(whole.table)
    assert all_drawn.limits == whole.limits
    assert all_drawn.collections == whole.collections


def test_what_damage_costs_is_not_measured_on_a_sample_and_that_is_said(tmp_path: Path) -> None:
    world = lonely()
    for row in world.take(100):
        world.vector(row, np.zeros(16))
    case, run = freeze(world, tmp_path)
    diff = diff_vectors(case, run, sample=300)
    assert diff.impact is None
    assert holds(diff.limits, "what the damage costs was not measured, since this is a sample")
    assert not holds(diff_vectors(case, run, sample=300, impact=False).limits, "costs")


def test_what_was_not_drawn_and_what_had_no_expected_vector_are_told_apart(tmp_path: Path) -> None:
    world = lonely()
    world.expected = world.expected.copy()
    world.expected[:400] = np.nan
    diff = investigate(world, tmp_path, sample=450)
    unchecked = {detail["reason"]: detail["rows"] for detail in said(diff, Kind.UNCHECKED)}
    assert diff.estimate is not None
    assert unchecked == {
        "not in the sample": 450,
        "no expected vector for these records": diff.estimate["unchecked"],
    }
    assert holds(diff.limits, "450 contents were not in the sample of 450.")
    assert holds(diff.limits, f"{diff.estimate['unchecked']} contents had nothing to be compared with.")
    assert diff.collections["things"].unchecked == sum(unchecked.values())


def test_what_stands_under_a_mangled_id_is_read_whether_it_was_drawn_or_not(tmp_path: Path) -> None:
    world = World.make(count=900, dimension=16, shape="numeric")
    world.parents = [None] * 900
    for row in range(0, 900, 3):
        text, vector, metadata = world.target[row]
        world.target[row] = (f"{text}.0", vector, metadata)
    world.expected = world.expected.copy()
    world.expected[1:900:9] = np.nan
    diff = investigate(world, tmp_path, sample=300)
    assert diff.estimate is not None
    assert diff.counts["mangled_id"] == 300
    unchecked = {detail["reason"]: detail["rows"] for detail in said(diff, Kind.UNCHECKED)}
    assert unchecked["no expected vector for these records"] == diff.estimate["unchecked"] > 0
    assert sum(unchecked.values()) == 900 - diff.collections["things"].checked


def test_buckets_and_workers_leave_no_trace(tmp_path: Path) -> None:
    world = lonely()
    for row in range(200, 500):
        world.vector(row, world.expected[row + 1])
    one, other = (
        investigate(world, tmp_path / str(buckets), buckets=buckets, workers=workers, sample=300)
        for buckets, workers in ((1, 1), (5, 2))
    )
    assert one.table.equals(other.table)
    assert one.limits == other.limits


@pytest.mark.parametrize("sample", [None, 50])
def test_where_nothing_is_expected_there_is_nothing_to_sample(tmp_path: Path, sample: int | None) -> None:
    diff = investigate(lonely(200), tmp_path, expected=False, sample=sample)
    assert diff.estimate is None
    assert holds(diff.limits, "A sample of 50 was asked for; where no vectors are expected") is bool(sample)
