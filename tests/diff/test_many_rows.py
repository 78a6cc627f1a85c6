"""Damage of many rows at once: nothing changes silently beyond some number, and what was left out is said."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World

from vecforensics.diff.explain import ids, leftovers, lookalikes, partial_copies
from vecforensics.findings import Kind


def with_foreign_blocks(count: int, shape: Any, others: int = 1) -> World:
    """`count` rows whose second part, from `shape(row)` on, is the next record's, and some `others` behind them."""
    world = World.make(count=count + others, dimension=16, seed=3)
    for row in range(count):
        text, vector, metadata = world.target[row]
        vector[shape(row) :] = world.expected[row + 1][shape(row) :]
        world.target[row] = (text, vector, metadata)
        world.expect(Kind.PARTIAL, text, world.ids[row + 1])
    return world


def partial_owners(diff: Any) -> dict[str, str]:
    return {row["source_id"]: row["partner_id"] for row in diff.of_kind("partial").to_pylist()}


def test_the_owner_of_a_block_is_named_for_every_row_beyond_4000(tmp_path: Path) -> None:
    world = with_foreign_blocks(6000, lambda _row: 8)
    diff = investigate(world, tmp_path, impact=False)
    assert partial_owners(diff) == {world.ids[row]: world.ids[row + 1] for row in range(6000)}
    assert diff.collections["things"].notes == ()


def test_blocks_of_all_shapes_are_looked_up_in_one_sweep(tmp_path: Path) -> None:
    world = with_foreign_blocks(500, lambda row: 4 + row % 9)
    diff = investigate(world, tmp_path, impact=False)
    assert partial_owners(diff) == {world.ids[row]: world.ids[row + 1] for row in range(500)}


def test_what_was_not_looked_up_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "_BUDGET", 2 * 1200)
    monkeypatch.setattr(partial_copies, "_BUDGET", 0.0)
    world = with_foreign_blocks(500, lambda row: 8 if row % 10 < 8 else 4 + row % 10 - 8, others=700)
    diff = investigate(world, tmp_path, impact=False)
    assert Counter(diff.table["kind"].to_pylist()) == {"partial": 450, "drifted": 50}
    assert diff.collections["things"].notes == (
        "50 vectors with one wrong block were not looked up by that block, their blocks being too various; they are "
        "called drifted",
    )


def test_a_hundred_groups_of_strangers_are_each_a_broadcast_noise_and_all(tmp_path: Path) -> None:
    world = World.make(count=1200, dimension=24, seed=4)
    for _group in range(100):
        stranger = world.rng.normal(size=24)
        for n, row in enumerate(world.take(5)):
            # Four exact copies and one with the noise of another batch: joined to its group, whichever cell it falls into.
            world.vector(row, stranger * (1 + (n == 4) * 2e-4 * world.rng.normal(size=24)))
            world.expect(Kind.BROADCAST, world.ids[row])
    diff = investigate(world, tmp_path, impact=False)
    assert Counter(diff.table["kind"].to_pylist()) == {"broadcast": 500}
    assert {json.loads(text)["group"] for text in diff.table["detail"].to_pylist()} == {5}


@pytest.mark.parametrize("expected", [True, False])
def test_other_spellings_of_present_ids_are_seen_beyond_20000_orphans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: bool
) -> None:
    monkeypatch.setattr(lookalikes, "_AT_ONCE", 100)
    world = World.make(count=300, dimension=12, shape="numeric", seed=6)
    if expected:
        # Two records of one text: the copy belongs to the one whose id it spells otherwise.
        world.expected[1::2] = world.expected[::2]
        for row in range(300):
            text, _, metadata = world.target[row]
            world.metadata[row] = world.metadata[row - row % 2]
            world.target[row] = (text, world.expected[row].copy(), dict(world.metadata[row]))
    for text, vector, metadata in list(world.target):
        copy = vector.copy() if expected else world.rng.normal(size=12).astype(np.float32)
        world.target.append((f"{text}.0", copy, dict(metadata)))
    diff = investigate(world, tmp_path, expected=expected, impact=False)
    rows = diff.of_kind("duplicate").to_pylist()
    assert {row["target_id"]: row["source_id"] for row in rows} == {f"{text}.0": text for text in world.ids}


@pytest.mark.parametrize("spelt", [1, 30])
def test_beyond_20000_strange_ids_hardly_any_of_which_is_a_spelling_the_others_are_not_spelt_out_and_a_note_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelt: int
) -> None:
    monkeypatch.setattr(lookalikes, "_AT_ONCE", 50)
    world = World.make(count=100, dimension=12, shape="numeric", seed=6)
    strange = [f"{text}.0" for text in world.ids[:spelt]] + [f"stranger {n}" for n in range(spelt, 100)]
    for text in strange:
        world.target.append((text, world.rng.normal(size=12).astype(np.float32), {}))
    diff = investigate(world, tmp_path, impact=False)
    named = {
        row["target_id"]: row["partner_id"] for row in diff.of_kind("orphan").to_pylist() if row["partner_id"]
    }
    assert named == {f"{text}.0": text for text in world.ids[:spelt]}
    notes = diff.collections["things"].notes
    assert [note[:42] for note in notes] == (
        ["of the ids that no record has 50 were not "] if spelt == 1 else []
    )


MISSING = [str(n) for n in range(10_000, 13_000)]
# 1,000 missing records and 3,000 strangers have nothing in common with anybody on the other side.
STRANGERS = [f"{n}.0" for n in range(10_000, 12_000)] + [f"stranger {n}" for n in range(3000)]


def test_each_unmatched_id_is_held_against_its_kin_alone_so_that_pairing_is_linear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held: list[tuple[str, str]] = []
    name_of = ids.spelling_name

    def counted(text: str, other: str) -> str | None:
        held.append((text, other))
        return name_of(text, other)

    monkeypatch.setattr(ids, "spelling_name", counted)
    assert len(ids.pair_ids(MISSING, STRANGERS)) == 2000
    assert sorted(held) == [(text, f"{text}.0") for text in MISSING[:2000]]


def test_in_a_crowd_each_unmatched_id_with_kin_is_spelt_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[str] = Counter()
    convert = ids.spellings

    def counted(text: str) -> Mapping[str, str]:
        seen[text] += 1
        return convert(text)

    monkeypatch.setattr(ids, "_FEW", 0)
    monkeypatch.setattr(ids, "spellings", counted)
    assert len(ids.pair_ids(MISSING, STRANGERS)) == 2000
    assert set(seen.values()) == {1}
    assert len(seen) == 2 * 2000


def test_records_that_share_a_vector_with_thousands_do_not_multiply_the_work(tmp_path: Path) -> None:
    """All empty texts have one vector; 2,000 rows that hold it wrongly are one broadcast, not 2,000 × 2,000 candidates."""
    world = World.make(count=4000, dimension=12, seed=1)
    world.expected[:2000] = world.expected[0]
    for row in range(4000):
        text, _, metadata = world.target[row]
        world.target[row] = (text, world.expected[0 if row >= 2000 else row].copy(), metadata)
    diff = investigate(world, tmp_path, impact=False)
    assert Counter(diff.table["kind"].to_pylist()) == {"broadcast": 2000}
    assert np.all([row["partner_id"] in set(world.ids[:2000]) for row in diff.table.to_pylist()])
