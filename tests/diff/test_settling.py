"""Not there, or not there yet? What is wrong and young is fetched again; what stays unsettled is pending."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from later_store import LaterStore
from planted_run import freeze
from planted_world import World
from planting import PLANTERS

from vecforensics.diff import Diff, diff_vectors
from vecforensics.findings import Verdict

NEVER = 10**9


def wrote(text: str, moment: str) -> dict[str, Any]:
    return {"action": "wrote", "record_ids": [text], "time": moment, "fields": {}}


LONG_AGO, FAR_AHEAD = "2020-01-01T00:00:00Z", "2200-01-01T00:00:00Z"
JUST_NOW = datetime.now(UTC).isoformat()


def late_world() -> World:
    world = World.make(count=100)
    PLANTERS["missing"](world, 5)
    PLANTERS["swapped"](world, 9)
    return world


def look(world: World, folder: Path, store: LaterStore, settle_s: float, **settings: Any) -> Diff:
    case, run = freeze(world, folder, settle_s=settle_s, **settings)
    return diff_vectors(case, run, refetch={"things": store})


def kinds(diff: Diff) -> dict[str, int]:
    return dict(Counter(diff.table["kind"].to_pylist()))


def seems(diff: Diff) -> dict[str | None, str]:
    rows = diff.of_kind("pending").to_pylist()
    return {row["source_id"] or row["target_id"]: json.loads(row["detail"])["seems"] for row in rows}


def test_rows_that_become_visible_are_no_finding(tmp_path: Path) -> None:
    world = late_world()
    diff = look(world, tmp_path, LaterStore.of(world, after=1), 6)
    assert diff.verdict is Verdict.CLEAN
    assert "were fetched again" in diff.collections["things"].notes[0]


def test_rows_that_stay_unsettled_are_pending_and_the_verdict_unknown(tmp_path: Path) -> None:
    world = late_world()
    diff = look(world, tmp_path, LaterStore.of(world, after=NEVER), 3600)
    assert diff.verdict is Verdict.UNKNOWN
    assert kinds(diff) == {"pending": len(world.truth)}
    assert {(seen, text) for text, seen in seems(diff).items()} == world.truth


def test_rows_that_are_old_enough_are_judged(tmp_path: Path) -> None:
    world = late_world()
    waited = look(world, tmp_path / "waited", LaterStore.of(world, after=NEVER), 0.2)
    assert waited.counts["missing"] == 5
    world.logs = [wrote(text, LONG_AGO) for text in world.ids]
    store = LaterStore.of(world)
    old = look(world, tmp_path / "old", store, 3600)
    assert (old.counts["missing"], store.fetches) == (5, 0)


def stray_world() -> World:
    """Strangers, further copies under their own and under other ids, and one id that was mangled."""
    world = World.make(count=120)
    PLANTERS["orphan"](world, 4)
    PLANTERS["duplicate"](world, 6)
    childless = world.take(1, lambda row: row >= 60)[0]
    at = world.place(world.ids[childless])
    text, *content = world.target[at]
    world.target[at] = ("undefined", *content)
    world.truth.add(("mangled_id", text))
    return world


def test_a_stray_or_a_second_copy_that_is_gone_at_the_second_look_is_no_finding(tmp_path: Path) -> None:
    world = stray_world()
    diff = look(world, tmp_path, LaterStore.of(world, after=1), 6)
    assert (diff.verdict, kinds(diff)) == (Verdict.CLEAN, {})
    assert diff.collections["things"].rows_corrupt == 0


@pytest.mark.parametrize(("after", "settle_s"), [(1, 6.0), (NEVER, 3600.0)])
def test_a_stray_or_a_second_copy_that_is_gone_or_may_go_steals_no_place(
    tmp_path: Path, after: int, settle_s: float
) -> None:
    world = World.make(count=80)
    world.parents = [None] * 80
    old, *young = world.take(9)
    for number, row in enumerate(young):
        text, vector, metadata = world.target[world.place(world.ids[row])]
        world.target.append((f"retry-{number}" if number % 2 else text, vector.copy(), dict(metadata)))
    world.vector(old, np.zeros(world.dimension))
    world.logs = [wrote(world.ids[old], LONG_AGO)]
    later = LaterStore.of(world, after=after)
    diff = look(world, tmp_path, later, settle_s)
    assert diff.counts["zero"] == 1
    assert diff.impact is not None
    # Only the one that is zero cannot be returned.
    assert diff.impact["things"]["returnable"] == 79
    assert {name for one in diff.impact["things"]["hurt"] for name in one["lost"]} == {world.ids[old]}


def test_a_stray_or_a_second_copy_that_stays_is_pending_while_it_is_young(tmp_path: Path) -> None:
    world = stray_world()
    diff = look(world, tmp_path, LaterStore.of(world, after=NEVER), 3600)
    assert diff.verdict is Verdict.UNKNOWN
    assert {(seen, text) for text, seen in seems(diff).items()} == world.truth
    assert kinds(diff) == {"pending": len(world.truth)}


def test_a_stray_or_a_second_copy_that_has_become_old_is_judged(tmp_path: Path) -> None:
    world = stray_world()
    diff = look(world, tmp_path, LaterStore.of(world, after=NEVER), 0.2)
    assert kinds(diff) == {"orphan": 4, "duplicate": 6, "mangled_id": 1}


def test_the_time_of_a_strays_own_write_counts(tmp_path: Path) -> None:
    world = World.make(count=60)
    PLANTERS["orphan"](world, 2)
    world.target[-1][2]["written_at"] = JUST_NOW
    world.target[-2][2]["written_at"] = LONG_AGO
    store = LaterStore.of(world, after=NEVER)
    diff = look(world, tmp_path, store, 3600)
    assert kinds(diff) == {"orphan": 1, "pending": 1}
    assert seems(diff) == {world.target[-1][0]: "orphan"}
    assert store.asked == {world.target[-1][0]}


@pytest.mark.parametrize("form", ["same id", "another id"])
def test_a_copy_of_a_record_that_was_written_just_now_is_pending_however_old_the_copy(
    tmp_path: Path, form: str
) -> None:
    world = World.make(count=60)
    old, young = world.take(2)
    for row in (old, young):
        text, vector, metadata = world.target[world.place(world.ids[row])]
        copy = text if form == "same id" else f"copy of {text}"
        world.target.append((copy, vector.copy(), dict(metadata)))
        if form == "another id":
            world.logs.append(wrote(copy, LONG_AGO))
        world.logs.append(wrote(text, LONG_AGO if row == old else JUST_NOW))
    store = LaterStore.of(world, after=NEVER)
    diff = look(world, tmp_path, store, 3600)
    assert kinds(diff) == {"duplicate": 1, "pending": 1}
    assert seems(diff) == {world.ids[young]: "duplicate"}


def test_a_second_copy_that_leaves_the_wrong_one_behind_is_not_in_order(tmp_path: Path) -> None:
    world = World.make(count=60)
    row = world.take(1)[0]
    text, vector, metadata = world.target[world.place(world.ids[row])]
    world.target.append((text, -vector, dict(metadata)))
    later = [entry for entry in world.target if not (entry[0] == text and entry[1] is vector)]
    diff = look(world, tmp_path, LaterStore.of(world, later), 0.2)
    assert kinds(diff) == {"duplicate": 1}


def test_a_record_that_appears_late_with_a_wrong_vector_is_not_called_missing(tmp_path: Path) -> None:
    world = World.make(count=60)
    others = world.take(8)
    rows = {"swapped": others[0], "drifted": others[1], "zero": others[2], "non_finite": others[3]}
    rows |= {"wrong_dimension": others[4], "metadata_drift": others[5], "duplicate": others[6]}
    later = {text: [(text, vector, metadata)] for text, vector, metadata in world.target}
    held = {
        "swapped": world.expected[others[7]],
        "drifted": world.rng.normal(size=world.dimension).astype(np.float32),
        "zero": np.zeros(world.dimension, np.float32),
        "non_finite": np.full(world.dimension, np.nan, np.float32),
        "wrong_dimension": world.expected[rows["wrong_dimension"]][:9],
    }
    for kind, row in rows.items():
        text = world.ids[row]
        del world.target[world.place(text)]
        metadata = {**world.metadata[row], **({"plan": "other"} if kind == "metadata_drift" else {})}
        shown = (text, held.get(kind, world.expected[row]), metadata)
        later[text] = [shown, shown] if kind == "duplicate" else [shown]
    diff = look(world, tmp_path, LaterStore.of(world, [row for rows in later.values() for row in rows]), 0.2)
    said = {(row["kind"], row["source_id"]): row for row in diff.table.to_pylist()}
    assert set(said) == {(kind, world.ids[row]) for kind, row in rows.items()}
    assert said["swapped", world.ids[rows["swapped"]]]["partner_id"] == world.ids[others[7]]
    assert all(json.loads(row["detail"])["seen"] == "at a second look" for row in said.values())


@pytest.mark.parametrize("held", ["as it was", "normalised", "beginning"])
def test_a_record_that_appears_late_with_the_vector_of_an_earlier_version_is_stale(
    tmp_path: Path, held: str
) -> None:
    world = World.make(count=60)
    row, other = world.take(2)
    for version in range(3):
        old = world.rng.normal(size=world.dimension).astype(np.float32)
        world.earlier += [(world.ids[row], old), (world.ids[other], -old)]
        if version == 1:
            shown = old / np.linalg.norm(old) if held == "normalised" else old
    if held == "beginning":
        # An edit may leave most of a vector as it was; the old one is still the better explanation.
        shown = np.r_[world.expected[row][:20], np.zeros(world.dimension - 20)].astype(np.float32)
        world.earlier[2] = (world.ids[row], shown)
    del world.target[world.place(world.ids[row])]
    later = [*world.target, (world.ids[row], shown, world.metadata[row])]
    diff = look(world, tmp_path, LaterStore.of(world, later), 0.2)
    [said] = diff.table.to_pylist()
    assert (said["kind"], said["source_id"], said["partner_id"]) == ("stale", world.ids[row], None)
    assert json.loads(said["detail"]) == {"version": "0002", "seen": "at a second look"}
    assert said["distance"] > 0


def test_without_expected_vectors_a_vector_that_is_still_not_finite_is_not_in_order(tmp_path: Path) -> None:
    world = World.make(count=60)
    PLANTERS["non_finite"](world, 3)
    PLANTERS["missing"](world, 2)
    later = {text: (text, vector, metadata) for text, vector, metadata in world.target}
    for row, text in enumerate(world.ids):
        later.setdefault(text, (text, world.expected[row], world.metadata[row]))
    diff = look(world, tmp_path, LaterStore.of(world, later.values()), 0.2, expected=False)
    assert (diff.counts["non_finite"], diff.counts["missing"]) == (3, 0)


def test_what_was_in_order_at_the_second_look_costs_nothing(tmp_path: Path) -> None:
    world = World.make(count=200)
    PLANTERS["missing"](world, 40)
    lasting = world.take(1)[0]
    world.logs = [wrote(world.ids[lasting], LONG_AGO)]
    world.vector(lasting, np.zeros(world.dimension))
    diff = look(world, tmp_path, LaterStore.of(world), 0.2)
    assert kinds(diff) == {"zero": 1}
    assert diff.impact is not None
    assert diff.impact["things"]["recall"] > 0.99


def test_a_child_of_a_pending_parent_does_not_dangle(tmp_path: Path) -> None:
    world = World.make(count=60)
    parent = world.ids[3]
    del world.target[world.place(parent)]
    diff = look(world, tmp_path, LaterStore.of(world, after=NEVER), 3600)
    assert seems(diff) == {parent: "missing"}
    assert kinds(diff) == {"pending": 1}


def test_a_row_that_is_wrong_in_several_ways_is_pending_once(tmp_path: Path) -> None:
    world = World.make(count=60)
    row = world.take(1)[0]
    at = world.place(world.ids[row])
    text, _, metadata = world.target[at]
    world.target[at] = (text, np.zeros(world.dimension, np.float32), {**metadata, "plan": "other"})
    diff = look(world, tmp_path, LaterStore.of(world, after=NEVER), 3600)
    assert seems(diff) == {text: "zero, metadata_drift"}


@pytest.mark.parametrize(
    ("settle_s", "after", "said"),
    [(6, 1, {}), (3600, NEVER, {"pending": 5}), (0.2, NEVER, {"broadcast": 5})],
)
def test_without_expected_vectors_a_broadcast_is_looked_at_again_too(
    tmp_path: Path, settle_s: float, after: int, said: dict[str, int]
) -> None:
    world = World.make(count=60)
    first, *rest = world.take(5)
    for row in rest:
        world.vector(row, world.expected[first])
    diff = look(world, tmp_path, LaterStore.of(world, after=after), settle_s, expected=False)
    counts = kinds(diff)
    counts.pop("unchecked")
    assert counts == said


@pytest.mark.parametrize("told_by", ["log", "metadata"])
@pytest.mark.parametrize(("settle_s", "said"), [(3600, {"pending": 5}), (0.2, {"missing": 1, "zero": 4})])
def test_a_time_of_writing_after_the_freezing_is_no_time(
    tmp_path: Path, told_by: str, settle_s: float, said: dict[str, int]
) -> None:
    world = World.make(count=60)
    world.parents = [None] * 60
    gone, *rows = world.take(5)
    for row in rows:
        world.vector(row, np.zeros(world.dimension))
    if told_by == "log":
        world.logs = [wrote(text, FAR_AHEAD) for text in world.ids]
    else:
        for _, _, metadata in world.target:
            metadata["written_at"] = FAR_AHEAD
    del world.target[world.place(world.ids[gone])]
    diff = look(world, tmp_path, LaterStore.of(world, after=NEVER), settle_s)
    assert kinds(diff) == said
    known = 60 if told_by == "log" else 59
    [note] = [note for note in diff.collections["things"].notes if "cannot be right" in note]
    assert note == (
        f"{known} times of writing lie more than {settle_s:g} s after the evidence was frozen and cannot be right; the age of "
        "these rows was counted from the freezing"
    )


def test_a_clock_that_is_a_little_ahead_makes_rows_young_and_is_not_mentioned(tmp_path: Path) -> None:
    world = World.make(count=60)
    row = world.take(1)[0]
    world.vector(row, np.zeros(world.dimension))
    soon = datetime.now(UTC) + timedelta(minutes=30)
    world.logs = [wrote(text, soon.isoformat()) for text in world.ids]
    diff = look(world, tmp_path, LaterStore.of(world, after=NEVER), 3600)
    assert kinds(diff) == {"pending": 1}
    assert not any("cannot be right" in note for note in diff.collections["things"].notes)


def test_the_cost_leaves_out_what_is_pending_and_says_so(tmp_path: Path) -> None:
    world = World.make(count=200)
    PLANTERS["missing"](world, 40)
    lasting = world.take(1)[0]
    world.logs = [wrote(world.ids[lasting], LONG_AGO)]
    world.vector(lasting, np.zeros(world.dimension))
    diff = look(world, tmp_path, LaterStore.of(world, after=NEVER), 3600)
    assert kinds(diff) == {"zero": 1, "pending": 40}
    assert diff.impact is not None
    assert diff.impact["things"]["recall"] > 0.99
    assert any(limit.startswith("things: 40 rows were too young to be judged") for limit in diff.limits)


def test_a_target_that_was_repaired_since_says_nothing_about_what_was_frozen(tmp_path: Path) -> None:
    world = late_world()
    case, run = freeze(world, tmp_path, settle_s=3600)
    run.ledger_sqlite.parent.mkdir()
    run.ledger_sqlite.touch()
    store = LaterStore.of(world)
    diff = diff_vectors(case, run, refetch={"things": store})
    assert (diff.counts["missing"], diff.counts["pending"], store.fetches) == (5, 0, 0)
    assert any("has been written to by the migration of this run" in limit for limit in diff.limits)
