"""Where a kind gathers is asked among the rows that could have shown it: the complement of other damage is no place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hotspot_rows import rows
from planted_run import investigate
from planted_world import World
from scipy import stats

from vecforensics.diff.hotspots import find_hot_spots
from vecforensics.diff.rows import LookedAt
from vecforensics.findings import Kind

N = 3000
NUMBERS = np.arange(N)
BATCH = NUMBERS // 100
LINES = {"batch": BATCH, "worker": NUMBERS % 7}
OF_VECTORS = [
    Kind.MANGLED_ID,
    Kind.DUPLICATE,
    Kind.SWAPPED,
    Kind.BROADCAST,
    Kind.NON_FINITE,
    Kind.ZERO,
    Kind.WRONG_DIMENSION,
    Kind.PARTIAL,
    Kind.STALE,
    Kind.FOREIGN_MODEL,
    Kind.DRIFTED,
    Kind.METADATA_DRIFT,
]


def some(candidates: np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(candidates, int(share * len(candidates)), replace=False)


@pytest.mark.parametrize("kind", OF_VECTORS)
@pytest.mark.parametrize("share", [1.0, 0.6])
def test_a_lost_batch_makes_no_place_of_all_the_others(kind: Kind, share: float) -> None:
    there = BATCH != 7
    spots = find_hot_spots(
        [rows(N, {Kind.MISSING: NUMBERS[~there], kind: some(NUMBERS[there], share)}, LINES)]
    )
    assert [spot.sentence for spot in spots] == ["batch 7 holds all 100 missing rows (3.3 % of all rows)"]


def test_a_batch_of_zeros_in_a_foreign_collection_is_the_only_place() -> None:
    zero = BATCH == 7
    spots = find_hot_spots([rows(N, {Kind.ZERO: NUMBERS[zero], Kind.FOREIGN_MODEL: NUMBERS[~zero]}, LINES)])
    assert [spot.where for spot in spots] == ["batch 7"]


def test_exchanges_cannot_be_seen_where_another_model_stands() -> None:
    """Two thirds are another model's; of the rest a tenth are exchanged, anywhere."""
    foreign = BATCH < 20
    exchanged = some(NUMBERS[~foreign], 0.1)
    spots = find_hot_spots([rows(N, {Kind.FOREIGN_MODEL: NUMBERS[foreign], Kind.SWAPPED: exchanged}, LINES)])
    assert [spot.kind for spot in spots] == ["foreign_model"]


def test_a_batch_that_gathers_among_what_is_left_is_still_found() -> None:
    there = BATCH != 7
    drifted = np.union1d(some(NUMBERS[there], 0.05), NUMBERS[BATCH == 12])
    spots = find_hot_spots([rows(N, {Kind.MISSING: NUMBERS[~there], Kind.DRIFTED: drifted}, LINES)])
    assert sorted((spot.kind, spot.where) for spot in spots) == [
        ("drifted", "batch 12"),
        ("missing", "batch 7"),
    ]


@pytest.mark.parametrize("kind", [Kind.DRIFTED, Kind.ZERO, Kind.BROADCAST])
def test_where_more_vectors_were_sampled_more_damage_is_seen_and_that_is_no_place(kind: Kind) -> None:
    """All of batch 3 and a tenth of the others were looked at; a fifth of all vectors is wrong."""
    drawn = (BATCH == 3) | (np.random.default_rng(1).random(N) < 0.1)
    wrong = some(NUMBERS, 0.2)
    seen = rows(N, {kind: wrong[drawn[wrong]]}, LINES)
    far = np.where(drawn, LookedAt.COMPARED, LookedAt.NOT).astype(np.uint8)
    assert [spot.where for spot in find_hot_spots([seen])] == ["batch 3"]
    assert len(find_hot_spots([replace(seen, looked_at=far)])) == 0


@pytest.mark.parametrize("kind", [Kind.DRIFTED, Kind.SWAPPED])
def test_a_collection_without_expected_vectors_cannot_show_whose_they_are(kind: Kind) -> None:
    one = rows(N, {kind: some(NUMBERS, 0.2)}, LINES, collection="posts")
    other = replace(rows(N, {}, LINES, collection="users"), looked_at=np.full(N, LookedAt.ALONE, np.uint8))
    assert len(find_hot_spots([one, other])) == 0


def test_a_collection_without_expected_vectors_can_show_zeros() -> None:
    alone = np.full(N, LookedAt.ALONE, np.uint8)
    one = rows(N, {Kind.ZERO: some(NUMBERS, 0.2)}, LINES, collection="posts")
    other = rows(N, {}, LINES, collection="users")
    spots = find_hot_spots([replace(one, looked_at=alone), replace(other, looked_at=alone)])
    assert [spot.where for spot in spots] == ["collection posts"]


