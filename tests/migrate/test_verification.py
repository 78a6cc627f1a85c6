"""The verification: says clean only of what it looked at, and sees each kind of damage by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from migration_scene import CASE, DIMENSION, Scene, user

from vecforensics.evidence import Evidence
from vecforensics.findings import Kind, Verdict
from vecforensics.migrate.verification import Verification
from vecforensics.migrate.verify import verify_target

Row = tuple[str, Any, Any]
Damage = Callable[[list[Row]], list[Row]]


def verify(scene: Scene) -> Verification:
    return verify_target(scene.case, scene.run, Evidence.open(scene.run.evidence))


def edited(
    at: int, vector: Callable[[Any], Any] = lambda v: v, metadata: Callable[[Any], Any] = lambda m: m
) -> Damage:
    def damage(rows: list[Row]) -> list[Row]:
        record_id, old, held = rows[at]
        return [
            *rows[:at],
            (record_id, np.asarray(vector(old.copy()), np.float32), metadata(held)),
            *rows[at + 1 :],
        ]

    return damage


def one_number(value: float) -> Callable[[Any], Any]:
    def change(vector: Any) -> Any:
        vector[2] = value
        return vector

    return change


DAMAGE: dict[Kind, Damage] = {
    Kind.MISSING: lambda rows: rows[1:],
    Kind.ORPHAN: lambda rows: [*rows, ("undefined", rows[0][1], rows[0][2])],
    Kind.DUPLICATE: lambda rows: [*rows, rows[0]],
    Kind.DRIFTED: lambda rows: [(rows[0][0], rows[1][1], rows[0][2]), *rows[1:]],
    Kind.NON_FINITE: edited(3, one_number(float("nan"))),
    Kind.ZERO: edited(3, lambda v: v * 0),
    Kind.METADATA_DRIFT: edited(3, metadata=lambda m: m.replace('"free"', '"FREE"')),
    Kind.NORMALISED: edited(3, lambda v: v * 7),
    Kind.NOISE: edited(3, lambda v: np.nextafter(v, 2)),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_each_damage_is_seen_by_itself(tmp_path: Path, kind: Kind) -> None:
    scene = Scene.make(tmp_path, users=[user(number) for number in range(1, 30)])
    scene.put("posts", scene.right_rows("posts"))
    scene.put("users", DAMAGE[kind](scene.right_rows("users")))
    found = verify(scene)
    counts = {name: count for name, count in found.kinds.items() if count}
    if kind is Kind.MISSING:
        assert counts == {"missing": 1, "dangling": 2}
    else:
        assert counts == {kind.value: 1}
    benign = kind in (Kind.NORMALISED, Kind.NOISE)
    assert found.verdict is (Verdict.CLEAN if benign else Verdict.CORRUPT)


def test_infinity_and_huge_numbers_are_no_reason_to_warn(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.put("posts", scene.right_rows("posts"))
    huge, infinite = np.full(DIMENSION, 3e38, np.float32), np.full(DIMENSION, -np.inf, np.float32)
    rows = scene.right_rows("users")
    scene.put("users", [(rows[0][0], huge, rows[0][2]), (rows[1][0], infinite, rows[1][2]), *rows[2:]])
    assert {k: n for k, n in verify(scene).kinds.items() if n} == {"drifted": 1, "non_finite": 1}


def test_a_right_target_is_clean_and_says_what_was_not_seen(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.right()
    found = verify(scene)
    assert found.verdict is Verdict.CLEAN
    assert found.checked == {"posts": (6, 6), "users": (4, 4)}
    written = json.loads(scene.run.verification_json.read_text())
    assert written["verdict"] == "clean"
    assert set(written["kinds"]) == {kind.value for kind in Kind}
    assert written["not_seen"]


def test_verifying_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.right()
    verify(scene)
    first = scene.run.verification_json.read_bytes()
    verify(scene)
    assert scene.run.verification_json.read_bytes() == first


def test_without_expected_vectors_the_content_is_unknown(tmp_path: Path) -> None:
    case = "\n".join(line for line in CASE.splitlines() if "expected" not in line)
    scene = Scene.make(tmp_path, case=case)
    scene.right()
    scene.collect_again()
    found = verify(scene)
    assert found.verdict is Verdict.UNKNOWN
    assert found.kinds["unchecked"] == 10
    assert found.checked == {"posts": (0, 6), "users": (0, 4)}


def test_a_source_that_changed_is_never_called_clean(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.right()
    with (tmp_path / "users.jsonl").open("a") as file:
        file.write("\n")
    found = verify(scene)
    assert found.verdict is Verdict.UNKNOWN
    assert found.sources == {"source of users users.jsonl": "changed"}
    assert "has changed since the evidence" in str(found)


def test_evidence_that_was_touched_is_never_called_clean(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.right()
    file = next((scene.run.evidence / "users").glob("target-*.arrow"))
    file.write_bytes(file.read_bytes() + b" ")
    assert verify(scene).verdict is Verdict.UNKNOWN


def test_a_target_that_is_not_there_is_unknown(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    found = verify(scene)
    assert found.verdict is Verdict.UNKNOWN
    assert found.kinds["unchecked"] == 10
    assert any("could not be read" in line for line in found.not_seen)


def test_a_vector_cut_short_is_of_the_wrong_dimension(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    scene = Scene.make(tmp_path)
    scene.right()
    rows = scene.right_rows("users")
    table = {
        "id": [row[0] for row in rows],
        "vector": pa.array(
            [rows[0][1][:7].tolist(), *(row[1].tolist() for row in rows[1:])], pa.list_(pa.float32())
        ),
        "metadata": [row[2] for row in rows],
    }
    pq.write_table(pa.table(table), tmp_path / "target" / "users.parquet")
    assert {k: n for k, n in verify(scene).kinds.items() if n} == {"wrong_dimension": 1}


@pytest.mark.parametrize(
    ("stands", "drifted"),
    [
        ('{"plan":"free","extra":1}', False),
        ('{ "plan" : "free" }', False),
        ('{"plan":true}', True),
        ("{}", True),
        ('["plan"]', True),
        ("not json", True),
        (None, True),
    ],
)
def test_metadata_is_compared_by_field_and_type(tmp_path: Path, stands: str | None, drifted: bool) -> None:
    scene = Scene.make(tmp_path)
    scene.put("posts", scene.right_rows("posts"))
    rows = scene.right_rows("users")
    scene.put("users", [(rows[0][0], rows[0][1], stands), *rows[1:]])
    assert verify(scene).kinds["metadata_drift"] == int(drifted)


def test_an_integer_that_came_back_as_a_float_drifted(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path)
    scene.put("users", scene.right_rows("users"))
    rows = scene.right_rows("posts")
    scene.put("posts", [(rows[0][0], rows[0][1], rows[0][2].replace('"likes":1', '"likes":1.0')), *rows[1:]])
    assert {k: n for k, n in verify(scene).kinds.items() if n} == {"metadata_drift": 1}
