"""Nothing is claimed of damage that lies at random, and the p-values behind a claim are what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hotspot_rows import rows
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vecforensics.diff.hotspots import gather, rows_of
from vecforensics.diff.hotspots.lines import Population, lay_out
from vecforensics.diff.hotspots.scan import scan_ranks, scan_values
from vecforensics.diff.hotspots.statistics import (
    by_adjust,
    can_be_hot,
    log_likelihood_ratio,
    log_tail,
    smallest_log_p,
)
from vecforensics.diff.hotspots.windows import Counts, may_hold

ROWS, SETS, LEVEL = 4000, 300, 0.01


@pytest.fixture(scope="module")
def population() -> Population:
    rng = np.random.default_rng(11)
    number = np.arange(ROWS)
    seconds = rng.permutation(ROWS)
    source = rows(
        ROWS,
        {},
        {
            "batch": number // 50,
            "worker": number % 7,
            "written_at": [
                f"2026-01-01T{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}Z" for s in seconds.tolist()
            ],
            "metadata:plan": rng.choice(['"free"', '"pro"', '"team"'], ROWS, p=[0.8, 0.15, 0.05]),
            "metadata:country": [f'"c{c}"' for c in rng.zipf(1.5, ROWS).clip(max=300)],
            "metadata:referrer": [f'"r{r}"' for r in rng.integers(0, 900, ROWS)],
            "metadata:age": rng.integers(16, 90, ROWS),
            "metadata:name": [f'"n{n}"' for n in range(ROWS)],
        },
        name=lambda row: f"u{seconds[row]}",
    )
    return lay_out([source])


def _most(sets: int, level: float) -> int:
    """So many false alarms are exceeded with a chance of 1 in 1,000 if each set alarms with the chance `level`."""
    return int(stats.binom.ppf(0.999, sets, level))


def test_random_damage_makes_no_claim(population: Population) -> None:
    """Three kinds at once, from 3 rows to 70 %, over 300 seeded sets."""
    alarms = []
    for seed in range(SETS):
        rng = np.random.default_rng(seed)
        counts = np.exp(rng.uniform(np.log(3), np.log(0.7 * ROWS), size=3)).astype(int)
        damaged = {
            f"kind{at}": rng.choice(ROWS, count, replace=False) for at, count in enumerate(counts.tolist())
        }
        spots = gather(population, damaged)
        if len(spots):
            alarms.append((seed, str(spots)))
    assert len(alarms) <= _most(SETS, LEVEL), alarms


def test_random_damage_in_several_collections_makes_no_claim() -> None:
    """Borders of collections begin windows anew, which are tests as well."""
    rng = np.random.default_rng(12)
    sizes = {"comments": 700, "posts": 1100, "users": 300}
    population = lay_out(
        [
            rows(
                size,
                {},
                {
                    "batch": np.arange(size) // 50,
                    "worker": np.arange(size) % 4,
                    "metadata:plan": rng.choice(['"free"', '"pro"'], size, p=[0.97, 0.03]),
                },
                collection=name,
                name=lambda row: f"u{row * 7919 % 1103}",
            )
            for name, size in sizes.items()
        ]
    )
    total, alarms = sum(sizes.values()), []
    for seed in range(SETS):
        rng = np.random.default_rng(3000 + seed)
        counts = np.exp(rng.uniform(np.log(3), np.log(0.5 * total), size=3)).astype(int)
        damaged = {f"kind{at}": rng.choice(total, count, replace=False) for at, count in enumerate(counts)}
        spots = gather(population, damaged)
        if len(spots):
            alarms.append((seed, str(spots)))
    assert len(alarms) <= _most(SETS, LEVEL), alarms


def test_the_procedure_holds_a_loose_level_too(population: Population) -> None:
    """At a level of 0.2 alarms would be frequent if the control leaked; the effect-size limits are taken off."""
    from vecforensics.diff.hotspots.search import Limits

    loose = Limits(level=0.2, share=0.0, odds=1.0, rows=2)
    alarms = 0
    for seed in range(100):
        rng = np.random.default_rng(1000 + seed)
        damaged = {"zero": rng.choice(ROWS, int(rng.integers(5, 400)), replace=False)}
        alarms += len(gather(population, damaged, loose)) > 0
    assert alarms <= _most(100, 0.2)


def test_ninety_five_of_a_hundred_real_spots_are_found(population: Population) -> None:
    """Half of one batch of 50 is lost amid 1 % random loss: control must not cost the finding."""
    found = 0
    for seed in range(100):
        rng = np.random.default_rng(2000 + seed)
        batch = int(rng.integers(80))
        inside = batch * 50 + rng.choice(50, 25, replace=False)
        spots = gather(population, {"missing": np.union1d(inside, rng.choice(ROWS, 40, replace=False))})
        if len(spots):
            mask = rows_of(spots[0], population)
            found += bool(mask[inside].mean() > 0.9 and mask.sum() <= 60)
    assert found >= 95


@given(st.data())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_tail_bound_is_never_below_the_exact_tail(data: st.DataObject) -> None:
    total = data.draw(st.integers(2, 3000))
    bad = data.draw(st.integers(1, total))
    size = data.draw(st.integers(1, total))
    hits = data.draw(st.integers(max(0, bad + size - total), min(bad, size)))
    exact = float(stats.hypergeom(total, bad, size).sf(hits - 1))
    bound = float(np.exp(log_tail(hits, size, bad, total)))
    assert bound >= exact * (1 - 1e-6)
    if exact < 1e-4:
        assert bound <= exact * 1.15


def test_tail_bound_at_a_million_rows() -> None:
    """Far beyond the smallest float, where sums of probabilities end."""
    assert float(log_tail(3000, 3000, 3100, 1_000_000)) < -18_000
    close = stats.hypergeom(1_000_000, 10_000, 1000).logsf(30 - 1)
    assert float(log_tail(30, 1000, 10_000, 1_000_000)) == pytest.approx(close, abs=0.1)


def test_likelihood_ratio_against_its_definition() -> None:
    def likelihood(hits: int, size: int) -> float:
        return float(stats.binom.logpmf(hits, size, hits / size) - stats.binom.logpmf(hits, size, 0.1))

    gain = likelihood(30, 100) + likelihood(70, 900) - likelihood(100, 1000)
    assert float(log_likelihood_ratio(30, 100, 100, 1000)) == pytest.approx(gain)
    assert float(log_likelihood_ratio(5, 100, 100, 1000)) == 0.0


@pytest.mark.parametrize("seed", range(40))
def test_no_sequence_is_passed_over_in_which_a_scan_finds_something(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = [int(length) for length in rng.integers(2, 300, 30)]
    sizes = [rng.integers(0, 60, length) for length in lengths]
    hits = [rng.binomial(size, 0.05) for size in sizes]
    for some, held in zip(hits, sizes, strict=True):
        first = int(rng.integers(len(held)))
        some[first : first + 5] = rng.binomial(held[first : first + 5], rng.choice([0.05, 0.2, 0.4, 0.9]))
    worth = float(rng.choice([-2.0, -5.0, -9.7]))
    may = may_hold(Counts.of(hits), Counts.of(sizes), worth)
    found = [scan_values(*pair, worth, singles=True) is not None for pair in zip(hits, sizes, strict=True)]
    assert any(found)
    assert set(np.flatnonzero(found)) <= set(may)


def test_values_too_small_to_matter_are_no_tests() -> None:
    """A million names cost nothing; ten batches remain ten tests."""
    batches = (smallest_log_p(np.asarray([1000]), 100, 10_000), np.asarray([10]))
    names = (smallest_log_p(np.asarray([1]), 100, 10_000), np.asarray([10_000]))
    limit, tests = can_be_hot([batches, names], 0.01)
    assert tests == 10
    assert float(smallest_log_p(1, 100, 10_000)) > limit >= float(smallest_log_p(1000, 100, 10_000))
    assert can_be_hot([names], 0.01)[1] == 0
    assert can_be_hot([], 0.01)[1] == 0


@given(st.lists(st.floats(1e-12, 1.0), min_size=1, max_size=60))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_adjusted_p_values_against_scipy(p: list[float]) -> None:
    ours = np.exp(by_adjust(np.log(np.asarray(p)), len(p)))
    assert ours == pytest.approx(stats.false_discovery_control(p, method="by"), rel=1e-9)


@pytest.mark.parametrize("bad", [5, 60, 500])
def test_scan_p_values_are_valid(bad: int) -> None:
    """Under random damage a scan's p-value is below u with a chance of at most u."""
    total, hits = 2000, 0
    for seed in range(400):
        ranks = np.sort(np.random.default_rng(seed).choice(total, bad, replace=False))
        found = scan_ranks(ranks, total, float(np.log(0.05)))
        hits += found is not None
    assert hits <= _most(400, 0.05)


def test_value_scan_p_values_are_valid() -> None:
    sizes = np.random.default_rng(0).integers(1, 60, 64)
    owner = np.repeat(np.arange(64), sizes)
    hits = 0
    for seed in range(400):
        drawn = np.random.default_rng(seed).choice(len(owner), 100, replace=False)
        hits += scan_values(np.bincount(owner[drawn], minlength=64), sizes, float(np.log(0.05))) is not None
    assert hits <= _most(400, 0.05)


@given(st.integers(0, 900), st.integers(20, 100), st.integers(0, 1000))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_scan_finds_the_edges_of_a_solid_run(first: int, length: int, seed: int) -> None:
    stray = np.random.default_rng(seed).choice(1000, 5, replace=False)
    stray = stray[(stray < first - 40) | (stray > first + length + 40)]
    found = scan_ranks(np.union1d(np.arange(first, min(first + length, 1000)), stray), 1000, -1.0)
    assert found is not None
    assert (found.first, found.last) == (first, min(first + length, 1000) - 1)
