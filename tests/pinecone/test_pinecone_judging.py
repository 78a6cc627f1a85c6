"""A Pinecone index as the target, judged: what the store does by nature is no damage, and what was not seen is not clean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pinecone_scene import (
    KEY,
    PineconeScene,
    counting,
    frozen_and_diffed,
    target,
)

from vecforensics.cli import main
from vecforensics.investigation import investigate
from vecforensics.pinecone_local import PineconeLocal
from vecforensics.stores import open_reader


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
