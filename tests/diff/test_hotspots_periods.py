"""A period that damage keeps to in a stretch of the source only, and a stretch in which only every k-th row was hurt."""

from __future__ import annotations

import numpy as np
import pytest
from hotspot_rows import rows

from vecforensics.diff.hotspots import find_hot_spots, gather, rows_of
from vecforensics.diff.hotspots.lines import lay_out
from vecforensics.diff.hotspots.parts import at_places, places_of_run
from vecforensics.findings import Kind

N = 2000
NUMBERS = np.arange(N)


@pytest.mark.parametrize(
    ("hurt", "sentence"),
    [
        (
            NUMBERS[500:1000:10],
            "every 10th row of rows 501–1,000 holds all 50 drifted rows (2.5 % of all rows)",
        ),
        (
            NUMBERS[507:1000:10],
            "every 10th row of rows 508–1,000 holds all 50 drifted rows (2.5 % of all rows)",
        ),
        (NUMBERS[0:200:10], "every 10th row of rows 1–200 holds all 20 drifted rows (1.0 % of all rows)"),
        (
            NUMBERS[1500::10],
            "every 10th row of rows 1,501–2,000 holds all 50 drifted rows (2.5 % of all rows)",
        ),
        (
            NUMBERS[(NUMBERS >= 600) & (NUMBERS < 1000) & (NUMBERS % 10 > 6)],
            "the last 3 of every 10 of rows 601–1,000 hold all 120 drifted rows (6.0 % of all rows)",
        ),
        (
            NUMBERS[(NUMBERS >= 600) & (NUMBERS < 1000) & (NUMBERS % 20 < 5)],
            "the first 5 of every 20 of rows 601–1,000 hold all 100 drifted rows (5.0 % of all rows)",
        ),
        (
            NUMBERS[400:520:4],
            "every 4th row of rows 401–520 holds all 30 drifted rows (1.5 % of all rows)",
        ),
    ],
)
def test_a_period_of_a_stretch_is_said_with_that_stretch(hurt: np.ndarray, sentence: str) -> None:
    source = rows(N, {Kind.DRIFTED: hurt})
    spots = find_hot_spots([source])
    assert [spot.sentence for spot in spots] == [sentence]
    assert np.array_equal(np.flatnonzero(rows_of(spots[0], lay_out([source]))), hurt)


def test_a_period_of_a_stretch_amid_random_damage() -> None:
    rng = np.random.default_rng(0)
    hurt = np.union1d(NUMBERS[800:1200:4], rng.choice(N, 20, replace=False))
    spots = find_hot_spots([rows(N, {Kind.MISSING: hurt})])
    assert [spot.where for spot in spots] == ["every 4th row of rows 801–1,200"]


def test_a_period_of_a_stretch_of_one_collection_names_it() -> None:
    spots = find_hot_spots(
        [
            rows(N, {}, collection="comments"),
            rows(N, {Kind.ZERO: NUMBERS[500:1000:10]}, collection="posts"),
        ]
    )
    assert (
        str(spots)
        == "1. every 10th row of rows 501–1,000 of posts holds all 50 zero rows (1.2 % of all rows)"
    )
    assert spots[0].collection == "posts"


def test_a_period_of_all_rows_stays_one() -> None:
    spots = find_hot_spots([rows(N, {Kind.MISSING: NUMBERS[3::10]})])
    assert [spot.where for spot in spots] == ["every 10th row (from row 4 on)"]


def test_a_run_without_a_period_stays_one() -> None:
    hurt = 700 + np.random.default_rng(1).choice(300, 150, replace=False)
    spots = find_hot_spots([rows(N, {Kind.MISSING: hurt})])
    assert len(spots) == 1
    assert [part.form for part in spots[0].parts] == ["run"]


def test_every_fourth_row_of_a_batch_is_said_of_the_source() -> None:
    """One of four workers lost a batch, and no log says which worker a row had."""
    spots = find_hot_spots([rows(N, {Kind.MISSING: NUMBERS[400:800:4]}, {"batch": NUMBERS // 400})])
    assert [spot.where for spot in spots] == ["every 4th row of rows 401–800"]


def test_no_period_is_invented_for_a_run_and_no_stretch_for_a_period() -> None:
    """Runs of which 15 % to 90 % were hurt at random, and periods of which 30 % to 95 % were; 60 seeded sets of each."""
    population, invented = lay_out([rows(N, {})]), []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        strewn = rng.choice(N, int(rng.integers(0, 30)), replace=False)
        length = int(rng.integers(60, 600))
        first = int(rng.integers(0, N - length))
        stretch = first + np.flatnonzero(rng.random(length) < rng.uniform(0.15, 0.9))
        again = NUMBERS[int(rng.integers(0, 40)) :: int(rng.integers(3, 40))]
        again = again[rng.random(len(again)) < rng.uniform(0.3, 0.95)]
        for hurt, wrong in ((stretch, "every"), (again, "run")):
            for spot in gather(population, {"missing": np.union1d(hurt, strewn)}):
                invented += [str(spot)] if wrong in {part.form for part in spot.parts} else []
    assert len(invented) <= 4, invented  # 1 in 100, exceeded with a chance of 1 in 1,000


@pytest.mark.parametrize(("first", "last"), [(0, 0), (0, 1999), (2003, 2947), (2000, 3999), (700, 731)])
def test_the_rows_of_a_run_at_each_place_of_each_period_are_those_that_counting_finds(
    first: int, last: int
) -> None:
    population = lay_out([rows(N, {}, collection="posts"), rows(N, {}, collection="users")])
    counted = at_places(population, np.arange(first, last + 1))
    assert np.array_equal(places_of_run(population, first, last).numbers, counted.numbers)


def test_a_period_is_seen_in_a_run_of_which_some_rows_were_set_aside() -> None:
    """Batch 5 is lost as a whole amid a run of which every fourth row was: whichever is taken out first, both are told."""
    batch = NUMBERS // 100
    hurt = np.union1d(NUMBERS[batch == 5], NUMBERS[300:900:4])
    spots = find_hot_spots([rows(N, {Kind.MISSING: hurt}, {"batch": batch})])
    assert sorted(spot.where for spot in spots) == ["batch 5", "every 4th row of rows 301–900"]
