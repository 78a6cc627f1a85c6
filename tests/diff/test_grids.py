"""What lies on a grid: copies in int8 where a whole collection shows it, and none where the texts do (counted words)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from int8_store import ROUNDINGS, SCALES, Int8Store
from planted_run import found, investigate
from planted_world import World, make_vectors
from planting import PLANTERS, add_dangling

from vecforensics.diff import Diff
from vecforensics.diff.compare.grid_learning import FEWEST, learn_grid
from vecforensics.diff.compare.grids import Grid, Rounding
from vecforensics.diff.compare.relation import Relation, compare_pairs
from vecforensics.findings import Kind
from vecforensics.run_folder import RunFolder

TOLERANCE = 1e-5


def unit(vectors: np.ndarray) -> np.ndarray:
    wide = vectors.astype(np.float64)
    return (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)


def word_counts(seed: int = 5, documents: int = 200, width: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Long documents as counts of their words, before and after five words of each were replaced, float32 (n, width)."""
    rng = np.random.default_rng(seed)
    likely = 1 / np.arange(1, width + 1)
    likely /= likely.sum()
    counts = [[], []]
    for _ in range(documents):
        words = rng.choice(width, rng.integers(400, 900), p=likely)
        edited = np.r_[words[5:], rng.choice(width, 5, p=likely)]
        for kept, text in zip(counts, (words, edited), strict=True):
            kept.append(np.bincount(text, minlength=width))
    before, after = (np.array(kept, np.float32) for kept in counts)
    changed = (before != after).any(axis=1)
    return before[changed], after[changed]


@pytest.mark.parametrize("normalised", [False, True])
def test_an_edited_text_whose_words_are_counted_is_no_copy_in_int8(normalised: bool) -> None:
    before, after = word_counts()
    if normalised:
        before, after = unit(before), unit(after)
    found = compare_pairs(before, after, TOLERANCE)
    far = found.distance > TOLERANCE
    assert far.sum() > 100
    assert (found.relation[far] >= Relation.PART_ZERO).all()


@pytest.mark.parametrize("normalised", [False, True])
def test_counted_words_that_were_kept_in_int8_are_benign(normalised: bool) -> None:
    counts = word_counts()[0]
    before = unit(counts) if normalised else counts
    step = np.abs(before).max(axis=1, keepdims=True) / np.float32(127)
    after = (np.round(before / step) * step).astype(np.float32)
    found = compare_pairs(before, after, TOLERANCE)
    assert (found.relation <= Relation.INT8).all()


def test_a_zero_that_lost_its_sign_is_the_same_zero_whatever_grid_the_others_lie_on() -> None:
    rng = np.random.default_rng(1)
    signed = rng.integers(-3, 4, (50, 16)).astype(np.float32)
    signed[:, 0], signed[:, 1] = 1, -0.0
    plain = signed + np.float32(0)
    assert not np.signbit(plain[:, 1]).any()
    assert (compare_pairs(signed, plain, TOLERANCE).relation == Relation.EQUAL).all()


SHAPES = ("isotropic", "clustered", "sparse")
BENIGN = ("normalised", "quantised", "noise")


def vectors_of(shape: str, count: int, dimension: int, normalised: bool, seed: int) -> np.ndarray:
    """`sparse`: three components that are not zero."""
    rng = np.random.default_rng(seed)
    made = make_vectors(count, dimension, rng, normalised=normalised, clustered=shape == "clustered")
    if shape == "sparse":
        made[np.argsort(rng.random(made.shape), axis=1) >= 3] = 0
        made = unit(made) if normalised else made
    return made


def world_of(
    shape: str, dimension: int, *, normalised: bool = True, count: int = 400, seed: int = 4
) -> World:
    world = World.make(count, dimension=dimension, seed=seed)
    world.expected = vectors_of(shape, count, dimension, normalised, seed)
    world.target = [
        (text, world.expected[row].copy(), metadata) for row, (text, _, metadata) in enumerate(world.target)
    ]
    return world


def corrupt(diff: Diff) -> set[tuple[str, str]]:
    return {finding for finding in found(diff) if finding[0] not in BENIGN}


@pytest.mark.parametrize("dimension", [2, 3, 4, 6, 8, 12])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_grid_of_a_collection_is_learnt_whatever_the_scale_and_the_rounding(
    shape: str, dimension: int
) -> None:
    for number, scale in enumerate(SCALES):
        for rounding in ROUNDINGS:
            for normalised, length_one, axis in ((False, False, None), (False, True, 0), (True, False, 0)):
                if (scale, rounding) == ("zero point", "down"):
                    continue  # a zero point that was rounded cuts off some of the lowest level, each component's otherwise
                wanted = vectors_of(shape, 500, dimension, normalised, number)
                held = Int8Store(scale, rounding, axis, length_one).kept(wanted, wanted)
                grid = learn_grid(wanted, held)
                assert grid is not None, (scale, rounding, axis)
                assert grid.holds(wanted, held).all(), (scale, rounding, axis)
                # One component of each row a step away. Of one that lies on a level itself, who cuts off may make the next.
                aim = unit(wanted) if length_one else wanted
                rows, columns = np.arange(500), np.random.default_rng(1).integers(0, dimension, 500)
                step = np.broadcast_to(grid.step, held.shape)[rows, columns]
                away = (aim - held)[rows, columns] / step
                held[rows, columns] -= np.sign(away) * step
                telling = (np.abs(away) > 0.05) & (np.abs(away) < 0.95)
                assert telling.sum() > 100
                assert not grid.holds(wanted, held)[telling].any(), (scale, rounding, axis)


