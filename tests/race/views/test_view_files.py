"""--out: everything that is left of an exploration in one folder, whole or not at all, and nobody else's files touched."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from vecforensics.errors import InputError
from vecforensics.race import explore
from vecforensics.race.exchange import exploration_from_json
from vecforensics.race.views import files as files_module
from vecforensics.race.views.files import exploration_files, write_folder
from vecforensics.race.views.text import exploration_text

BROKEN = """import asyncio


async def migrate(records, embed, store):
    async def one(record):
        await store.upsert(record.id, await embed(record), record.metadata)

    await asyncio.gather(*(one(record) for record in records))
"""
RIGHT = """async def migrate(records, embed, store):
    for record in records:
        await store.upsert(record.id, await embed(record), record.metadata)
"""
ALL = [
    "repro.py", "swimlanes.svg", "witness.html", "witness.md", "witness.txt", "witness.json",
    "witness.chrome-trace.json", "witness.shiviz.log",
]  # fmt: skip


def race(folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "vecforensics", "race", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_out_leaves_a_folder_with_everything_and_its_repro_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "move it.py").write_text(BROKEN)
    code, said, complaint = race(
        tmp_path, "move it.py", "--records", "4", "--schedules", "60", "--out", "made/found"
    )
    assert (code, complaint) == (1, "")
    out = tmp_path / "made" / "found"
    assert names(out) == sorted(ALL)
    last = said.splitlines()[-2:]
    assert last == [f"files: made/found/ {', '.join(ALL)}", "run it: python made/found/repro.py"]
    assert names(out.parent) == ["found"]
    done = subprocess.run(
        [sys.executable, "repro.py"], cwd=out, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("premature: ")
    found = exploration_from_json((out / "witness.json").read_text())
    assert found.witness is not None
    ET.parse(out / "swimlanes.svg")
    page = (out / "witness.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"?https?:", page)
    assert (
        json.loads((out / "witness.chrome-trace.json").read_text())["otherData"]["replay"]
        == found.witness.replay
    )
    command = next(line for line in said.splitlines() if line.startswith("replay: "))
    again = shlex.split(command.removeprefix("replay: "))
    assert again[:3] == ["vecforensics", "race", "move it.py:migrate"]
    code, said, complaint = race(tmp_path, *again[2:])
    assert (code, complaint) == (1, "")


def test_out_of_a_right_migration_holds_the_certificate(tmp_path: Path) -> None:
    (tmp_path / "move.py").write_text(RIGHT)
    code, said, _ = race(tmp_path, "move.py", "--records", "3", "--out", "found")
    assert code == 0
    assert names(tmp_path / "found") == ["witness.html", "witness.json", "witness.md", "witness.txt"]
    assert said.splitlines()[-1].startswith("files: found/ ")


def test_a_failing_exploration_without_out_says_how_to_keep_it(tmp_path: Path) -> None:
    (tmp_path / "move.py").write_text(BROKEN)
    code, said, _ = race(tmp_path, "move.py", "--records", "2", "--schedules", "20")
    assert code == 1
    assert said.splitlines()[-1] == "files: --out DIR writes repro.py, the picture and the traces"
    assert names(tmp_path) == ["move.py"]


def test_an_earlier_exploration_is_replaced_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "move.py").write_text(BROKEN)
    out = tmp_path / "found"
    write_folder(
        out, exploration_files(explore("move.py", records=2, schedules=20, folder=tmp_path), tmp_path)
    )
    assert "repro.py" in names(out)
    (tmp_path / "right.py").write_text(RIGHT)
    write_folder(out, exploration_files(explore("right.py", records=2, folder=tmp_path), tmp_path))
    assert "repro.py" not in names(out)
    assert names(tmp_path) == ["found", "move.py", "right.py"]


@pytest.mark.parametrize("what", ["stranger", "other json", "file", "link to nothing"])
def test_what_is_not_ours_is_not_overwritten(tmp_path: Path, what: str) -> None:
    (tmp_path / "move.py").write_text(BROKEN)
    out = tmp_path / "found"
    if what == "file":
        out.write_text("mine")
    elif what == "link to nothing":
        out.symlink_to(tmp_path / "nowhere")
    else:
        out.mkdir()
        (out / ("notes.txt" if what == "stranger" else "witness.json")).write_text('{"mine": true}')
    before = sorted((path.name, path.is_file() and path.read_text()) for path in tmp_path.rglob("*"))
    code, said, complaint = race(tmp_path, "move.py", "--records", "2", "--schedules", "20", "--out", "found")
    assert (code, said) == (2, "")
    assert complaint.count("\n") == 1
    assert "found" in complaint
    assert sorted((path.name, path.is_file() and path.read_text()) for path in tmp_path.rglob("*")) == before


def test_a_disc_that_fills_up_leaves_the_earlier_files_and_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "found"
    (tmp_path / "right.py").write_text(RIGHT)
    texts = exploration_files(explore("right.py", records=2, folder=tmp_path), tmp_path)
    write_folder(out, texts)
    calls = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(files_module.os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        write_folder(out, {name: text + " " for name, text in texts.items()})
    assert {path.name: path.read_text() for path in out.iterdir()} == texts
    assert names(tmp_path) == ["found", "right.py"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="nothing can be written there"):
        write_folder(tmp_path / "taken" / "found", {"witness.json": "{}"})


def test_a_run_folder_is_named_in_the_command_that_replays_a_case() -> None:
    import view_scenes as scenes

    found = replace(scenes.exploration(scenes.lookup_too_early()), replayed_from="/runs/case A/1")
    assert "vecforensics race '/runs/case A/1' --replay '" in exploration_text(found)
    assert "vecforensics race &#39;/runs/case A/1&#39; --replay &#39;" in found._repr_html_()
