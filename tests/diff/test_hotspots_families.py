"""Rows that come in families by their nature (children of one parent, stretches of neighbours) make no pattern by being many."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hotspot_rows import rows
from planted_run import investigate
from planted_world import World
from scipy import stats

from vecforensics.diff.hotspots import HotSpots, find_hot_spots
from vecforensics.findings import Kind

N = 2000
NUMBERS = np.arange(N)
SETS = 40
# So many false alarms are exceeded with a chance of 1 in 1,000 if each set alarms with a chance of 1 %.
MOST = int(stats.binom.ppf(0.999, SETS, 0.01))

Rng = np.random.Generator


def lines(rng: Rng, parent: np.ndarray | None = None) -> dict[str, object]:
    known: dict[str, object] = {
        "batch": NUMBERS // 50,
        "worker": NUMBERS % 7,
        "metadata:plan": rng.choice(['"free"', '"pro"', '"team"'], N, p=[0.8, 0.15, 0.05]),
    }
    return known if parent is None else known | {"parent:users": [f"u{number}" for number in parent]}


def search(kind: Kind, hurt: np.ndarray, fields: dict[str, object]) -> HotSpots:
    return find_hot_spots([rows(N, {kind: hurt}, fields, name=lambda row: f"u{row * 7919 % N}")])


def unequal(rng: Rng) -> np.ndarray:
    """One parent has 800 children, a hundred have one."""
    return np.sort(rng.zipf(1.6, N).clip(max=300))


PARENTS: dict[str, Callable[[Rng], np.ndarray]] = {
    "five children next to one another": lambda _: NUMBERS // 5,
    "five children anywhere": lambda rng: rng.permutation(NUMBERS // 5),
    "forty children next to one another": lambda _: NUMBERS // 40,
    "from one child to hundreds": unequal,
}


@pytest.mark.parametrize("kind", [Kind.DANGLING, Kind.PREMATURE])
@pytest.mark.parametrize("name", PARENTS)
def test_children_of_parents_that_fail_at_random_gather_nowhere(kind: Kind, name: str) -> None:
    alarms = []
    for seed in range(SETS):
        rng = np.random.default_rng(seed)
        parent = PARENTS[name](rng)
        all_parents = np.unique(parent)
        lost = rng.choice(all_parents, max(3, len(all_parents) // 20), replace=False)
        spots = search(kind, np.flatnonzero(np.isin(parent, lost)), lines(rng, parent))
        alarms += [str(spots)] if len(spots) else []
    assert len(alarms) <= MOST, alarms


def test_children_of_late_parents_beside_single_early_ones_gather_nowhere() -> None:
    alarms = []
    for seed in range(SETS):
        rng = np.random.default_rng(seed)
        late = np.isin(NUMBERS // 5, rng.choice(400, 20, replace=False))
        late[rng.choice(N, 100, replace=False)] = True
        spots = search(Kind.PREMATURE, np.flatnonzero(late), lines(rng, NUMBERS // 5))
        alarms += [str(spots)] if len(spots) else []
    assert len(alarms) <= MOST, alarms


def test_children_in_two_collections_of_parents_that_fail_at_random_gather_nowhere() -> None:
    alarms = []
    for seed in range(SETS):
        rng = np.random.default_rng(seed)
        parents = {name: rng.permutation(NUMBERS // 5) for name in ("comments", "posts")}
        lost = rng.choice(400, 20, replace=False)
        spots = find_hot_spots(
            [
                rows(
                    N,
                    {Kind.DANGLING: np.flatnonzero(np.isin(parent, lost))},
                    {"parent:users": parent, "batch": NUMBERS // 50},
                    collection=name,
                )
                for name, parent in parents.items()
            ]
        )
        alarms += [str(spots)] if len(spots) else []
    assert len(alarms) <= MOST, alarms


@pytest.mark.parametrize("kind", [Kind.DANGLING, Kind.PREMATURE])
def test_children_of_parents_that_failed_together_are_found_where_they_gather(kind: Kind) -> None:
    """The users of one country were lost or late, and each of their posts says the country."""
    rng = np.random.default_rng(1)
    country = rng.integers(0, 20, 400)
    parent = rng.permutation(NUMBERS // 5)
    fields = lines(rng, parent) | {"metadata:country": [f'"c{number}"' for number in country[parent]]}
    lost = np.union1d(np.flatnonzero(country == 3), rng.choice(400, 4, replace=False))
    spots = search(kind, np.flatnonzero(np.isin(parent, lost)), fields)
    assert [spot.where for spot in spots] == ['rows with country = "c3"']
    assert spots[0].hits == spots[0].size == 5 * np.count_nonzero(country == 3)


def test_a_batch_written_before_its_many_parents_is_found() -> None:
    """Siblings share nothing here, so that every child counts."""
    rng = np.random.default_rng(2)
    parent = rng.permutation(NUMBERS // 100)
    early = np.union1d(np.flatnonzero(NUMBERS // 50 == 17), rng.choice(N, 5, replace=False))
    assert [spot.where for spot in search(Kind.PREMATURE, early, lines(rng, parent))] == ["batch 17"]


def stretches(rng: Rng, count: int, length: int) -> np.ndarray:
    """The rows of so many stretches of neighbours that do not overlap."""
    starts = np.sort(rng.choice(N - count * length, count, replace=False)) + np.arange(count) * length
    return (starts[:, None] + np.arange(length)).ravel()


@pytest.mark.parametrize(
    ("kind", "count", "length"),
    [
        (Kind.SHIFTED, 5, 20),
        (Kind.SHIFTED, 10, 10),
        (Kind.SHIFTED, 20, 5),
        (Kind.SHIFTED, 30, 3),
        (Kind.BROADCAST, 6, 10),
        (Kind.SWAPPED, 10, 2),
        (Kind.MISSING, 20, 5),
    ],
)
def test_stretches_that_lie_anywhere_are_runs_and_make_no_period_and_no_tail(
    kind: Kind, count: int, length: int
) -> None:
    alarms = []
    for seed in range(SETS):
        rng = np.random.default_rng(seed)
        for spot in search(kind, stretches(rng, count, length), lines(rng)):
            tail = "a multiple of" in spot.where and spot.hits < spot.size
            alarms += [str(spot)] if tail or any(part.form == "every" for part in spot.parts) else []
    assert len(alarms) <= MOST, alarms


@pytest.mark.parametrize(("size", "lost"), [(50, 8), (20, 20), (5, 20)])
def test_batches_lost_at_random_of_which_nothing_was_logged_are_no_period(size: int, lost: int) -> None:
    """All begin at a multiple of their size, so that some stand at one place of a longer period."""
    alarms = []
    for seed in range(SETS):
        gone = np.random.default_rng(seed).choice(N // size, lost, replace=False)
        spots = search(Kind.MISSING, np.flatnonzero(np.isin(NUMBERS // size, gone)), {"worker": NUMBERS % 7})
        alarms += [str(spot) for spot in spots if any(part.form == "every" for part in spot.parts)]
    assert len(alarms) <= MOST, alarms


def test_stretches_that_do_come_back_are_a_period() -> None:
    """The last four of every hundred, and a fifth of all others."""
    rng = np.random.default_rng(3)
    hurt = np.flatnonzero((NUMBERS % 100 >= 96) | (rng.random(N) < 0.2))
    assert [spot.where for spot in search(Kind.MISSING, hurt, lines(rng))] == ["the last 4 of every 100 rows"]


@pytest.mark.parametrize(
    ("period", "first", "length", "where"),
    [
        (500, 0, 100, "the first 100 of every 500 rows"),
        (400, 100, 40, "numbers 101–140 of every 400 rows"),
        (250, 240, 10, "the last 10 of every 250 rows"),
    ],
)
def test_a_few_long_stretches_that_come_back_exactly_are_a_period(
    period: int, first: int, length: int, where: str
) -> None:
    """Four or more that begin at one place of their period are no accident, though each counts once."""
    place = NUMBERS % period
    hurt = np.flatnonzero((place >= first) & (place < first + length))
    assert [spot.where for spot in search(Kind.MISSING, hurt, lines(np.random.default_rng(6)))] == [where]


def test_a_tail_of_which_some_was_saved_is_a_tail() -> None:
    rng = np.random.default_rng(4)
    tail = np.arange(1792, N)
    hurt = np.setdiff1d(tail, rng.choice(tail, 60, replace=False))
    spots = search(Kind.MISSING, hurt, {"worker": NUMBERS % 7})
    assert [spot.where for spot in spots] == [
        "the last 208 rows (from row 1,793: beyond the first 1,792, a multiple of 256)"
    ]


def test_what_hangs_on_records_lost_at_random_is_no_hot_spot_of_a_run(tmp_path: Path) -> None:
    one = World.make(count=1500, dimension=8, shape="words", seed=0)
    lost = np.random.default_rng(5).choice(300, 15, replace=False)
    one.parents = [None if row < 300 else one.ids[(row - 300) // 4] for row in range(1500)]
    gone = {one.ids[row] for row in lost.tolist()}
    one.target = [entry for entry in one.target if entry[0] not in gone]
    diff = investigate(one, tmp_path, impact=False)
    assert (diff.counts["missing"], diff.counts["dangling"]) == (15, 60)
    assert "dangling" not in {spot["kind"] for spot in diff.hot_spots}
