"""The verification and the diff call the same things benign: a row that a repair did not touch is not damaged by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from migration_scene import CASE, Scene, post, user

from vecforensics.diff import diff_vectors
from vecforensics.evidence import Evidence
from vecforensics.findings import Kind, Verdict
from vecforensics.metadata_rule import MetadataRule
from vecforensics.migrate.verification import Verification
from vecforensics.migrate.verify import verify_target

PEOPLE = 60
Row = tuple[str, Any, str]


def int8(vector: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The vector as a store gives it back that keeps 8 bits a number, with a scale for each vector."""
    step = np.abs(vector).max() / 127
    return (np.round(vector / step) * step).astype(np.float32)


def scene_of(folder: Path, *, quantised: int = 40, swapped: int = 2) -> Scene:
    """Users of whom the first hold int8 copies and the last hold one another's vectors; all posts right."""
    scene = Scene.make(
        folder,
        users=[user(number) for number in range(1, PEOPLE + 1)],
        case=CASE + "tolerance: {{cosine: 1.0e-6}}\n",
    )
    rows = scene.right_rows("users")
    held = [(one, int8(vector), metadata) for one, vector, metadata in rows[:quantised]]
    tail = rows[PEOPLE - swapped :]
    exchanged = [(one[0], other[1], one[2]) for one, other in zip(tail, tail[::-1], strict=True)]
    scene.put("users", [*held, *rows[quantised : PEOPLE - swapped], *exchanged])
    scene.put("posts", scene.right_rows("posts"))
    scene.collect_again()
    return scene


def found(verification: Verification | None) -> dict[str, int]:
    assert verification is not None
    return {kind: count for kind, count in verification.kinds.items() if count}


@pytest.mark.parametrize("quantised", [40, 15], ids=["said in one line", "said of each"])
def test_int8_copies_that_a_repair_did_not_touch_are_as_benign_as_before(
    tmp_path: Path, quantised: int
) -> None:
    scene = scene_of(tmp_path, quantised=quantised)
    diff = diff_vectors(scene.case, scene.run)
    assert diff.counts["quantised"] == (1 if quantised >= PEOPLE / 2 else quantised)
    assert diff.counts["swapped"] == 2
    done = scene.migrate("repair")
    assert done.written == 2
    assert (done.verdict, found(done.verification)) == (Verdict.CLEAN, {"quantised": quantised})
    scene.collect_again()
    assert diff_vectors(scene.case, scene.run).verdict is Verdict.CLEAN


def test_an_int8_copy_that_became_anothers_after_the_repair_is_damage(tmp_path: Path) -> None:
    scene = scene_of(tmp_path)
    diff_vectors(scene.case, scene.run)
    scene.migrate("repair")
    rows = scene.right_rows("users")
    writer = scene.writer("users")
    writer.delete("users", ["1"])
    scene.put("users", [("1", int8(rows[1][1]), rows[0][2])])
    again = scene.migrate("repair")
    assert (again.verdict, found(again.verification)) == (Verdict.CORRUPT, {"quantised": 39, "drifted": 1})


def test_what_the_diff_called_damage_and_nobody_mended_stays_damage(tmp_path: Path) -> None:
    scene = scene_of(tmp_path)
    diff_vectors(scene.case, scene.run)
    scene.migrate("repair")
    back = scene.migrate("rollback")
    assert (back.verdict, found(back.verification)) == (Verdict.CORRUPT, {"quantised": 40, "drifted": 2})


@pytest.mark.parametrize("damaged", [False, True])
def test_where_no_diff_judged_them_nobody_knows(tmp_path: Path, damaged: bool) -> None:
    scene = scene_of(tmp_path)
    if damaged:
        diff_vectors(scene.case, scene.run)
    scene.migrate("apply")
    if damaged:
        scene.run.findings_parquet.write_bytes(b"PAR1 no more")
    back = scene.migrate("rollback")
    assert (back.verdict, found(back.verification)) == (Verdict.UNKNOWN, {"unchecked": 42})
    assert back.verification is not None
    assert back.verification.checked["users"] == (PEOPLE - 42, PEOPLE)
    assert "whether 42 vectors beyond tolerance are damage" in str(back)


