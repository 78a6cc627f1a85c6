"""Six tables in one file whose ids overlap: each is a collection of its own, and they do not collide."""

from __future__ import annotations

from pathlib import Path

from real_cases import begun, migrate_badly, needs

from vecforensics.findings import Verdict

TABLES = {
    "users": ("[name, company.catchPhrase]", "{}"),
    "posts": ("[title, body]", "{users: userId}"),
    "comments": ("[name, body]", "{posts: postId}"),
    "albums": ("[title]", "{users: userId}"),
    "photos": ("[title]", "{albums: albumId}"),
    "todos": ("[title]", "{users: userId}"),
}


def case_file(folder: Path) -> Path:
    data = needs("jsonplaceholder.json")
    collections = "".join(
        f"""\
  {name}:
    source: {{uri: "{data}", table: {name}, id: id, text: {text}, depends_on: {parents}}}
    target: {{uri: "lancedb:target", collection: {name}}}
    expected: {{embedder: hashing-128}}
"""
        for name, (text, parents) in TABLES.items()
    )
    file = folder / "case.yaml"
    file.write_text(f"case: jsonplaceholder\ncollections:\n{collections}")
    return file


def test_overlapping_ids_stay_apart_and_the_repair_makes_it_clean(tmp_path: Path) -> None:
    file = case_file(tmp_path)
    played = migrate_badly(file, seed=5)
    inv = begun(file)
    found = inv.diff()
    assert found.verdict is Verdict.CORRUPT
    assert {name: one.source_rows for name, one in found.collections.items()} == {
        "users": 10,
        "posts": 100,
        "comments": 500,
        "albums": 100,
        "photos": 5000,
        "todos": 200,
    }
    wrong = {
        (row["collection"], row["source_id"])
        for row in found.table.to_pylist()
        if row["severity"] == "corrupt"
    }
    assert len({key for key in wrong if key[1] is not None}) == played.wrong
    assert inv.migrate("repair").verdict == "clean"
