"""A Pinecone index as the target, read whole: every row once, whatever its id is and whatever fails on the way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pinecone_scene import (
    PineconeScene,
    frozen_and_diffed,
    scanned,
    target,
)

from vecforensics.case import Target
from vecforensics.errors import TargetError
from vecforensics.pinecone_local import Fault, PineconeLocal
from vecforensics.stores import open_reader

HOSTILE = [
    " ", "'", '"', "`", "\\", "%", "%41", "&ids=u1", "#", "?", "/", "..", ".", "a b", "a+b", "\t", "\n", "\x1b[31m", "\x7f",
    "null", "NaN", "None", "1", "01", "1.0", "<script>", "') OR 1=1 --", "x" * 512, "&" * 512,
]  # fmt: skip


def test_a_scan_gives_every_row_once_in_the_order_of_the_listing(
    tmp_path: Path, service: PineconeLocal
) -> None:
    scene = PineconeScene.make(tmp_path, service, count=2_350)
    scene.right()
    rows = scanned(tmp_path)
    assert [row["id"] for row in rows] == sorted(record["id"] for record in scene.records)
    wanted = {record["id"]: np.float32(record["embedding"]).tobytes() for record in scene.records}
    assert {row["id"]: np.float32(row["vector"]).tobytes() for row in rows} == wanted
    assert json.loads(rows[1]["metadata"]) == {"plan": "plan 1", "rank": 1.0, "tags": ["a", "b"]}
    assert scene.requests("GET", "/vectors/list") == 24


def test_the_namespace_without_a_name_is_called_default(tmp_path: Path, service: PineconeLocal) -> None:
    scene = PineconeScene.make(tmp_path, service, count=3, namespace="__default__")
    scene.right()
    service.index("items").upsert("other", [scene.row(0)])
    reader = open_reader(target(), tmp_path)
    assert reader.collections() == ["__default__", "other"]
    assert reader.describe("__default__").rows == 3
    assert sum(batch.num_rows for batch in reader.scan("__default__")) == 3
    assert reader.freshness("__default__").settled


def test_ids_of_strangers_come_through_the_address_unharmed(tmp_path: Path, service: PineconeLocal) -> None:
    scene = PineconeScene.make(tmp_path, service, count=1)
    scene.put([scene.row(0, id=one, metadata={"is": one}) for one in HOSTILE])
    found = {row["id"]: json.loads(row["metadata"]) for row in scanned(tmp_path)}
    assert found == {one: {"is": one} for one in HOSTILE}
    fetched = open_reader(target(), tmp_path).fetch("people", [*HOSTILE, "not there"])
    assert sorted(fetched.column("id").to_pylist()) == sorted(HOSTILE)


def test_ids_that_the_store_cannot_hold_are_absent_and_not_asked_for(
    tmp_path: Path, service: PineconeLocal
) -> None:
    scene = PineconeScene.make(tmp_path, service, count=1)
    scene.right()
    found = open_reader(target(), tmp_path).fetch("people", ["é", "", "a\0b", "x" * 513, "u0"])
    assert found.column("id").to_pylist() == ["u0"]
    assert open_reader(target(), tmp_path).fetch("people", ["é"]).num_rows == 0


def test_a_row_deleted_between_listing_and_fetching_is_left_out(
    tmp_path: Path, service: PineconeLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = PineconeScene.make(tmp_path, service, count=150)
    scene.right()
    reader = open_reader(target(), tmp_path)
    batches = reader.scan("people", 10)
    first = next(batches)
    service.index("items").delete("people", ["u99"])
    rows = [first, *batches]
    there = {one for batch in rows for one in batch.column("id").to_pylist()}
    assert len(there) in (149, 150)
    assert there >= {record["id"] for record in scene.records} - {"u99"}


def test_an_index_of_sparse_vectors_only_is_refused(tmp_path: Path, service: PineconeLocal) -> None:
    scene = PineconeScene.make(tmp_path, service, count=1)
    service.index("items").dimension = 0
    with pytest.raises(TargetError, match="holds sparse vectors only"):
        open_reader(target(), scene.folder)


def test_an_answer_that_fails_ends_no_scan(tmp_path: Path, service: PineconeLocal) -> None:
    scene = PineconeScene.make(tmp_path, service, count=250)
    scene.right()
    reader = open_reader(target(), tmp_path)
    service.faults += [
        Fault("GET /vectors/list", status=503, times=5),
        Fault("GET /vectors/fetch", status=429, retry_after_s=0.05, times=6),
    ]
    assert sum(batch.num_rows for batch in reader.scan("people")) == 250


def test_reading_sends_nothing_that_could_write(tmp_path: Path, service: PineconeLocal) -> None:
    scene = PineconeScene.make(tmp_path, service, count=120)
    scene.right(3)
    frozen_and_diffed(scene)
    assert {(one[0], one[1]) for one in service.requests} <= {
        ("GET", "/indexes/items"),
        ("POST", "/describe_index_stats"),
        ("GET", "/vectors/list"),
        ("GET", "/vectors/fetch"),
    }


def test_an_outage_while_it_is_counted_loses_no_scan(tmp_path: Path, service: PineconeLocal) -> None:
    scene = PineconeScene.make(tmp_path, service, count=120)
    scene.right()
    reader = open_reader(target(), tmp_path)
    assert sum(batch.num_rows for batch in reader.scan("people")) == 120
    service.faults += [Fault("POST /describe_index_stats", status=503, times=6)]
    assert reader.freshness("people").settled


def test_a_second_look_outlives_an_outage(tmp_path: Path, service: PineconeLocal) -> None:
    scene = PineconeScene.make(tmp_path, service, count=120)
    scene.right()
    reader = open_reader(target(), tmp_path)
    service.faults += [Fault("GET /vectors/fetch", status=429, retry_after_s=0.01, times=6)]
    assert reader.fetch("people", [f"u{n}" for n in range(120)]).num_rows == 120


def test_the_data_plane_can_be_named_instead_of_the_index(
    tmp_path: Path, service: PineconeLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = PineconeScene.make(tmp_path, service, count=3)
    scene.right()
    monkeypatch.setenv("PLACE", service.host("items"))
    reader = open_reader(Target(uri="pinecone:env:PLACE", collection="people"), tmp_path)
    assert sum(batch.num_rows for batch in reader.scan("people")) == 3
