"""The stand-alone program: exit 1 for the broken form, 0 for the fixed one, twice the same, without this package."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import view_scenes as scenes

from vecforensics.errors import SuspectError
from vecforensics.race.catalogue import NAMES
from vecforensics.race.explore import explore
from vecforensics.race.views.repro import repro_files

CATALOGUE = Path(__file__).parents[3] / "lib" / "vecforensics" / "race" / "catalogue"
STRANGER = "mangled_id or duplicate"
SEEN = {"broadcast": "swapped", "shifted": "swapped", "duplicate": STRANGER, "mangled_id": STRANGER}


def run(program: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, program.name, *arguments],
        cwd=program.parent,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(CATALOGUE.parents[2]), "PYTHONHASHSEED": "random"},
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


@cache
def program_of(name: str) -> str:
    return repro_files(scenes.explored(name))["repro.py"]


@pytest.fixture
def here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str]]]:
    """Runs a program's text in this process, which saves an interpreter; its traces are wiped away afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)

    def play(text: str, *arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["repro.py", *arguments])
        names: dict[str, object] = {"__name__": "repro"}
        exec(compile(text, "repro.py", "exec"), names)
        main = names["main"]
        assert callable(main)
        code = main()
        return code, capsys.readouterr().out

    yield play
    asyncio.set_event_loop(None)


@pytest.mark.parametrize("name", NAMES)
def test_catalogue_entry_fails_alone_and_its_repair_passes(
    name: str, here: Callable[..., tuple[int, str]]
) -> None:
    code, said = here(program_of(name))
    assert code == 1, said
    kinds = {line.partition(":")[0] for line in said.splitlines()}
    expected = {SEEN.get(kind, kind) for kind in scenes.witness_of(name).kinds}
    assert expected <= kinds
    assert here(program_of(name), f"{CATALOGUE / name}.py:fixed") == (
        0,
        "PASSED: every record is in its place\n",
    )


def test_program_says_the_same_twice_and_with_real_waiting(tmp_path: Path) -> None:
    program = tmp_path / "repro.py"
    program.write_text(program_of("children_before_parents"))
    first = run(program)
    assert run(program) == first
    assert run(program, "--real") == first


def test_program_needs_nothing_of_this_package(tmp_path: Path) -> None:
    text = program_of("children_before_parents")
    imported = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
    assert not any("vecforensics" in line for line in imported)
    assert text.isascii()
    compile(text, "repro.py", "exec")


def test_users_file_is_found_by_its_path_from_anywhere(tmp_path: Path) -> None:
    folder = tmp_path / "their project"
    folder.mkdir()
    (folder / "helper.py").write_text("def plain(metadata):\n    return dict(metadata)\n")
    (folder / "move.py").write_text(
        "import asyncio\nfrom helper import plain\n\n\n"
        "async def migrate(records, embed, store):\n"
        "    async def one(record):\n"
        "        await store.upsert(record.id, await embed(record), plain(record.metadata))\n"
        "    await asyncio.gather(*(one(record) for record in records))\n"
    )
    found = explore("move.py:migrate", records=4, folder=folder, schedules=100, survey=5)
    program = tmp_path / "elsewhere.py"
    program.write_text(repro_files(found, folder)["repro.py"])
    code, said = run(program)
    assert code == 1
    assert said.startswith("premature: ")
    code, said = run(program, "nowhere.py:migrate")
    assert code == 2
    assert "There is no file" in said


def test_hostile_records_stay_data(tmp_path: Path) -> None:
    bad = "'''\n\"\"\"\\@SUSPECT@{}%s\u202e"
    text = repro_files(scenes.exploration(scenes.lookup_too_early(user=bad)))["repro.py"]
    assert text.isascii()
    names: dict[str, object] = {"__name__": "repro"}
    exec(compile(text, "repro.py", "exec"), names)
    records = names["RECORDS"]
    assert isinstance(records, list)
    assert records[0]["id"] == bad


