"""Rows that hold one another's vectors: pairs, cycles, copies and chains told apart, earlier versions among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World

from vecforensics.diff import Diff


def world(count: int = 120) -> World:
    return World.make(count=count, dimension=24, seed=5)


def details(diff: Diff, kind: str) -> dict[str, Any]:
    return {
        row["source_id"]: (row["partner_id"], json.loads(row["detail"]))
        for row in diff.of_kind(kind).to_pylist()
    }


def hold(one: World, owners: dict[int, int]) -> None:
    for row, owner in owners.items():
        one.vector(row, one.expected[owner])


@pytest.fixture
def edited() -> World:
    """Every record had one earlier version, by its number in `earlier`; record 7's is version 0007."""
    one = world()
    one.earlier = [(text, one.rng.normal(size=24).astype(np.float32)) for text in one.ids]
    return one


@pytest.mark.parametrize("length", [2, 3, 5])
def test_a_copy_beside_an_exchange_leaves_the_exchange_what_it_is(tmp_path: Path, length: int) -> None:
    one = world()
    rows = [3, 8, 40, 61, 90][:length]
    hold(one, {**dict(zip(rows, rows[1:] + rows[:1], strict=True)), 20: 3, 21: 20})
    found = details(investigate(one, tmp_path, impact=False), "swapped")
    form = {"form": "pair"} if length == 2 else {"form": "cycle", "length": length}
    assert {text: detail for text, (_, detail) in found.items()} == {
        **{one.ids[row]: form for row in rows},
        one.ids[20]: {"form": "copy"},
        one.ids[21]: {"form": "chain"},
    }


def test_a_copy_out_of_a_shifted_run_is_a_copy(tmp_path: Path) -> None:
    one = world()
    hold(one, {**{row: row + 1 for row in range(40, 50)}, 90: 45})
    diff = investigate(one, tmp_path, impact=False)
    assert len(details(diff, "shifted")) == 10
    assert details(diff, "swapped") == {one.ids[90]: (one.ids[45], {"form": "copy"})}


def test_a_vector_that_many_records_expect_hides_no_exchange(tmp_path: Path) -> None:
    one = world()
    for row in range(10, 20):
        one.expected[row] = one.expected[10]
        one.vector(row, one.expected[10])
    hold(one, {5: 10, 12: 50, 50: 12})
    found = details(investigate(one, tmp_path, impact=False), "swapped")
    assert {text: detail["form"] for text, (_, detail) in found.items()} == {
        one.ids[5]: "copy",
        one.ids[12]: "pair",
        one.ids[50]: "pair",
    }


def test_an_exchange_of_earlier_versions_is_a_pair(tmp_path: Path, edited: World) -> None:
    edited.vector(13, edited.earlier[14][1])
    edited.vector(14, edited.earlier[13][1])
    edited.vector(5, edited.earlier[9][1])
    edited.vector(9, edited.expected[5])
    edited.vector(70, edited.earlier[71][1])
    found = details(investigate(edited, tmp_path, impact=False), "swapped")
    assert found == {
        edited.ids[13]: (edited.ids[14], {"form": "pair", "earlier_version": "00014"}),
        edited.ids[14]: (edited.ids[13], {"form": "pair", "earlier_version": "00013"}),
        edited.ids[5]: (edited.ids[9], {"form": "pair", "earlier_version": "0009"}),
        edited.ids[9]: (edited.ids[5], {"form": "pair"}),
        edited.ids[70]: (edited.ids[71], {"form": "earlier version", "version": "00071"}),
    }


@pytest.mark.parametrize("buckets", [1, 4])
def test_a_run_that_holds_its_neighbours_earlier_versions_is_shifted(
    tmp_path: Path, edited: World, buckets: int
) -> None:
    for row in range(40, 50):
        # Of some neighbours the migration had the newest version already.
        edited.vector(row, edited.expected[row + 1] if row in (43, 47) else edited.earlier[row + 1][1])
    diff = investigate(edited, tmp_path, buckets=buckets, impact=False)
    run = {"offset": 1, "run": 10, "begins_at": 40, "begins_with": edited.ids[40], "ends_at": 49}
    assert details(diff, "shifted") == {
        edited.ids[row]: (
            edited.ids[row + 1],
            run if row in (43, 47) else run | {"earlier_version": f"000{row + 1}"},
        )
        for row in range(40, 50)
    }
    assert diff.counts["swapped"] == 0


@pytest.mark.parametrize("owner_is_stale", [True, False])
def test_an_earlier_version_under_many_ids_is_a_broadcast(
    tmp_path: Path, edited: World, owner_is_stale: bool
) -> None:
    rows = [7, 20, 50, 90] if owner_is_stale else [20, 50, 90]
    for row in rows:
        edited.vector(row, edited.earlier[7][1])
    diff = investigate(edited, tmp_path, impact=False)
    said = {"group": len(rows), "owner_holds_it_too": owner_is_stale, "earlier_version": "0007"}
    assert details(diff, "broadcast") == {edited.ids[row]: (edited.ids[7], said) for row in (20, 50, 90)}
    assert diff.counts["stale"] == int(owner_is_stale)


