"""A cluster of separate processes gives the same bytes, and a worker that is killed in the middle changes nothing."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from logging.handlers import BufferingHandler
from pathlib import Path

import pytest
from cluster_processes import dask_cluster
from planted_run import freeze
from planted_world import World
from planting import PLANTERS

from vecforensics.diff import diff_vectors, execute
from vecforensics.errors import MissingExtra, ToolFailed

pytest.importorskip("distributed")


@pytest.fixture
def cluster() -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    with dask_cluster(2, slow=True) as running:
        yield running


def test_a_worker_killed_in_the_middle_changes_no_byte(
    tmp_path: Path, cluster: tuple[str, list[subprocess.Popen[str]]]
) -> None:
    address, workers = cluster
    world = World.make(count=1200, seed=9)
    for plant in PLANTERS.values():
        plant(world, 18)
    case, run = freeze(world, tmp_path, buckets=12)
    here = diff_vectors(case, run)
    expected = (run.findings_json.read_bytes(), run.findings_parquet.read_bytes())
    run.findings_json.unlink()

    def kill() -> None:
        time.sleep(1.0)
        os.kill(workers[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    there = diff_vectors(case, run, cluster=address)
    killer.join()
    assert workers[0].wait() == -signal.SIGKILL
    assert (run.findings_json.read_bytes(), run.findings_parquet.read_bytes()) == expected
    assert there.counts == here.counts


def test_a_cluster_whose_last_worker_died_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vecforensics.diff.execute.PATIENCE_S", 2.0)
    case, run = freeze(World.make(count=200), tmp_path, buckets=40)
    with dask_cluster(1, slow=True) as (address, workers):
        killer = threading.Timer(1.0, os.kill, (workers[0].pid, signal.SIGKILL))
        killer.start()
        with pytest.raises(ToolFailed, match=f"{address}: no worker is left.* dask worker {address}"):
            diff_vectors(case, run, cluster=address)
        killer.join()


def test_a_scheduler_that_dies_in_the_middle_is_one_line(tmp_path: Path) -> None:
    case, run = freeze(World.make(count=200), tmp_path, buckets=40)
    said = BufferingHandler(10**6)
    logging.getLogger("distributed.client").addHandler(said)
    with dask_cluster(1, slow=True) as (address, _workers):
        scheduler = scheduler_of(address)
        killer = threading.Timer(1.5, os.kill, (scheduler, signal.SIGKILL))
        killer.start()
        with pytest.raises(ToolFailed, match="the cluster was lost"):
            diff_vectors(case, run, cluster=address)
        killer.join()
    logging.getLogger("distributed.client").removeHandler(said)
    assert said.buffer == []


def test_a_scheduler_that_dies_while_a_result_comes_is_one_line() -> None:
    """The moment lasts for less than a millisecond, so the future is played."""
    from distributed.comm.core import CommClosedError

    class Coming:
        def result(self, timeout: float) -> None:
            raise CommClosedError("Stream is closed")

    with pytest.raises(ToolFailed, match="tcp://x:1: the cluster was lost"):
        execute._result(None, Coming(), "tcp://x:1")


def scheduler_of(address: str) -> int:
    """The process that the scheduler of this address runs in."""
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        return int(client.run_on_scheduler(os.getpid))


def test_a_cluster_that_does_not_answer_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case, run = freeze(World.make(count=20), tmp_path)
    monkeypatch.setattr("vecforensics.diff.execute.PATIENCE_S", 0.3)
    with pytest.raises(ToolFailed, match="does not answer"):
        diff_vectors(case, run, cluster="tcp://127.0.0.1:9")


def test_an_address_that_is_none_is_one_line_at_once(tmp_path: Path) -> None:
    """In a process of its own: what the library has to say comes when the interpreter ends."""
    _, run = freeze(World.make(count=20), tmp_path)
    program = (
        "import sys; from vecforensics.run_folder import RunFolder; from vecforensics.diff import diff_vectors\n"
        "from vecforensics.errors import ToolFailed\n"
        "run = RunFolder.open(sys.argv[1])\n"
        "try: diff_vectors(run.case(), run, cluster='foo')\n"
        "except ToolFailed as error: print(error)\n"
    )
    command = [sys.executable, "-c", program, str(run.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert "foo: the cluster does not answer (missing port number" in done.stdout
    assert done.stderr == ""


def test_without_the_extra_the_message_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case, run = freeze(World.make(count=20), tmp_path)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtra, match=r"vecforensics\[cluster\]"):
        diff_vectors(case, run, cluster="tcp://127.0.0.1:9")