def test_javascript_suspect_gets_a_program_for_node(tmp_path: Path) -> None:
    pytest.importorskip("quickjs")
    if shutil.which("node") is None:
        pytest.skip("needs node")
    suspect = tmp_path / "migration.js"
    suspect.write_text(
        "async function migrateDataToVectorDB(users) {\n"
        "  users.forEach(async (user) => { await vectorDB.insert(user.id, await generateVector(user), user.metadata); });\n"
        "}\n"
    )
    found = explore("migration.js", records=2, folder=tmp_path, schedules=20, survey=5)
    files = repro_files(found, tmp_path)
    assert sorted(files) == ["repro.js", "repro.py"]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "repro.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "missing" in done.stdout + done.stderr


def test_nothing_to_replay_is_one_clear_line() -> None:
    with pytest.raises(SuspectError, match="no failing schedule"):
        repro_files(scenes.exploration(None))


DEADLOCKS = """import asyncio
import threading


def on_threads(records, embed, store):
    one, two = threading.Lock(), threading.Lock()

    def write(first, second):
        with first:
            vector = embed(records[0])
            with second:
                store.upsert(records[0].id, vector, records[0].metadata)

    threads = [threading.Thread(target=write, args=pair) for pair in ((one, two), (two, one))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def on_a_loop(records, embed, store):
    one, two = asyncio.Lock(), asyncio.Lock()

    async def write(first, second):
        async with first:
            vector = await embed(records[0])
            async with second:
                await store.upsert(records[0].id, vector, records[0].metadata)

    await asyncio.gather(write(one, two), write(two, one))
"""


@pytest.mark.parametrize(
    ("function", "waits"),
    [("on_threads", ("move.py:18", "move.py:11")), ("on_a_loop", ("move.py:30", "move.py:27"))],
)
def test_program_of_a_deadlock_ends_by_itself_and_says_who_waits_where(
    tmp_path: Path, function: str, waits: tuple[str, ...]
) -> None:
    (tmp_path / "move.py").write_text(DEADLOCKS)
    found = explore(f"move.py:{function}", records=1, folder=tmp_path, schedules=20, survey=2)
    assert "deadlock" in found.failures
    program = tmp_path / "repro.py"
    program.write_text(repro_files(found, tmp_path)["repro.py"])
    code, said = run(program)
    assert code == 1, said
    assert "deadlock: migrate never returns" in said
    for place in waits:
        assert f"waits at {place}, in " in said


def test_program_whose_code_never_gives_control_back_ends_by_itself(tmp_path: Path) -> None:
    (tmp_path / "move.py").write_text(
        DEADLOCKS + "\n\nasync def spins(records, embed, store):\n    while True:\n        pass\n"
    )
    found = explore("move.py:on_a_loop", records=1, folder=tmp_path, schedules=20, survey=2)
    program = tmp_path / "repro.py"
    program.write_text(
        repro_files(found, tmp_path)["repro.py"].replace("LIMIT_S = GIVE_UP_S + 15", "LIMIT_S = 1")
    )
    code, said = run(program, "move.py:spins")
    assert code == 1
    assert re.search(
        r"deadlock: the migration has not come to an end after 1 s, it is at move\.py:3\d, in spins", said
    )


def test_program_leaves_no_thread_behind_that_keeps_it_alive(tmp_path: Path) -> None:
    (tmp_path / "move.py").write_text(
        "import threading\n\n\ndef migrate(records, embed, store):\n"
        "    threading.Thread(target=lambda: threading.Event().wait()).start()\n"
    )
    found = explore("move.py:migrate", records=1, folder=tmp_path, schedules=20, survey=2)
    program = tmp_path / "repro.py"
    program.write_text(repro_files(found, tmp_path)["repro.py"])
    code, said = run(program)
    assert code == 1
    assert "task_left_behind" in said
