"""A Pinecone index as the target: read whole, judged, repaired, put back; and everything that goes wrong on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pinecone_scene import DIMENSION, KEY, PineconeScene

from vecforensics.case import Target, load_case
from vecforensics.cli import main
from vecforensics.errors import CaseError, TargetError, TargetNotThere
from vecforensics.investigation import investigate
from vecforensics.pinecone_local import Fault, PineconeLocal
from vecforensics.run_folder import RunFolder
from vecforensics.stores import open_reader, open_writer
from vecforensics.stores.pinecone_client import PineconeIndex

HOSTILE = [
    " ", "'", '"', "`", "\\", "%", "%41", "&ids=u1", "#", "?", "/", "..", ".", "a b", "a+b", "\t", "\n", "\x1b[31m", "\x7f",
    "null", "NaN", "None", "1", "01", "1.0", "<script>", "') OR 1=1 --", "x" * 512, "&" * 512,
]  # fmt: skip


def target(**other: Any) -> Target:
    return Target(uri="pinecone:items", collection=other.pop("collection", "people"), **other)


def scanned(tmp_path: Path, **other: Any) -> list[dict[str, Any]]:
    one = target(**other)
    reader = open_reader(one, tmp_path)
    return [row for batch in reader.scan(one.collection) for row in batch.to_pylist()]


def frozen_and_diffed(scene: PineconeScene) -> tuple[RunFolder, Any]:
    inv = investigate(scene.case, scene.folder / "reports")
    return inv.run, inv.diff()


# --- reading ---------------------------------------------------------------------------------------------------------------


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


# --- judging ---------------------------------------------------------------------------------------------------------------


def test_what_the_store_does_by_nature_is_no_finding(tmp_path: Path, service: PineconeLocal) -> None:
    scene = PineconeScene.make(tmp_path, service)
    scene.right()
    _, diff = frozen_and_diffed(scene)
    assert str(diff.verdict) == "clean", diff.counts
    assert sum(diff.counts.values()) == 0


def test_damage_is_named_by_its_kind(tmp_path: Path, service: PineconeLocal) -> None:
    scene = PineconeScene.make(tmp_path, service)
    scene.right(10, 11)
    scene.put([scene.row(10, id="NaN")])
    scene.put(
        [
            scene.row(20, values=scene.records[21]["embedding"]),
            scene.row(21, values=scene.records[20]["embedding"]),
        ]
    )
    scene.put([scene.row(30, metadata={"plan": "plan 0", "rank": 999, "tags": []})])
    _, diff = frozen_and_diffed(scene)
    counts = {kind: count for kind, count in diff.counts.items() if count}
    assert counts == {"missing": 1, "mangled_id": 1, "swapped": 2, "metadata_drift": 1}


def test_the_evidence_says_how_it_was_known_that_reading_had_settled(
    tmp_path: Path, service: PineconeLocal
) -> None:
    scene = PineconeScene.make(tmp_path, service, count=120)
    scene.right()
    inv = investigate(scene.case, tmp_path / "reports")
    facts = inv.collect().collection("items").facts
    assert facts["settled"] is True
    assert facts["freshness"] == "120 vectors were read, and the index counts as many"
    assert facts["snapshot"] == "120 vectors by its own count"


def test_where_the_count_never_agrees_nothing_is_said_to_have_settled(
    tmp_path: Path, service: PineconeLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vecforensics.stores.pinecone._COUNTED_S", 0.2)
    scene = PineconeScene.make(tmp_path, service, count=120)
    scene.right()
    reader = open_reader(target(), tmp_path)
    assert sum(batch.num_rows for batch in reader.scan("people")) == 120
    scene.put([scene.row(0, id="written meanwhile")])
    fresh = reader.freshness("people")
    assert not fresh.settled
    assert "120 vectors were read and the index counts 121" in fresh.note


def test_a_backup_in_pinecone_says_what_is_expected(
    tmp_path: Path, service: PineconeLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_KEY", KEY)
    scene = PineconeScene.make(tmp_path, service, count=60)
    scene.right(7)
    service.index("items").upsert("backup", [scene.row(n) for n in range(60)])
    text = scene.case.read_text().replace(
        "{column: embedding}", '{uri: "pinecone:items", collection: backup, api_key: "env:OTHER_KEY"}'
    )
    scene.case.write_text(text)
    _, diff = frozen_and_diffed(scene)
    assert {kind: count for kind, count in diff.counts.items() if count} == {"missing": 1}


# --- repairing -------------------------------------------------------------------------------------------------------------


def damaged(scene: PineconeScene) -> dict[str, dict[str, Any]]:
    """Some rows wrong, one missing, one mangled; and what the case does not name: a tag of the owner's and a sparse vector."""
    scene.right(10, 11)
    scene.put([scene.row(10, id="NaN")])
    sparse = {"indices": [1, 7], "values": [0.5, 0.25]}
    owned = {"metadata": scene.row(20)["metadata"] | {"owner": "sales"}, "sparseValues": sparse}
    scene.put([scene.row(20, values=scene.records[21]["embedding"], **owned)])
    return scene.rows()