@pytest.mark.parametrize("dimension", [2, 3, 5, 7, 12])
@pytest.mark.parametrize("scale", ["symmetric", "zero point", "min-max"])
def test_short_vectors_with_a_scale_of_their_own_are_seen_together(scale: str, dimension: int) -> None:
    wanted = vectors_of("isotropic", 300, dimension, False, 3)
    for rounding in ("nearest", "to zero"):
        held = Int8Store(scale, rounding, axis=1).kept(wanted, wanted)
        far = (held != wanted).any(axis=1)
        if not far.any():
            continue  # the smallest and the largest of two components are the ends of their scale
        grid = learn_grid(wanted[far], held[far])
        assert grid is not None
        assert grid.holds(wanted, held).all()


@pytest.mark.parametrize(
    ("shape", "dimension", "normalised", "store"),
    [
        ("isotropic", 2, True, Int8Store("min-max")),
        ("clustered", 3, False, Int8Store("quantile")),
        ("sparse", 4, True, Int8Store("symmetric", "to zero")),
        ("isotropic", 4, False, Int8Store("zero point", "nearest", unit=True)),
        ("isotropic", 5, False, Int8Store("symmetric", "to zero", axis=1)),
        ("clustered", 6, True, Int8Store("symmetric quantile")),
        ("isotropic", 8, False, Int8Store("quantile", "down", axis=0)),
        ("sparse", 12, False, Int8Store("quantile")),
        ("sparse", 64, True, Int8Store("min-max")),
        ("isotropic", 96, True, Int8Store("quantile")),
        ("isotropic", 96, True, Int8Store("min-max", axis=0)),
    ],
)
def test_a_collection_that_only_its_store_has_rounded_is_clean_and_one_line(
    tmp_path: Path, shape: str, dimension: int, normalised: bool, store: Int8Store
) -> None:
    world = world_of(shape, dimension, normalised=normalised)
    store.keep(world)
    diff = investigate(world, tmp_path, impact=False)
    assert diff.verdict.value == "clean"
    (line,) = diff.table.to_pylist()
    assert line["kind"] == Kind.QUANTISED.value
    scale = {None: "one for the collection", 0: "one for each component", 1: "one for each vector"}
    assert json.loads(line["detail"])["scale"] == scale[store.axis]


ALL_BUT_PARTS = (
    "missing",
    "orphan",
    "duplicate",
    "swapped",
    "shifted",
    "broadcast",
    "zero",
    "stale",
    "drifted",
    "non_finite",
    "wrong_dimension",
)


@pytest.mark.parametrize(
    ("shape", "dimension", "normalised", "store", "kinds"),
    [
        ("isotropic", 4, True, Int8Store("symmetric"), ALL_BUT_PARTS),
        ("clustered", 5, False, Int8Store("zero point"), ALL_BUT_PARTS),
        ("isotropic", 6, True, Int8Store("min-max", "down"), ALL_BUT_PARTS),
        ("sparse", 8, True, Int8Store("min-max"), ALL_BUT_PARTS),
        ("isotropic", 8, True, Int8Store("symmetric quantile"), ALL_BUT_PARTS),
        ("isotropic", 10, False, Int8Store("min-max", axis=0), ALL_BUT_PARTS),
        ("isotropic", 12, True, Int8Store("quantile"), (*ALL_BUT_PARTS, "partial")),
        ("isotropic", 12, False, Int8Store("symmetric", "to zero"), (*ALL_BUT_PARTS, "partial")),
        ("isotropic", 96, True, Int8Store("min-max"), (*ALL_BUT_PARTS, "partial", "foreign_model")),
    ],
)
def test_damage_keeps_its_kind_on_the_grid_of_the_whole_collection(
    tmp_path: Path, shape: str, dimension: int, normalised: bool, store: Int8Store, kinds: tuple[str, ...]
) -> None:
    world = world_of(shape, dimension, normalised=normalised, count=600)
    for kind in kinds:
        PLANTERS[kind](world, 12)
    store.keep(world)
    add_dangling(world)
    diff = investigate(world, tmp_path, impact=False)
    assert corrupt(diff) == world.truth


