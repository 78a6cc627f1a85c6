"""Whose id a strange id seems to be, where its vector is nobody's: said where it is no chance, and only there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World

from vecforensics.diff import Diff
from vecforensics.findings import Kind


def numbered(prefix: str = "", count: int = 300) -> World:
    """Records `1`, `2`, … with something before each."""
    world = World.make(count=count, shape="numeric")
    world.ids = [f"{prefix}{number}" for number in range(1, count + 1)]
    world.target = [
        (text, vector, metadata) for text, (_, vector, metadata) in zip(world.ids, world.target, strict=True)
    ]
    world.row_of = {text: row for row, text in enumerate(world.ids)}
    world.parents = [None] * count
    return world


def add(world: World, ids: Iterable[str]) -> None:
    """Rows over vectors that nobody expects."""
    for text in ids:
        world.target.append(
            (text, world.rng.normal(size=world.dimension).astype(np.float32), {"plan": "free"})
        )


def strange(diff: Diff) -> dict[str, tuple[str | None, str | None]]:
    """Orphan → (whose id it seems to be, what was done to that)."""
    rows = diff.of_kind("orphan").to_pylist()
    return {
        row["target_id"]: (row["partner_id"], json.loads(row["detail"]).get("conversion")) for row in rows
    }


@pytest.mark.parametrize("expected", [True, False])
@pytest.mark.parametrize("made", ["user:{}", "{}#0", "v2/{}", "user{}"])
def test_ids_with_the_same_around_them_name_the_records_whose_ids_they_seem_to_be(
    tmp_path: Path, made: str, expected: bool
) -> None:
    world = numbered()
    ids = {made.format(number): str(number) for number in range(1, 101)}
    add(world, [*ids, "stranger"])
    found = strange(investigate(world, tmp_path, impact=False, expected=expected))
    around = made.replace("{}", "")
    said = f"suffix {around!r} added" if made.startswith("{") else f"prefix {around!r} added"
    assert found == {text: (record, said) for text, record in ids.items()} | {"stranger": (None, None)}


def test_ids_without_what_stands_before_all_records_ids_name_these(tmp_path: Path) -> None:
    world = numbered("user:1")
    add(world, ["11", "12", "13", "99999"])
    found = strange(investigate(world, tmp_path, impact=False))
    assert found == {
        **{text: (f"user:{text}", "prefix 'user:' lost") for text in ("11", "12", "13")},
        "99999": (None, None),
    }


def test_another_spelling_of_a_present_id_over_nobodys_vector_names_it(tmp_path: Path) -> None:
    world = numbered()
    add(world, ["7.0", "0x97", "00012", "x7.0"])
    found = strange(investigate(world, tmp_path, impact=False))
    assert found == {
        "7.0": ("7", "read as a floating-point number"),
        "0x97": ("151", "hexadecimal"),
        "00012": ("12", "leading zeros added"),
        "x7.0": (None, None),
    }


@pytest.mark.parametrize(
    "ids",
    [
        [str(number) for number in range(2011, 2100)],
        [str(number) for number in range(1001, 1101)],
        [f"-{number}" for number in range(1001, 1101)],
        [f"{number}.5" for number in range(1, 50)],
        [f"2024-{number}" for number in range(1, 50)],
        [f"{one}/{other}" for one in range(1, 6) for other in range(6, 11)],
        [f"{number:04x}" for number in range(0xA010, 0xA100)],
        ["user:1", "user:2"],
    ],
    ids=["sequence", "next", "negative", "halves", "dashes", "two records", "hexadecimal", "two only"],
)
def test_what_may_be_a_chance_names_nobody(tmp_path: Path, ids: list[str]) -> None:
    world = numbered()
    add(world, ids)
    assert strange(investigate(world, tmp_path, impact=False)) == dict.fromkeys(ids, (None, None))


def test_a_strange_id_over_an_earlier_version_of_the_record_it_seems_to_be_is_a_copy_of_it(
    tmp_path: Path,
) -> None:
    world = numbered()
    world.earlier = [("5", world.rng.normal(size=world.dimension).astype(np.float32)) for _ in range(2)]
    add(world, [f"user:{number}" for number in range(1, 11)])
    at = world.place("user:5")
    world.target[at] = ("user:5", world.earlier[1][1].copy(), {"plan": "free"})
    diff = investigate(world, tmp_path, impact=False)
    [copy] = diff.of_kind("duplicate").to_pylist()
    assert (copy["source_id"], copy["target_id"]) == ("5", "user:5")
    assert json.loads(copy["detail"]) == {
        "form": "another id",
        "conversion": "prefix 'user:' added",
        "vector": "its own of an earlier version",
        "version": "0001",
    }
    assert set(strange(diff)) == {f"user:{number}" for number in range(1, 11)} - {"user:5"}


def test_whose_an_id_seems_to_be_depends_on_no_bucket_and_no_order_of_the_scan(tmp_path: Path) -> None:
    tables = []
    for number, (buckets, shuffle) in enumerate([(1, 1), (4, 2)]):
        world = numbered()
        add(world, [*(f"user:{number}" for number in range(1, 31)), "0x97", "7.0"])
        diff = investigate(world, tmp_path / str(number), impact=False, buckets=buckets, shuffle=shuffle)
        tables.append(diff.of_kind(Kind.ORPHAN).select(["target_id", "partner_id", "detail"]).to_pylist())
    assert tables[0] == tables[1]
