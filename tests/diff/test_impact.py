"""What damage costs a search, against a search written out by hand, and for each way in which a row can be unable to answer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from array_vectors import ArrayVectors
from hotspot_rows import rows
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_run import investigate
from planted_world import World
from scipy import stats

from vecforensics.diff.impact import Impact, compare_neighbours, measure_impact
from vecforensics.diff.impact.search import Metric
from vecforensics.diff.one_record import neighbours_of
from vecforensics.diff.rows import RowDimensions
from vecforensics.errors import InputError, MissingExtra
from vecforensics.run_folder import RunFolder

N, D = 600, 16


def cost(vectors: ArrayVectors, of: RowDimensions, **settings: Any) -> Impact:
    """What is measured where there is something to measure."""
    found = measure_impact(vectors, of, **settings)
    assert found is not None
    return found


def records(count: int = N) -> RowDimensions:
    return rows(count, {})


def clustered(count: int = N, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((12, D))
    return (centres[rng.integers(12, size=count)] + 0.5 * rng.standard_normal((count, D))).astype(np.float32)


def target(
    expected: np.ndarray, actual: np.ndarray, gone: Any = (), extra: np.ndarray | None = None
) -> ArrayVectors:
    present = np.ones(len(expected), bool)
    present[list(gone)] = False
    return ArrayVectors(
        "users", expected, actual, present, np.empty((0, D), np.float32) if extra is None else extra
    )


def by_hand(vectors: ArrayVectors, metric: Metric, k: int) -> tuple[list[float], list[bool]]:
    """(recall of each record's search, does its recommendation change) by comparing everything with everything."""

    def scores(one: np.ndarray, many: np.ndarray) -> np.ndarray:
        one, many = one.astype(np.float64), many.astype(np.float64)
        if metric == "l2":
            return -((many - one) ** 2).sum(axis=1)
        product = (many * one).sum(axis=1)
        if metric == "dot":
            return product
        with np.errstate(invalid="ignore", divide="ignore"):
            return product / np.linalg.norm(many, axis=1) / np.linalg.norm(one)

    n = vectors.rows
    corpus = np.concatenate([vectors.actual_vectors, vectors.further_vectors])
    stands = np.concatenate([vectors.present, np.ones(len(vectors.further_vectors), bool)])
    recalls, changes = [], []
    for row in range(n):
        right = scores(vectors.expected_vectors[row], vectors.expected_vectors)
        right[row] = -np.inf
        kth = np.sort(right)[-k]
        limit = kth - 1e-6 * max(1.0, abs(kth))

        def answer(
            asks: np.ndarray, row: int = row, right: np.ndarray = right, limit: float = limit
        ) -> float:
            got = scores(asks, corpus)
            got[~stands | ~np.isfinite(got)] = -np.inf
            got[row] = -np.inf
            best = [one for one in np.argsort(-got, kind="stable")[:k] if got[one] > -np.inf]
            return sum(1 for one in best if one < n and right[one] >= limit) / k

        own = vectors.actual_vectors[row]
        silent = (
            not vectors.present[row] or not np.isfinite(own).all() or (metric == "cosine" and not own.any())
        )
        recalls.append(answer(vectors.expected_vectors[row]))
        changes.append(silent or answer(own) < 1)
    return recalls, changes


def damaged(seed: int) -> ArrayVectors:
    """A bit of everything: swapped, zero, NaN, missing, strangers, near copies, broadcast."""
    rng = np.random.default_rng(seed)
    expected = clustered(seed=seed)
    actual = expected.copy()
    order = rng.permutation(N)
    actual[order[:20]] = actual[order[:20][::-1]]
    actual[order[20:30]] = 0
    actual[order[30:40]] = np.nan
    actual[order[50:70]] = actual[order[50]]
    actual[order[70:90]] += rng.standard_normal((20, D)).astype(np.float32)
    return target(expected, actual, order[40:50], expected[order[90:95]] * np.float32(0.99))


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("seed", [0, 1])
def test_against_a_search_by_hand(metric: Metric, seed: int) -> None:
    vectors = damaged(seed)
    impact = cost(vectors, records(), queries=N, metric=metric)
    recalls, changes = by_hand(vectors, metric, 10)
    assert impact.recall == pytest.approx(np.mean(recalls))
    assert impact.changed == sum(changes)
    assert impact.lost_counts == tuple(
        np.bincount([round(10 * (1 - one)) for one in recalls], minlength=11).tolist()
    )
    assert (impact.recall_low, impact.recall_high) == (impact.recall, impact.recall)
    assert impact.hurt[0].recall == pytest.approx(min(recalls))


def test_blocks_and_query_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = damaged(3)
    whole = cost(vectors, records(), queries=400, seed=5)
    monkeypatch.setattr("vecforensics.diff.impact._QUERIES_AT_ONCE", 77)
    small = cost(vectors, records(), queries=400, seed=5, memory_mb=0)
    assert small == whole


def test_clean_target_costs_nothing() -> None:
    expected = clustered()
    impact = cost(target(expected, expected.copy()), records(), queries=N)
    assert (impact.recall, impact.changed, impact.hurt) == (1.0, 0, ())


def test_benign_copies_cost_nothing() -> None:
    """Normalised, halved to float16 and noise of one unit in the last place: the same neighbours but for ties."""
    expected = clustered()
    for actual in (
        expected / np.linalg.norm(expected, axis=1, keepdims=True),
        np.nextafter(expected, np.float32(np.inf)),
    ):
        impact = cost(target(expected, actual.astype(np.float32)), records(), queries=N)
        assert impact.recall == 1.0


def test_equal_neighbours_may_be_exchanged_freely() -> None:
    """Forty records with one text: which of them a store returns is its own affair."""
    expected = clustered()
    expected[100:140] = expected[100]
    actual = expected.copy()
    actual[100:140] += np.random.default_rng(1).normal(0, 1e-7, (40, D)).astype(np.float32)
    assert cost(target(expected, actual), records(), queries=N).recall == 1.0


def test_everything_under_one_vector() -> None:
    """A broadcast over the whole collection: all similarities are equal, and nothing breaks or takes for ever."""
    expected = clustered()
    impact = cost(target(expected, np.repeat(expected[:1], N, axis=0)), records(), queries=N)
    assert impact.changed_share > 0.9
    assert impact.recall < 0.1


def test_nothing_arrived() -> None:
    expected = clustered()
    impact = cost(target(expected, np.zeros_like(expected), range(N)), records(), queries=N)
    assert (impact.recall, impact.changed, impact.returnable, impact.records) == (0.0, N, 0, N)


def test_a_missing_record_is_lost_to_its_neighbours_and_gets_nothing() -> None:
    expected = clustered()
    vectors = target(expected, expected.copy(), [42])
    impact = cost(vectors, records(), queries=N)
    assert impact.returnable == N - 1
    assert all(one.lost == ("user-42",) for one in impact.hurt)
    after = compare_neighbours(vectors, records(), "user-42")
    assert after.after is None
    assert len(after.before) == 10
    # Nobody else is gone, so whoever asks with its expected vector still finds all of them.
    assert after.searched == after.before
    assert after.right == 10
    assert str(after).startswith(
        "user-42 has no usable vector under its id in the target; asked with the expected one, "
    )


def test_an_orphan_steals_places() -> None:
    expected = clustered()
    vectors = target(expected, expected.copy(), extra=np.repeat(expected[7:8], 10, axis=0))
    worst = cost(vectors, records(), queries=N).hurt[0]
    assert set(worst.instead) == {"(a row that is no record's own)"}
    assert cost(vectors, records(), queries=N).returnable == N + 10


def retried(copies: int, name: Any, records: int = 20) -> World:
    """300 records in a few clusters, the first of which were written again and again, under ids by `name(copy, id)`."""
    world = World.make(count=300, dimension=8, seed=3, clustered=True)
    world.parents = [None] * 300
    for copy in range(copies):
        text, vector, metadata = world.target[copy % records]
        world.target.append((name(copy, text), vector.copy(), dict(metadata)))
    return world


def measured(world: World, **changes: Any) -> Impact:
    """By hand: everything behind the first 300 rows of the target is there besides the records' own rows."""
    further = np.array([vector for _, vector, _ in world.target[300:]], np.float32)
    vectors = ArrayVectors(
        "things", world.expected, world.expected.copy(), np.ones(300, np.bool_), further, **changes
    )
    return cost(vectors, rows(300, {}), queries=300)


def said_of(world: World, folder: Any, **settings: Any) -> Any:
    diff = investigate(world, folder, **settings)
    assert diff.impact is not None
    return diff.impact["things"]


def test_what_was_written_again_under_another_id_steals_places(tmp_path: Path) -> None:
    world = retried(400, lambda copy, _: f"retry-{copy}")
    by_hand = measured(world)
    assert by_hand.recall < 0.8
    for buckets, shuffle in ((1, 1), (4, 2)):
        said = said_of(world, tmp_path / str(buckets), buckets=buckets, shuffle=shuffle)
        assert said["recall"] == pytest.approx(by_hand.recall, abs=1e-6)
        assert said["changed_share"] == pytest.approx(by_hand.changed_share, abs=1e-6)
        assert said["returnable"] == 700
        assert {name for one in said["hurt"] for name in one["instead"]} == {
            "(a row that is no record's own)"
        }


def test_a_record_of_which_the_store_holds_several_rows_takes_several_places_but_its_own_are_its_own(
    tmp_path: Path,
) -> None:
    """A store that appends returns one id again and again; whoever asks with it leaves all of its rows out."""
    world = retried(60, lambda _, text: text, records=5)
    by_hand = measured(world, owners=np.arange(60) % 5)
    said = said_of(world, tmp_path)
    assert said["recall"] == pytest.approx(by_hand.recall, abs=1e-6)
    assert said["changed_share"] == pytest.approx(by_hand.changed_share, abs=1e-6)
    assert by_hand.recall > measured(world).recall


def test_a_row_under_a_mangled_id_is_returned_instead_of_its_record(tmp_path: Path) -> None:
    world = World.make(count=300, dimension=8, seed=3, clustered=True, shape="numeric")
    world.parents = [None] * 300
    for row in range(0, 300, 3):
        text, vector, metadata = world.target[row]
        world.target[row] = (f"{text}.0", vector, metadata)
    diff = investigate(world, tmp_path)
    assert diff.counts["mangled_id"] == 100
    assert diff.impact is not None
    said = diff.impact["things"]
    assert said["returnable"] == 300
    assert all("(a row that is no record's own)" in one["instead"] for one in said["hurt"])
    shown = neighbours_of(RunFolder.open(diff.path), "things", world.ids[1])
    assert shown.after is not None
    assert "(a row that is no record's own)" in {one.id for one in shown.after}


def test_swapped_pair_names_who_comes_instead() -> None:
    expected = clustered()
    actual = expected.copy()
    actual[[3, 500]] = actual[[500, 3]]
    hurt = cost(target(expected, actual), records(), queries=N).hurt
    assert len(hurt) == 10
    assert all({"user-3", "user-500"} & {*query.lost, *query.instead} for query in hurt)


@pytest.mark.parametrize("engine", ["exact", "usearch"])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_records_without_expected_vector_do_not_ask_and_steal_no_places(metric: Metric, engine: str) -> None:
    """Neither do the further rows under their ids; a stray does."""
    if engine == "usearch":
        pytest.importorskip("usearch")
    expected = clustered()
    actual = expected.copy()
    expected[::3] = np.nan
    further = np.concatenate([actual[:30], actual[1:2]])
    vectors = replace(
        target(expected, actual, extra=further), owners=np.concatenate([np.arange(30) // 3 * 3, [-1]])
    )
    impact = cost(vectors, records(), queries=N, metric=metric, engine=engine)
    assert (impact.population, impact.queries, impact.outside) == (400, 400, 200)
    assert impact.returnable == 401
    alone = expected[np.arange(N) % 3 > 0]
    assert impact.recall == cost(target(alone, alone, extra=actual[1:2]), records(400), metric=metric).recall
    assert impact.recall < 1
    assert "200 without an expected vector are left out" in str(impact)
    shown = compare_neighbours(vectors, records(), "user-4", metric=metric)
    assert shown.outside == 200
    for side in (shown.searched, shown.after):
        assert side
        assert not {f"user-{row}" for row in range(0, N, 3)} & {one.id for one in side}


def test_a_record_that_should_be_zero_is_not_found_and_steals_a_place_where_it_is() -> None:
    expected = clustered()
    actual = expected.copy()
    expected[::3] = 0
    right = cost(target(expected, expected.copy()), records(), queries=100)
    assert (right.population, right.queries, right.outside) == (400, 100, 0)
    assert right.recall == 1.0
    assert cost(target(expected, actual), records(), queries=100).recall < 0.8


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_records_to_have_neighbours(count: int) -> None:
    expected = clustered(count) if count else np.empty((0, D), np.float32)
    assert measure_impact(target(expected, expected), records(count)) is None


def test_fewer_records_than_places() -> None:
    expected = clustered(5)
    impact = cost(target(expected, expected.copy(), [4]), records(5))
    assert impact.k == 4
    assert impact.recall == pytest.approx(1 - 4 / 20)


def test_huge_numbers_do_not_warn_or_win() -> None:
    expected = clustered()
    actual = expected.copy()
    actual[5] = np.finfo(np.float32).max
    for metric in ("cosine", "dot", "l2"):
        assert cost(target(expected, actual), records(), queries=N, metric=metric).recall > 0.85


def test_sampled_intervals_cover() -> None:
    """80 seeded samples of 80 records: the interval misses the truth at most as often as it says."""
    vectors = damaged(9)
    source = records()
    truth = cost(vectors, source, queries=N)
    missed = {"recall": 0, "changed": 0}
    for seed in range(80):
        one = cost(vectors, source, queries=80, seed=seed)
        assert one.is_sampled
        missed["recall"] += not one.recall_low <= truth.recall <= one.recall_high
        missed["changed"] += not one.changed_low <= truth.changed_share <= one.changed_high
    assert max(missed.values()) <= stats.binom.ppf(0.999, 80, 0.05)


def test_same_seed_same_bytes_and_the_display_is_escaped() -> None:
    vectors = damaged(2)
    named = rows(N, {}, name=lambda row: f"<b>\x1b{row}")
    one, two = (cost(vectors, named, queries=100, seed=4) for _ in range(2))
    assert json.dumps(one.as_dict()) == json.dumps(two.as_dict())
    assert one.as_dict() != cost(vectors, named, queries=100, seed=5).as_dict()
    assert "<b>\x1b" not in one._repr_html_()
    assert "&lt;b&gt;\\x1b" in one._repr_html_()
    told = compare_neighbours(vectors, named, "<b>\x1b0")
    assert "\x1b" not in str(told) + told._repr_html_()
    assert "&lt;b&gt;" in told._repr_html_()


def test_neighbours_before_and_after() -> None:
    expected = clustered()
    actual = expected.copy()
    order = np.argsort(-(expected @ expected[0]) / np.linalg.norm(expected, axis=1), kind="stable")
    nearest = [int(row) for row in order if row][:10]
    actual[nearest[0]] = -actual[nearest[0]]
    told = compare_neighbours(target(expected, actual), records(), "user-0")
    assert [one.id for one in told.before] == [f"user-{row}" for row in nearest]
    assert told.after == told.searched
    assert [one.id for one in told.searched][:9] == [f"user-{row}" for row in nearest[1:]]
    assert len(told.searched) == 10
    assert told.right == 9
    assert "found with its own vector" not in str(told)


def test_a_record_with_the_wrong_vector_is_asked_for_with_the_right_one_and_its_own() -> None:
    expected = clustered()
    actual = expected.copy()
    order = np.argsort(-(expected @ expected[0]) / np.linalg.norm(expected, axis=1), kind="stable")
    pair = [0, int(next(row for row in order if row))]
    actual[pair] = actual[pair[::-1]]
    vectors = target(expected, actual)
    told = compare_neighbours(vectors, records(), "user-0")
    recalls, _ = by_hand(vectors, "cosine", 10)
    assert told.right / 10 == recalls[0]
    assert told.after != told.searched
    assert "found with its own vector" in str(told)
    assert "<th style='text-align:left'>found with its own vector</th>" in told._repr_html_()


def test_the_columns_stand_under_their_heads() -> None:
    expected = clustered()
    actual = expected.copy()
    actual[0] = -actual[0]
    named = rows(N, {}, name=lambda row: f"user-{'x' * (row % 50)}{row}")
    lines = str(compare_neighbours(target(expected, actual), named, "user-0")).splitlines()
    assert len(lines) == 12
    for title in ("should be found", "found in the target", "found with its own vector"):
        at = lines[1].index(title)
        assert all(line[at - 1] == " " and line[at : at + 5] == "user-" for line in lines[2:]), title


def test_refuses_what_cannot_be_asked() -> None:
    expected = clustered()
    expected[1] = 0
    vectors = target(expected, expected)
    with pytest.raises(InputError, match="no record 'user-x'"):
        compare_neighbours(vectors, records(), "user-x")
    with pytest.raises(InputError, match="no expected vector"):
        compare_neighbours(vectors, records(), "user-1")
    with pytest.raises(InputError, match="at least one query"):
        cost(vectors, records(), queries=0)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_any_damage_any_k_against_a_search_by_hand(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    expected = rng.integers(-2, 3, (40, 4)).astype(np.float32)
    expected[~expected.any(axis=1)] = 1
    actual = expected.copy()
    hurt = rng.random(40) < 0.3
    actual[hurt] = rng.integers(-2, 3, (int(hurt.sum()), 4))
    empty = np.empty((0, 4), np.float32)
    vectors = ArrayVectors("users", expected, actual, rng.random(40) < 0.9, empty)
    impact = cost(vectors, records(40), queries=40, k=k, metric="l2")
    recalls, _ = by_hand(vectors, "l2", k)
    assert impact.recall == pytest.approx(np.mean(recalls), abs=0.02 if k < 12 else 0.05)


def test_approximate_search_agrees_with_the_exact_one() -> None:
    pytest.importorskip("usearch")
    for metric, owners in (("cosine", None), ("l2", None), ("cosine", np.arange(5))):
        vectors = replace(damaged(1), owners=owners)
        exact = cost(vectors, records(), queries=N, metric=metric)
        graph = cost(vectors, records(), queries=N, metric=metric, engine="usearch")
        assert graph.recall == pytest.approx(exact.recall, abs=0.005)
        assert abs(graph.changed - exact.changed) <= 6
        assert (graph.records, graph.returnable) == (exact.records, exact.returnable)
        assert graph == cost(vectors, records(), queries=N, metric=metric, engine="usearch")


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(MissingExtra, match=r"\[ann\]"):
        cost(damaged(0), records(), engine="usearch")
