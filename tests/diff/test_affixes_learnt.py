"""What stands before or behind strange ids: seen at any length of an id and at a bounded cost, and never learnt from a chance."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from planted_run import freeze, investigate
from planted_world import World

from vecforensics.diff import Diff
from vecforensics.diff.explain.id_affixes import cuts, pair_by_affix
from vecforensics.diff.explain.lookalikes import lookalikes
from vecforensics.diff.sides import Sides
from vecforensics.evidence import Evidence


def named(ids: list[str]) -> World:
    """Records of these ids; all metadata differ."""
    world = World.make(count=len(ids), seed=3)
    world.parents = [None] * len(ids)
    world.ids = ids
    world.row_of = {text: row for row, text in enumerate(ids)}
    world.target = [(text, *held) for text, (_, *held) in zip(ids, world.target, strict=True)]
    return world


def kinds(diff: Diff) -> dict[str, int]:
    return dict(Counter(diff.table["kind"].to_pylist()))


@pytest.mark.parametrize("made", ["{}", "{:x}"])
@pytest.mark.parametrize("more", [1001, 0xA001])
def test_dense_ids_moved_by_a_constant_are_the_records_whose_content_they_hold(
    tmp_path: Path, made: str, more: int
) -> None:
    world = named([made.format(number) for number in range(300)])
    moved = {made.format(number): made.format(number + more) for number in range(16, 100)}
    world.target = [(moved.get(text, text), vector, held) for text, vector, held in world.target]
    diff = investigate(world, tmp_path, impact=False)
    assert kinds(diff) == {"mangled_id": len(moved)}
    rows = diff.of_kind("mangled_id").to_pylist()
    assert {row["source_id"]: row["target_id"] for row in rows} == moved


def test_strangers_whose_dense_numbers_end_like_those_of_missing_records_are_strangers(
    tmp_path: Path,
) -> None:
    world = named([str(number) for number in range(300)])
    world.target = [row for row in world.target if not 10 <= int(row[0]) < 100]
    for number in range(1010, 1100):
        vector = world.rng.normal(size=world.dimension).astype(np.float32)
        world.target.append((str(number), vector, {"plan": "of nobody"}))
    assert kinds(investigate(world, tmp_path, impact=False)) == {"missing": 90, "orphan": 90}


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("u{}", "prefix 'u' added"),
        ("user{}", "prefix 'user' added"),
        ("2024-{}", "prefix '2024-' added"),
        ("{}k", "suffix 'k' added"),
        ("-{}", "prefix '-' added"),
    ],
)
def test_what_stands_before_or_behind_dense_numbers_and_is_none_itself_is_learnt(
    made: str, said: str
) -> None:
    numbers = [str(number) for number in range(10, 100)]
    pairs = pair_by_affix(numbers, [made.format(number) for number in numbers])
    assert pairs == {number: (number, said) for number in range(90)}


def test_digits_before_long_numbers_and_before_words_are_learnt() -> None:
    for ids in ([f"{number:08d}" for number in range(90)], [f"word{letter}" for letter in "abcdefghijkl"]):
        pairs = pair_by_affix(ids, [f"10{text}" for text in ids])
        assert pairs == {number: (number, "prefix '10' added") for number in range(len(ids))}


LONG = "https://example.com/" + "p" * 230


@pytest.mark.parametrize(
    ("record", "made", "said"),
    [
        (f"{LONG}/{{:03d}}", "{}#v2", "suffix '#v2' added"),
        (f"{LONG}/{{:03d}}", "{}v2", "suffix 'v2' added"),
        (f"{LONG}/{{:03d}}", "v2|{}", "prefix 'v2|' added"),
        ("{:08d}", f"{{}}#{LONG}", f"suffix {'#' + LONG!r} added"),
        ("{:08d}", f"{LONG}/{{}}", f"prefix {LONG + '/'!r} added"),
    ],
)
def test_what_stands_around_is_seen_in_ids_of_any_length(record: str, made: str, said: str) -> None:
    ids = [record.format(number) for number in range(60)]
    pairs = pair_by_affix(ids, [made.format(text) for text in ids[:20]])
    assert pairs == {number: (number, said) for number in range(20)}


@pytest.mark.parametrize("length", [5, 230, 800])
@pytest.mark.parametrize(("made", "said"), [("{}#v2", "suffix '#v2' added"), ("v2|{}", "prefix 'v2|' added")])
def test_strange_ids_of_any_length_name_the_record_they_seem_to_be(
    tmp_path: Path, length: int, made: str, said: str
) -> None:
    world = named([f"https://example.com/{'p' * length}/{number:03d}" for number in range(60)])
    for text in world.ids[:20]:
        vector = world.rng.normal(size=world.dimension).astype(np.float32)
        world.target.append((made.format(text), vector, {"plan": "of nobody"}))
    rows = investigate(world, tmp_path, impact=False).of_kind("orphan").to_pylist()
    assert [row["partner_id"] for row in rows] == world.ids[:20]
    assert {json.loads(row["detail"])["conversion"] for row in rows} == {said}


def test_a_long_id_is_cut_no_oftener_than_a_short_one_allows() -> None:
    alike = ["p" * 1_000 + f"-{number}-" + "q" * 1_000 for number in range(3)]
    assert len(list(cuts(alike))) <= 4 * 200 * len(alike)


def test_looking_whose_long_ids_are_takes_memory_by_their_length_and_not_by_its_square(
    tmp_path: Path,
) -> None:
    peaks = []
    for length in (500, 4000):
        count = 600
        world = named([f"https://example.com/{'p' * length}/{number:06d}" for number in range(count)])
        _, run = freeze(world, tmp_path / str(length), buckets=1)
        sides = Sides.of(Evidence.open(run.evidence), "things")
        strange = [f"v2|{text}|x" for text in world.ids]
        tracemalloc.start()
        found, _ = lookalikes(sides, strange)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found == {}
    # Of each of 600 ids some two hundred ends were held: 60 MB and half a gigabyte.
    assert peaks[0] < 40e6
    assert peaks[1] < 16 * peaks[0]