def test_metadata_cannot_drift_where_none_are_compared() -> None:
    plan = np.where(NUMBERS % 2, '"free"', '"pro"')
    one = rows(N, {Kind.METADATA_DRIFT: some(NUMBERS, 0.2)}, {"metadata:plan": plan}, collection="posts")
    assert len(find_hot_spots([one, rows(N, {}, {}, collection="users")])) == 0


def test_beside_gathered_damage_random_damage_of_other_kinds_makes_no_claim() -> None:
    """Batches lost, zeros in others, and four kinds at random among the rows that these leave: 150 seeded sets."""
    alarms = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        kinds = rng.permutation(30)[:6]
        lost, zero = np.isin(BATCH, kinds[:3]), np.isin(BATCH, kinds[3:])
        damaged = {Kind.MISSING: NUMBERS[lost], Kind.ZERO: NUMBERS[zero]}
        left = ~lost & ~zero
        for kind in (Kind.FOREIGN_MODEL, Kind.SWAPPED):
            damaged[kind] = some(NUMBERS[left], rng.uniform(0.01, 0.9), seed)
            left[damaged[kind]] = False
        damaged[Kind.METADATA_DRIFT] = some(NUMBERS[~lost], rng.uniform(0.01, 0.9), seed)
        damaged[Kind.MANGLED_ID] = some(np.setdiff1d(NUMBERS[~lost], damaged[Kind.METADATA_DRIFT]), 0.05)
        spots = find_hot_spots([rows(N, damaged, LINES)])
        alarms += [str(spot) for spot in spots if spot.kind not in ("missing", "zero")]
    assert len(alarms) <= int(stats.binom.ppf(0.999, 150, 0.01)), alarms


def test_a_sampled_run_makes_no_place_of_the_hot_spot_that_was_sampled_more(tmp_path: Path) -> None:
    """Half of a hundred rows are lost, so that all the others there are looked at; two thirds of all vectors are zero."""
    one = World.make(count=N, dimension=8, shape="words", seed=0)
    one.parents = [None] * N
    lost = {one.ids[row] for row in some(NUMBERS[1400:1500], 0.5).tolist()}
    zero = {one.ids[row] for row in some(NUMBERS, 0.66).tolist()}
    one.target = [
        (text, np.zeros(8, np.float32) if text in zero else vector, metadata)
        for text, vector, metadata in one.target
        if text not in lost
    ]
    diff = investigate(one, tmp_path, impact=False, sample=400)
    assert diff.counts["zero"] > 100
    assert {spot["kind"] for spot in diff.hot_spots} == {"missing"}


def test_a_sample_counts_the_damage_that_it_saw_and_says_so() -> None:
    """Every fiftieth row is wrong, and a third of all were looked at; what is missing is known of all."""
    drawn = np.random.default_rng(3).random(N) < 0.3
    wrong, lost = np.flatnonzero(drawn & (NUMBERS % 50 == 7)), np.arange(1000, 1040)
    seen = rows(N, {Kind.DRIFTED: wrong, Kind.MISSING: lost})
    far = np.where(drawn, LookedAt.COMPARED, LookedAt.NOT).astype(np.uint8)
    spots = {spot.kind: spot for spot in find_hot_spots([replace(seen, looked_at=far)])}
    assert spots["drifted"].sentence == (
        f"every 50th row (from row 8 on) holds all {len(wrong)} drifted rows in the sample (2.0 % of all rows)"
    )
    [within] = spots["drifted"].within
    assert spots["drifted"].sentence_of(within) == (
        f"every 50th row (from row 8 on) holds all {len(wrong)} drifted rows of users in the sample (2.0 % of its rows)"
    )
    assert spots["drifted"].as_dict()["sampled"]
    assert spots["missing"].sentence == "rows 1,001–1,040 hold all 40 missing rows (1.3 % of all rows)"
    assert not spots["missing"].sampled


def test_terminal_and_notebook_say_that_a_place_was_seen_in_a_sample(tmp_path: Path) -> None:
    one = World.make(count=N, dimension=8, shape="words", seed=0)
    one.parents = [None] * N
    wrong = {one.ids[row] for row in NUMBERS[(BATCH == 7) | (BATCH == 8)].tolist()}
    one.target = [
        (text, np.zeros(8, np.float32) if text in wrong else vector, metadata)
        for text, vector, metadata in one.target
    ]
    diff = investigate(one, tmp_path, impact=False, sample=600)
    [spot] = diff.hot_spots
    assert "zero rows in the sample (" in spot["sentence"]
    assert spot["sampled"]
    assert spot["sentence"] in str(diff)
    assert spot["sentence"] in diff._repr_html_()