def test_a_vector_too_short_for_the_scale_of_all_is_what_the_store_made_of_it(tmp_path: Path) -> None:
    world = world_of("isotropic", 6)
    (short, long) = world.take(2)
    world.expected[short] *= 1e-3
    world.vector(short, world.expected[short])
    world.vector(long, np.zeros(6))
    world.expect(Kind.ZERO, world.ids[long])
    Int8Store("symmetric").keep(world)
    assert not world.target[short][1].any()
    assert corrupt(investigate(world, tmp_path, impact=False)) == world.truth


def test_a_component_one_step_away_is_damage(tmp_path: Path) -> None:
    world = world_of("isotropic", 6)
    store = Int8Store("min-max")
    store.keep(world)
    step = np.ptp(world.expected) / 255
    for row in world.take(10):
        vector = world.target[row][1].copy()
        vector[2] += step if vector[2] > world.expected[row, 2] else -step
        world.vector(row, vector)
        world.expect(Kind.DRIFTED, world.ids[row])
    assert corrupt(investigate(world, tmp_path, impact=False)) == world.truth


def test_a_record_under_another_id_and_a_stale_one_are_found_on_the_grid_whatever_the_buckets(
    tmp_path: Path,
) -> None:
    written = set()
    for buckets, workers in ((1, 1), (5, 2)):
        world = world_of("isotropic", 6)
        for kind in ("mangled_id", "stale", "swapped"):
            PLANTERS[kind](world, 8)
        Int8Store("quantile").keep(world)
        add_dangling(world)
        diff = investigate(world, tmp_path / str(buckets), buckets=buckets, workers=workers, impact=False)
        assert corrupt(diff) == world.truth
        run = RunFolder.open(diff.path)
        written.add((run.findings_json.read_bytes(), run.findings_parquet.read_bytes()))
    assert len(written) == 1


def test_fewer_rows_than_prove_a_grid_are_no_grid() -> None:
    wanted = vectors_of("isotropic", FEWEST, 4, True, 6)
    held = Int8Store("min-max").kept(wanted, wanted)
    assert learn_grid(wanted, held) is not None
    assert learn_grid(wanted[1:], held[1:]) is None


@pytest.mark.parametrize("dimension", [2, 4, 8])
@pytest.mark.parametrize("far", [0.003, 0.02, 0.2])
def test_small_drift_is_no_grid(dimension: int, far: float) -> None:
    rng = np.random.default_rng(8)
    for shape in SHAPES:
        wanted = vectors_of(shape, 100, dimension, True, 7)
        drift = rng.normal(size=wanted.shape) * np.where(wanted, far, 0)
        assert learn_grid(wanted, (wanted + drift).astype(np.float32)) is None


def test_edited_counts_of_words_are_no_grid_though_all_lie_on_one() -> None:
    before, after = word_counts()
    assert learn_grid(before, after) is None
    assert learn_grid(unit(before), unit(after)) is None


def test_where_half_of_what_differs_is_damage_the_grid_is_still_seen() -> None:
    wanted = vectors_of("isotropic", 200, 4, True, 9)
    held = Int8Store("quantile").kept(wanted, wanted)
    rng = np.random.default_rng(9)
    damaged = held.copy()
    damaged[:90] = wanted[:90] + 0.1 * rng.normal(size=(90, 4))
    grid = learn_grid(wanted, damaged)
    assert grid is not None
    assert grid.holds(wanted, damaged).tolist() == [False] * 90 + [True] * 110


@pytest.mark.parametrize(("held", "holds"), [(1.0, True), (0.9, True), (0.8, False)])
def test_the_largest_value_of_all_may_have_come_out_one_step_below_the_end_of_the_scale(
    held: float, holds: bool
) -> None:
    """Cutting off (1 - 0) / (1 / 10) in single precision may leave 9.9999, and so the level below; nothing was beyond the end."""
    one = np.array([1.0])
    grid = Grid(one / 10, one * 0, one * 0, one * np.float64(np.float32(0.9999999)), rounding=Rounding.DOWN)
    wanted = np.array([[1.0, 0.35]], np.float32)
    assert grid.holds(wanted, np.array([[held, 0.3]], np.float32)).tolist() == [holds]
    # What really lay beyond it stands at the end and nowhere else.
    assert not grid.holds(wanted + np.float32(0.05), np.array([[0.9, 0.4]], np.float32)).any()


def test_a_value_beyond_all_that_were_seen_may_have_been_cut_off_at_the_largest_of_them() -> None:
    one = np.array([1.0])
    grid = Grid(one / 10, one * 0, one * -np.inf, one * np.inf, bottom=-one, top=one)
    wanted = np.array([[0.52, 1.7], [0.52, -1.7]], np.float32)
    assert grid.holds(wanted, np.array([[0.5, 1.0], [0.5, -1.0]], np.float32)).all()
    # Or the scale goes on, and the rows that it was learnt from did not show it.
    assert grid.holds(wanted, np.array([[0.5, 1.7], [0.5, -1.7]], np.float32)).all()
    assert not grid.holds(wanted, np.array([[0.5, 0.9], [0.4, -1.0]], np.float32)).any()
