"""Every kind of damage, alone and mixed, found and named; and nothing found where nothing is wrong."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planted_run import found, investigate, score
from planted_world import ID_SHAPES, World
from planting import PLANTERS, add_dangling, add_premature, plant_benign, plant_mangled_by_id

from vecforensics.diff.compare.ragged import compare_ragged
from vecforensics.findings import Kind, Verdict


def wrong(world: World, diff: Any) -> dict[str, tuple[int, int, int]]:
    return {kind: counts for kind, counts in score(world, diff).items() if counts[1] or counts[2]}


def partners_named(world: World, diff: Any) -> None:
    named = {
        (row["kind"], row["source_id"]): row["partner_id"]
        for row in diff.table.to_pylist()
        if row["partner_id"]
    }
    assert {key: named.get(key) for key in world.partners} == world.partners


@pytest.mark.parametrize("name", sorted(PLANTERS))
def test_one_kind_alone_is_found_without_a_miss_or_a_false_alarm(tmp_path: Path, name: str) -> None:
    world = World.make(count=400, dimension=24, seed=len(name))
    PLANTERS[name](world, 24)
    add_dangling(world)
    diff = investigate(world, tmp_path, impact=False)
    assert world.truth
    assert wrong(world, diff) == {}
    partners_named(world, diff)
    assert diff.verdict is (Verdict.CLEAN if name == "benign" else Verdict.CORRUPT)


worlds = st.fixed_dictionaries(
    {
        "dimension": st.sampled_from([8, 16, 33, 96]),
        "shape": st.sampled_from(ID_SHAPES),
        "normalised": st.booleans(),
        "clustered": st.booleans(),
        "seed": st.integers(0, 10_000),
    }
)


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(worlds)
def test_all_kinds_mixed_recall_and_precision_of_each_at_least_99_percent(shape: dict[str, Any]) -> None:
    world = World.make(count=1500, **shape)
    for plant in PLANTERS.values():
        plant(world, 24)
    add_dangling(world)
    add_premature(world, 24)
    with TemporaryDirectory() as folder:
        diff = investigate(world, Path(folder), impact=False)
    for kind, (hits, false, missed) in score(world, diff).items():
        assert hits >= 0.99 * (hits + false), (kind, shape)
        assert hits >= 0.99 * (hits + missed), (kind, shape)
    partners_named(world, diff)


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(worlds, st.integers(0, 200))
def test_a_clean_set_with_everything_benign_is_clean(shape: dict[str, Any], benign: int) -> None:
    world = World.make(count=300, **shape)
    plant_benign(world, benign)
    with TemporaryDirectory() as folder:
        diff = investigate(world, Path(folder))
    assert diff.verdict is Verdict.CLEAN
    assert diff.rows_corrupt == 0
    assert diff.hot_spots == ()
    assert diff.impact is None


@pytest.mark.parametrize(
    ("shape", "mangle"),
    [
        ("numeric", lambda text: f"{text}.0"),
        ("numeric", lambda text: f"{float(text):e}"),
        ("padded", lambda text: str(int(text))),
        ("padded", lambda text: f"{int(text)}.0"),
        ("uuid", str.upper),
        ("uuid", lambda text: text.replace("-", "")),
        ("uuid", lambda text: "{" + text + "}"),
        ("unicode", lambda text: __import__("unicodedata").normalize("NFD", text)),
        ("unicode", lambda text: text.encode().decode("latin-1")),
        ("spaces", str.strip),
        ("spaces", str.lower),
        ("spaces", lambda text: text.strip().lower()),
        ("enotation", lambda text: repr(float(text))),
        ("enotation", lambda text: str(int(float(text)))),
        ("beyond53", lambda text: str(int(float(text)))),
        ("words", str.upper),
        ("words", lambda text: f"b'{text}'"),
    ],
)
def test_an_id_mangled_by_a_known_conversion_is_paired(tmp_path: Path, shape: str, mangle: Any) -> None:
    world = World.make(count=200, dimension=12, shape=shape, seed=3)
    plant_mangled_by_id(world, 20, mangle)
    add_dangling(world)
    diff = investigate(world, tmp_path, impact=False, expected=False)
    assert sum(kind == Kind.MANGLED_ID for kind, _ in world.truth) >= 15
    assert wrong(world, diff) == {}


def test_a_mangled_id_over_anothers_vector_says_both(tmp_path: Path) -> None:
    world = World.make(count=100, dimension=12, shape="padded")
    a, b = world.take(2, lambda row: row >= 50)
    for row, other in ((a, b), (b, a)):
        world.vector(row, world.expected[other])
        at = world.place(world.ids[row])
        world.target[at] = (str(int(world.ids[row])), *world.target[at][1:])
    diff = investigate(world, tmp_path)
    assert Counter(diff.table["kind"].to_pylist()) == {"mangled_id": 2, "swapped": 2}


def test_a_whole_collection_normalised_by_its_store_is_one_line(tmp_path: Path) -> None:
    world = World.make(count=300, normalised=False)
    for row in range(300):
        world.vector(row, world.expected[row] / np.linalg.norm(world.expected[row]))
    pair = world.take(2)
    for row, other in (pair, pair[::-1]):
        world.vector(row, world.expected[other] / np.linalg.norm(world.expected[other]))
    diff = investigate(world, tmp_path)
    assert Counter(diff.table["kind"].to_pylist()) == {"normalised": 1, "swapped": 2}
    assert diff.collections["things"].notes == (
        "298 of 300 vectors are normalised: the work of the store, benign",
    )


@pytest.mark.parametrize("kind", [np.float16, "bfloat16"])
def test_swapped_rows_are_found_in_a_narrower_format(tmp_path: Path, kind: Any) -> None:
    def narrow(vector: np.ndarray) -> np.ndarray:
        if kind == "bfloat16":
            return (vector.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
        return vector.astype(kind).astype(np.float32)

    world = World.make(count=300, dimension=48)
    for row in range(300):
        world.vector(row, narrow(world.expected[row]))
    pair = world.take(2)
    for row, other in (pair, pair[::-1]):
        world.vector(row, narrow(world.expected[other]))
        world.expect(Kind.SWAPPED, world.ids[row], world.ids[other])
    diff = investigate(world, tmp_path, impact=False)
    assert found(diff) == world.truth
    assert diff.counts["quantised"] == 1


def test_one_best_explanation_for_each_wrong_row(tmp_path: Path) -> None:
    world = World.make(count=1200)
    for plant in PLANTERS.values():
        plant(world, 18)
    diff = investigate(world, tmp_path, impact=False)
    about_content = {"swapped", "shifted", "broadcast", "non_finite", "zero", "wrong_dimension", "partial"}
    about_content |= {"stale", "foreign_model", "drifted", "noise", "normalised", "quantised"}
    seen = Counter(row["source_id"] for row in diff.table.to_pylist() if row["kind"] in about_content)
    assert set(seen.values()) == {1}


def test_how_much_of_a_vector_is_there(tmp_path: Path) -> None:
    world = World.make(count=60, dimension=16)
    a, b, c = world.take(3)
    world.vector(a, np.r_[world.expected[a][:12], np.zeros(4)])
    world.vector(b, world.expected[b][:4])
    world.vector(c, np.r_[world.expected[c], np.ones(4)])
    rows = {
        row["source_id"]: json.loads(row["detail"]) for row in investigate(world, tmp_path).table.to_pylist()
    }
    assert rows[world.ids[a]] == {"right": 0.75, "rest": "zero", "wrong_from": 12, "wrong_to": 16}
    assert rows[world.ids[b]] == {"length": 4, "expected_length": 16, "form": "truncated", "right": 0.25}
    assert rows[world.ids[c]]["form"] == "padded"
    assert rows[world.ids[c]]["padding"] == "other"


@pytest.mark.parametrize("kept", ["float32", "float16"])
@pytest.mark.parametrize("rest", ["zero", "another record's"])
@pytest.mark.parametrize(
    ("right", "kind"), [(4, "drifted"), (6, "partial"), (12, "partial"), (94, "partial")]
)
def test_a_twentieth_that_is_right_makes_a_partial_vector_whatever_the_rest_is(
    tmp_path: Path, kept: str, rest: str, right: int, kind: str
) -> None:
    world = World.make(count=200, dimension=100)
    world.parents = [None] * 200
    vector = np.zeros(100) if rest == "zero" else world.expected[9].copy()
    vector[:right] = world.expected[5][:right]
    world.vector(5, vector)
    world.target = [(text, one.astype(kept).astype(np.float32), said) for text, one, said in world.target]
    [row] = [row for row in investigate(world, tmp_path, impact=False).table.to_pylist() if row["source_id"]]
    assert row["kind"] == kind
    if kind == "partial":
        assert row["partner_id"] == (None if rest == "zero" else world.ids[9])
        detail = {"right": right / 100, "rest": rest, "wrong_from": right, "wrong_to": 100}
        assert json.loads(row["detail"]) == detail


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ([0.01], {"form": "truncated", "right": 0.25}),
        ([0.010000001], {"form": "truncated", "right": 0.25}),
        ([500.0], {"form": "other", "right": 0.0}),
        ([-0.01], {"form": "other", "right": 0.0}),
        ([np.nan], {"form": "other", "right": 0.0}),
        ([0.01, 2.0, 3.0], {"form": "truncated", "right": 0.75}),
    ],
)
def test_one_component_that_is_left_has_no_direction_and_must_be_the_right_one(
    held: list[float], said: dict[str, Any]
) -> None:
    expected = np.array([[0.01, 2, 3, 4]], np.float32)
    [detail] = compare_ragged(expected, [np.array(held, np.float32)], 1e-5)
    assert detail == {"length": len(held), "expected_length": 4} | said
    [nothing] = compare_ragged(np.array([[0, 2, 3, 4]], np.float32), [np.zeros(1, np.float32)], 1e-5)
    assert nothing["form"] == "other"


def test_strangers_too_short_for_their_length_to_be_squared_are_one_group_and_no_warning(
    tmp_path: Path,
) -> None:
    world = World.make(count=200, dimension=16)
    world.parents = [None] * 200
    short = world.rng.normal(size=(3, 16)) * 1e-25
    rows = world.take(8)
    for row, number in zip(rows, (0, 0, 0, 0, 0, 0, 1, 2), strict=True):
        world.vector(row, short[number] * (1 + 1e-6 * world.rng.normal(size=16)))
    diff = investigate(world, tmp_path, impact=False)
    assert {row["source_id"]: row["kind"] for row in diff.table.to_pylist()} == {
        world.ids[row]: "broadcast" if place < 6 else "drifted" for place, row in enumerate(rows)
    }


def test_the_shifted_run_says_where_it_begins(tmp_path: Path) -> None:
    world = World.make(count=120)
    for row in range(40, 119):
        world.vector(row, world.expected[row + 1])
    rows = investigate(world, tmp_path, impact=False).of_kind("shifted").to_pylist()
    detail = json.loads(rows[0]["detail"])
    assert len(rows) == 79
    assert detail == {
        "offset": 1,
        "run": 79,
        "begins_at": 40,
        "begins_with": world.ids[40],
        "ends_at": 118,
    }


def test_a_record_whose_expected_vector_is_not_finite_is_unchecked(tmp_path: Path) -> None:
    world = World.make(count=50)
    world.expected[7, 3] = np.nan
    diff = investigate(world, tmp_path)
    assert diff.verdict is Verdict.UNKNOWN
    assert diff.collections["things"].unchecked == 1


def test_an_empty_target_misses_everything(tmp_path: Path) -> None:
    world = World.make(count=40)
    world.target = []
    diff = investigate(world, tmp_path)
    assert diff.counts["missing"] == 40
    assert diff.counts["dangling"] == 0


def test_names_of_strangers_are_escaped_where_a_diff_shows_itself(tmp_path: Path) -> None:
    world = World.make(count=40)
    world.target.append(("<script>x</script>\x1b[2J", world.expected[0] * -1, {"plan": "<img>"}))
    diff = investigate(world, tmp_path)
    assert "<script>" not in diff._repr_html_()
    assert "\x1b" not in str(diff)
    assert diff.counts["orphan"] == 1


@pytest.mark.parametrize(
    ("model", "noise"), [("another projection", 0.0), ("turned and noisy", 0.01), ("turned and noisy", 0.05)]
)
def test_a_model_that_is_no_mere_rotation_is_one_explanation(
    tmp_path: Path, model: str, noise: float
) -> None:
    """Or none: within a topic the vectors spread by 0.025 a component, and more noise leaves nothing to tell a model by."""
    world = World.make(count=600, dimension=64, clustered=True, seed=8)
    group = world.take(150)
    weights = world.rng.normal(size=(64, 64)) / 8
    for row in group:
        made = np.tanh(2 * world.expected[row] @ weights)
        if model == "turned and noisy":
            made = world.expected[row] @ np.linalg.qr(weights)[0] + noise * world.rng.normal(size=64)
        world.vector(row, made)
        world.expect(Kind.FOREIGN_MODEL if noise < 0.025 else Kind.DRIFTED, world.ids[row])
    for row in world.take(40):
        world.vector(row, world.rng.normal(size=64))
        world.expect(Kind.DRIFTED, world.ids[row])
    diff = investigate(world, tmp_path, impact=False)
    for kind, (hits, false, missed) in score(world, diff).items():
        assert hits >= (0.98 if model == "turned and noisy" else 0.8) * (hits + max(false, missed)), kind
