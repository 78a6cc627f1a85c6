"""Two collections number their records alike: whose write a line tells of, by the name of the key; and what is said where it is
nobody's guess."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecforensics.case import load_case
from vecforensics.collect import collect
from vecforensics.diff import Diff, diff_vectors
from vecforensics.run_folder import RunFolder

COUNT = 20
IDS = [str(number) for number in range(COUNT)]
CASE = """case: keys
collections:
  USERS:
    source: {uri: users.jsonl, id: USER_ID}
    target: {uri: "parquet:target", collection: STORED}
  posts:
    source: {uri: posts.jsonl, id: POST_ID, depends_on: {USERS: author}}
    target: {uri: "parquet:target", collection: posts}
logs: [m.log]
"""


def diffed(
    folder: Path,
    lines: list[str],
    users: str = "users",
    user: str = "id",
    post: str = "id",
    stored: str = "users",
) -> Diff:
    """Twenty users and as many posts, each the one of the user of its number. The log reads `lines`."""
    for name, column in (("users", user), ("posts", post)):
        rows = [{column: one, "author": one} for one in IDS]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "target").mkdir()
    for name in (stored, "posts"):
        vectors = pa.array([[1.0, float(number)] for number in range(COUNT)], pa.list_(pa.float32()))
        pq.write_table(pa.table({"id": IDS, "vector": vectors}), folder / "target" / f"{name}.parquet")
    (folder / "m.log").write_text("".join(line + "\n" for line in lines))
    text = (
        CASE.replace("USERS", users)
        .replace("USER_ID", user)
        .replace("POST_ID", post)
        .replace("STORED", stored)
    )
    (folder / "case.yaml").write_text(text)
    case = load_case(folder / "case.yaml")
    run = RunFolder.begin(folder / "case.yaml", case, folder / "reports")
    collect(case, run)
    return diff_vectors(case, run, impact=False)


def early(diff: Diff) -> list[tuple[str, str]]:
    table = diff.of_kind("premature")
    return list(zip(table["collection"].to_pylist(), table["source_id"].to_pylist(), strict=True))


def log(user_key: str, post_key: str, beside: str = "") -> list[str]:
    """User 7 comes an hour after its post. `beside`: what the lines of posts say after the post's id."""
    lines = [
        f"2026-01-01T08:00:{number:02d}Z INFO upserted {user_key}={number}"
        for number in range(COUNT)
        if number != 7
    ]
    lines += [
        f"2026-01-01T09:00:{number:02d}Z INFO upserted {post_key}={number}{beside.format(number)}"
        for number in range(COUNT)
    ]
    return [*lines, f"2026-01-01T10:00:00Z INFO upserted {user_key}=7"]


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        (("user_id", "post_id"), {}),
        (("UserId", "postId"), {}),
        (("user id", "post id"), {}),
        (("user_id", "post_id", " user_id={}"), {}),
        (("user_id", "post_id", " author_id={}"), {}),
        (("account_id", "key_id"), {"user": "account_id", "post": "key_id"}),
        (("user_id", "post_id"), {"users": "prod_users"}),
        (("user_id", "post_id"), {"users": "people", "stored": "Users"}),
        (("entry_id", "post_id"), {"users": "entries"}),
    ],
)
def test_a_key_says_which_of_two_collections_was_written(
    tmp_path: Path, keys: tuple[str, ...], named: dict[str, str]
) -> None:
    diff = diffed(tmp_path, log(*keys), **named)
    assert early(diff) == [("posts", "7")]
    assert not any("another collection" in limit or "neither logs" in limit for limit in diff.limits)


def test_a_child_is_told_of_where_its_parents_key_stands_first(tmp_path: Path) -> None:
    lines = [f"2026-01-01T08:00:00Z INFO upserted user_id=3 post_id={number}" for number in range(COUNT)]
    lines += [f"2026-01-01T09:00:00Z INFO upserted user_id={number}" for number in range(COUNT)]
    assert early(diffed(tmp_path, lines)) == [("posts", one) for one in IDS]


def test_lists_are_told_apart_by_their_keys(tmp_path: Path) -> None:
    lines = [
        {"time": "2026-01-01T08:00:00Z", "event": "upsert", "post_ids": IDS[5:]},
        {"time": "2026-01-01T08:00:01Z", "event": "upsert", "user_ids": IDS},
    ]
    diff = diffed(tmp_path, [json.dumps(line) for line in lines])
    assert early(diff) == [("posts", one) for one in IDS[5:]]


def test_a_key_names_no_record_of_another_collection(tmp_path: Path) -> None:
    """User 99 is nobody's record here, but as a post it would be one."""
    lines = log("user_id", "post_id")
    lines = [line.replace("post_id=7", "post_id=99") for line in lines] + [
        "2026-01-01T07:00:00Z INFO upserted user_id=99"
    ]
    diff = diffed(tmp_path, lines)
    assert early(diff) == []


@pytest.mark.parametrize("key", ["id", "record_id", "key_id"])
def test_where_no_key_tells_the_writes_are_counted_and_left_aside(tmp_path: Path, key: str) -> None:
    diff = diffed(tmp_path, log(key, key))
    assert early(diff) == []
    said = [limit for limit in diff.limits if "posts:" in limit]
    assert (
        "posts: 40 writes in the logs name an id that another collection knows too, and not which is meant; they were left aside."
        in said
    )
    assert "posts: of no other write anything is known; `premature` was not checked." in said
    assert not any("neither logs" in limit for limit in diff.limits)


@pytest.mark.parametrize(
    "line",
    [
        "INFO upserted 20 records batch_id=7",
        "INFO upserted first_id=7 last_id=9 count=3",
        "INFO upserted ids 7…9",
        "INFO upserted ids=[7 … 9]",
        "INFO upserted ids=[7..9]",
        "INFO upserted ids=[7-9] count=3",
        "INFO upserted 7 of 20",
        '{"msg": "upserted", "start_id": 7, "end_id": 9, "count": 3}',
        '{"msg": "upserted", "first": 7, "last": 9, "ids": 3}',
    ],
)
def test_of_counts_and_ends_of_a_range_nothing_is_made(tmp_path: Path, line: str) -> None:
    lines: list[Any] = [line, *(f"INFO upserted user_id={one}" for one in IDS)]
    lines += [f"INFO upserted post_id={one}" for one in IDS]
    # Posts and users number their records apart here, so that no id could be two records'.
    diff = diffed(tmp_path, [one.replace("post_id=", "post_id=p") for one in lines])
    assert early(diff) == []
    assert not any("another collection" in limit for limit in diff.limits)
