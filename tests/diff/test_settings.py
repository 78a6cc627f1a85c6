"""Settings of the diff: no expected vectors, a sample, times of writing; and always the same bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_run import freeze, investigate
from planted_world import World
from planting import PLANTERS, add_dangling

from vecforensics.diff import diff_vectors
from vecforensics.errors import EvidenceError
from vecforensics.findings import Kind, Verdict
from vecforensics.run_folder import RunFolder


def everything(seed: int = 4, count: int = 1500) -> World:
    world = World.make(count=count, seed=seed)
    for plant in PLANTERS.values():
        plant(world, 24)
    add_dangling(world)
    return world


def test_the_same_evidence_gives_the_same_bytes_whatever_the_workers_the_buckets_and_the_scan(
    tmp_path: Path,
) -> None:
    seen = set()
    for number, (buckets, workers, shuffle) in enumerate([(1, 1, None), (7, 2, 1), (4, 3, 2)]):
        diff = investigate(
            everything(), tmp_path / str(number), buckets=buckets, workers=workers, shuffle=shuffle
        )
        run = RunFolder.open(diff.path)
        seen.add((run.findings_json.read_bytes(), run.findings_parquet.read_bytes()))
    assert len(seen) == 1


def test_a_whole_number_is_spelt_alike_beside_one_two_and_a_half_and_in_buckets_without_it(
    tmp_path: Path,
) -> None:
    seen = set()
    for buckets in (1, 4, 9):
        world = World.make(count=1200, dimension=8, seed=2)
        world.parents = [None] * 1200
        for row, own in enumerate(world.metadata):
            own["score"] = 2.5 if row == 700 else row % 12
        world.target = [
            (
                text,
                vector,
                {**world.metadata[world.row_of[text]], "batch": 2.5 if text == world.ids[701] else 7},
            )
            for text, vector, _ in world.target
            if world.row_of[text] % 12 != 3
        ]
        diff = investigate(world, tmp_path / str(buckets), buckets=buckets, impact=False)
        run = RunFolder.open(diff.path)
        seen.add((run.findings_json.read_bytes(), run.findings_parquet.read_bytes()))
        assert any("score = 3 hold" in spot["sentence"] for spot in diff.hot_spots)
    assert len(seen) == 1


def test_a_foreign_group_of_more_rows_than_are_compared_with_one_another_is_the_same_in_all_buckets(
    tmp_path: Path,
) -> None:
    seen = set()
    for buckets in (1, 4, 9):
        world = World.make(count=1500, dimension=16, seed=3)
        world.parents = [None] * 1500
        turn = np.linalg.qr(world.rng.normal(size=(16, 16)))[0]
        for number, row in enumerate(world.take(1200)):
            noise = world.rng.normal(size=16)
            turned = world.expected[row] @ turn + (0.15 * noise if number % 2 else 0)
            world.vector(row, turned if number % 5 else noise)
        diff = investigate(world, tmp_path / str(buckets), buckets=buckets, impact=False)
        run = RunFolder.open(diff.path)
        seen.add((run.findings_json.read_bytes(), run.findings_parquet.read_bytes()))
        assert diff.counts["foreign_model"] > 900
    assert len(seen) == 1


def test_findings_json_has_the_fixed_keys_and_every_kind(tmp_path: Path) -> None:
    diff = investigate(everything(), tmp_path)
    written = json.loads(RunFolder.open(diff.path).findings_json.read_text())
    assert set(written) == {
        *("format", "case", "title", "verdict", "estimate", "collections", "counts", "rows_corrupt"),
        *(
            "records_corrupt",
            "rows_checked",
            "hot_spots",
            "hot_spot_search",
            "impact",
            "examples",
            "settings",
            "limits",
            "evidence_digest",
        ),
    }
    assert set(written["counts"]) == {kind.value for kind in Kind}
    assert written["counts"] == written["collections"]["things"]["counts"]
    assert sum(written["counts"].values()) == diff.table.num_rows
    assert max(Counter(row["kind"] for row in written["examples"]).values()) == 5
    assert written["impact"]["things"]["recall"] < 1


def test_the_terminal_names_a_record_of_each_kind_and_no_id_reaches_it_raw(tmp_path: Path) -> None:
    world = World.make(count=60)
    a, b, c, d = world.take(4)
    hostile = {a: " a\x1b[31m\u202e", b: "b\nline", c: "c", d: "d"}
    for row, text in hostile.items():
        place = world.place(world.ids[row])
        world.ids[row] = text
        world.target[place] = (text, *world.target[place][1:])
    world.parents = [None] * 60
    world.row_of = {text: row for row, text in enumerate(world.ids)}
    world.vector(a, world.expected[b])
    world.vector(b, world.expected[a])
    del world.target[world.place("c")]
    place = world.place("d")
    world.target[place] = ("D", *world.target[place][1:])
    said = str(investigate(world, tmp_path, impact=False))
    named = said[said.index("For example") :].splitlines()
    assert named[0] == "For example (findings.parquet in the run folder has all):"
    assert "  • missing: things 'c'" in named
    assert any(line.startswith("  • mangled_id: things 'd', under the id 'D', ") for line in named)
    [swapped] = [line for line in named if "swapped" in line]
    assert "partner" in swapped
    assert all(character not in said for character in "\x1b\u202e")


def test_without_expected_vectors_the_rest_is_checked_and_nothing_is_called_clean(tmp_path: Path) -> None:
    world = World.make(count=400)
    assert investigate(world, tmp_path / "clean", expected=False).verdict is Verdict.UNKNOWN
    for name in ("missing", "orphan", "non_finite", "zero", "metadata_drift"):
        PLANTERS[name](world, 12)
    a, *rest = world.take(6)
    for row in rest:
        world.vector(row, world.expected[a])
    text, vector, metadata = world.target[world.place(world.ids[world.take(1)[0]])]
    world.target.append(("another-id", vector.copy(), dict(metadata)))
    long = world.take(1)[0]
    world.vector(long, world.expected[long] * 40)
    diff = investigate(world, tmp_path / "wrong", expected=False)
    counts = diff.counts
    assert counts["missing"] == counts["orphan"] == counts["non_finite"] == counts["zero"] == 12
    assert counts["metadata_drift"] == 12
    assert counts["broadcast"] == 6
    assert diff.of_kind("duplicate")["source_id"].to_pylist() == [text]
    suspicious = [
        json.loads(row["detail"]) for row in diff.of_kind("unchecked").to_pylist() if row["source_id"]
    ]
    assert {"length"} <= {detail["suspicion"] for detail in suspicious}
    assert diff.collections["things"].checked == 12
    assert any("no expected vectors" in limit for limit in diff.limits)


def test_a_sample_keeps_ids_exact_and_gives_an_interval(tmp_path: Path) -> None:
    world = World.make(count=2000, dimension=16)
    PLANTERS["missing"](world, 30)
    PLANTERS["zero"](world, 200)
    add_dangling(world)
    diff = investigate(world, tmp_path, sample=600)
    assert diff.counts["missing"] == 30
    assert diff.estimate is not None
    assert diff.estimate["low"] <= 200 / 1970 <= diff.estimate["high"]
    assert diff.estimate["sampled"] <= 600
    assert 0 < diff.counts["zero"] < 200
    assert diff.collections["things"].checked == diff.estimate["sampled"] + 30
    assert str(diff).count("estimate: ") == 1
    assert diff._repr_html_().count("estimate: ") == 1
    assert diff.headline.startswith("CORRUPT: at least ")
    assert diff.headline.endswith("so this is an estimate")
    again = investigate(world, tmp_path / "again", sample=600, buckets=5)
    assert again.as_dict() == diff.as_dict()


def test_a_sample_that_finds_nothing_is_no_clean_verdict(tmp_path: Path) -> None:
    diff = investigate(World.make(count=500), tmp_path, sample=100)
    assert diff.verdict is Verdict.UNKNOWN
    assert diff.estimate is not None
    assert diff.estimate["found"] == 0


@pytest.mark.parametrize("basis", ["sequence number", "time", "order in the log"])
def test_a_child_written_before_its_parent_is_premature(tmp_path: Path, basis: str) -> None:
    world = World.make(count=100)
    order = list(range(100))
    early = [60, 75, 90]
    for row in early:
        order.remove(row)
        order.insert(0, row)
    for place, row in enumerate(order):
        event: dict[str, Any] = {
            "action": "wrote",
            "record_ids": [world.ids[row]],
            "fields": {},
            "time": None,
        }
        if basis == "sequence number":
            event["fields"] = {"seq": str(place)}
        elif basis == "time":
            event["time"] = f"2026-01-01T00:{place // 60:02d}:{place % 60:02d}.5Z"
        world.logs.append(event)
    if basis != "order in the log":
        world.rng.shuffle(world.logs)
    diff = investigate(world, tmp_path, impact=False)
    rows = diff.table.to_pylist()
    assert {(row["source_id"], row["partner_id"]) for row in rows} == {
        (world.ids[row], world.parents[row]) for row in early
    }
    assert {json.loads(row["detail"])["by"] for row in rows} == {basis}


def test_write_times_in_the_metadata_of_the_target_count_too(tmp_path: Path) -> None:
    world = World.make(count=60)
    for n, (_, _, metadata) in enumerate(world.target):
        metadata["written_at"] = f"2026-01-01T00:{n:02d}:00Z"
        metadata["worker"] = "w1"
    world.target[40][2]["written_at"] = "2025-12-31T00:00:00Z"
    diff = investigate(world, tmp_path, impact=False)
    assert diff.of_kind("premature")["source_id"].to_pylist() == [world.ids[40]]
    assert diff.table["worker"].to_pylist() == ["w1"]


def test_a_run_without_evidence_is_refused(tmp_path: Path) -> None:
    case, run = freeze(World.make(count=10), tmp_path)
    (run.evidence / "evidence.json").unlink()
    with pytest.raises(EvidenceError, match="no evidence"):
        diff_vectors(case, run)


def test_noise_of_one_unit_in_the_last_place_everywhere_is_one_line(tmp_path: Path) -> None:
    world = World.make(count=100)
    for row in range(100):
        world.vector(row, np.nextafter(world.expected[row], np.float32(9)))
    diff = investigate(world, tmp_path)
    assert (diff.verdict, diff.counts["noise"], diff.table.num_rows) == (Verdict.CLEAN, 1, 1)


def test_the_diff_of_frozen_evidence_needs_no_pandas(tmp_path: Path) -> None:
    diff = investigate(everything(), tmp_path)
    program = (
        "import sys\n"
        "from vecforensics.diff import diff_vectors\n"
        "from vecforensics.run_folder import RunFolder\n"
        f"run = RunFolder.open({str(diff.path)!r})\n"
        "found = diff_vectors(run.case(), run)\n"
        "print(found.verdict.value, 'pandas' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["corrupt", "False"], done.stderr
