"""In a running Jupyter kernel, where an event loop runs already: the real kernel, through nbclient, as papermill does it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

CELLS = [
    # An event loop runs in the kernel: this cell awaits.
    """import asyncio
await asyncio.sleep(0)
from vecforensics.race import explore, load_suspect, generate_records
from vecforensics.race.rehearsal import Physics, failure_curve""",
    """async def migrate(records, embed, store):
    async def one(record):
        print("migrating", record.id)
        await store.upsert(record.id, await embed(record), record.metadata)
    await asyncio.gather(*(one(record) for record in records))

explore(migrate, records=4, schedules=60)""",
    """explore("move.py:right", records=4)""",
    """found = explore("move.py:wrong", records=4, schedules=60)
again = explore("move.py:wrong", replay=found.witness.replay)
assert again.witness.trace.digest == found.witness.trace.digest
print(found.witness.replay)""",
    """async def inside():
    return explore("move.py:on_threads", records=4, schedules=40)
print((await inside()).verdict)""",
    """print(failure_curve(load_suspect("move.py:wrong"), generate_records(30), Physics(), 6, 1, concurrencies=(1, 8)))""",
    """try:
    explore("move.py:leaves", records=2)
except Exception as error:
    print(type(error).__name__, error)
print("the kernel lives")""",
]

MOVES = """import asyncio, os
from concurrent.futures import ThreadPoolExecutor


async def right(records, embed, store):
    for record in records:
        await store.upsert(record.id, await embed(record), record.metadata)


async def wrong(records, embed, store):
    for record in records:
        asyncio.create_task(right([record], embed, store))


def on_threads(records, embed, store):
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda record: store.upsert(record.id, embed(record), record.metadata), records))


async def leaves(records, embed, store):
    os._exit(0)
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("kernel")
    (folder / "move.py").write_text(MOVES)
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])  # type: ignore[no-untyped-call]
    NotebookClient(
        book, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return book


def shown(book: Any, cell: int, kind: str = "text/plain") -> str:
    parts = []
    for output in book.cells[cell].outputs:
        if kind == "text/plain" and output.output_type == "stream":
            parts.append(output.text)
        elif "data" in output and kind in output.data:
            parts.append(output.data[kind])
    return "".join(parts)


def test_a_function_of_a_cell_is_explored_and_displays_itself(notebook: Any) -> None:
    page = shown(notebook, 1, "text/html")
    assert "Failing" in page
    assert "data:image/svg+xml;base64," in page
    assert "<script" not in page
    assert not any(output.output_type == "stream" for output in notebook.cells[1].outputs), (
        "prints of the suspect"
    )


def test_a_file_is_proved_and_a_witness_replayed(notebook: Any) -> None:
    assert "Proved" in shown(notebook, 2, "text/html")
    assert shown(notebook, 3).startswith("vf1:4:")


def test_threads_are_explored_from_within_a_coroutine_of_the_kernel(notebook: Any) -> None:
    assert shown(notebook, 4) == "failing\n"


def test_the_failure_curve_is_drawn(notebook: Any) -> None:
    said = shown(notebook, 5)
    assert "Failure probability of move.py:wrong" in said
    assert re.search(r"8 connections\s+100\.0%", said), said


def test_a_suspect_that_leaves_does_not_take_the_kernel_along(notebook: Any) -> None:
    said = shown(notebook, 6)
    assert re.match(r"SuspectError \S*move\.py:21: os\._exit would end the process", said), said
    assert said.endswith("the kernel lives\n")


def test_the_page_of_a_witness_is_drawn_by_a_browser(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs a browser")
    from vecforensics.race import explore
    from vecforensics.race.views.files import exploration_files, write_folder

    (tmp_path / "move.py").write_text(MOVES)
    found = explore("move.py:wrong", records=4, schedules=40, folder=tmp_path)
    write_folder(tmp_path / "found", exploration_files(found, tmp_path))
    image = tmp_path / "page.png"
    subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--screenshot={image}", "--window-size=1000,1400",
         (tmp_path / "found" / "witness.html").as_uri()],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    import matplotlib.image

    pixels = matplotlib.image.imread(image)
    assert pixels.shape[:2] == (1400, 1000)
    red = (pixels[..., 0] > 0.7) & (pixels[..., 1] < 0.5) & (pixels[..., 2] < 0.2)
    assert 500 < int(red.sum()) < 60_000, "the picture with its missing edge is not on the page"
