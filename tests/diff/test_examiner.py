"""Cases that a forensic examiner would try: odd figures, odd ids, odd metadata, each with the name that it deserves."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from later_store import LaterStore
from planted_run import freeze, investigate
from planted_world import World

from vecforensics.diff import Diff, diff_vectors
from vecforensics.diff.compare.metadata import field_drift
from vecforensics.diff.explain.id_affixes import pair_by_affix
from vecforensics.findings import Verdict
from vecforensics.metadata_rule import MetadataRule


def world(**settings: Any) -> World:
    return World.make(**{"count": 200, "dimension": 24, "seed": 1, **settings})


def exchange(one: World, rows: list[int], owners: list[int]) -> None:
    for row, owner in zip(rows, owners, strict=True):
        one.vector(row, one.expected[owner])


def kinds(diff: Diff) -> dict[str, int]:
    return dict(Counter(diff.table["kind"].to_pylist()))


def details(diff: Diff, kind: str) -> dict[str, Any]:
    return {
        row["source_id"]: (row["partner_id"], json.loads(row["detail"]))
        for row in diff.of_kind(kind).to_pylist()
    }


@pytest.mark.parametrize("length", [3, 4, 7, 50])
def test_a_cycle_of_any_length_is_one_cycle(tmp_path: Path, length: int) -> None:
    one = world()
    rows = one.rng.permutation(200)[:length].tolist()
    exchange(one, rows, rows[1:] + rows[:1])
    diff = investigate(one, tmp_path, impact=False)
    assert details(diff, "swapped") == {
        one.ids[row]: (one.ids[owner], {"form": "cycle", "length": length})
        for row, owner in zip(rows, rows[1:] + rows[:1], strict=True)
    }


def test_two_skipped_records_make_two_runs_the_second_by_two(tmp_path: Path) -> None:
    one = world()
    exchange(one, list(range(40, 198)), [row + (1 if row < 90 else 2) for row in range(40, 198)])
    found = details(investigate(one, tmp_path, impact=False), "shifted")
    runs = {(detail["begins_at"], detail["ends_at"], detail["offset"]) for _, detail in found.values()}
    assert runs == {(40, 89, 1), (90, 197, 2)}
    assert len(found) == 158


@pytest.mark.parametrize(("by", "says"), [(1, 1), (-1, -1), (3, 3), (-90, -90), (110, -90)])
def test_a_roll_of_a_whole_block_is_one_run_with_the_shorter_offset(
    tmp_path: Path, by: int, says: int
) -> None:
    """numpy.roll over the whole collection: the rows that went over its end moved by the same as all others."""
    one = world()
    exchange(one, list(range(200)), [(row + by) % 200 for row in range(200)])
    found = details(investigate(one, tmp_path, impact=False), "shifted")
    assert len(found) == 200
    assert {(one["begins_at"], one["ends_at"], one["offset"], one["run"]) for _, one in found.values()} == {
        (0, 199, says, 200)
    }
    assert sum(one.get("over_the_end", False) for _, one in found.values()) == abs(says)


@pytest.mark.parametrize("batches", [4, 6])
def test_a_shift_in_each_batch_is_a_place_within_every_fifty_rows(tmp_path: Path, batches: int) -> None:
    """Each stretch counts once: four that begin alike may be chance, and nothing is said of them; six are a place."""
    count = 50 * batches
    one = world(count=count)
    for batch in range(0, count, 50):
        exchange(one, list(range(batch + 20, batch + 49)), list(range(batch + 21, batch + 50)))
        one.vector(batch + 49, one.rng.normal(size=24))
    diff = investigate(one, tmp_path, impact=False)
    assert kinds(diff) == {"shifted": 29 * batches, "drifted": batches}
    if batches == 4:
        assert not diff.hot_spots
    else:
        assert diff.hot_spots[0]["sentence"].startswith(
            "numbers 21–49 of every 50 rows hold all 174 shifted rows"
        )


@pytest.mark.parametrize("fate", ["well", "missing", "wrong itself"])
def test_near_copies_of_one_vector_name_their_true_owner_whatever_became_of_it(
    tmp_path: Path, fate: str
) -> None:
    one = world()
    for row in range(60, 72):
        one.vector(row, one.expected[5] * (1 + 1e-6 * one.rng.normal(size=24)))
    if fate == "missing":
        del one.target[5]
    if fate == "wrong itself":
        one.vector(5, one.rng.normal(size=24))
    found = details(investigate(one, tmp_path, impact=False), "broadcast")
    assert set(found) == set(one.ids[60:72])
    assert all(
        value == (one.ids[5], {"group": 12 + (fate == "well"), "owner_holds_it_too": fate == "well"})
        for value in found.values()
    )


def test_the_version_that_a_stale_vector_is_of_is_named(tmp_path: Path) -> None:
    one = world()
    for number in range(3):
        one.earlier.append((one.ids[7], one.rng.normal(size=24).astype(np.float32)))
        one.earlier.append((one.ids[9 + number], one.rng.normal(size=24).astype(np.float32)))
    one.vector(7, one.earlier[2][1])
    one.vector(10, one.earlier[3][1] / np.linalg.norm(one.earlier[3][1]))
    found = details(investigate(one, tmp_path, impact=False), "stale")
    assert found == {one.ids[7]: (None, {"version": "0002"}), one.ids[10]: (None, {"version": "0003"})}


def test_the_old_vector_of_another_record_is_that_records(tmp_path: Path) -> None:
    one = world()
    old = one.rng.normal(size=24).astype(np.float32)
    one.earlier.append((one.ids[7], old))
    one.vector(9, old)
    found = details(investigate(one, tmp_path, impact=False), "swapped")
    assert found == {one.ids[9]: (one.ids[7], {"form": "earlier version", "version": "0000"})}


def test_rows_under_one_id_say_whether_they_agree(tmp_path: Path) -> None:
    one = world()
    one.target.append((one.ids[4], one.expected[4].copy(), dict(one.metadata[4])))
    one.target.append((one.ids[9], one.expected[10].copy(), dict(one.metadata[9])))
    found = details(investigate(one, tmp_path, impact=False), "duplicate")
    assert found == {
        one.ids[4]: (None, {"form": "same id"}),
        one.ids[9]: (None, {"form": "same id", "vector": "another"}),
    }


def test_ids_beyond_2_53_that_met_on_one_double_are_overwritten_and_not_shifted(tmp_path: Path) -> None:
    one = world()
    one.ids = [str(2**53 + n) for n in range(200)]
    one.row_of, one.parents = {text: n for n, text in enumerate(one.ids)}, [None] * 200
    last = {str(int(float(text))): n for n, text in enumerate(one.ids)}
    one.target = [(text, one.expected[n].copy(), dict(one.metadata[n])) for text, n in last.items()]
    diff = investigate(one, tmp_path, impact=False)
    assert diff.counts["shifted"] == 0
    said = {"form": "chain", "metadata": "moved along", "collision": "read as a floating-point number"}
    assert details(diff, "swapped") == {
        text: (one.ids[n], said)
        for text, n in last.items()
        if n < 200 and one.ids[n] != text and text in one.row_of
    }


MADE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "negated": lambda vector: -vector,
    "bytes in another order": lambda vector: vector.astype(">f4").view("<f4"),
    "signs lost": np.abs,
    "components in reverse": lambda vector: vector[::-1],
    "doubles read as floats": lambda vector: vector[:12].astype(np.float64).view(np.float32),
    "components in another order": lambda vector: vector.reshape(4, 6).T.reshape(-1),
}


@pytest.mark.parametrize("form", sorted(MADE))
def test_what_garbled_a_vector_is_said(tmp_path: Path, form: str) -> None:
    one = world()
    for row in (3, 50, 90):
        one.vector(row, MADE[form](one.expected[row]))
    diff = investigate(one, tmp_path, impact=False)
    said = [json.loads(row["detail"]) for row in diff.table.to_pylist() if row["kind"] != "non_finite"]
    assert said
    assert all(detail == {"form": form} for detail in said)


def test_codes_of_int8_that_nobody_scaled_back_are_benign(tmp_path: Path) -> None:
    one = world()
    for row in range(200):
        one.vector(row, np.round(one.expected[row] / (np.abs(one.expected[row]).max() / 127)))
    diff = investigate(one, tmp_path, impact=False)
    assert (diff.verdict, kinds(diff)) == (Verdict.CLEAN, {"quantised": 1})


def rename(one: World, made: Callable[[str], str], rows: list[int]) -> None:
    for row in rows:
        text, vector, metadata = one.target[row]
        one.target[row] = (made(text), vector, metadata)


@pytest.mark.parametrize("expected", [True, False])
@pytest.mark.parametrize(
    ("shape", "made", "said"),
    [
        ("words", lambda text: f"prod/{text}", "prefix 'prod/' added"),
        ("numeric", lambda text: f"{text}#chunk0", "suffix '#chunk0' added"),
        ("words", lambda text: text.removeprefix("post/"), "prefix 'post/' lost"),
        ("uuid", lambda text: text[:20], "cut off after 20 characters"),
        ("numeric", lambda text: f"{text}\n", "space"),
        ("numeric", lambda text: f"+{text}", "another spelling of the number"),
        ("padded", lambda text: text.lstrip("0"), "leading zeros lost"),
        ("numeric", lambda text: text.zfill(9), "leading zeros added"),
    ],
)
def test_what_happened_to_an_id_is_said_with_and_without_expected_vectors(
    tmp_path: Path, expected: bool, shape: str, made: Callable[[str], str], said: str
) -> None:
    one = world(shape=shape)
    rename(one, made, list(range(0, 60, 3)))
    found = details(investigate(one, tmp_path, expected=expected, impact=False), "mangled_id")
    assert found == {one.ids[row]: (None, {"by": "id", "conversion": said}) for row in range(0, 60, 3)}


def test_strangers_that_happen_to_end_like_a_missing_id_are_strangers() -> None:
    rng = np.random.default_rng(3)
    missing = [str(n) for n in rng.choice(np.arange(1000, 10_000), 300, replace=False)]
    strangers = [str(n) for n in rng.choice(np.arange(10_000, 100_000), 300, replace=False)]
    assert pair_by_affix(missing, strangers) == {}
    assert pair_by_affix(["7", "8"], ["x/7", "x/8"]) == {}


NATURAL = ("lancedb", "pinecone", "chroma", "milvus", "qdrant", "pgvector")


@pytest.mark.parametrize(
    ("expected", "actual", "said"),
    [
        ({"a": 3}, {"a": 3.0}, "retyped int→float"),
        ({"a": "true"}, {"a": True}, "retyped text→bool"),
        ({"a": True}, {"a": "True"}, "retyped bool→text"),
        ({"a": ["x"]}, {"a": "x"}, "retyped list→text"),
        ({"a": ["x", "y"]}, {"a": "x"}, "changed"),
        ({"a": ["x", "y"]}, {"a": '["x", "y"]'}, "retyped list→text"),
        ({"a": [1, 2]}, {"a": ["1", "2"]}, "retyped list of int→text"),
        ({"a": {"b": 1}}, {"a": {"b": "1"}}, "retyped object of int→text"),
        ({"a": float("nan")}, {}, "missing NaN→absent"),
        ({"a": float("nan")}, {"a": None}, "retyped NaN→null"),
        ({"a": "NaN"}, {}, "missing"),
        ({"a": None}, {"a": "None"}, "retyped null→text"),
        ({"a": None}, {}, "missing"),
        ({"a": 2**53 + 1}, {"a": float(2**53)}, "changed"),
        ({"a": 0.1}, {"a": float(np.float32(0.1))}, "retyped float→single precision"),
        ({"a": "007"}, {"a": 7}, "retyped text→int"),
        ({"a": "x" * 200}, {"a": "x" * 100}, "changed: cut off"),
        ({"a": "Pro"}, {"a": "pro"}, "changed: case"),
        ({"a": "café"}, {"a": "cafÃ©"}, "changed: mojibake"),
        ({"a": 0}, {}, "missing"),
    ],
)
def test_what_became_of_a_field_is_named_and_what_a_store_does_by_nature_is_not(
    expected: dict[str, Any], actual: dict[str, Any], said: str
) -> None:
    for store in NATURAL:
        drift = field_drift(expected, actual, ["a"], MetadataRule.of({"store": store}))
        natural = (store == "pinecone" and said == "retyped int→float") or (
            store in ("pinecone", "chroma", "milvus") and expected == {"a": None} and actual == {}
        )
        entry = drift.get("a", {})
        words = entry.get("change", "")
        words += f" {entry['types']}" if "types" in entry else f": {entry['form']}" if "form" in entry else ""
        assert words == ("" if natural else said), store


def test_metadata_that_becomes_visible_late_is_no_drift(tmp_path: Path) -> None:
    one = world()
    for row in (4, 9):
        one.target[row][2]["plan"] = "old"
    case, run = freeze(one, tmp_path / "late", settle_s=6)
    diff = diff_vectors(case, run, refetch={"things": LaterStore.of(one, after=1)})
    assert (diff.verdict, kinds(diff)) == (Verdict.CLEAN, {})
    case, run = freeze(one, tmp_path / "young", settle_s=3600)
    diff = diff_vectors(case, run, refetch={"things": LaterStore.of(one, after=10**9)})
    assert kinds(diff) == {"pending": 2}
    assert {json.loads(text)["seems"] for text in diff.table["detail"].to_pylist()} == {"metadata_drift"}
    case, run = freeze(one, tmp_path / "old", settle_s=0.1)
    diff = diff_vectors(case, run, refetch={"things": LaterStore.of(one, after=10**9)})
    assert kinds(diff) == {"metadata_drift": 2}


@pytest.mark.parametrize("expected", [True, False])
@pytest.mark.parametrize("form", ["ragged", "not finite", "one of each", "narrower"])
@pytest.mark.parametrize("under", ["its own id", "a mangled id"])
def test_which_of_two_odd_copies_of_one_id_is_the_further_one_does_not_depend_on_the_scan(
    tmp_path: Path, under: str, form: str, expected: bool
) -> None:
    seen = set()
    for seed in range(6):
        one = world(count=60)
        for row in (4, 30, 50):
            text, vector, metadata = one.target.pop(one.place(one.ids[row]))
            shorter, longer = vector[:7], np.r_[vector, np.zeros(2, np.float32)]
            holed, other = vector.copy(), vector.copy()
            holed[3], other[5:7] = np.nan, np.inf
            rounded = vector.astype(np.float16).astype(np.float32)
            first, second = {
                "ragged": (shorter, longer),
                "not finite": (holed, other),
                "one of each": (holed, shorter),
                "narrower": (rounded, (vector.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)),
            }[form]
            text = text if under == "its own id" else text.upper()
            one.target += [(text, first, metadata), (text, second, metadata)]
        diff = investigate(
            one, tmp_path / str(seed), shuffle=seed, buckets=1 + seed % 2, expected=expected, impact=False
        )
        assert diff.counts["duplicate" if under == "its own id" else "mangled_id"] == 3
        seen.add(json.dumps(diff.as_dict(), sort_keys=True))
    assert len(seen) == 1


@pytest.mark.parametrize("form", ["NaN", "infinity", "cut off", "padded"])
def test_a_damaged_row_is_nearer_to_its_record_than_a_stranger_under_the_same_id(
    tmp_path: Path, form: str
) -> None:
    one = world()
    vector = one.expected[4].copy()
    if form in ("NaN", "infinity"):
        vector[5] = np.nan if form == "NaN" else np.inf
    vector = {"cut off": vector[:20], "padded": np.r_[vector, np.ones(3, np.float32)]}.get(form, vector)
    one.vector(4, vector)
    one.target.append((one.ids[4], one.rng.normal(size=24).astype(np.float32), dict(one.metadata[4])))
    diff = investigate(one, tmp_path, impact=False)
    assert kinds(diff) == {
        "non_finite" if form in ("NaN", "infinity") else "wrong_dimension": 1,
        "duplicate": 1,
    }
    [(_, detail)] = details(diff, "duplicate").values()
    assert detail == {"form": "same id", "vector": "another"}


@pytest.mark.parametrize("factor", [2.0, 0.5, 3.0])
def test_a_rescaled_copy_beside_the_exact_one_is_the_further_copy(tmp_path: Path, factor: float) -> None:
    one = world()
    for row in range(0, 40, 2):
        one.target.append((one.ids[row], one.expected[row] * np.float32(factor), dict(one.metadata[row])))
    assert kinds(investigate(one, tmp_path, impact=False)) == {"duplicate": 20}


@pytest.mark.parametrize("seed", range(3))
def test_of_two_rows_under_one_mangled_id_the_one_with_the_records_vector_is_its_own(
    tmp_path: Path, seed: int
) -> None:
    one = world(shape="numeric")
    for row in range(100, 130):
        text, vector, metadata = one.target[row]
        one.target[row] = (f"{text}.0", vector, metadata)
        one.target.append((f"{text}.0", one.rng.normal(size=24).astype(np.float32), dict(metadata)))
    diff = investigate(one, tmp_path, shuffle=seed, impact=False)
    assert kinds(diff) == {"mangled_id": 30, "orphan": 30}


def test_the_earlier_version_of_a_record_under_a_mangled_id_is_stale_and_not_swapped_with_itself(
    tmp_path: Path,
) -> None:
    one = world(shape="words")
    for row, noise in ((5, 0), (6, 1e-4)):
        text, _, metadata = one.target[row]
        old = one.rng.normal(size=one.dimension).astype(np.float32)
        one.earlier.append((text, old))
        one.target[row] = (text.upper(), old + np.float32(noise), metadata)
    diff = investigate(one, tmp_path, impact=False)
    assert kinds(diff) == {"mangled_id": 2, "stale": 2, "dangling": 2}
    versions = {row["source_id"]: json.loads(row["detail"]) for row in diff.of_kind("stale").to_pylist()}
    assert versions == {one.ids[5]: {"version": "0000"}, one.ids[6]: {"version": "0001"}}


@pytest.mark.parametrize(
    ("alike", "said"), [(3, {"candidates": 3}), (40, {"candidates": 8, "at_least": True})]
)
def test_of_a_crowd_it_is_said_that_there_are_more_candidates_than_were_looked_at(
    tmp_path: Path, alike: int, said: dict[str, Any]
) -> None:
    one = world()
    for row in range(alike):
        one.expected[row] = one.expected[0]
        one.metadata[row] = one.metadata[0]
        one.target[row] = (one.ids[row], one.expected[0], dict(one.metadata[0]))
    one.target.append(("another", one.expected[0], dict(one.metadata[0])))
    found = details(investigate(one, tmp_path, impact=False), "duplicate")
    assert found == {one.ids[0]: (None, {"form": "another id", **said})}
