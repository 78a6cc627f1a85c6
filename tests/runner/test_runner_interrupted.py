"""The runner is killed or interrupted while a cell is at work: the kernel must not stay behind and go on writing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vecforensics.errors import RunLocked
from vecforensics.run_folder import RunFolder

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and process groups are POSIX")

RUNNER = """
import sys
from pathlib import Path
from vecforensics.run_folder import RunFolder
from vecforensics.runner import run_notebook
run_notebook(Path(sys.argv[1]), RunFolder.open(sys.argv[2]), {"run": sys.argv[2]})
"""
# A stage that holds the lock, and a child of the kernel's own.
CELL = """\
import os, subprocess, time
from pathlib import Path
from vecforensics.run_folder import RunFolder
child = subprocess.Popen(["sleep", "600"])
with RunFolder.open(run).stage("diff"):
    Path(run, "pids.tmp").write_text(f"{os.getpid()} {child.pid}")
    Path(run, "pids.tmp").rename(Path(run, "pids"))
    time.sleep(600)"""


def wait_for(condition: Callable[[], bool], what: str) -> None:
    for _ in range(1_200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"waited a minute for {what}")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def is_free(run: RunFolder) -> bool:
    try:
        with run.locked():
            return True
    except RunLocked:
        return False


@pytest.fixture
def at_work(
    run: RunFolder, notebook: Callable[..., Path]
) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """A runner in a process of its own, its kernel in the middle of a stage, and the kernel's child."""
    command = [sys.executable, "-c", RUNNER, str(notebook(CELL)), str(run.path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as runner:
        pids = run.path / "pids"
        wait_for(lambda: pids.exists() or runner.poll() is not None, "the cell to begin")
        kernel, child = map(int, pids.read_text().split())
        yield runner, kernel, child
        for pid in (runner.pid, kernel, child):
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
def test_an_interrupted_runner_ends_the_kernel_and_says_so(
    run: RunFolder, at_work: tuple[subprocess.Popen[str], int, int], number: signal.Signals, code: int
) -> None:
    runner, kernel, child = at_work
    runner.send_signal(number)

    assert runner.wait(60) == code
    wait_for(lambda: not alive(kernel) and not alive(child), "kernel and child to end")
    entry = json.loads(run.run_json.read_text())["notebooks"]["made"]
    assert (entry["status"], entry["error"]) == ("failed", "interrupted")
    assert (run.notebooks / "made.ipynb").is_file()
    assert run.journal()["stages"]["diff"]["status"] == "running"


def test_a_killed_runner_takes_its_kernel_along_and_leaves_no_lock(
    run: RunFolder, at_work: tuple[subprocess.Popen[str], int, int]
) -> None:
    runner, kernel, _ = at_work
    runner.kill()
    runner.wait(60)

    wait_for(lambda: not alive(kernel), "the kernel to notice")
    # The first thread of a dying process can be gone while a later one still holds its files.
    wait_for(lambda: is_free(run), "the lock")
    assert run.journal()["notebooks"]["made"]["status"] == "running"  # began and never ended: not done
