"""Ids that became one on their way, in a store that appends: each row under the common id is some record's, and which is said."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_run import investigate
from planted_world import World
from test_not_finite import ALL

from vecforensics.diff import Diff


def rounded(text: str) -> str:
    return str(int(float(text)))


def world(ids: list[str], made: Callable[[str], str], **settings: Any) -> World:
    """Records without parents; the target holds each under the id that was made of its own."""
    one = World.make(count=len(ids), dimension=24, seed=3, **settings)
    one.ids, one.parents = ids, [None] * len(ids)
    one.row_of = {text: row for row, text in enumerate(ids)}
    one.target = [
        (made(text), one.expected[row].copy(), dict(one.metadata[row])) for row, text in enumerate(ids)
    ]
    return one


BEYOND = [str(2**53 + n) for n in range(100)]


def said(diff: Diff, kind: str) -> dict[str, tuple[str, str | None, dict[str, Any]]]:
    rows = diff.of_kind(kind).to_pylist()
    return {
        row["source_id"]: (row["target_id"], row["partner_id"], json.loads(row["detail"])) for row in rows
    }


def kinds(diff: Diff) -> dict[str, int]:
    return {
        kind: count
        for kind, count in diff.counts.items()
        if count and kind not in ("noise", "quantised", "normalised")
    }


@pytest.mark.parametrize("store", ALL)
def test_every_record_whose_id_was_rounded_onto_another_is_found_under_it(tmp_path: Path, store: str) -> None:
    one = world(BEYOND, rounded, normalised=False)
    one.target = [(text, ALL[store](vector), metadata) for text, vector, metadata in one.target]
    diff = investigate(one, tmp_path, impact=False)
    lost = [text for text in BEYOND if rounded(text) != text and rounded(text) in BEYOND]
    expected = {
        text: (
            rounded(text),
            rounded(text),
            {"by": "content", "conversion": "read as a floating-point number"},
        )
        for text in lost
    }
    # The last one rounds to an id that no record has, so that its id alone says it.
    expected[BEYOND[-1]] = (
        rounded(BEYOND[-1]),
        None,
        {"by": "id", "conversion": "read as a floating-point number"},
    )
    assert said(diff, "mangled_id") == expected
    assert kinds(diff) == {"mangled_id": 50}


def test_a_retry_under_the_common_id_is_still_a_duplicate(tmp_path: Path) -> None:
    one = world(BEYOND, rounded)
    one.target += [(rounded(BEYOND[n]), one.expected[n].copy(), dict(one.metadata[n])) for n in (4, 7)]
    diff = investigate(one, tmp_path, impact=False)
    assert kinds(diff) == {"mangled_id": 50, "duplicate": 2}
    assert said(diff, "duplicate") == {
        BEYOND[4]: (BEYOND[4], None, {"form": "same id"}),
        BEYOND[8]: (BEYOND[8], None, {"form": "same id", "vector": "another"}),
    }


def test_a_case_that_was_lost_brings_two_ids_together(tmp_path: Path) -> None:
    ids = [f"{letter}{n}" for n in range(20) for letter in "xX"]
    diff = investigate(world(ids, str.lower), tmp_path, impact=False)
    assert said(diff, "mangled_id") == {
        f"X{n}": (f"x{n}", f"x{n}", {"by": "content", "conversion": "case"}) for n in range(20)
    }
    assert kinds(diff) == {"mangled_id": 20}


def test_metadata_tell_records_apart_that_expect_one_vector(tmp_path: Path) -> None:
    one = world(BEYOND, rounded)
    for other in (3, 5):
        # Both round to 4, and expect the same.
        one.expected[other] = one.expected[30]
        one.target[other] = (*one.target[other][:1], one.expected[other], one.target[other][2])
    assert kinds(investigate(one, tmp_path / "told apart", impact=False)) == {"mangled_id": 50}
    one.metadata[5] = dict(one.metadata[3])
    one.target[5] = (*one.target[5][:2], dict(one.metadata[3]))
    diff = investigate(one, tmp_path / "alike", impact=False)
    assert kinds(diff) == {"mangled_id": 48, "missing": 2, "duplicate": 2}


def test_a_missing_records_vector_under_an_id_that_its_own_never_becomes_is_a_copy_beside(
    tmp_path: Path,
) -> None:
    one = world([f"post/{n}" for n in range(60)], str)
    text, vector, metadata = one.target.pop(50)
    one.target.append(("post/7", vector, metadata))
    diff = investigate(one, tmp_path, impact=False)
    assert kinds(diff) == {"missing": 1, "duplicate": 1}
    assert text == "post/50"


def test_nothing_depends_on_buckets_or_on_the_order_of_a_scan(tmp_path: Path) -> None:
    seen = set()
    for number, (buckets, shuffle) in enumerate([(1, None), (4, 1), (4, 2)]):
        one = world(BEYOND, rounded)
        one.target += [(rounded(BEYOND[7]), one.expected[7].copy(), dict(one.metadata[7]))] * 2
        diff = investigate(one, tmp_path / str(number), buckets=buckets, shuffle=shuffle, impact=False)
        seen.add(json.dumps(diff.as_dict(), sort_keys=True))
    assert len(seen) == 1


def test_without_expected_vectors_nothing_is_guessed(tmp_path: Path) -> None:
    diff = investigate(world(BEYOND, rounded), tmp_path, expected=False, impact=False)
    assert Counter(diff.table["kind"].to_pylist())["mangled_id"] == 1


def test_a_child_of_a_record_under_anothers_id_says_where_its_parent_stands(tmp_path: Path) -> None:
    one = world(BEYOND, rounded)
    one.parents[40] = BEYOND[7]
    diff = investigate(one, tmp_path, impact=False)
    assert said(diff, "dangling") == {
        BEYOND[40]: (None, BEYOND[7], {"parent": "things", "parent_stands_under": BEYOND[8]})
    }
    assert np.isin(BEYOND[7], diff.of_kind("mangled_id")["source_id"].to_pylist())


@pytest.mark.parametrize(
    ("ids", "made", "conversion"),
    [
        ([str(2**53 + 1 + 2 * n) for n in range(100)], rounded, "read as a floating-point number"),
        ([f"{letter}{n}" for n in range(50) for letter in "Kk"], lambda text: f"{text.lower()}", "case"),
        ([f"-{n:03d}" for n in range(1, 101)], lambda text: str(int(text)), "leading zeros lost"),
    ],
    ids=["rounded", "lower case", "minus one"],
)
def test_where_content_decides_whose_row_it_is_the_conversion_of_its_id_is_named(
    tmp_path: Path, ids: list[str], made: Callable[[str], str], conversion: str
) -> None:
    """Several records become one id, which (but for the lower case) none of them has; `-1` may be a lost id."""
    diff = investigate(world(ids, made), tmp_path, impact=False)
    assert set(kinds(diff)) == {"mangled_id"}
    assert {detail["conversion"] for _, _, detail in said(diff, "mangled_id").values()} == {conversion}


def test_ids_lost_to_a_word_that_a_record_is_called_are_found_by_their_content(tmp_path: Path) -> None:
    """Somebody is called `nan`; twenty others lost their ids to it in a store that appends."""
    ids = [f"u{n}" for n in range(99)] + ["nan"]
    diff = investigate(world(ids, lambda text: "nan" if text in ids[:20] else text), tmp_path, impact=False)
    assert kinds(diff) == {"mangled_id": 20}
    assert said(diff, "mangled_id") == {
        text: ("nan", "nan", {"by": "content", "conversion": "id lost"}) for text in ids[:20]
    }
