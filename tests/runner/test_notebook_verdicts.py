"""What becomes of a notebook, as the runner tells it: from the process and the cells, never from papermill's metadata."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from vecforensics.errors import EvidenceError, RunLocked, ToolFailed
from vecforensics.run_folder import RunFolder
from vecforensics.runner import execution, run_notebook, run_notebooks

Make = Callable[..., Path]


def entry(run: RunFolder, name: str = "made") -> dict[str, object]:
    found: dict[str, object] = json.loads(run.run_json.read_text())["notebooks"][name]
    return found


def outputs(copy: Path) -> str:
    node = nbformat.read(copy, as_version=4)
    return json.dumps([cell.get("outputs", []) for cell in node.cells])


def test_a_notebook_that_runs_to_its_end(run: RunFolder, notebook: Make) -> None:
    result = run_notebook(notebook("print('the run is', run)", "6 * 7"), run, {"run": "r-1"})

    assert result.cells == 4  # the injected parameters count too
    assert result.copy == run.notebooks / "made.ipynb"
    assert "the run is r-1" in outputs(result.copy)
    assert entry(run)["status"] == "done"
    assert entry(run)["copy"] == "notebooks/made.ipynb"
    assert entry(run)["parameters"] == {"run": "r-1"}
    assert sorted(p.name for p in run.notebooks.iterdir()) == ["made.ipynb"]


@pytest.mark.parametrize(
    ("cells", "cell", "words"),
    [
        pytest.param(["1", "1 / 0", "3"], 3, "ZeroDivisionError: division by zero", id="a cell raises"),
        pytest.param(["import os; os._exit(0)", "2"], 2, "the kernel died", id="os._exit(0)"),
        pytest.param(
            ["import os; os.kill(os.getpid(), 9)"], 2, "the kernel died", id="SIGKILL in the last cell"
        ),
        pytest.param(
            ["raise SystemExit(0)", "2"],
            2,
            "SystemExit ended the notebook with 1 cells to go",
            id="SystemExit(0)",
        ),
        pytest.param(["import sys; sys.exit()", "2"], 2, "SystemExit ended the notebook", id="sys.exit()"),
        pytest.param(
            ["from vecforensics.errors import CaseError\nraise CaseError('bad', where='x:3', hint='Mend')"],
            2,
            "cell 2: x:3: bad. Mend",
            id="an error of ours stays one line",
        ),
        pytest.param(
            ["raise ValueError('one\\ntwo \\x1b[31m')"], 2, "ValueError: one.", id="an error of many lines"
        ),
        pytest.param(["a b"], 2, "SyntaxError: invalid syntax", id="no Python"),
    ],
)
def test_a_notebook_that_fails(
    run: RunFolder, notebook: Make, cells: list[str], cell: int, words: str
) -> None:
    with pytest.raises(ToolFailed) as failed:
        run_notebook(notebook(*cells), run, {})

    line = str(failed.value)
    assert line.startswith(f"made.ipynb, cell {cell}: ")
    assert words in line
    assert "\n" not in line
    assert "\x1b" not in line
    copy = nbformat.read(run.notebooks / "made.ipynb", as_version=4)
    assert [c.source for c in copy.cells if c.cell_type == "code"][1:] == cells
    assert entry(run)["status"] == "failed"


def test_an_expected_failure_must_be_caught_and_shown_not_tagged(run: RunFolder, notebook: Make) -> None:
    path = notebook("1 / 0", "2")
    node = nbformat.read(path, as_version=4)
    node.cells[1].metadata["tags"] = ["raises-exception"]
    path.write_text(nbformat.writes(node))

    with pytest.raises(ToolFailed, match="cell 2: ZeroDivisionError"):
        run_notebook(path, run, {})


def test_a_hanging_cell_meets_the_time_limit(run: RunFolder, notebook: Make) -> None:
    with pytest.raises(ToolFailed, match=r"cell 3: still at work after 4 s, the time limit"):
        run_notebook(notebook("'here'", "while True: pass"), run, {}, time_limit_s=4)

    assert "here" in outputs(run.notebooks / "made.ipynb")


def test_a_loop_that_prints_is_stopped(
    run: RunFolder, notebook: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "MAX_OUTPUT_BYTES", 1 << 20)
    with pytest.raises(ToolFailed, match="cell 2: printed more than 1 MB"):
        run_notebook(notebook("while True: print('x' * 10_000)"), run, {})

    assert (run.notebooks / "made.ipynb").stat().st_size < 2 << 20


def test_an_output_of_nan_leaves_valid_json(run: RunFolder, notebook: Make) -> None:
    cell = "from IPython.display import display\ndisplay({'application/json': {'x': float('nan')}}, raw=True)\nfloat('nan')"
    result = run_notebook(notebook(cell), run, {})

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    json.loads(result.copy.read_text(), parse_constant=refuse)
    assert '"nan"' in outputs(result.copy)


def test_names_with_unicode_spaces_and_braces(run: RunFolder, notebook: Make) -> None:
    path = notebook("print(run)", name="größe {case_id} ü 日本")
    result = run_notebook(path, run, {"run": "ж/{run}/日本 \"'\\ \n"})

    assert result.copy.name == path.name
    assert json.dumps("ж/{run}/日本 \"'\\ \n\n")[1:-1] in outputs(result.copy).replace("\\\\", "\\\\")


def test_the_second_does_not_start_when_the_first_fails(run: RunFolder, notebook: Make) -> None:
    first, second = notebook("1 / 0", name="first"), notebook("2", name="second")
    with pytest.raises(ToolFailed, match=r"first\.ipynb"):
        run_notebooks(run, {first: {}, second: {}})

    assert sorted(json.loads(run.run_json.read_text())["notebooks"]) == ["first"]


def test_notebooks_share_nothing_but_the_run_folder(run: RunFolder, notebook: Make) -> None:
    first, second = notebook("left = 1", name="first"), notebook("'left' in globals()", name="second")
    results = run_notebooks(run, {first: {}, second: {}})

    assert "False" in outputs(results[1].copy)


def test_it_is_this_python_in_the_notebooks_own_folder_over_unix_sockets(
    run: RunFolder, notebook: Make
) -> None:
    import sys

    cell = (
        "import os, sys, ipykernel.kernelapp as k\n"
        "print(sys.executable, os.getcwd(), k.IPKernelApp.instance().transport, os.environ['IPYTHONDIR'])"
    )
    shown = outputs(run_notebook(notebook(cell), run, {}).copy)

    assert f"{sys.executable} {run.path.parents[2]} ipc " in shown


def test_a_temporary_folder_too_deep_for_a_socket(
    run: RunFolder, notebook: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    cell = "import ipykernel.kernelapp as k\nk.IPKernelApp.instance().transport"

    assert "'tcp'" in outputs(run_notebook(notebook(cell), run, {}).copy)
    assert list(deep.iterdir()) == []


def test_stages_inside_the_notebook_take_the_run_folders_lock(run: RunFolder, notebook: Make) -> None:
    cell = "from vecforensics.run_folder import RunFolder\nwith RunFolder.open(run).stage('diff'):\n    pass"
    run_notebook(notebook(cell), run, {"run": str(run.path)})

    assert run.done("diff")
    assert entry(run)["status"] == "done"


def test_a_stage_that_was_killed_frees_the_lock_and_stays_unfinished(run: RunFolder, notebook: Make) -> None:
    cell = (
        "import os\n"
        "from vecforensics.run_folder import RunFolder\n"
        "with RunFolder.open(run).stage('diff'):\n"
        "    os.kill(os.getpid(), 9)"
    )
    with pytest.raises(ToolFailed, match="the kernel died"):
        run_notebook(notebook(cell), run, {"run": str(run.path)})

    assert run.journal()["stages"]["diff"]["status"] == "running"
    assert not run.done("diff")


def test_a_second_runner_is_refused(run: RunFolder, notebook: Make) -> None:
    from filelock import FileLock

    with FileLock(run.path / ".runner.lock"), pytest.raises(RunLocked, match="already running on this run"):
        run_notebook(notebook("1"), run, {})


def test_an_output_folder_that_cannot_be_written(run: RunFolder, notebook: Make) -> None:
    # A file in the folder's place: root may write into a folder without write bits.
    run.notebooks.write_text("in the way")
    with pytest.raises(EvidenceError, match="cannot be written"):
        run_notebook(notebook("1"), run, {})

    assert "notebooks" not in run.journal()