def test_an_empty_text_whose_vector_is_zero_is_right_with_zero(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path, posts=[post(1, 1), {**post(2, 1), "body": ""}])
    scene.right()
    assert not scene.right_rows("posts")[1][1].any()
    scene.put("users", [("nobody", scene.right_rows("users")[0][1], "{}")])
    scene.collect_again()
    assert diff_vectors(scene.case, scene.run).counts["zero"] == 0
    done = scene.migrate("repair")
    assert (done.verdict, found(done.verification)) == (Verdict.CLEAN, {})


def test_a_zero_vector_is_damage_where_something_is_meant(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path, posts=[post(1, 1), {**post(2, 1), "body": ""}])
    rows = scene.right_rows("posts")
    scene.put("users", scene.right_rows("users"))
    scene.put("posts", [(rows[0][0], rows[0][1] * 0, rows[0][2]), (rows[1][0], rows[0][1], rows[1][2])])
    verification = verify_target(scene.case, scene.run, Evidence.open(scene.run.evidence))
    assert found(verification) == {"zero": 1, "drifted": 1}


METADATA = {
    "as it should be": ('{"likes":1,"pinned":null}', False),
    "a null that is gone": ('{"likes":1}', True),
    "more than was asked for": ('{"batch":7,"likes":1,"pinned":null}', False),
    "another type": ('{"likes":1.0,"pinned":null}', True),
    "a value where there was none": ('{"likes":1,"pinned":false}', True),
    "no object": ('["likes"]', True),
}


@pytest.mark.parametrize("says", METADATA)
def test_metadata_are_judged_by_one_rule(tmp_path: Path, says: str) -> None:
    text, drifted = METADATA[says]
    scene = Scene.make(tmp_path, posts=[{**post(1, 1), "pinned": None}])
    scene.put("users", scene.right_rows("users"))
    scene.put("posts", [(one, vector, text) for one, vector, _ in scene.right_rows("posts")])
    scene.collect_again()
    verification = verify_target(scene.case, scene.run, Evidence.open(scene.run.evidence))
    diff = diff_vectors(scene.case, scene.run)
    assert diff.counts["metadata_drift"] == verification.kinds["metadata_drift"] == int(drifted)
    # What is no object has no field to be kept, and goes only on demand.
    assert scene.migrate("repair", accept_loss=says == "no object").verdict is Verdict.CLEAN


def test_metadata_that_the_case_does_not_ask_for_are_nobodys_business(tmp_path: Path) -> None:
    scene = Scene.make(tmp_path, case=CASE.replace("metadata: [likes, pinned], ", ""))
    scene.put("users", scene.right_rows("users"))
    scene.put("posts", [(one, vector, "[1]") for one, vector, _ in scene.right_rows("posts")])
    verification = verify_target(scene.case, scene.run, Evidence.open(scene.run.evidence))
    assert (verification.verdict, found(verification)) == (Verdict.CLEAN, {})


@pytest.mark.parametrize(
    ("store", "wanted", "held", "kept"),
    [
        ("parquet", {"a": None}, {}, False),
        ("pinecone", {"a": None}, {}, True),
        ("parquet", {"a": 3}, {"a": 3.0}, False),
        ("pinecone", {"a": 3}, {"a": 3.0}, True),
        ("pinecone", {"a": 2**60 + 1}, {"a": float(2**60)}, False),
        ("lancedb", {}, {"a": None}, True),
        ("lancedb", {}, {"a": 0}, False),
        ("milvus", {"a": "NaN"}, {}, False),
    ],
)
def test_what_a_store_does_by_nature_is_no_change(
    store: str, wanted: dict[str, Any], held: dict[str, Any], kept: bool
) -> None:
    assert MetadataRule.of({"store": store}).kept("a", wanted, held) is kept


def test_kinds_of_the_diff_that_a_verification_may_believe_are_about_contents() -> None:
    from vecforensics.migrate.doubts import _OF_CONTENTS

    assert not {Kind.METADATA_DRIFT, Kind.DANGLING, Kind.PREMATURE, Kind.MISSING} & set(_OF_CONTENTS)
