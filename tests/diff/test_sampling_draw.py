"""The draw from real evidence: an interval that holds over collections with the same ids, and rows that cannot be judged yet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from later_store import LaterStore
from planted_run import freeze, investigate
from planted_world import World
from planting import PLANTERS
from scipy import stats

from vecforensics.arrow_columns import fixed_vectors, texts
from vecforensics.case import load_case
from vecforensics.collect.freeze import EvidenceWriter
from vecforensics.diff import Diff, diff_vectors
from vecforensics.diff.passes import Passed, Work
from vecforensics.diff.sampling.draw import draw_contents
from vecforensics.diff.sampling.estimate import estimate_rate
from vecforensics.evidence import Evidence
from vecforensics.findings import Verdict
from vecforensics.records import source_schema, target_schema

NEVER = 10**9


def by_their_ids(folder: Path, collections: list[str], count: int, missing: range = range(0)) -> Passed:
    """What the ids alone show of collections that all hold the records u0, u1, …; `missing`: those that the first one lacks."""
    ids = [f"u{number}" for number in range(count)]
    vectors = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    case = ["case: shared", "collections:"]
    for name in collections:
        case += [f"  '{name}':", "    source: {uri: x.jsonl, id: id, text: [text]}"]
        case += ["    target: {uri: 'parquet:x.parquet', collection: x}", "    expected: {column: vector}"]
    (folder / "case.yaml").write_text("\n".join(case))
    with EvidenceWriter(folder / "evidence", buckets=4) as writer:
        for name in collections:
            held = [n for n in range(count) if name != collections[0] or n not in missing]
            writer.source(name, [source(ids, vectors)], expected="column vector")
            writer.target(name, [target([ids[n] for n in held], vectors[held])])
        writer.finish()
    evidence = Evidence.open(folder / "evidence")
    work = Work(load_case(folder / "case.yaml"), evidence, 1, None, None, {}, 0, 256, False)
    return work.passed({name: np.empty(0, np.int64) for name in collections})


def source(ids: list[str], vectors: np.ndarray) -> pa.RecordBatch:
    columns = {"id": texts(ids), "text": texts(ids), "vector": fixed_vectors(vectors)}
    schema = source_schema([], 4)
    absent = texts([None] * len(ids))
    return pa.RecordBatch.from_arrays([columns.get(name, absent) for name in schema.names], schema=schema)


def target(ids: list[str], vectors: np.ndarray) -> pa.RecordBatch:
    schema = target_schema(4)
    ragged = pa.nulls(len(ids), pa.list_(pa.float32()))
    columns = [texts(ids), fixed_vectors(vectors), ragged, texts(["{}"] * len(ids))]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def test_the_interval_holds_where_the_same_records_are_wrong_in_every_collection(tmp_path: Path) -> None:
    """A tenth of the users is wrong in all three; 300 draws by as many seeds."""
    by_id = by_their_ids(tmp_path, ["users", "profiles", "settings"], 1000)
    wrong = np.random.default_rng(1).permutation(1000) < 100
    turns, covered = 300, 0
    for seed in range(turns):
        draw = draw_contents(by_id, 300, seed)
        found = {name: int(wrong[positions].sum()) for name, positions in draw.positions.items()}
        rate = estimate_rate(draw.plan, found)
        covered += rate.low <= 0.1 <= rate.high
    assert covered >= stats.binom.ppf(0.001, turns, 0.95)


def test_a_hot_spot_and_a_collection_of_that_name_are_two_strata(tmp_path: Path) -> None:
    by_id = by_their_ids(tmp_path, ["a", "a, in a hot spot"], 400, missing=range(100, 160, 2))
    plan = draw_contents(by_id, 200, 0).plan
    names = [one.name for one in plan.strata]
    assert len(set(names)) == len(names) == 3
    assert plan.size == 770


def diff_of_young_rows(world: World, folder: Path, sample: int = 200) -> Diff:
    """Nothing is old enough to be judged, and nothing changes."""
    world.parents = [None] * len(world.ids)
    case, run = freeze(world, folder, settle_s=3600)
    store = LaterStore.of(world, after=NEVER)
    return diff_vectors(case, run, sample=sample, refetch={"things": store}, impact=False)


def test_rows_too_young_to_be_judged_do_not_count_as_right(tmp_path: Path) -> None:
    world = World.make(count=400, dimension=8)
    for row in range(100):
        world.vector(row, np.zeros(8))
    diff = diff_of_young_rows(world, tmp_path)
    assert diff.estimate is not None
    assert diff.verdict is Verdict.UNKNOWN
    assert diff.estimate["pending"] == diff.counts["pending"] > 30
    assert (diff.estimate["found"], diff.estimate["low"]) == (0, 0)
    assert diff.estimate["low"] <= 0.25 <= diff.estimate["high"]
    assert f"{diff.estimate['pending']} too young to be judged" in str(diff)


def test_a_young_row_whose_metadata_alone_are_wrong_has_the_right_content(tmp_path: Path) -> None:
    world = World.make(count=400, dimension=8)
    PLANTERS["metadata_drift"](world, 60)
    diff = diff_of_young_rows(world, tmp_path)
    assert diff.estimate is not None
    assert diff.counts["pending"] == 60
    assert (diff.estimate["pending"], diff.estimate["rate_most"]) == (0, 0)


def test_a_record_that_is_perhaps_only_late_has_no_content_to_be_drawn(tmp_path: Path) -> None:
    world = World.make(count=400, dimension=8)
    PLANTERS["missing"](world, 60)
    diff = diff_of_young_rows(world, tmp_path, sample=340)
    assert diff.estimate is not None
    assert diff.counts["pending"] == 60
    assert (diff.estimate["rows"], diff.estimate["sampled"], diff.estimate["pending"]) == (340, 340, 0)


def test_what_had_nothing_to_be_compared_with_does_not_count_as_right(tmp_path: Path) -> None:
    world = World.make(count=400, dimension=8)
    world.expected = world.expected.copy()
    world.expected[:100] = np.nan
    diff = investigate(world, tmp_path, sample=400, impact=False)
    assert diff.estimate is not None
    assert (diff.estimate["low"], diff.estimate["high"]) == pytest.approx((0, 0.25))
    assert diff.estimate["sentence"] == (
        "all 400 contents were read: 0 are wrong, 100 with nothing to be compared with (0 % to 25 %)"
    )
