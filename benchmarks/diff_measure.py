"""One contestant, run as a process of its own, timed and weighed from outside; and what it found, set against the truth.

Peak resident memory is the kernel's own figure (VmHWM). It counts mapped files too, which cost nothing that anybody else could
not have back; anonymous memory (RssAnon, sampled every 5 ms) is what a process really takes. A run that would eat the machine
or never end is stopped, and the table says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

SAMPLE_S = 0.005
# Of what is available when a run begins.
MEMORY_SHARE = 0.85


@dataclass(frozen=True)
class Run:
    """One run. `wall_s`: the whole process, `work_s`: without the start of Python and imports. `stopped`: why it was ended."""

    wall_s: float
    work_s: float
    rss_mb: float
    anonymous_mb: float
    load: float
    said: dict[str, Any] = field(default_factory=dict)
    stopped: str | None = None


@dataclass(frozen=True)
class Score:
    """What was found. By kind: planted rows, those that are flagged at all, those that are called by their name."""

    planted: dict[str, int]
    flagged: dict[str, int]
    named: dict[str, int] | None
    false_harmless: int
    false_clean: int


def warm(files: Sequence[Path]) -> None:
    """Read the files once, so that every run finds them in the page cache."""
    for file in files:
        with file.open("rb", buffering=0) as stream:
            while stream.read(2**22):
                pass


def run_process(command: Sequence[str], *, timeout_s: float) -> Run:
    """Run `command`, whose standard output is one JSON object with `seconds`. Raises RuntimeError where it fails by itself."""
    most_kb = MEMORY_SHARE * _status_kb(Path("/proc/meminfo"), "MemAvailable")
    load = os.getloadavg()[0]
    # Everybody's modules are compiled once, as where they are installed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    status = Path(f"/proc/{process.pid}/status")
    peak = anonymous = 0
    stopped = None
    while process.poll() is None:
        with contextlib.suppress(OSError, ProcessLookupError):
            peak = max(peak, _status_kb(status, "VmHWM"))
            anonymous = max(anonymous, _status_kb(status, "RssAnon"))
        if anonymous > most_kb:
            stopped = f"stopped at {anonymous / 1e6:.0f} GB"
        elif time.perf_counter() - began > timeout_s:
            stopped = f"stopped after {timeout_s:.0f} s"
        if stopped:
            process.send_signal(signal.SIGKILL)
        time.sleep(SAMPLE_S)
    wall = time.perf_counter() - began
    out, error = process.communicate()
    if process.returncode and not stopped:
        raise RuntimeError(f"{' '.join(command)} failed: {error.strip().splitlines()[-1:]}")
    said = {} if stopped else json.loads(out)
    return Run(wall, said.pop("seconds", wall), peak / 1024, anonymous / 1024, load, said, stopped)


def _status_kb(file: Path, name: str) -> int:
    for line in file.read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    return 0


def score(out: Path, truth: Path, harmless: Sequence[str]) -> Score:
    """Compare what a contestant wrote with the truth: findings with kinds, or a bare list of ids that it calls unequal."""
    rows = pq.read_table(truth).to_pylist()
    table = pq.read_table(out)
    named: dict[str, set[str]] | None = None
    if "kind" in table.column_names:
        named = {}
        flagged = set()
        for one in table.select(["source_id", "target_id", "kind", "severity"]).to_pylist():
            ids = {one["source_id"], one["target_id"]} - {None}
            named.setdefault(one["kind"], set()).update(ids)
            if one["severity"] == "corrupt":
                flagged |= ids
    else:
        flagged = set(table["id"].to_pylist())
    planted: dict[str, int] = {}
    hit: dict[str, int] = {}
    called: dict[str, int] = {}
    damaged: set[str] = set()
    unharmed: set[str] = set()
    for one in rows:
        kind, ids = one["kind"], {one["source_id"], one["target_id"]} - {None}
        planted[kind] = planted.get(kind, 0) + 1
        hit[kind] = hit.get(kind, 0) + bool(ids & flagged)
        if named is not None:
            called[kind] = called.get(kind, 0) + bool(
                ids & named.get("noise" if kind == "one_ulp" else kind, set())
            )
        (unharmed if kind in harmless else damaged).update(ids)
    wrong = flagged - damaged
    return Score(
        planted, hit, called if named is not None else None, len(wrong & unharmed), len(wrong - unharmed)
    )
