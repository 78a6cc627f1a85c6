"""Workers that do not see the run folder read the evidence from shared storage: same bytes, and only what was frozen."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_processes import dask_cluster, start, stop
from planted_run import freeze
from planted_world import World
from planting import PLANTERS

from vecforensics.diff import diff_vectors
from vecforensics.diff import shared as shared_module
from vecforensics.diff.compare.bucket import BucketTask, compare_bucket
from vecforensics.diff.shared import compare_shared, publish
from vecforensics.errors import EvidenceError, InputError, ToolFailed
from vecforensics.evidence import Evidence
from vecforensics.metadata_rule import MetadataRule
from vecforensics.run_folder import RunFolder

pytest.importorskip("distributed")
fsspec = pytest.importorskip("fsspec")

_SFTP = """
import asyncio, sys
import asyncssh
class Examiner(asyncssh.SSHServer):
    def password_auth_supported(self): return True
    def validate_password(self, name, word): return (name, word) == ("examiner", "word of the day")
async def main():
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=Examiner, server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=sys.argv[1]),
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.wait_closed()
asyncio.run(main())
"""
_S3 = """
import sys, time
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", int(sys.argv[1]))
server.start()
import boto3
boto3.client("s3", region_name="us-east-1", endpoint_url=f"http://127.0.0.1:{sys.argv[1]}").create_bucket(Bucket="evidence")
print("ready", flush=True)
time.sleep(600)
"""

World_ = tuple[Any, RunFolder]


@pytest.fixture
def frozen(tmp_path: Path) -> World_:
    world = World.make(count=900, seed=9)
    for plant in PLANTERS.values():
        plant(world, 12)
    return freeze(world, tmp_path / "here", buckets=6)


@pytest.fixture(autouse=True)
def nothing_cached(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(shared_module, "_caches", {})
    yield
    for cache in shared_module._caches.values():
        cache.close()


@pytest.fixture(params=["file", "sftp", "s3"])
def storage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, dict[str, str], Path]]:
    """(URL, what a worker's environment must hold, the folder in which the files really lie) of storage behind a real server."""
    store = tmp_path / "store"
    store.mkdir()
    if request.param == "file":
        yield f"file://{store}/runs", {}, store / "runs"
    elif request.param == "sftp":
        pytest.importorskip("paramiko")
        pytest.importorskip("asyncssh")
        server, port = start(_SFTP, str(store))
        monkeypatch.setitem(
            fsspec.config.conf, "sftp", {"username": "examiner", "password": "word of the day"}
        )
        secrets = {"FSSPEC_SFTP_USERNAME": "examiner", "FSSPEC_SFTP_PASSWORD": "word of the day"}
        yield f"sftp://127.0.0.1:{port}/runs", secrets, store / "runs"
        stop(server)
    else:
        if not importlib.util.find_spec("moto") or not importlib.util.find_spec("s3fs"):
            pytest.skip("needs moto[server] and s3fs")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        keys = {
            "AWS_ACCESS_KEY_ID": "examiner",
            "AWS_SECRET_ACCESS_KEY": "word-of-the-day",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        }
        for name, value in keys.items():
            monkeypatch.setenv(name, value)
        server, _ = start(_S3, port, env=keys)
        yield "s3://evidence/runs", keys, store
        stop(server)


def both_files(run: RunFolder) -> tuple[bytes, bytes]:
    return run.findings_json.read_bytes(), run.findings_parquet.read_bytes()


@pytest.mark.parametrize("storage", ["sftp", "s3"], indirect=True)
def test_workers_that_read_from_shared_storage_give_the_same_bytes(
    frozen: World_, storage: tuple[str, dict[str, str], Path]
) -> None:
    case, run = frozen
    url, env, _ = storage
    diff_vectors(case, run)
    here = both_files(run)
    run.findings_json.unlink()
    with dask_cluster(2, env=env) as (address, _workers):
        diff_vectors(case, run, cluster=address, shared=url)
        assert both_files(run) == here
        diff_vectors(case, run, cluster=address, shared=url, sample=200)


@pytest.mark.parametrize("storage", ["sftp"], indirect=True)
def test_a_worker_killed_while_it_compares_from_shared_storage_changes_no_byte(
    frozen: World_, storage: tuple[str, dict[str, str], Path], tmp_path: Path
) -> None:
    case, run = frozen
    url, env, _ = storage
    diff_vectors(case, run)
    here = both_files(run)
    run.findings_json.unlink()
    scratch = tmp_path / "scratch"
    at_work: list[str] = []
    with dask_cluster(2, env=env, slow=True, scratch=scratch) as (address, workers):

        def kill() -> None:
            """Kill the first worker once it has fetched the files of a bucket, which it then needs 0.4 s to open."""
            deadline = time.monotonic() + 60
            while not at_work and time.monotonic() < deadline:
                at_work.extend(path.name for path in (scratch / "0").rglob("bucket-*/things/target-*.arrow"))
                time.sleep(0.005)
            os.kill(workers[0].pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        diff_vectors(case, run, cluster=address, shared=url)
        killer.join()
        assert at_work
        assert workers[0].wait() == -signal.SIGKILL
        assert workers[1].poll() is None
    assert both_files(run) == here


def tasks_of(run: RunFolder) -> list[BucketTask]:
    nowhere = "/nowhere/that/a/worker/could/see"
    return [BucketTask(nowhere, "things", bucket, 1e-5, MetadataRule()) for bucket in range(6)]


def test_a_bucket_is_compared_from_its_copy_alone(
    frozen: World_, storage: tuple[str, dict[str, str], Path]
) -> None:
    _, run = frozen
    evidence = Evidence.open(run.evidence)
    shared = publish(evidence, storage[0])
    for task in tasks_of(run):
        there = compare_shared(task, shared.of("things", task.bucket))
        here = compare_bucket(task, evidence)
        assert there.pairs.source.tolist() == here.pairs.source.tolist()
        assert there.pairs.state.tolist() == here.pairs.state.tolist()
        assert there.pairs.detail == here.pairs.detail


@pytest.mark.parametrize("storage", ["file", "sftp"], indirect=True)
def test_only_the_buckets_are_copied_and_only_once(
    frozen: World_, storage: tuple[str, dict[str, str], Path]
) -> None:
    _, run = frozen
    url, _, folder = storage
    evidence = Evidence.open(run.evidence)
    publish(evidence, url)
    names = {str(path.relative_to(folder)).split("/", 1)[1] for path in folder.rglob("*") if path.is_file()}
    buckets = {name for name in evidence.files if name.endswith(".arrow")}
    assert names == buckets | {"evidence.json"}
    assert "logs.jsonl" in evidence.files
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    publish(evidence, url)
    assert written == {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("storage", ["file", "sftp", "s3"], indirect=True)
def test_what_was_lost_or_cut_off_there_is_copied_again_by_the_next_diff(
    frozen: World_, storage: tuple[str, dict[str, str], Path]
) -> None:
    _, run = frozen
    evidence = Evidence.open(run.evidence)
    shared = publish(evidence, storage[0])
    system, root = fsspec.core.url_to_fs(shared.url, skip_instance_cache=True)
    system.rm_file(f"{root}/things/source-0001.arrow")
    system.pipe_file(f"{root}/things/target-0002.arrow", b"cut off")
    with pytest.raises(EvidenceError, match=r"source-0001\.arrow: is not there"):
        compare_shared(tasks_of(run)[1], shared.of("things", 1))
    assert publish(evidence, storage[0]) == shared
    for bucket in (1, 2):
        assert compare_shared(tasks_of(run)[bucket], shared.of("things", bucket)).compared


def test_a_copy_that_was_broken_off_before_its_index_is_gone_on_with(frozen: World_, tmp_path: Path) -> None:
    _, run = frozen
    evidence = Evidence.open(run.evidence)
    shared = publish(evidence, f"file://{tmp_path}/store")
    next((tmp_path / "store").rglob("evidence.json")).unlink()
    next((tmp_path / "store").rglob("target-0002.arrow")).unlink()
    left = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.arrow")}
    assert publish(evidence, f"file://{tmp_path}/store") == shared
    there = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*") if path.is_file()}
    assert len(there) == len(left) + 2
    assert there.items() >= left.items()


def test_a_copy_that_is_not_what_was_frozen_is_refused(frozen: World_, tmp_path: Path) -> None:
    _, run = frozen
    shared = publish(Evidence.open(run.evidence), f"file://{tmp_path}/store")
    file = next((tmp_path / "store").rglob("target-0003.arrow"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(EvidenceError, match=r"target-0003\.arrow: is not what was frozen"):
        compare_shared(tasks_of(run)[3], shared.of("things", 3))
    file.unlink()
    with pytest.raises(EvidenceError, match=r"target-0003\.arrow: is not there"):
        compare_shared(tasks_of(run)[3], shared.of("things", 3))


def test_the_refusal_of_a_worker_reaches_the_person_in_one_line(frozen: World_, tmp_path: Path) -> None:
    case, run = frozen
    url = f"file://{tmp_path}/store"
    publish(Evidence.open(run.evidence), url)
    file = next((tmp_path / "store").rglob("source-0001.arrow"))
    file.write_bytes(bytes(file.stat().st_size))
    with (
        dask_cluster(1) as (address, _),
        pytest.raises(
            EvidenceError, match=r"source-0001\.arrow: is not what was frozen: SHA-256 .* Remove it there"
        ),
    ):
        diff_vectors(case, run, cluster=address, shared=url)


def test_the_cache_of_a_process_is_bounded_and_takes_nothing_from_a_task(
    frozen: World_, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run = frozen
    place = publish(Evidence.open(run.evidence), f"file://{tmp_path}/store")
    monkeypatch.setattr(shared_module, "_CACHE_BYTES", 1)
    for task in tasks_of(run):
        assert compare_shared(task, place.of("things", task.bucket)).compared
    cache = shared_module._cache()
    assert len([path for path in cache.folder.iterdir() if path.is_file()]) == 1


@pytest.mark.parametrize(
    ("url", "error", "said"),
    [
        ("s3://user:secret@host/bucket", InputError, "a password stands in the URL"),
        ("carrierpigeon://roof", InputError, "no file system for this address"),
        ("sftp://127.0.0.1:9/x", ToolFailed, "cannot be copied there"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_line(
    frozen: World_, url: str, error: type[Exception], said: str
) -> None:
    case, run = frozen
    with pytest.raises(error, match=said) as caught:
        diff_vectors(case, run, cluster="tcp://127.0.0.1:9", shared=url)
    assert "secret" not in str(caught.value)
    assert "secret" not in run.run_json.read_text()
    assert "\n" not in str(caught.value)