def repaired(scene: PineconeScene, run: RunFolder, *flags: str) -> int:
    return main(["migrate", str(run.path), "--repair", *flags])


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


# --- what cannot be used -----------------------------------------------------------------------------------------------------


def refused(scene: PineconeScene, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["diff", str(scene.case), "--out", str(scene.folder / "reports")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert KEY not in err
    return err


def test_a_wrong_key_is_one_line(
    tmp_path: Path,
    service: PineconeLocal,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scene = PineconeScene.make(tmp_path, service, count=3)
    monkeypatch.setenv("PINECONE_API_KEY", "pcsk_wrong")
    assert "pinecone:items: the key is refused. Check the key" in refused(scene, capsys)
    monkeypatch.delenv("PINECONE_API_KEY")
    assert "the environment variable PINECONE_API_KEY is not set. Export it" in refused(scene, capsys)


def test_an_index_or_a_namespace_that_is_not_there_is_one_line(
    tmp_path: Path, service: PineconeLocal, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = PineconeScene.make(tmp_path, service, count=3)
    service.index("items").upsert("crowd", [scene.row(0)])
    assert "there is no namespace 'people'. Check target.collection; namespaces there: crowd" in refused(
        scene, capsys
    )
    scene.case.write_text(scene.case.read_text().replace("pinecone:items", "pinecone:itmes"))
    assert (
        "pinecone:itmes: there is no such index, or no such namespace in it. Check target.uri in the case file"
        in refused(scene, capsys)
    )


def test_a_server_that_is_away_is_one_line(
    tmp_path: Path, service: PineconeLocal, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = PineconeScene.make(tmp_path, service, count=3)
    scene.case.write_text(scene.case.read_text().replace("pinecone:items", "pinecone:http://127.0.0.1:9"))
    assert "the store does not answer" in refused(scene, capsys)


def test_the_data_plane_can_be_named_instead_of_the_index(
    tmp_path: Path, service: PineconeLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = PineconeScene.make(tmp_path, service, count=3)
    scene.right()
    monkeypatch.setenv("PLACE", service.host("items"))
    reader = open_reader(Target(uri="pinecone:env:PLACE", collection="people"), tmp_path)
    assert sum(batch.num_rows for batch in reader.scan("people")) == 3


def test_an_index_for_vectors_of_another_length_is_not_written(
    tmp_path: Path, service: PineconeLocal
) -> None:
    PineconeScene.make(tmp_path, service, count=1)
    with pytest.raises(TargetError, match=f"holds vectors of length {DIMENSION}, and 3 are expected"):
        open_writer(target(), tmp_path).create("people", 3)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("collection: people}", "collection: people, api_key: pcsk_123}", "a key is never written into a case file"),
        ("collection: people}", "collection: people, id: key}", "Pinecone has none: leave them out"),
        ("pinecone:items", "pinecone:https://user:secret@host.example", "a password stands in it"),
        ('"pinecone:items", collection: people', '"parquet:x", collection: people, api_key: "env:KEY"', "api_key is for a store"),
        ("{column: embedding}", '{column: embedding, api_key: "env:KEY"}', "api_key is the key of a store, and goes with uri"),
    ],
)  # fmt: skip
def test_a_case_file_that_cannot_mean_it_is_refused(
    tmp_path: Path, service: PineconeLocal, old: str, new: str, said: str
) -> None:
    scene = PineconeScene.make(tmp_path, service, count=1)
    assert old in scene.case.read_text()
    scene.case.write_text(scene.case.read_text().replace(old, new))
    with pytest.raises(CaseError, match=r"case\.yaml:[456]") as caught:
        load_case(scene.case)
    assert said in str(caught.value)
    assert "pcsk_123" not in str(caught.value)


def test_the_key_stands_in_no_file_of_a_run(tmp_path: Path, service: PineconeLocal) -> None:
    scene = PineconeScene.make(tmp_path, service, count=60)
    damaged_rows = [scene.row(n) for n in range(50)]
    scene.put(damaged_rows)
    inv = investigate(scene.case, tmp_path / "reports")
    inv.diff()
    inv.migrate("repair")
    inv.report()
    files = [path for path in inv.run.path.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_init_writes_a_case_for_an_index(tmp_path: Path, service: PineconeLocal) -> None:
    scene = PineconeScene.make(tmp_path, service, count=3)
    words = [
        "init",
        str(tmp_path / "mine"),
        "--source",
        str(scene.folder / "items.jsonl"),
        "--target",
        "pinecone:items",
    ]
    assert main(words) == 0
    case = load_case(tmp_path / "mine" / "case.yaml")
    assert [one.target.uri for one in case.collections.values()] == ["pinecone:items"]


def test_a_namespace_that_is_not_there_raises_what_a_first_migration_knows(
    tmp_path: Path, service: PineconeLocal
) -> None:
    PineconeScene.make(tmp_path, service, count=1)
    with pytest.raises(TargetNotThere):
        open_reader(target(collection="none"), tmp_path).describe("none")


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


# --- what a review found wrong -------------------------------------------------------------------------------------------------


def counting(monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    """The index counts so many rows more than it lists, as one does that shows writes late."""
    real = PineconeIndex.counts

    def counts(self: PineconeIndex) -> tuple[int, dict[str, int]]:
        dimension, counted = real(self)
        return dimension, {name: count + more for name, count in counted.items()}

    monkeypatch.setattr(PineconeIndex, "counts", counts)
    monkeypatch.setattr("vecforensics.stores.pinecone._COUNTED_S", 0.2)


def test_nothing_is_clean_where_the_index_counts_more_than_was_read(
    tmp_path: Path, service: PineconeLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = PineconeScene.make(tmp_path, service, count=60)
    scene.right()
    counting(monkeypatch, 3)
    _, diff = frozen_and_diffed(scene)
    assert str(diff.verdict) == "unknown"
    assert sum(diff.counts.values()) == 0
    assert any("60 vectors were read and the index counts 63" in one for one in diff.limits)
    assert main(["diff", str(scene.case), "--out", str(tmp_path / "reports")]) == 3


@pytest.mark.parametrize(("absent", "kind"), [((3, 40), "pending"), (tuple(range(3, 9)), "missing")])
def test_what_may_be_among_the_rows_not_read_is_pending_and_what_cannot_all_be_is_missing(
    tmp_path: Path,
    service: PineconeLocal,
    monkeypatch: pytest.MonkeyPatch,
    absent: tuple[int, ...],
    kind: str,
) -> None:
    scene = PineconeScene.make(tmp_path, service, count=60)
    scene.right(*absent)
    counting(monkeypatch, 2)
    _, diff = frozen_and_diffed(scene)
    counts = {name: count for name, count in diff.counts.items() if count}
    # u3 and u4 are parents of others: as long as they may be there, nothing dangles.
    dangling = counts.pop("dangling", 0)
    assert counts == {kind: len(absent)}
    assert bool(dangling) == (kind == "missing")


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


@pytest.mark.parametrize("key", ["pcsk_secret\n", " pcsk_secret", "", "pcsk_sécret"])
def test_a_key_that_is_none_is_named_and_not_shown(
    tmp_path: Path,
    service: PineconeLocal,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    key: str,
) -> None:
    scene = PineconeScene.make(tmp_path, service, count=1)
    monkeypatch.setenv("PINECONE_API_KEY", key)
    said = refused(scene, capsys)
    assert "what the environment gives as the key is none" in said
    assert "cret" not in said


@pytest.mark.parametrize(
    "place",
    [
        "https://evil.example",
        "http://pinecone.io.evil.example",
        "evil.example:443",
        "https://pinecone.io@evil.example",
    ],
)
def test_the_key_goes_to_no_host_that_only_the_case_file_names(
    tmp_path: Path, service: PineconeLocal, place: str
) -> None:
    with pytest.raises(TargetError, match="only the case file names"):
        open_reader(Target(uri=f"pinecone:{place}", collection="people"), tmp_path)


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


def test_a_whole_number_that_a_double_holds_is_no_drift_however_large(
    tmp_path: Path, service: PineconeLocal
) -> None:
    scene = PineconeScene.make(tmp_path, service, count=30)
    for n, rank in enumerate([2**53 + 2, 2**60, -(2**63), 10**22]):
        scene.records[n]["rank"] = rank
    scene.folder.joinpath("items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in scene.records))
    scene.right()
    _, diff = frozen_and_diffed(scene)
    assert str(diff.verdict) == "clean", diff.counts


def test_a_repair_says_nothing_of_sparse_vectors_where_there_are_none(
    tmp_path: Path, service: PineconeLocal, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = PineconeScene.make(tmp_path, service, count=30)
    scene.right(3, 4)
    run, _ = frozen_and_diffed(scene)
    main(["migrate", str(run.path)])
    assert "sparse_values" not in capsys.readouterr().out
