"""Notebooks without a person: each through papermill in a kernel of its own, with a verdict that does not rest on papermill's.

papermill's own record cannot be trusted with the question "did it all run?": the notebook of a killed kernel says
`completed`, and SystemExit in a cell ends the run with exit 0. So a notebook counts as done only if papermill came back,
every code cell ran, none left an error output, and nobody had to stop the kernel; all else is ToolFailed, with the notebook,
the cell and one line. Either way the executed copy lies in the run folder, whole, and `run.json` says how it went.

Two locks, since two processes write. The stages, inside the kernel, hold the run folder's own lock while they write; the
runner holds `.runner.lock` all the time, so that two runners never mix, and the folder's lock only for the moments of its own
entries in `run.json`. The next kernel starts while a notebook runs, so that only the first one is waited for.
"""

from __future__ import annotations

import contextlib
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from vecforensics.checkout import ROOT
from vecforensics.custody import accounted
from vecforensics.errors import EvidenceError, InputError, ToolFailed, printable
from vecforensics.progress import progress
from vecforensics.run_folder import RunFolder, hold, now, write_whole
from vecforensics.runner.execution import Execution, execute
from vecforensics.runner.kernel import NotebookKernel
from vecforensics.runner.parameters import check_parameters, load_notebook, secret_values, without_secrets

__all__ = [
    "TIME_LIMIT_S",
    "NotebookResult",
    "find_notebook",
    "prepare_notebook",
    "run_notebook",
    "run_notebooks",
]

# For one notebook. A diff of ten million vectors takes minutes; what takes longer than this hangs.
TIME_LIMIT_S: Final = 3_600.0
_RUNNER_LOCK: Final = ".runner.lock"
# A dying process may hold the run folder's lock for a moment.
_LOCK_PATIENCE_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class NotebookResult:
    """A notebook that ran to its end: its executed copy, how many code cells, how long in seconds."""

    notebook: str
    copy: Path
    cells: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{printable(self.notebook)}: {self.cells} cells in {self.seconds:.1f} s, {printable(self.copy)}"
        )

    def _repr_html_(self) -> str:
        from markupsafe import escape

        return f"<p>{escape(self.notebook)}: {self.cells} cells in {self.seconds:.1f} s, <code>{escape(self.copy)}</code></p>"


@dataclass(frozen=True, slots=True)
class _Job:
    path: Path
    notebook: Any
    parameters: Mapping[str, Any]


def run_notebook(
    notebook: str | Path, run: RunFolder, parameters: Mapping[str, Any], *, time_limit_s: float = TIME_LIMIT_S
) -> NotebookResult:
    """Run one notebook on `run`. See `run_notebooks`."""
    return run_notebooks(run, {notebook: parameters}, time_limit_s=time_limit_s)[0]


def run_notebooks(
    run: RunFolder,
    notebooks: Mapping[str | Path, Mapping[str, Any]] | Mapping[str, Mapping[str, Any]],
    *,
    time_limit_s: float = TIME_LIMIT_S,
) -> tuple[NotebookResult, ...]:
    """Run notebooks in order, each with its parameters, and stop at the first that fails.

    A notebook is a path, or the beginning of a name in the checkout's `notebooks/`. `time_limit_s` is for each of them.
    Everything that can be refused is refused before the first one starts: InputError for a notebook or a parameter,
    EvidenceError for a run folder that cannot be written, RunLocked where another process works on it. ToolFailed says which
    cell of which notebook failed.
    """
    secrets = secret_values(run)
    jobs = []
    for name, parameters in notebooks.items():
        path = find_notebook(name)
        job = _Job(path, load_notebook(path), dict(parameters))
        check_parameters(job.notebook, path.name, parameters, secrets)
        jobs.append(job)
    _check_writable(run.notebooks)
    results: list[NotebookResult] = []
    with (
        hold(run.path / _RUNNER_LOCK, "notebooks are already running on this run"),
        _sigterm_raises(),
        contextlib.ExitStack() as kernels,
    ):

        def start(job: _Job) -> NotebookKernel:
            kernel = NotebookKernel(job.path.parent)
            kernels.callback(kernel.close)
            return kernel

        upcoming = start(jobs[0]) if jobs else None
        for number, job in enumerate(jobs, 1):
            kernel = upcoming
            assert kernel is not None  # there is one for every job
            upcoming = start(jobs[number]) if number < len(jobs) else None
            cells = _code_cells(job.notebook) + 1
            with progress(f"notebook {number} of {len(jobs)}: {job.path.stem}", cells) as advance:
                results.append(_run_one(run, job, kernel, secrets, time_limit_s, advance))
    return tuple(results)


