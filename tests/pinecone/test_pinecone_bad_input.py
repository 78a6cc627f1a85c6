"""A Pinecone index that cannot be used as a target: one line, exit 2, and the key in no message and no file."""

from __future__ import annotations

from pathlib import Path

import pytest
from pinecone_scene import (
    KEY,
    PineconeScene,
    refused,
    target,
)

from vecforensics.case import Target, load_case
from vecforensics.cli import main
from vecforensics.errors import CaseError, TargetError, TargetNotThere
from vecforensics.investigation import investigate
from vecforensics.pinecone_local import PineconeLocal
from vecforensics.stores import open_reader


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
        "http://x.svc.pinecone.io",
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
