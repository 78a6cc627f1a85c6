"""What the run's own stages write into `run.json`, and what of that a seal holds.

The journal only grows. A seal holds its head and the digest of each entry that was there, so that entries beside them are what
happened since. What a stage writes into a sealed run it notes there with its SHA-256 (`accounted`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

from vecforensics.custody.inputs import digest_of, files_below
from vecforensics.run_folder import RunFolder, entries_of, now, write_json

__all__ = [
    "JOURNAL",
    "SINCE",
    "accounted",
    "done_since",
    "entry_digest",
    "is_sealed",
    "outputs_of",
    "since_seal",
]

JOURNAL: Final = "run.json"
# What the journal holds beside its entries and its unchanging head.
SINCE: Final = "since_seal"
_ENTRIES: Final = ("stages", "notebooks", "earlier")
_LIVELY: Final = ("status", "ended", *_ENTRIES, SINCE)
# A process that is just dying may hold the run folder's lock for a moment.
_LOCK_PATIENCE_S: Final = 15.0
# SQLite's shared memory comes and goes with every reader and holds nothing of its own.
_PASSING: Final = ("-shm",)


@contextmanager
def accounted(run: RunFolder, by: str) -> Iterator[None]:
    """Note in `run.json` what is written into a sealed run meanwhile, with its SHA-256, as the work of `by`.

    Nothing happens in a run that has not been sealed yet.
    """
    if not run.manifest_json.is_file():
        yield
        return
    before = _marks(run.path)
    try:
        yield
    finally:
        after = _marks(run.path)
        touched = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
        with run.locked(_LOCK_PATIENCE_S) if touched else nullcontext():
            journal, at = run.journal(), now()
            since = since_seal(journal)
            for name in sorted(touched):
                digest = digest_of(run.path / name)[0] if name in after else None
                # Of a stage within another one the inner one wrote it.
                if since.get(name, {}).get("sha256", "") != digest:
                    since[name] = {"sha256": digest, "by": by, "at": at}
            if touched:
                write_json(run.run_json, {**journal, SINCE: since})


def _marks(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What shows that a file was written: its inode, size and time."""
    stats = {name: path.stat() for name, path in sealable(folder) if name != JOURNAL}
    return {name: (one.st_ino, one.st_size, one.st_mtime_ns) for name, one in stats.items()}


def since_seal(journal: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By file, what a stage of this run has written since the seal: `sha256` (None: removed), `by`, `at`."""
    since = journal.get(SINCE)
    entries = since.items() if isinstance(since, dict) else ()
    return {name: entry for name, entry in entries if isinstance(entry, dict)}


def outputs_of(folder: Path) -> Iterator[tuple[str, str, int]]:
    """Name, digest, size of what the manifest covers."""
    for name, path in sealable(folder):
        if name == JOURNAL:
            yield name, *_journal_digest(path)
        else:
            yield name, *digest_of(path)


def sealable(folder: Path) -> Iterator[tuple[str, Path]]:
    """What the manifest covers: every file except itself, the locks and files still being written."""
    for name, path in files_below(folder):
        if name != "manifest.json" and not path.name.startswith(".") and not name.endswith(_PASSING):
            yield name, path


def _journal_digest(path: Path) -> tuple[str, int]:
    """SHA-256 and size of the head of `run.json`: what stays once the run has begun. Its entries are sealed one by one."""
    try:
        journal = json.loads(path.read_text(encoding="utf-8"))
        head = json.dumps({k: v for k, v in journal.items() if k not in _LIVELY}, sort_keys=True).encode()
    except (ValueError, AttributeError):
        return digest_of(path)
    return hashlib.sha256(head).hexdigest(), len(head)


def entry_digest(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()


def is_sealed(entry: Mapping[str, Any]) -> bool:
    """Whether the seal covers it: what has come to an end, except for the stage that seals."""
    return entry.get("status") != "running" and entry.get("stage") != "report"


def done_since(journal: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[str]:
    """What stages and notebooks did after the seal, in words, in order of time."""
    known = {str(one) for one in manifest["journal"]}
    new = [
        entry
        for entry in entries_of(journal)
        if entry.get("stage") != "report" and entry_digest(entry) not in known
    ]
    for entry in sorted(new, key=lambda entry: str(entry.get("began"))):
        name = entry.get("stage") or f"notebook {entry.get('notebook')}"
        parameters = entry.get("parameters")
        mode = parameters.get("mode") if isinstance(parameters, dict) else None
        ends = {"done": "ran", "failed": "failed"}.get(str(entry.get("status")), "began and has not ended")
        yield f"{name}{f' ({mode})' if mode else ''} {ends} at {entry.get('ended') or entry.get('began')}"