def prepare_notebook(notebook: str | Path, run: str | Path) -> Path:
    """A copy of `notebook` with its parameter `run` set to the run folder, for a person to go on with in JupyterLab.

    It lies beside the run folder, not in it, so that a sealed run stays as it was; a copy that is there already is kept, for
    somebody may have worked in it.
    """
    from papermill import execute_notebook

    folder = RunFolder.open(run)
    path = find_notebook(notebook)
    prepared = folder.path.parent / "open" / f"{folder.path.name}-{path.name}"
    if prepared.exists():
        return prepared
    node = load_notebook(path)
    parameters = {"run": str(folder.path)}
    check_parameters(node, path.name, parameters, secret_values(folder))
    _check_writable(prepared.parent)
    filled = execute_notebook(
        node,
        None,
        parameters,
        kernel_name="python3",
        language="python",
        prepare_only=True,
        progress_bar=False,
    )
    _write(prepared, filled, path.name, {})
    return prepared


def find_notebook(name: str | Path) -> Path:
    """The path of a notebook: as given, or the one in `notebooks/` whose name begins so. Raises InputError."""
    if isinstance(name, Path) or name.endswith(".ipynb"):
        return Path(name).resolve()
    at_hand = sorted((ROOT / "notebooks").glob("*.ipynb"))
    found = [path for path in at_hand if path.stem.startswith(name)] if name else []
    if len(found) != 1:
        known = ", ".join(path.stem for path in at_hand) or "none, this is no checkout"
        raise InputError(
            f"{len(found)} notebooks begin with {name!r}", where="notebooks", hint=f"There are: {known}"
        )
    return found[0]


def _run_one(
    run: RunFolder,
    job: _Job,
    kernel: NotebookKernel,
    secrets: Mapping[str, str],
    time_limit_s: float,
    advance: Callable[[int], None],
) -> NotebookResult:
    copy = run.notebooks / job.path.name
    clock = time.monotonic()
    entry: dict[str, Any] = {"status": "running", "began": now(), "parameters": dict(job.parameters)}
    _note(run, job.path.stem, entry, patience_s=0.0)
    limit = threading.Timer(
        time_limit_s, kernel.kill, [f"still at work after {time_limit_s:g} s, the time limit"]
    )
    limit.daemon = True
    limit.start()
    execution = Execution(kernel, advance)
    try:
        execute(execution, job.notebook, job.parameters)
    finally:
        limit.cancel()
        # Before the journal: the dead kernel's lock on the run folder goes with it.
        kernel.close()
        if execution.notebook is not None:
            with accounted(run, f"notebook {job.path.stem}"):
                _write(copy, execution.notebook, job.path.name, secrets)
        failure = without_secrets(execution.failure, secrets)
        ended: dict[str, Any] = {
            "status": "failed" if failure or not execution.finished else "done",
            "ended": now(),
            "cells": execution.ran,
            "copy": f"notebooks/{copy.name}",
        }
        if ended["status"] == "failed":
            ended["error"] = failure or "interrupted"
        _note(run, job.path.stem, {**entry, **ended}, patience_s=_LOCK_PATIENCE_S)
    if failure:
        place = f"{job.path.name}, cell {execution.cell}" if execution.cell else job.path.name
        shown = (
            f"The executed copy shows it: {copy}" if copy.is_file() else "Run it in JupyterLab to see more"
        )
        raise ToolFailed(failure, where=place, hint=shown)
    return NotebookResult(job.path.stem, copy, execution.ran, time.monotonic() - clock)


def _code_cells(notebook: Any) -> int:
    return sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in notebook.cells)


def _write(copy: Path, notebook: Any, name: str, secrets: Mapping[str, str]) -> None:
    """The notebook under its final name, without secrets and without the paths of this machine in papermill's metadata."""
    import nbformat

    notebook.metadata.papermill["input_path"] = name
    notebook.metadata.papermill["output_path"] = copy.name
    write_whole(copy, nbformat.writes(without_secrets(notebook, secrets)) + "\n")  # type: ignore[no-untyped-call]


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise EvidenceError(
            f"cannot be written ({error.strerror})",
            where=str(folder),
            hint="Give it free space and rights to write",
        ) from None


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Let SIGTERM unwind the stack like Ctrl-C does, so that the kernel is ended and the journal says what happened."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _note(run: RunFolder, name: str, entry: Mapping[str, Any], *, patience_s: float) -> None:
    """Put one notebook's entry into `run.json`. Raises RunLocked where the folder's lock is not free within `patience_s`."""
    with run.locked(patience_s):
        run.enter("notebooks", name, entry)
