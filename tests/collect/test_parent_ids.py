"""A column that names a parent and holds doubles, since some of its cells are empty: only what is dangling is called so."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from vecforensics.arrow_columns import fixed_vectors
from vecforensics.case import load_case
from vecforensics.diff import Diff
from vecforensics.investigation import Investigation
from vecforensics.played_migration import case_records
from vecforensics.run_folder import RunFolder
from vecforensics.sources.parents import from_double, from_doubles

VECTORS = np.random.default_rng(3).normal(size=(8, 6)).astype(np.float32)


def write(path: Path, columns: dict[str, Sequence[Any]]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), path)
        return
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        writer.writerows(rows)


def dump(path: Path, ids: Sequence[str]) -> None:
    pq.write_table(pa.table({"id": list(ids), "vector": fixed_vectors(VECTORS[: len(ids)])}), path)


def cased(
    folder: Path, ending: str, ids: Sequence[Any], parents: Sequence[Any], lost: int | None = None
) -> Path:
    """Users under `ids`, and a post of each of `parents`; the target is right, save that it lacks user number `lost`."""
    vectors = [json.dumps(row.tolist()) if ending == ".csv" else row.tolist() for row in VECTORS]
    write(folder / f"users{ending}", {"id": ids, "bio": list("abcdefgh")[: len(ids)], "emb": vectors[: len(ids)]})  # fmt: skip
    posts = [f"p{number}" for number in range(len(parents))]
    write(
        folder / f"posts{ending}",
        {
            "id": posts,
            "body": list("abcdefgh")[: len(posts)],
            "user": parents,
            "emb": vectors[: len(posts)],
        },
    )
    (folder / "target").mkdir()
    dump(folder / "target" / "users.parquet", [str(one) for one in ids])
    if lost is not None:
        kept = pq.read_table(folder / "target" / "users.parquet")
        pq.write_table(
            pa.concat_tables([kept.slice(0, lost), kept.slice(lost + 1)]), folder / "target" / "users.parquet"
        )
    dump(folder / "target" / "posts.parquet", posts)
    target = {"uri": "parquet:target"}
    case = {
        "case": "parents",
        "collections": {
            # The child stands before its parent.
            "posts": {
                "source": {
                    "uri": f"posts{ending}",
                    "id": "id",
                    "text": ["body"],
                    "metadata": ["user"],
                    "depends_on": {"users": "user"},
                },
                "target": target | {"collection": "posts"},
                "expected": {"column": "emb"},
            },
            "users": {
                "source": {"uri": f"users{ending}", "id": "id", "text": ["bio"]},
                "target": target | {"collection": "users"},
                "expected": {"column": "emb"},
            },
        },
    }
    (folder / "case.yaml").write_text(yaml.safe_dump(case))
    return folder / "case.yaml"


def investigated(case_file: Path) -> Diff:
    case = load_case(case_file)
    return Investigation(case, RunFolder.begin(case_file, case, case_file.parent / "reports")).diff()


PARENTS = [1.0, 2.0, None, 4.0]


@pytest.mark.parametrize("ending", [".parquet", ".jsonl", ".csv"])
@pytest.mark.parametrize(
    ("ids", "parents"),
    [
        ([1, 2, 3, 4], PARENTS),
        (["1", "2", "3", "4"], PARENTS),
        ([1.0, 2.0, 3.0, 4.0], PARENTS),
        (["1.0", "2.0", "3.0", "4.0"], PARENTS),
        ([1, 2, 3, 4], [1, 2, None, 4]),
        ([1.0, 2.0, 3.0, 4.5], [1.0, 2.0, None, 4.5]),
    ],
    ids=[
        "whole and double",
        "text and double",
        "double and double",
        "text of doubles and double",
        "whole and whole",
        "with a fraction",
    ],
)
def test_parents_are_found_whatever_numbers_both_columns_hold(
    tmp_path: Path, ending: str, ids: list[Any], parents: list[Any]
) -> None:
    diff = investigated(cased(tmp_path, ending, ids, parents))
    assert diff.counts["dangling"] == diff.counts["mangled_id"] == diff.counts["missing"] == 0


@pytest.mark.parametrize("ending", [".parquet", ".jsonl", ".csv"])
def test_a_parent_that_is_gone_is_named_as_its_own_record_is(tmp_path: Path, ending: str) -> None:
    diff = investigated(cased(tmp_path, ending, [1, 2, 3, 4], PARENTS, lost=1))
    assert [row["source_id"] for row in diff.of_kind("missing").to_pylist()] == ["2"]
    assert [(row["source_id"], row["partner_id"]) for row in diff.of_kind("dangling").to_pylist()] == [
        ("p1", "2")
    ]


@pytest.mark.parametrize("ending", [".parquet", ".jsonl", ".csv"])
def test_a_played_migration_knows_the_same_parents(tmp_path: Path, ending: str) -> None:
    records = case_records(load_case(cased(tmp_path, ending, [1, 2, 3, 4], PARENTS)))
    assert {one.id: one.depends_on for one in records if one.collection == "posts"} == {
        "p0": ("1",),
        "p1": ("2",),
        "p2": (),
        "p3": ("4",),
    }


def test_what_a_cell_holds_beside_the_parent_s_id_is_left_alone(tmp_path: Path) -> None:
    case = load_case(cased(tmp_path, ".csv", [1, 2, 3, 4], PARENTS))
    found = {one.id: one for one in case_records(case)}
    assert (found["p3"].metadata, found["p3"].depends_on) == ({"user": "4.0"}, ("4",))


@pytest.mark.parametrize(
    ("value", "alone", "among_doubles"),
    [
        (5.0, "5", "5.0"),
        (-0.0, "0", "-0.0"),
        (2.0**53 - 1, "9007199254740991", "9007199254740991.0"),
        (2.0**53, "9007199254740992.0", "9007199254740992.0"),
        (0.5, "0.5", "0.5"),
        (float("nan"), "nan", "nan"),
        (float("inf"), "inf", "inf"),
    ],
)
def test_a_double_that_names_a_parent(value: float, alone: str, among_doubles: str) -> None:
    assert from_double(value, lambda: False) == alone
    assert from_double(value, lambda: True) == among_doubles
    for beside in ([], [0.25], [None]):
        column = pa.array([*beside, value], pa.float64())
        assert from_doubles(column, lambda: False).to_pylist()[-1] == alone
        assert from_doubles(column, lambda: True).to_pylist()[-1] == among_doubles
