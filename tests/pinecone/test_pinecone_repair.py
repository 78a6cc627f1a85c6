"""A Pinecone index as the target, repaired and put back, while writes show late, answers get lost and keys are revoked."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pinecone_scene import (
    DIMENSION,
    PineconeScene,
    damaged,
    frozen_and_diffed,
    repaired,
    target,
)

from vecforensics.cli import main
from vecforensics.errors import TargetError
from vecforensics.pinecone_local import Fault, PineconeLocal
from vecforensics.stores import open_writer


def test_a_repair_makes_the_index_right_and_keeps_what_the_case_does_not_name(
    tmp_path: Path, service: PineconeLocal
) -> None:
    scene = PineconeScene.make(tmp_path, service)
    before = damaged(scene)
    run, _ = frozen_and_diffed(scene)
    assert repaired(scene, run) == 0
    after = scene.rows()
    assert after.keys() == {record["id"] for record in scene.records}
    assert after["u20"]["metadata"]["owner"] == "sales"
    assert after["u20"]["sparseValues"] == before["u20"]["sparseValues"]
    _, diff = frozen_and_diffed(scene)
    assert str(diff.verdict) == "clean"
    assert main(["migrate", str(run.path), "--rollback"]) == 0
    assert {one: json.dumps(row, sort_keys=True, default=list) for one, row in scene.rows().items()} == {
        one: json.dumps(row, sort_keys=True, default=list) for one, row in before.items()
    }


def test_without_a_flag_nothing_is_written(tmp_path: Path, service: PineconeLocal) -> None:
    scene = PineconeScene.make(tmp_path, service)
    damaged(scene)
    run, _ = frozen_and_diffed(scene)
    assert main(["migrate", str(run.path)]) in (0, 1)
    assert scene.requests("POST", "/vectors/upsert") == scene.requests("POST", "/vectors/delete") == 0


def test_a_write_that_shows_late_is_waited_for(tmp_path: Path, service: PineconeLocal) -> None:
    scene = PineconeScene.make(tmp_path, service)
    damaged(scene)
    run, _ = frozen_and_diffed(scene)
    service.index("items").lag_s = 0.5
    assert repaired(scene, run) == 0
    assert len(scene.rows()) == len(scene.records)
    verification = json.loads((run.path / "migration" / "verification.json").read_text())
    assert verification["verdict"] == "clean"


def test_a_write_whose_answer_was_lost_is_read_back_and_not_repeated_blindly(
    tmp_path: Path, service: PineconeLocal
) -> None:
    scene = PineconeScene.make(tmp_path, service)
    damaged(scene)
    run, _ = frozen_and_diffed(scene)
    service.faults += [Fault("POST /vectors/upsert", status=503, effect=True, times=4)]
    assert repaired(scene, run) == 0
    assert scene.rows().keys() == {record["id"] for record in scene.records}


def test_a_record_that_the_store_refuses_is_put_aside_and_the_others_go_on(
    tmp_path: Path, service: PineconeLocal, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = PineconeScene.make(tmp_path, service, count=60)
    scene.records[40]["plan"] = {"nested": True}
    scene.records[41]["id"] = "é"
    scene.folder.joinpath("items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in scene.records))
    scene.put([scene.row(n) for n in range(30)])
    run, diff = frozen_and_diffed(scene)
    assert diff.counts["missing"] == 30
    assert repaired(scene, run) == 1
    assert scene.rows().keys() == {record["id"] for record in scene.records} - {"u40", "é"}
    assert "2 in quarantine" in capsys.readouterr().out


def test_a_key_that_is_revoked_during_a_repair_blames_no_record(
    tmp_path: Path, service: PineconeLocal, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = PineconeScene.make(tmp_path, service)
    scene.right(0, 1, *range(100, 160))
    run, _ = frozen_and_diffed(scene)
    service.faults += [Fault("POST /vectors/upsert", status=403, times=10_000)]
    assert repaired(scene, run) == 2
    assert "the key may not do that" in capsys.readouterr().err
    service.faults.clear()
    assert repaired(scene, run) == 0
    assert scene.rows().keys() == {record["id"] for record in scene.records}


def test_a_rollback_ends_where_the_namespace_never_came_to_be(tmp_path: Path, service: PineconeLocal) -> None:
    scene = PineconeScene.make(tmp_path, service, count=20)
    service.faults += [Fault("POST /vectors/upsert", status=403, times=10_000)]
    assert main(["migrate", str(scene.case), "--apply", "--out", str(tmp_path / "reports")]) == 2
    [run] = (tmp_path / "reports" / "PINE-1").iterdir()
    assert main(["migrate", str(run), "--rollback"]) == 0
    assert scene.rows() == {}


def test_rows_with_large_sparse_vectors_are_sent_in_requests_that_are_small_enough(
    tmp_path: Path, service: PineconeLocal
) -> None:
    scene = PineconeScene.make(tmp_path, service, count=120)
    sparse = {"indices": list(range(2_000)), "values": [0.1234567] * 2_000}
    scene.put([scene.row(n, sparseValues=sparse) for n in range(60)])
    writer = open_writer(target(), tmp_path)
    stood = writer.preimage("people", [f"u{n}" for n in range(60)])
    writer.delete("people", [f"u{n}" for n in range(60)])
    assert not scene.rows()
    writer.restore("people", [f"u{n}" for n in range(60)], stood)
    assert len(scene.rows()) == 60
    assert scene.rows()["u7"]["sparseValues"]["indices"] == sparse["indices"]


@pytest.mark.parametrize(
    ("rank", "said"), [(float("nan"), "which the store drops"), (2**53 + 1, "which the store rounds")]
)
def test_metadata_that_would_become_something_else_are_not_sent(
    tmp_path: Path, service: PineconeLocal, rank: float, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = PineconeScene.make(tmp_path, service, count=30)
    scene.records[10]["rank"] = rank
    scene.folder.joinpath("items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in scene.records))
    scene.put([scene.row(n) for n in range(30) if n not in (10, 11, 12)])
    run, _ = frozen_and_diffed(scene)
    assert repaired(scene, run) == 1
    assert scene.rows().keys() == {record["id"] for record in scene.records} - {"u10"}
    assert said in capsys.readouterr().out


def test_a_repair_says_nothing_of_sparse_vectors_where_there_are_none(
    tmp_path: Path, service: PineconeLocal, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = PineconeScene.make(tmp_path, service, count=30)
    scene.right(3, 4)
    run, _ = frozen_and_diffed(scene)
    main(["migrate", str(run.path)])
    assert "sparse_values" not in capsys.readouterr().out


def test_more_rows_than_one_request_takes_are_sent_in_several(tmp_path: Path, service: PineconeLocal) -> None:
    scene = PineconeScene.make(tmp_path, service, count=1)
    count = 2_300
    vectors = pa.array([scene.records[0]["embedding"]] * count, pa.list_(pa.float32(), DIMENSION))
    batch = pa.table(
        {"id": [f"n{n}" for n in range(count)], "vector": vectors, "metadata": pa.array(["{}"] * count)}
    )
    ack = open_writer(target(), tmp_path).upsert("people", batch)
    assert ack.rows == count
    assert len(scene.rows()) == count
    assert scene.requests("POST", "/vectors/upsert") == 3


def test_an_index_for_vectors_of_another_length_is_not_written(
    tmp_path: Path, service: PineconeLocal
) -> None:
    PineconeScene.make(tmp_path, service, count=1)
    with pytest.raises(TargetError, match=f"holds vectors of length {DIMENSION}, and 3 are expected"):
        open_writer(target(), tmp_path).create("people", 3)
