"""The plan: an order in which every parent comes first, proved for any shape of dependencies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from migration_scene import CASE, Scene

from vecforensics.case import Case, parse_case
from vecforensics.evidence import Evidence
from vecforensics.migrate import plan
from vecforensics.migrate.feed import feed_chunks
from vecforensics.migrate.outline import Outline, outline
from vecforensics.migrate.plan import make_plan

Key = tuple[str, str]
CASE_OF_TWO: Case = parse_case(
    CASE.format(store="parquet", embedder="hashing-16"), folder=Path(), where="case.yaml"
)


class Frozen:
    """Evidence in memory: for each collection (id, parent or None)."""

    def __init__(self, rows: dict[str, list[tuple[str, str | None]]]) -> None:
        self._rows = rows

    def iter_source(self, name: str) -> Iterator[pa.RecordBatch]:
        rows = self._rows[name]
        for start in range(0, len(rows), 2):
            some = rows[start : start + 2]
            yield pa.RecordBatch.from_pydict(
                {
                    "id": pa.array([row[0] for row in some], pa.string()),
                    "parent:users": pa.array([row[1] for row in some], pa.string()),
                }
            )


def outlined(users: Sequence[str | None], posts: Sequence[str | None]) -> Outline:
    rows = {
        "users": [(str(number), parent) for number, parent in enumerate(users)],
        "posts": [(str(number), parent) for number, parent in enumerate(posts)],
    }
    return outline(cast(Evidence, Frozen(rows)), CASE_OF_TWO)


def can_be_written(users: Sequence[str | None], number: str | None) -> bool:
    """Whether the chain of bosses ends at somebody who has none, or who is their own."""
    seen: set[str] = set()
    while number is not None:
        if number in seen or int(number) >= len(users):
            return False
        seen.add(number)
        number = None if users[int(number)] == number else users[int(number)]
    return True


PARENT = st.none() | st.integers(0, 9).map(str)


@settings(max_examples=150, deadline=None)
@given(users=st.lists(PARENT, max_size=8), posts=st.lists(PARENT, max_size=8))
def test_whoever_can_be_written_comes_after_its_parents_and_the_others_are_refused(
    users: list[str | None], posts: list[str | None]
) -> None:
    order = outlined(users, posts)
    parents = {("users", str(n)): p for n, p in enumerate(users)} | {
        ("posts", str(n)): p for n, p in enumerate(posts)
    }
    written: set[Key] = set()
    for key in order.in_order():
        parent = parents[key]
        assert parent is None or ("users", parent) in written or ("users", parent) == key
        written.add(key)
    assert written | order.refused.keys() == parents.keys()
    assert not written & order.refused.keys()
    for (collection, number), parent in parents.items():
        fine = can_be_written(users, number) if collection == "users" else can_be_written(users, parent)
        assert ((collection, number) in written) == fine


def test_a_chain_of_ten_thousand_in_the_wrong_order_is_no_matter() -> None:
    count = 10_000
    order = outlined([str(n + 1) if n + 1 < count else None for n in range(count)], [])
    assert [key[1] for key in order.in_order()] == [str(n) for n in reversed(range(count))]


@pytest.mark.parametrize("chunk_rows", [1, 3, 100])
def test_chunks_bring_each_record_once_with_its_text_and_its_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_rows: int
) -> None:
    monkeypatch.setattr(plan, "CHUNK_ROWS", chunk_rows)
    scene = Scene.make(tmp_path)
    evidence = Evidence.open(scene.run.evidence)
    planned = make_plan(scene.case, scene.run, evidence, mode="apply", strategy="waves")
    seen: set[Key] = set()
    for chunk, fed in feed_chunks(evidence, scene.case, planned.chunks):
        assert len(fed) <= chunk_rows
        assert [one.key for one in fed] == list(chunk.keys)
        names = {one.key: one.record.id for one in fed}
        assert len(set(names.values())) == len(fed)
        for one in fed:
            row = next(row for row in scene.source(one.key[0]) if row["id"] == one.key[1])
            assert one.record.text == row[{"users": "bio", "posts": "body"}[one.key[0]]]
            parent = row.get("author") or row.get("boss")
            assert one.parents == (() if parent is None else (("users", parent),))
            assert one.record.depends_on == tuple(names[key] for key in one.parents if key in names)
            assert all(key in seen or key in names for key in one.parents)
        seen |= names.keys()
    assert len(seen) == 10


def test_every_operation_has_a_number_of_its_own_and_a_key_of_its_own(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    planned = make_plan(
        scene.case, scene.run, Evidence.open(scene.run.evidence), mode="apply", strategy="waves"
    )
    operations = list(planned.operations())
    assert [one.op for one in operations] == list(range(1, 11))
    assert len({(one.collection, one.id) for one in operations}) == 10
