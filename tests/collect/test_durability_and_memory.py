"""Nothing vouches for what is not on the disk yet, and thousands of buckets take no more memory than the setting allows."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from test_freeze import IDS, freeze, source_batches, target_batches

import vecforensics.collect.syncer as syncer
from vecforensics.collect.freeze import EvidenceWriter
from vecforensics.errors import EvidenceError

Synced = list[tuple[int, int]]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Synced:
    """What was synced, in order: inode, and size at that moment."""
    seen: Synced = []
    fsync: Callable[[int], None] = os.fsync

    def noted(handle: int) -> None:
        fsync(handle)
        entry = os.fstat(handle)
        seen.append((entry.st_ino, entry.st_size))

    monkeypatch.setattr(os, "fsync", noted)
    return seen


def last_sync(synced: Synced, path: Path) -> int:
    """When `path` was synced last, at the size that it has now; -1 for never."""
    now = (path.stat().st_ino, path.stat().st_size)
    return max((number for number, entry in enumerate(synced) if entry == now), default=-1)


@pytest.mark.parametrize("at_once", [1, 1 << 40])
def test_a_loss_of_power_leaves_no_index_of_files_that_are_not_there(
    tmp_path: Path, synced: Synced, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(syncer, "_AT_ONCE_BYTES", at_once)
    with EvidenceWriter(tmp_path, buckets=3) as writer:
        # A record with two versions: its bucket is written anew and takes the place of another file.
        writer.source("users", source_batches(["a", "b", "a", *IDS], ["1", "1", "2", *["1"] * len(IDS)]))
        writer.target("users", target_batches(IDS))
        writer.attach("logs.jsonl", b"{}\n")
        evidence = writer.finish()
    index = last_sync(synced, tmp_path / "evidence.json")
    assert len(evidence.files) == 8
    files = [last_sync(synced, tmp_path / name) for name in evidence.files]
    assert min(files) >= 0
    names = max(
        number for number, (inode, _) in enumerate(synced) if inode == (tmp_path / "users").stat().st_ino
    )
    moved = [number for number, (inode, _) in enumerate(synced) if inode == tmp_path.stat().st_ino]
    assert max(files) < names < index
    assert any(names < number < index for number in moved)
    assert moved[-1] > index


@pytest.mark.parametrize("at_once", [1, 1 << 40])
def test_a_disk_that_fails_while_it_is_synced_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    def refused(path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(syncer, "_AT_ONCE_BYTES", at_once)
    monkeypatch.setattr(syncer, "sync", refused)
    with pytest.raises(EvidenceError, match=r"-0000\.arrow: cannot be written \(Input/output error\)"):
        freeze(tmp_path, IDS, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("buckets", [3, 40])
def test_more_buckets_than_there_is_memory_for_hold_the_same_rows_in_the_same_order(
    tmp_path: Path, buckets: int
) -> None:
    ids = [f"{n:05d}" for n in range(2_000)]
    frozen = {}
    for memory_mb in (1, 64):
        with EvidenceWriter(tmp_path / str(memory_mb), memory_mb=memory_mb, buckets=buckets) as writer:
            writer.source("users", source_batches(ids, batch=999))
            writer.target("users", target_batches(ids, batch=999))
            frozen[memory_mb] = writer.finish()
    scarce, ample = frozen[1], frozen[64]
    assert scarce.digest == ample.digest
    assert scarce.verify() == ()
    assert {path.name for path in (tmp_path / "1" / "users").iterdir()} == {
        f"{side}-{number:04d}.arrow" for side in ("source", "target") for number in range(buckets)
    }
    for number in range(buckets):
        for side in ("source", "target"):
            assert scarce.table("users", side, number).equals(ample.table("users", side, number))
    back = pa.Table.from_batches(scarce.iter_source("users"))
    assert back["id"].to_pylist() == ids


def test_memory_is_bounded_by_the_setting_and_not_by_the_number_of_buckets(tmp_path: Path) -> None:
    # 77 MB of vectors in 512 buckets: with a block for each of them nothing would be written before the end.
    program = (
        "import sys, threading, time; sys.path[:0] = sys.argv[2:]\n"
        "from test_freeze import *\n"
        "def anonymous():\n"
        "    with open('/proc/self/status') as file:\n"
        "        return next(int(line.split()[1]) for line in file if line.startswith('RssAnon')) / 1024\n"
        "def batches():\n"
        "    vectors = fixed_vectors(np.ones((1_000, 384), np.float32))\n"
        "    for start in range(0, 50_000, 1_000):\n"
        "        ids = pa.array([f'{n:06d}' for n in range(start, start + 1_000)])\n"
        "        columns = [ids, ids, pa.array(['{}'] * 1_000), pa.nulls(1_000, pa.string()), vectors]\n"
        "        yield pa.RecordBatch.from_arrays(columns, schema=source_schema([], 384))\n"
        "        peak.append(anonymous())\n"
        "def weigh():\n"
        "    while True:\n"
        "        peak.append(anonymous()); time.sleep(0.005)\n"
        "peak = []; list(batches()); before = anonymous(); peak.clear()\n"
        "threading.Thread(target=weigh, daemon=True).start()\n"
        "with EvidenceWriter(sys.argv[1], memory_mb=8, buckets=512) as writer:\n"
        "    writer.source('users', batches())\n"
        "print(max(peak) - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < 40
