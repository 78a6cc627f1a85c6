"""Rows that were written to the wrong collection: two writers shared its name, its namespace or a connection."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecforensics.case import load_case
from vecforensics.collect import collect
from vecforensics.diff import Diff, diff_vectors
from vecforensics.run_folder import RunFolder

COUNT, DIMENSION = 60, 24
Row = tuple[str, np.ndarray, dict[str, Any]]


@dataclass
class Collection:
    """What one collection should hold, and by id what it does."""

    ids: list[str]
    expected: np.ndarray
    plans: list[str]
    target: list[Row] = field(default_factory=list)

    @classmethod
    def make(cls, ids: list[str], seed: int, dimension: int = DIMENSION) -> Collection:
        rng = np.random.default_rng(seed)
        vectors = rng.standard_normal((len(ids), dimension)).astype(np.float32)
        made = cls(ids, vectors, [f"{seed}-{number}" for number in range(len(ids))])
        made.target = [made.row(number) for number in range(len(ids))]
        return made

    def row(self, number: int) -> Row:
        return self.ids[number], self.expected[number], {"plan": self.plans[number]}


def numbered(prefix: str = "") -> list[str]:
    return [f"{prefix}{number}" for number in range(1, COUNT + 1)]


def investigate(folder: Path, worlds: dict[str, Collection], *, expected: bool = True) -> Diff:
    """Write both collections as a user has them, collect and diff."""
    folder.mkdir(exist_ok=True)
    lines = ["case: TWO", "collections:"]
    for name, world in worlds.items():
        source = {
            "id": pa.array(world.ids),
            "text": pa.array([f"{name} {text}" for text in world.ids]),
            "plan": pa.array(world.plans),
            "embedding": pa.array(world.expected.tolist(), pa.list_(pa.float32())),
        }
        pq.write_table(pa.table(source), folder / f"{name}-source.parquet")
        target = {
            "id": pa.array([text for text, _, _ in world.target]),
            "vector": pa.array(
                [np.asarray(vector).tolist() for _, vector, _ in world.target], pa.list_(pa.float32())
            ),
            "metadata": pa.array([json.dumps(said) for _, _, said in world.target]),
        }
        pq.write_table(pa.table(target), folder / f"{name}.parquet")
        lines += [
            f"  {name}:",
            f"    source: {{uri: {name}-source.parquet, id: id, text: [text], metadata: [plan]}}",
            f'    target: {{uri: "parquet:{name}.parquet", collection: {name}}}',
            *(["    expected: {column: embedding}"] if expected else []),
        ]
    path = folder / "case.yaml"
    path.write_text("\n".join(lines) + "\n")
    case = load_case(path)
    run = RunFolder.begin(path, case, folder / "reports")
    collect(case, run)
    return diff_vectors(case, run, impact=False)


def said(diff: Diff, kind: str) -> dict[tuple[str, str], tuple[str | None, dict[str, Any]]]:
    """(collection, id) → partner and detail; the id of a stray is that of its row."""
    return {
        (row["collection"], row["source_id"] or row["target_id"]): (
            row["partner_id"],
            json.loads(row["detail"]),
        )
        for row in diff.of_kind(kind).to_pylist()
    }


def test_rows_of_users_among_the_posts_are_named_and_the_users_say_where_they_stand(tmp_path: Path) -> None:
    users, posts = Collection.make(numbered("user:"), 1), Collection.make(numbered("post:"), 2)
    for number in (3, 4, 5):
        posts.target.append(users.target[number])
    # One was written to both, and one to the posts under an id of their own making.
    del users.target[5], users.target[3]
    posts.target.append(("0c6f1f0e-5c9e-4a6c-8d38-9f3f0f0a5b11", users.expected[9], {"plan": "1-9"}))
    diff = investigate(tmp_path, {"users": users, "posts": posts})
    by_content = {"collection": "users", "by": "content"}
    assert said(diff, "orphan") == {
        ("posts", "user:4"): ("user:4", by_content),
        ("posts", "user:5"): ("user:5", by_content),
        ("posts", "user:6"): ("user:6", by_content),
        ("posts", "0c6f1f0e-5c9e-4a6c-8d38-9f3f0f0a5b11"): ("user:10", by_content),
    }
    assert said(diff, "missing") == {
        ("users", "user:4"): (None, {"stands_in": "posts", "under": "user:4"}),
        ("users", "user:6"): (None, {"stands_in": "posts", "under": "user:6"}),
    }
    assert diff.collections["posts"].notes[-1] == (
        "4 rows are those of records of users; was the wrong collection written to?"
    )
    assert not any("wrong collection" in note for note in diff.collections["users"].notes)


@pytest.mark.parametrize("change", ["exact", "float16", "normalised", "noise"])
def test_where_both_have_the_id_the_row_that_was_written_over_holds_the_others_vector(
    tmp_path: Path, change: str
) -> None:
    kept: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "exact": lambda vector: vector,
        "float16": lambda vector: vector.astype(np.float16).astype(np.float32),
        "normalised": lambda vector: vector / np.linalg.norm(vector),
        "noise": lambda vector: (
            vector * (1 + np.float32(1e-6) * np.sin(np.arange(DIMENSION), dtype=np.float32))
        ),
    }
    users, posts = Collection.make(numbered(), 1), Collection.make(numbered(), 2)
    for number in range(10, 20):
        text, vector, metadata = users.row(number)
        posts.target[number] = text, kept[change](vector), metadata
        users.target[number] = posts.row(number)
    diff = investigate(tmp_path, {"users": users, "posts": posts})
    assert diff.counts["drifted"] == diff.counts["foreign_model"] == 0
    assert said(diff, "swapped") == {
        (name, str(number + 1)): (
            str(number + 1),
            {"form": "another collection", "collection": other, "by": "content"},
        )
        for name, other in (("users", "posts"), ("posts", "users"))
        for number in range(10, 20)
    }


def test_two_collections_that_were_exchanged_are_one_anothers(tmp_path: Path) -> None:
    users, posts = Collection.make(numbered("u"), 1), Collection.make(numbered("p"), 2)
    users.target, posts.target = posts.target, users.target
    diff = investigate(tmp_path, {"users": users, "posts": posts})
    strays = said(diff, "orphan")
    assert len(strays) == 2 * COUNT
    assert {(name, detail["collection"]) for (name, _), (_, detail) in strays.items()} == {
        ("users", "posts"),
        ("posts", "users"),
    }
    assert all(partner == text for (_, text), (partner, _) in strays.items())
    assert {detail["stands_in"] for _, detail in said(diff, "missing").values()} == {"users", "posts"}
    for name, other in (("users", "posts"), ("posts", "users")):
        assert f"{COUNT} rows are those of records of {other}; was the wrong collection written to?" in (
            diff.collections[name].notes
        )


def test_a_row_of_its_own_collection_is_explained_there_first(tmp_path: Path) -> None:
    """Record 7 of both expects one vector; row 8 holds it."""
    users, posts = Collection.make(numbered(), 1), Collection.make(numbered(), 2)
    posts.expected[7] = users.expected[7]
    posts.target[7] = posts.row(7)
    posts.target[8] = ("9", posts.expected[7], {"plan": "2-8"})
    diff = investigate(tmp_path, {"users": users, "posts": posts})
    assert said(diff, "swapped") == {("posts", "9"): ("8", {"form": "copy"})}


def test_of_several_records_that_expect_it_the_one_with_the_rows_id_is_named(tmp_path: Path) -> None:
    users, posts = Collection.make(numbered(), 1), Collection.make(numbered(), 2)
    users.expected[5] = users.expected[6] = users.expected[4]
    users.target = [users.row(number) for number in range(COUNT)]
    posts.target[5] = ("6", users.expected[4], {"plan": "1-5"})
    diff = investigate(tmp_path, {"users": users, "posts": posts})
    assert said(diff, "swapped") == {
        ("posts", "6"): (
            "6",
            {"form": "another collection", "collection": "users", "by": "content", "candidates": 3},
        )
    }


def test_vectors_of_another_length_are_not_held_against_each_other(tmp_path: Path) -> None:
    users, posts = Collection.make(numbered(), 1, dimension=8), Collection.make(numbered(), 2)
    posts.target.append(("stray", np.ones(DIMENSION, np.float32), {}))
    posts.target[3] = ("4", np.ones(DIMENSION, np.float32) * np.arange(DIMENSION), {"plan": "2-3"})
    diff = investigate(tmp_path, {"users": users, "posts": posts})
    assert said(diff, "orphan") == {("posts", "stray"): (None, {})}
    assert list(said(diff, "drifted")) == [("posts", "4")]


def test_a_further_row_under_a_records_id_may_be_another_collections(tmp_path: Path) -> None:
    users, posts = Collection.make(numbered(), 1), Collection.make(numbered(), 2)
    posts.target.append(users.target[11])
    diff = investigate(tmp_path, {"users": users, "posts": posts})
    assert said(diff, "duplicate") == {
        ("posts", "12"): (
            "12",
            {"form": "same id", "vector": "another", "collection": "users", "by": "content"},
        )
    }


def test_without_expected_vectors_a_missing_id_with_its_metadata_says_whose_row_it_is(tmp_path: Path) -> None:
    users, posts = Collection.make(numbered("u"), 1), Collection.make(numbered("p"), 2)
    posts.target += [users.target[3], users.target[4], users.target[5]]
    # User 4 stands where it belongs too; the plan of user 5 is not what its record says.
    posts.target[-1] = (*posts.target[-1][:2], {"plan": "another"})
    del users.target[5], users.target[3]
    diff = investigate(tmp_path, {"users": users, "posts": posts}, expected=False)
    assert said(diff, "orphan") == {
        ("posts", "u4"): ("u4", {"collection": "users", "by": "id and metadata"}),
        ("posts", "u5"): (None, {}),
        ("posts", "u6"): (None, {}),
    }
    assert said(diff, "missing")["users", "u4"] == (None, {"stands_in": "posts", "under": "u4"})
    assert said(diff, "missing")["users", "u6"] == (None, {})


def test_clean_collections_that_share_ids_and_vectors_say_nothing(tmp_path: Path) -> None:
    users = Collection.make(numbered(), 1)
    posts = Collection(users.ids, users.expected, users.plans, list(users.target))
    diff = investigate(tmp_path, {"users": users, "posts": posts})
    assert diff.verdict.value == "clean"
    assert diff.table.num_rows == 0
    assert not any("wrong collection" in note for one in diff.collections.values() for note in one.notes)


def test_the_order_in_which_the_stores_list_their_rows_says_nothing(tmp_path: Path) -> None:
    seen = set()
    for turn in (1, -1):
        users, posts = Collection.make(numbered(), 1), Collection.make(numbered("p"), 2)
        users.expected[40] = users.expected[30]
        posts.target += [users.target[number] for number in (3, 30, 50)]
        posts.target.append(("lost", users.expected[3], {}))
        del users.target[50], users.target[3]
        users.target, posts.target = users.target[::turn], posts.target[::turn]
        diff = investigate(tmp_path / str(turn), {"users": users, "posts": posts})
        seen.add((diff.path / "findings.parquet").read_bytes())
    assert len(seen) == 1


def test_of_very_many_collections_those_that_miss_the_most_records_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("diff", "explain.elsewhere"):
        monkeypatch.setattr(f"vecforensics.diff.{module}.MOST_OTHERS", 1)
    worlds = {name: Collection.make(numbered(f"{name}:"), seed) for seed, name in enumerate(("a", "b", "c"))}
    worlds["a"].target += [worlds["b"].target[3], worlds["c"].target[5]]
    del worlds["c"].target[5]
    diff = investigate(tmp_path, worlds)
    assert said(diff, "orphan") == {
        ("a", "b:4"): (None, {}),
        ("a", "c:6"): ("c:6", {"collection": "c", "by": "content"}),
    }
    assert any("was asked of 1 collections" in limit for limit in diff.limits)


def test_of_very_many_collections_none_is_asked_in_vain_while_one_has_vectors_of_that_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("explain.elsewhere", "diff"):
        monkeypatch.setattr(f"vecforensics.diff.{module}.MOST_OTHERS", 1)
    worlds = {
        name: Collection.make(numbered(f"{name}:"), seed, dimension)
        for seed, (name, dimension) in enumerate((("a", DIMENSION), ("b", 8), ("c", DIMENSION)))
    }
    worlds["a"].target.append(worlds["c"].target.pop(5))
    # `b` misses more, but no vector of `a` can be its.
    del worlds["b"].target[:9]
    diff = investigate(tmp_path, worlds)
    assert said(diff, "orphan") == {("a", "c:6"): ("c:6", {"collection": "c", "by": "content"})}