@pytest.mark.parametrize("expecting", [1, 5, 17, 300])
def test_a_vector_that_many_records_expect_is_one_broadcast_of_one_owner(
    tmp_path: Path, expecting: int
) -> None:
    """The vector of an empty text, written under 200 other ids as well."""
    one = world(1000)
    empty = sorted(one.take(expecting))
    for row in empty:
        one.expected[row] = one.expected[empty[0]]
        one.vector(row, one.expected[row])
    others = one.take(200)
    for row in others:
        one.vector(row, one.expected[empty[0]])
    found = details(investigate(one, tmp_path, impact=False), "broadcast")
    said = {"group": 201, "owner_holds_it_too": True} | ({"candidates": expecting} if expecting > 1 else {})
    (named,) = {partner for partner, _ in found.values()}
    assert named in {one.ids[row] for row in empty}
    assert found == {one.ids[row]: (named, said) for row in others}


def test_rows_that_moved_on_past_records_of_one_text_are_a_run_all_the_same(tmp_path: Path) -> None:
    one = world(400)
    empty = sorted(one.take(100))
    one.expected[empty] = one.expected[empty[0]]
    one.target = [
        (text, one.expected[row + 1 if 100 <= row < 300 else row].copy(), metadata)
        for row, (text, _, metadata) in enumerate(one.target)
    ]
    wrong = [row for row in range(100, 300) if (one.expected[row] != one.expected[row + 1]).any()]
    found = details(investigate(one, tmp_path, impact=False), "shifted")
    assert {text: detail["offset"] for text, (_, detail) in found.items()} == {
        one.ids[row]: 1 for row in wrong
    }


def test_ids_that_differ_in_case_alone_and_met_were_overwritten_and_not_shifted(tmp_path: Path) -> None:
    one = world(100)
    one.ids = [f"{'uU'[n % 2]}ser{n // 2}" for n in range(100)]
    one.row_of, one.parents = {text: n for n, text in enumerate(one.ids)}, [None] * 100
    # The store lowers letters: the later of two wrote over the earlier.
    one.target = [(one.ids[n - 1], one.expected[n].copy(), dict(one.metadata[n])) for n in range(1, 100, 2)]
    diff = investigate(one, tmp_path, impact=False)
    assert (diff.counts["shifted"], diff.counts["missing"]) == (0, 50)
    said = {"form": "chain", "collision": "case", "metadata": "moved along"}
    assert details(diff, "swapped") == {one.ids[n - 1]: (one.ids[n], said) for n in range(1, 100, 2)}


def test_what_a_store_does_to_every_vector_is_one_line_though_most_rows_are_damaged(tmp_path: Path) -> None:
    one = world(120)
    one.target = [
        (text, vector.astype(np.float16).astype(np.float32), metadata)
        for text, vector, metadata in one.target
    ]
    for row in one.take(80):
        one.vector(row, one.rng.normal(size=one.dimension))
    diff = investigate(one, tmp_path, impact=False)
    assert (diff.counts["drifted"], diff.counts["quantised"]) == (80, 1)
    assert diff.collections["things"].notes == (
        "40 of 120 vectors are stored as float16: the work of the store, benign",
    )


def test_rows_of_a_crowd_that_all_hold_something_else_are_no_broadcast(tmp_path: Path) -> None:
    """Records 0.3 % apart, kept as float16 and exchanged: nearly each might own the vector of each other, and no two hold one."""
    one = world(600)
    centres = one.rng.normal(size=(3, 24))
    one.expected = (centres[np.arange(600) % 3] + 3e-3 * one.rng.normal(size=(600, 24))).astype(np.float32)
    holds = np.r_[one.rng.permutation(100), 100:600]
    one.target = [
        (text, one.expected[owner].astype(np.float16).astype(np.float32), metadata)
        for owner, (text, _, metadata) in zip(holds, one.target, strict=True)
    ]
    assert len({vector.tobytes() for _, vector, _ in one.target}) == 600
    diff = investigate(one, tmp_path, impact=False)
    assert diff.counts["swapped"] > 20
    assert diff.counts["broadcast"] == 0


@pytest.mark.parametrize("far", [5, 60])
def test_records_that_were_exchanged_are_a_pair_however_many_others_of_the_same_text_stand_between_them(
    tmp_path: Path, far: int
) -> None:
    one = world(120)
    one.expected[10 : 10 + far] = one.expected[10]
    one.target = [
        (text, one.expected[row].copy(), metadata) for row, (text, _, metadata) in enumerate(one.target)
    ]
    hold(one, {9: 9 + far, 9 + far: 9})
    found = details(investigate(one, tmp_path, impact=False), "swapped")
    pair = {"form": "pair"}
    assert found == {one.ids[9]: (one.ids[9 + far], pair), one.ids[9 + far]: (one.ids[9], pair)}
