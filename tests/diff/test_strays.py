"""Rows that belong to no record gather too: in a batch, a worker, a minute, a stretch of ids; and strewn ones do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from planted_run import investigate
from planted_world import World

from vecforensics.diff import Diff
from vecforensics.run_folder import RunFolder


def world_with_strays(rows: list[int], mark: Any = None, count: int = 1000) -> World:
    """Rows of the target whose records were deleted from the source afterwards; `mark` gives each row further metadata."""
    world = World.make(count=count, dimension=8, seed=2)
    for row, (_, _, metadata) in enumerate(world.target):
        metadata.update(mark(row) if mark else {})
    # Each record that goes from the source leaves its row in the target behind.
    gone = set(rows)
    kept = [row for row in range(count) if row not in gone]
    world.ids = [world.ids[row] for row in kept]
    world.expected = world.expected[kept]
    world.metadata = [world.metadata[row] for row in kept]
    world.parents = [None] * len(kept)
    world.row_of = {text: row for row, text in enumerate(world.ids)}
    return world


def orphan_spots(diff: Diff) -> list[Any]:
    return [spot for spot in diff.hot_spots if spot["kind"] == "orphan"]


def test_a_batch_that_was_written_for_nobody_is_named(tmp_path: Path) -> None:
    world = world_with_strays(
        [row for row in range(1000) if row % 20 == 7],
        lambda row: {"batch": row % 20, "worker": f"w{row % 3}"},
    )
    diff = investigate(world, tmp_path, impact=False)
    spots = orphan_spots(diff)
    assert diff.counts["orphan"] == 50
    assert spots[0]["sentence"] == "batch 7 holds all 50 orphan rows (5.0 % of all vectors in the target)"
    assert spots[0]["side"] == "target"
    assert spots[0]["collection"] == "things"
    assert set(diff.of_kind("orphan")["batch"].to_pylist()) == {"7"}
    assert set(diff.of_kind("orphan")["worker"].to_pylist()) == {"w0", "w1", "w2"}


@pytest.mark.parametrize("buckets", [1, 5])
def test_in_a_large_target_a_sample_of_the_others_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buckets: int
) -> None:
    monkeypatch.setattr("vecforensics.diff.hotspots.strays._CONTROLS", 300)
    world = world_with_strays(
        [row for row in range(2000) if row % 20 == 7], lambda row: {"batch": row % 20}, 2000
    )
    diff = investigate(world, tmp_path, buckets=buckets, impact=False)
    spot = orphan_spots(diff)[0]
    looked_at = 100 + len(
        [text for text in world.ids if xxhash.xxh3_64_intdigest(text.encode()) < 2**64 // 2000 * 300]
    )
    assert 300 < looked_at < 500
    share = f"{100 * 100 / looked_at:.0f} %"
    assert spot["sentence"] == (
        f"batch 7 holds all 100 orphan rows ({share} of the {looked_at:,} vectors in the target that were looked at)"
    )
    assert spot["sampled"]
    assert any(f"against {looked_at - 100:,} other rows" in limit for limit in diff.limits)


@pytest.mark.parametrize("controls", [300, 100_000])
def test_whether_rows_of_the_target_are_laid_out_ahead_or_once_the_orphans_are_known_is_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, controls: int
) -> None:
    monkeypatch.setattr("vecforensics.diff.hotspots.strays._CONTROLS", controls)
    world = world_with_strays(
        [row for row in range(1000) if row % 20 == 7],
        lambda row: {"batch": row % 20, "worker": f"w{row % 3}"},
    )
    for row in range(100, 160):
        text, vector, metadata = world.target[row]
        world.target[row] = f"old/{text}", vector, metadata
    ahead = investigate(world, tmp_path / "ahead", impact=False)
    monkeypatch.setattr("vecforensics.diff.passes.MANY_STRAYS", 0)
    late = investigate(world, tmp_path / "late", impact=False)
    assert ahead.counts["orphan"] == 50
    assert ahead.counts["mangled_id"] == 57
    assert orphan_spots(ahead)
    assert ahead.as_dict() | {"evidence_digest": ""} == late.as_dict() | {"evidence_digest": ""}
    assert ahead.table.equals(late.table)


def test_a_bad_minute_in_the_log_is_named(tmp_path: Path) -> None:
    # Written in another order than that of the ids; what came in forty seconds belongs to nobody.
    order = np.random.default_rng(0).permutation(1000)
    world = world_with_strays([row for row in range(1000) if 300 <= order[row] < 340])
    moment = {
        text: f"2026-01-01T00:{order[n] // 60:02d}:{order[n] % 60:02d}Z"
        for n, (text, _, _) in enumerate(world.target)
    }
    world.logs = [
        {
            "action": "wrote",
            "record_ids": [text],
            "time": when,
            "fields": {"collection": "things", "worker": "w1"},
        }
        for text, when in moment.items()
    ]
    strays = {text for text, _, _ in world.target} - set(world.ids)
    times = sorted(moment[text] for text in strays)
    diff = investigate(world, tmp_path, impact=False)
    spot = orphan_spots(diff)[0]
    assert spot["dimension"] == "written_at"
    assert f"written from {times[0]} to {times[-1]}" in spot["sentence"]
    assert sorted(diff.of_kind("orphan")["written_at"].to_pylist()) == times


def test_a_namespace_of_somebody_else_and_a_field_that_only_they_have(tmp_path: Path) -> None:
    world = world_with_strays(
        list(range(300, 340)), lambda row: {"namespace": "test" if 300 <= row < 340 else "live"}
    )
    spot = orphan_spots(investigate(world, tmp_path / "namespace", impact=False))[0]
    assert "namespace test holds all 40 orphan rows" in spot["sentence"]
    world = world_with_strays(
        list(range(2, 1000, 25)), lambda row: {"fixture": True} if row % 25 == 2 else {}
    )
    spot = orphan_spots(investigate(world, tmp_path / "field", impact=False))[0]
    assert "rows with fixture = true hold all 40 orphan rows" in spot["sentence"]


def test_a_stretch_of_ids_is_named_where_nothing_else_is_known(tmp_path: Path) -> None:
    world = World.make(count=800, dimension=8, shape="numeric", seed=2)
    for n in range(60):
        world.target.append((str(900_000 + n), world.rng.normal(size=8).astype(np.float32), {}))
    spot = orphan_spots(investigate(world, tmp_path, impact=False))[0]
    assert "ids 900000 … 900059 hold all 60 orphan rows" in {
        spot["sentence"].split(" (")[0],
        *spot["also"],
    } or ("ids 900000 … 900059" in spot["also"])


@pytest.mark.parametrize("seed", range(5))
def test_strays_strewn_at_random_are_nowhere_in_particular(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.choice(1000, 60, replace=False).tolist()
    diff = investigate(
        world_with_strays(rows, lambda row: {"batch": row // 50, "worker": f"w{row % 4}"}),
        tmp_path,
        impact=False,
    )
    assert diff.counts["orphan"] == 60
    assert diff.hot_spots == ()


def test_the_order_of_the_scan_and_the_buckets_leave_no_trace(tmp_path: Path) -> None:
    seen = set()
    for number, (buckets, shuffle) in enumerate([(1, None), (5, 3)]):
        world = world_with_strays(
            list(range(300, 340)), lambda row: {"written_at": f"2026-01-01T00:{row // 100:02d}:00Z"}
        )
        diff = investigate(world, tmp_path / str(number), buckets=buckets, shuffle=shuffle, impact=False)
        seen.add(json.dumps(diff.as_dict(), sort_keys=True))
    assert len(seen) == 1


def test_what_is_missing_is_said_before_what_dangles_for_it(tmp_path: Path) -> None:
    world = World.make(count=600, dimension=8, seed=2)
    for row, (_, _, metadata) in enumerate(world.target):
        metadata["batch"] = row // 20
    world.logs = [
        {"action": "wrote", "record_ids": [text], "time": None, "fields": {"batch": str(row // 20)}}
        for row, text in enumerate(world.ids)
    ]
    world.target = [entry for row, entry in enumerate(world.target) if row // 20 not in (3, 4)]
    diff = investigate(world, tmp_path, impact=False)
    assert [spot["sentence"] for spot in diff.hot_spots] == [
        "batches 3–4 hold all 40 missing rows (6.7 % of all rows)",
        "batches 18–19 hold all 40 dangling rows (6.7 % of all rows)",
    ]


def test_rows_under_one_id_may_be_listed_in_any_order(tmp_path: Path) -> None:
    """Twelve records of one vector stand under `null`, half of them with their metadata, and beside strays of their own: nothing
    but the listing tells which of the twelve comes first."""
    seen, said = set(), set()
    for number in range(6):
        world = World.make(count=400, dimension=16, seed=5)
        world.parents = [None] * 400
        world.expected[:12] = world.expected[0]
        for row in range(12):
            metadata = world.metadata[row] if row % 2 else {**world.metadata[row], "plan": "lost"}
            world.target[row] = ("null", world.expected[0].copy(), dict(metadata))
        noise = np.random.default_rng(1).normal(size=(10, 16)).astype(np.float32)
        world.target += [(f"stray-{n}", noise[n], {"plan": f"q{n}"}) for n in range(10)]
        diff = investigate(
            world, tmp_path / str(number), buckets=1 + number % 3, shuffle=number, impact=False
        )
        seen.add(RunFolder.open(diff.path).findings_json.read_bytes())
        said |= {(spot["where"], spot["rows"], spot["of"]) for spot in orphan_spots(diff)}
    assert len(seen) == 1
    assert said == {("ids null … stray-9", 16, 22)}
