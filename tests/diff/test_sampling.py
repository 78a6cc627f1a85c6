"""A sample's interval covers the truth as often as it says, whatever the strata; its draw depends on nothing but the seed."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hotspot_rows import rows
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vecforensics.diff.hotspots import find_hot_spots
from vecforensics.diff.hotspots.lines import lay_out
from vecforensics.diff.sampling.draw import in_a_hot_spot
from vecforensics.diff.sampling.estimate import clopper_pearson, estimate_rate
from vecforensics.diff.sampling.plan import SamplePlan, plan_sample
from vecforensics.diff.sampling.smallest_keys import draw_smallest, sample_keys
from vecforensics.errors import InputError
from vecforensics.evidence import hash_text
from vecforensics.findings import Kind


@pytest.mark.parametrize(("hits", "trials"), [(0, 1), (0, 300), (1, 300), (7, 50), (299, 300), (300, 300)])
def test_clopper_pearson_against_scipy(hits: int, trials: int) -> None:
    for confidence in (0.9, 0.95, 0.999):
        exact = stats.binomtest(hits, trials).proportion_ci(confidence, "exact")
        assert clopper_pearson(hits, trials, confidence) == pytest.approx((exact.low, exact.high), abs=1e-12)


@pytest.mark.parametrize("rate", [0.0, 0.0005, 0.003, 0.02, 0.11, 0.5, 0.97, 1.0])
def test_one_stratum_covers_exactly(rate: float) -> None:
    """Summed over all outcomes, not simulated: 5,000 rows, 200 drawn without replacement."""
    wrong = round(5000 * rate)
    plan = plan_sample({"users": 5000}, 200)
    covered = 0.0
    for hits in range(201):
        chance = float(stats.hypergeom(5000, wrong, 200).pmf(hits))
        if chance > 0:
            estimate = estimate_rate(plan, {"users": hits})
            covered += chance * (estimate.low <= wrong / 5000 <= estimate.high)
    assert covered >= 0.95


STRATA = {
    "equal rates": ({"a": 40_000, "b": 60_000}, {"a": 0.02, "b": 0.02}),
    "one rotten collection": ({"a": 90_000, "b": 10_000}, {"a": 0.0, "b": 0.6}),
    "a small hot spot": (
        {"a": 50_000, "a, in a hot spot": 300, "b": 49_700},
        {"a": 0.001, "a, in a hot spot": 0.9, "b": 0.01},
    ),
    "a tiny stratum read whole": ({"a": 9_000, "t": 20}, {"a": 0.0004, "t": 0.5}),
    "many unequal": (
        {f"s{i}": 1000 * (i + 1) for i in range(6)},
        {f"s{i}": 0.3 / (i + 1) ** 2 for i in range(6)},
    ),
    "small collections": (
        {"a": 900, "b": 250, "c": 90, "c, in a hot spot": 70},
        {"a": 0.01, "b": 0.0, "c": 0.1, "c, in a hot spot": 0.5},
    ),
    "small collections, one of them bad": ({"a": 2000, "b": 70, "c": 90}, {"a": 0.0, "b": 0.9, "c": 0.0}),
    "nothing wrong": ({"a": 5_000, "b": 5_000}, {"a": 0.0, "b": 0.0}),
    "nearly all wrong": ({"a": 5_000, "b": 5_000}, {"a": 1.0, "b": 0.998}),
    "rare, in one of two": ({"a": 5_000, "b": 5_000}, {"a": 0.0002, "b": 0.0}),
    "users, their profiles and their settings, the same ones wrong": (
        {"users": 4_000, "profiles": 4_000, "settings": 4_000},
        {"users": 0.1, "profiles": 0.1, "settings": 0.1},
    ),
}


@pytest.mark.parametrize("name", STRATA)
def test_strata_cover_as_often_as_they_say(name: str) -> None:
    sizes, rates = STRATA[name]
    wrong = {stratum: round(size * rates[stratum]) for stratum, size in sizes.items()}
    truth = sum(wrong.values()) / sum(sizes.values())
    plan = plan_sample(sizes, 600)
    rng = np.random.default_rng(42)
    draws = {
        one.name: rng.hypergeometric(wrong[one.name], one.size - wrong[one.name], one.drawn, 1500)
        for one in plan.strata
    }
    covered, estimates = 0, []
    for turn in range(1500):
        estimate = estimate_rate(plan, {key: int(drawn[turn]) for key, drawn in draws.items()})
        covered += estimate.low - 1e-12 <= truth <= estimate.high + 1e-12
        estimates.append(estimate.rate)
    assert covered >= stats.binom.ppf(0.001, 1500, 0.95)
    spread = np.std(estimates) / np.sqrt(1500)
    assert np.mean(estimates) == pytest.approx(truth, abs=max(4 * spread, 1e-12))


@pytest.mark.parametrize("name", STRATA)
def test_the_draw_covers_as_often_as_it_says_where_collections_go_by_the_same_ids(name: str) -> None:
    """Not simulated: drawn by the keys of ids that stand in every collection, and of which the first ones are wrong in each."""
    sizes, rates = STRATA[name]
    wrong = {stratum: round(size * rates[stratum]) for stratum, size in sizes.items()}
    truth = sum(wrong.values()) / sum(sizes.values())
    plan = plan_sample(sizes, 600)
    most = max(sizes.values())
    hashes = {
        mark: hash_text(pa.array([f"{mark}{number}" for number in range(most)])) for mark in ("", "hot-")
    }
    turns, covered = 200, 0
    for seed in range(turns):
        drawn = {}
        for one in plan.strata:
            collection, _, spot = one.name.partition(", ")
            keys = sample_keys(hashes["hot-" if spot else ""][: one.size], collection, seed)
            [drawn[one.name]] = draw_smallest([(keys, np.zeros(one.size, np.int8))], [one.drawn])
        estimate = estimate_rate(
            plan, {stratum: int((rows < wrong[stratum]).sum()) for stratum, rows in drawn.items()}
        )
        covered += estimate.low - 1e-12 <= truth <= estimate.high + 1e-12
    assert covered >= stats.binom.ppf(0.001, turns, 0.95)


def test_the_interval_is_not_idle() -> None:
    """Conservative, but within twice the width that a normal approximation would give."""
    plan = plan_sample({"a": 500_000, "a, in a hot spot": 500, "b": 499_500}, 2000)
    estimate = estimate_rate(plan, {"a": 10, "a, in a hot spot": 25, "b": 10})
    ideal = 2 * 1.96 * np.sqrt(0.0103 * 0.9897 / 1950)
    assert estimate.high - estimate.low < 2 * ideal


def test_small_collections_with_fractions_of_their_own_do_not_blow_the_interval_up() -> None:
    plan = plan_sample({"users": 208, "posts": 243, "comments": 147, "comments, in a hot spot": 181}, 290)
    assert any(one.own for one in plan.strata) or len({one.drawn / one.size for one in plan.strata}) > 1
    estimate = estimate_rate(plan, {})
    assert estimate.high < 0.02


@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=8), st.integers(1, 5000), st.integers(0, 200))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_plan_keeps_its_promises(sizes: list[int], requested: int, minimum: int) -> None:
    named = {f"s{number}": size for number, size in enumerate(sizes)}
    filled = [size for size in sizes if size]
    if requested < max(len(filled), 1):
        with pytest.raises(InputError, match="too small"):
            plan_sample(named, requested, minimum=minimum)
        return
    plan = plan_sample(named, requested, minimum=minimum)
    assert plan.drawn <= requested
    assert plan.drawn >= min(sum(filled), requested - len(filled))
    for one in plan.strata:
        assert min(one.size, minimum, requested // len(filled)) <= one.drawn <= one.size
    shared = [one for one in plan.strata if not one.own and one.drawn < one.size]
    for one in shared:
        assert all(
            abs(one.drawn / one.size - two.drawn / two.size) <= 1 / one.size + 1 / two.size for two in shared
        )


def test_all_read_is_no_estimate() -> None:
    plan = plan_sample({"users": 40, "posts": 10}, 100)
    estimate = estimate_rate(plan, {"users": 3})
    assert estimate.low == estimate.high == pytest.approx(0.06)
    assert estimate.rate == pytest.approx(0.06)
    assert str(estimate) == "all 50 contents were read: 3 are wrong (6 %)"
    assert estimate.as_dict()["estimate"] is False


def test_the_sentence_says_that_it_is_an_estimate() -> None:
    text = str(estimate_rate(plan_sample({"users": 1_000_000}, 1000), {"users": 12}))
    assert text == (
        "an estimate: 12 of 1,000 sampled contents are wrong, which makes 1.2 % of 1,000,000 "
        "(between 0.62 % and 2.1 %, confidence 95%)"
    )


def test_what_is_too_young_may_be_right_or_wrong() -> None:
    """The limits hold both: no wrong one among the 200, and 51 of them."""
    plan = plan_sample({"users": 400}, 200)
    estimate = estimate_rate(plan, {"users": 3}, young={"users": 50}, bare={"users": 1})
    assert estimate.low == estimate_rate(plan, {"users": 3}).low
    assert estimate.high == estimate_rate(plan, {"users": 54}).high
    assert (estimate.rate, estimate.most) == pytest.approx((0.015, 0.27))
    assert str(estimate) == (
        "an estimate: 3 of 200 sampled contents are wrong, 50 too young to be judged, 1 with nothing to be compared with, "
        f"which makes 1.5 % to 27 % of 400 (between 0.75 % and {100 * estimate.high:.2g} %, confidence 95%)"
    )
    assert {key: estimate.as_dict()[key] for key in ("found", "pending", "unchecked")} == {
        "found": 3,
        "pending": 50,
        "unchecked": 1,
    }
    assert "51 sampled contents that could not be judged" in estimate.method


def test_all_read_but_not_all_judged_is_no_estimate_and_no_single_rate() -> None:
    estimate = estimate_rate(plan_sample({"users": 50}, 50), {"users": 2}, young={"users": 10})
    assert (estimate.low, estimate.high) == pytest.approx((0.04, 0.24))
    assert str(estimate) == "all 50 contents were read: 2 are wrong, 10 too young to be judged (4 % to 24 %)"


@pytest.mark.parametrize("seed", range(3))
def test_strata_cover_whatever_the_young_rows_turn_out_to_be(seed: int) -> None:
    """A tenth is wrong and a fifth too young; the interval holds 10 % and 30 % and all between, as often as it says."""
    sizes = {"a": 3_000, "b": 5_000, "c": 80}
    plan = plan_sample(sizes, 400)
    rng = np.random.default_rng(seed)
    wrong, young = ({name: round(size * share) for name, size in sizes.items()} for share in (0.1, 0.2))
    least, most = (
        sum(some) / sum(sizes.values()) for some in (wrong.values(), [*wrong.values(), *young.values()])
    )
    covered = 0
    for _ in range(500):
        seen = {
            one.name: rng.multivariate_hypergeometric(
                [wrong[one.name], young[one.name], one.size - wrong[one.name] - young[one.name]], one.drawn
            )
            for one in plan.strata
        }
        estimate = estimate_rate(
            plan,
            {name: int(counts[0]) for name, counts in seen.items()},
            young={name: int(counts[1]) for name, counts in seen.items()},
        )
        covered += estimate.low <= least and most <= estimate.high
    assert covered >= stats.binom.ppf(0.001, 500, 0.95)


def _counts(plan: SamplePlan) -> list[int]:
    return [one.drawn for one in plan.strata]


def _drawn_ids(
    ids: list[str], strata: np.ndarray, plan: SamplePlan, seed: int, of: str = "users"
) -> set[str]:
    keys = sample_keys(hash_text(pa.array(ids)), of, seed)
    return {ids[row] for rows in draw_smallest([(keys, strata)], _counts(plan)) for row in rows}


def test_the_draw_does_not_depend_on_the_order_of_the_rows() -> None:
    ids = [f"user-{number}" for number in range(3000)]
    strata = np.asarray([number % 3 == 0 for number in range(3000)]).astype(np.int8)
    plan = plan_sample({"rest": 2000, "hot": 1000}, 300)
    first = _drawn_ids(ids, strata, plan, 7)
    turned = np.random.default_rng(0).permutation(3000)
    assert first == _drawn_ids([ids[row] for row in turned], strata[turned], plan, 7)
    assert len(first) == plan.drawn
    assert len(first & _drawn_ids(ids, strata, plan, 8)) < 60
    assert len(first & _drawn_ids(ids, strata, plan, 7, "profiles")) < 60


def _in_full(keys: np.ndarray, strata: np.ndarray, counts: list[int]) -> list[list[int]]:
    """The same by sorting everything."""
    order = np.argsort(keys, kind="stable")
    return [np.sort(order[strata[order] == number][:count]).tolist() for number, count in enumerate(counts)]


@given(
    st.integers(0, 2**32),
    st.lists(st.integers(0, 40), max_size=12),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.sampled_from([3, 50, 2**64]),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_buckets_give_the_draw_of_the_whole(
    seed: int, buckets: list[int], counts: tuple[int, int], distinct: int
) -> None:
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, distinct, sum(buckets), np.uint64)
    strata = rng.integers(-1, 2, sum(buckets)).astype(np.int8)
    edges = np.cumsum(buckets)[:-1]
    parts = zip(np.split(keys, edges), np.split(strata, edges), strict=True)
    present = [min(count, int((strata == number).sum())) for number, count in enumerate(counts)]
    drawn = draw_smallest(parts, present)
    assert [rows.tolist() for rows in drawn] == _in_full(keys, strata, present)


def test_a_draw_holds_the_rows_that_it_chooses_and_one_bucket_of_the_others() -> None:
    def buckets() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for bucket in range(200):
            hashes = np.random.default_rng(bucket).integers(0, 2**64, 10_000, np.uint64)
            yield sample_keys(hashes, "users", 0), np.zeros(10_000, np.int8)

    tracemalloc.start()
    try:
        [rows] = draw_smallest(buckets(), [5000])
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(rows) == 5000
    assert (
        most < 2_000_000
    )  # a byte a row; 10,000 rows take half of it, the buffer of the chosen ones the rest


def test_draws_are_even() -> None:
    """Every tenth of the rows gets its share: chi-square over ten tenths of consecutive ids."""
    keys = sample_keys(hash_text(pa.array([str(number) for number in range(50_000)])), "users", 3)
    [drawn] = draw_smallest([(keys, np.zeros(50_000, np.int8))], [5000])
    assert stats.chisquare(np.bincount(drawn // 5000, minlength=10)).pvalue > 0.001


@pytest.mark.parametrize("share", [0.5, 0.02])
def test_who_is_drawn_in_one_collection_says_nothing_of_another(share: float) -> None:
    hashes = hash_text(pa.array([f"user-{number}" for number in range(20_000)]))
    limit = np.uint64(int(share * 2**64))
    deviations = []
    for seed in range(100):
        one, other = (sample_keys(hashes, name, seed) < limit for name in ("users", "profiles"))
        expected = one.sum() * other.sum() / len(hashes)
        deviations.append((np.sum(one & other) - expected) / np.sqrt(expected * (1 - share) ** 2))
    assert stats.kstest(deviations, "norm").pvalue > 0.001


def test_hot_spots_are_strata_of_their_own() -> None:
    hurt = np.arange(400, 500)
    source = [
        rows(4000, {Kind.MISSING: hurt}, {"batch": (np.arange(4000) // 100).tolist()}),
        rows(800, {}, collection="posts"),
    ]
    assert np.flatnonzero(in_a_hot_spot(lay_out(source), find_hot_spots(source))).tolist() == hurt.tolist()


def test_a_strangers_collection_name_is_made_harmless() -> None:
    estimate = estimate_rate(plan_sample({"<b>x\x1b": 500, "y": 500}, 100), {})
    assert "<b>" not in estimate._repr_html_()
    assert "\x1b" not in estimate._repr_html_()
