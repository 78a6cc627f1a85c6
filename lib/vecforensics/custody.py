"""The chain of custody: SHA-256 of what went in and of what came out, and the check that nothing was touched since.

Three moments. `record_inputs` runs while evidence is collected, which changes nothing, and writes what the inputs (sources, logs,
the suspect, local stores) were *before* anything was done. `write_manifest` runs last and writes `manifest.json`: the inputs once
more, *after*, and every file of the run folder. `verify_run` re-computes all of it and lists what changed, went missing or came
along.

What this can show is that the run folder is the one that was sealed. Whoever can rewrite a file can rewrite the manifest too,
so the digest of the manifest is printed when it is written: keep it somewhere else. What is not
as it was sealed is of three kinds:

* what may change: `notes.md` (the analyst goes on writing), the status in `run.json`, and the inputs, which belong to somebody
  else and live on;
* what this run's own stages did later. The journal only grows, and the seal holds the digest of each entry that was there, so
  that entries beside them are named as what happened since. What such a stage writes it notes with its SHA-256 (`accounted`).
  Where it wrote the same bytes again, which is the rule since stages are deterministic, the seal holds; else it is out of date,
  and the report with it: neither intact nor broken. The journal is not protected by the seal, hence not "intact";
* everything else, which breaks it.

A seal that follows another keeps the digests of all before it, and the names of the files that nobody had accounted for in
between: sealing anew makes nothing good.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from vecforensics.case import Case, resolve_env
from vecforensics.errors import CaseError, EvidenceError, InputError, printable
from vecforensics.run_folder import RunFolder, entries_of, now, sync, write_json

__all__ = [
    "Custody",
    "InputDigest",
    "accounted",
    "digest_of",
    "git_revision",
    "inputs_of",
    "record_inputs",
    "tool_versions",
    "verify_run",
    "write_manifest",
]

_FORMAT: Final = 1
_MANIFEST_FORMAT: Final = 2
# Long enough for a thread that hashes beside busy ones: between blocks it waits for its turn.
_CHUNK: Final = 4 << 20
_NOTES: Final = "notes.md"
_JOURNAL: Final = "run.json"
# What the journal holds beside its entries and its unchanging head.
_ENTRIES: Final = ("stages", "notebooks", "earlier")
_SINCE: Final = "since_seal"
_LIVELY: Final = ("status", "ended", *_ENTRIES, _SINCE)
# A process that is just dying may hold the run folder's lock for a moment.
_LOCK_PATIENCE_S: Final = 15.0
# SQLite's shared memory comes and goes with every reader and holds nothing of its own.
_PASSING: Final = ("-shm",)
_TOOLS: Final = (
    "vecforensics", "numpy", "pandas", "pyarrow", "lancedb", "pinecone", "papermill", "jupyterlab", "matplotlib",
    "scipy", "xxhash", "pydantic", "PyYAML", "Jinja2", "quickjs-ng", "distributed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class InputDigest:
    """One input. `name` as the case file has it; `sha256` is None where there is no local file to digest, and `note` says why."""

    role: str
    name: str
    sha256: str | None
    bytes: int
    note: str = ""


def digest_of(path: Path, stop: threading.Event | None = None) -> tuple[str, int]:
    """SHA-256 and size in bytes of a file, or of a folder. Raises CancelledError where `stop` is set meanwhile.

    A folder's digest is that of the lines `<sha256>  <relative path>` of its files in byte order: what
    `find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum` prints, without the leading `./`.
    """
    if not path.is_dir():
        whole, size, block = hashlib.sha256(), 0, memoryview(bytearray(_CHUNK))
        with path.open("rb", buffering=0) as file:
            while stop is None or not stop.is_set():
                if not (length := file.readinto(block)):
                    return whole.hexdigest(), size
                whole.update(block[:length])
                size += length
        raise CancelledError
    lines, size = [], 0
    for name, file_path in _files(path):
        digest, length = digest_of(file_path, stop)
        lines.append((os.fsencode(name), f"{digest}  ".encode() + os.fsencode(name) + b"\n"))
        size += length
    return hashlib.sha256(b"".join(line for _, line in sorted(lines))).hexdigest(), size


def inputs_of(
    case: Case, stop: threading.Event | None = None, targets: threading.Event | None = None
) -> Iterator[InputDigest]:
    """The inputs that a case names, digested as they are now, in the order of the case file.

    `stop` as in `digest_of`; the targets are digested once `targets` is set.
    """
    for name, collection in case.collections.items():
        yield _input(case, f"source of {name}", collection.source.uri, stop)
        if collection.expected is not None and collection.expected.uri is not None:
            yield _input(case, f"expected vectors of {name}", collection.expected.uri, stop)
    if targets is not None:
        targets.wait()
    seen: set[str] = set()
    for collection in case.collections.values():
        if collection.target.uri not in seen:
            seen.add(collection.target.uri)
            yield _input(case, "target", collection.target.uri, stop)
    for log in case.logs:
        yield _input(case, "log", log, stop)
    for role, code in (("suspect", case.suspect), ("corrected", case.corrected)):
        if code is not None:
            yield _input(case, role, code, stop)


def _input(case: Case, role: str, name: str, stop: threading.Event | None) -> InputDigest:
    try:
        path = _local(case, role, resolve_env(name, where=role))
    except CaseError as error:
        return InputDigest(role, name, None, 0, error.what)
    if path is None:
        return InputDigest(
            role, name, None, 0, "not a local file: its content is in the frozen evidence only"
        )
    try:
        digest, size = digest_of(path, stop)
    except OSError as error:
        return InputDigest(role, name, None, 0, f"cannot be read ({error.strerror})")
    return InputDigest(role, name, digest, size, "folder" if path.is_dir() else "")


def _local(case: Case, role: str, uri: str) -> Path | None:
    """Where `uri` lies on this machine, or None for a service, a module or another machine's file."""
    if uri.startswith("file://"):
        return Path(uri.removeprefix("file://"))
    if "://" in uri:
        return None
    if role == "target" or (role.startswith("expected") and ":" in uri):
        scheme, _, rest = uri.partition(":")
        return case.path(rest) if scheme in ("lancedb", "parquet") else None
    if role in ("suspect", "corrected"):
        file, colon, _ = uri.rpartition(":")
        uri = file if colon else uri
        return case.path(uri) if uri.endswith((".py", ".js", ".mjs", ".cjs")) else None
    return case.path(uri)


def record_inputs(
    case: Case,
    run: RunFolder,
    stop: threading.Event | None = None,
    targets: threading.Event | None = None,
) -> tuple[InputDigest, ...]:
    """Write `evidence/inputs.json`: what the inputs were when they were read. Called once, by the collect stage, beside reading
    them; `stop` and `targets` as in `inputs_of`.
    """
    found = tuple(inputs_of(case, stop, targets))
    write_json(
        run.evidence / "inputs.json",
        {"format": _FORMAT, "algorithm": "sha256", "inputs": [_plain(item) for item in found]},
    )
    return found


def _plain(item: InputDigest) -> dict[str, Any]:
    return {name: getattr(item, name) for name in InputDigest.__slots__}


def write_manifest(
    case: Case, run: RunFolder, inputs_now: Sequence[InputDigest] | None = None, written: Collection[str] = ()
) -> str:
    """Seal the run folder: write `manifest.json` and give its SHA-256. Called last; calling it again seals the present state.

    `inputs_now`: the inputs as they are, where somebody has just digested them. `written`: names of files that the caller has
    written since the seal before.
    """
    # The seal must not survive a loss of power that what it vouches for does not.
    for _, path in _files(run.path):
        sync(path)
    for folder, _, _ in os.walk(run.path):
        sync(Path(folder))
    before = _before(run)
    inputs = []
    for item in inputs_of(case) if inputs_now is None else inputs_now:
        was = before.get((item.role, item.name))
        inputs.append(
            {
                "role": item.role,
                "name": item.name,
                "bytes": item.bytes,
                "before": was,
                "after": item.sha256,
                "changed": None if was is None or item.sha256 is None else was != item.sha256,
                "note": item.note,
            }
        )
    outputs = {name: {"sha256": digest, "bytes": size} for name, digest, size in _outputs(run.path)}
    state = {
        "format": _MANIFEST_FORMAT,
        "algorithm": "sha256",
        "case": case.case,
        "run": run.path.name,
        "inputs": inputs,
        "outputs": outputs,
        "journal": [_entry_digest(entry) for entry in entries_of(run.journal()) if _is_sealed(entry)],
        "tools": dict(tool_versions()),
        "git": git_revision(case.folder),
    }
    follows, last = _seals_before(run, outputs, written)
    # Of the same state there is one seal, whoever asks for it again.
    if {key: last.get(key) for key in state} != state:
        write_json(run.manifest_json, {**state, "sealed": now(), "follows": follows})
    with run.locked():
        journal = run.journal()
        if journal.pop(_SINCE, None):
            write_json(run.run_json, journal)
    return digest_of(run.manifest_json)[0]


def _seals_before(
    run: RunFolder, outputs: Mapping[str, Mapping[str, Any]], written: Collection[str]
) -> tuple[list[dict[str, Any]], Mapping[str, Any]]:
    """The seals that the coming one would follow, the oldest first (digest, time, and what nobody had accounted for when it was
    replaced), and the manifest of the last of them."""
    if not run.manifest_json.is_file():
        return [], {}
    last: dict[str, Any] = {"sha256": digest_of(run.manifest_json)[0], "sealed": None, "unaccounted": []}
    try:
        manifest = _sealed(run)
    except EvidenceError:
        return [{**last, "unaccounted": [run.manifest_json.name]}], {}
    now_there = {name: str(entry["sha256"]) for name, entry in outputs.items()}
    changed, missing, extra = _differences(run, manifest, now_there)
    ours = _since_seal(run.journal())
    last["sealed"] = manifest.get("sealed")
    last["unaccounted"] = [
        name
        for name in sorted({*changed, *missing, *extra} - {_NOTES} - set(written))
        if name not in ours or ours[name].get("sha256") != now_there.get(name)
    ]
    return [*(one for one in manifest["follows"] if isinstance(one, dict)), last], manifest


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
            since = _since_seal(journal)
            for name in sorted(touched):
                digest = digest_of(run.path / name)[0] if name in after else None
                # Of a stage within another one the inner one wrote it.
                if since.get(name, {}).get("sha256", "") != digest:
                    since[name] = {"sha256": digest, "by": by, "at": at}
            if touched:
                write_json(run.run_json, {**journal, _SINCE: since})


def _marks(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What shows that a file was written: its inode, size and time."""
    stats = {name: path.stat() for name, path in _sealable(folder) if name != _JOURNAL}
    return {name: (one.st_ino, one.st_size, one.st_mtime_ns) for name, one in stats.items()}


def _since_seal(journal: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By file, what a stage of this run has written since the seal: `sha256` (None: removed), `by`, `at`."""
    since = journal.get(_SINCE)
    entries = since.items() if isinstance(since, dict) else ()
    return {name: entry for name, entry in entries if isinstance(entry, dict)}


def _before(run: RunFolder) -> dict[tuple[str, str], str | None]:
    file = run.evidence / "inputs.json"
    if not file.is_file():
        return {}
    rows = run.read_json(file, made_by="collect").get("inputs")
    if not isinstance(rows, list):
        return {}
    return {
        (str(row.get("role")), str(row.get("name"))): row.get("sha256")
        for row in rows
        if isinstance(row, dict)
    }


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Relative name (with /) and path of each file below `folder`, sorted; symbolic links are not followed."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file() and not path.is_symlink():
                yield path.relative_to(folder).as_posix(), path


def _sealable(folder: Path) -> Iterator[tuple[str, Path]]:
    """What the manifest covers: every file except itself, the locks and files still being written."""
    for name, path in _files(folder):
        if name != "manifest.json" and not path.name.startswith(".") and not name.endswith(_PASSING):
            yield name, path


def _outputs(folder: Path) -> Iterator[tuple[str, str, int]]:
    """Name, digest, size of what the manifest covers."""
    for name, path in _sealable(folder):
        if name == _JOURNAL:
            yield name, *_journal_digest(path)
        else:
            yield name, *digest_of(path)


def _journal_digest(path: Path) -> tuple[str, int]:
    """SHA-256 and size of the head of `run.json`: what stays once the run has begun. Its entries are sealed one by one."""
    try:
        journal = json.loads(path.read_text(encoding="utf-8"))
        head = json.dumps({k: v for k, v in journal.items() if k not in _LIVELY}, sort_keys=True).encode()
    except (ValueError, AttributeError):
        return digest_of(path)
    return hashlib.sha256(head).hexdigest(), len(head)


def _entry_digest(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()


def _is_sealed(entry: Mapping[str, Any]) -> bool:
    """Whether the seal covers it: what has come to an end, except for the stage that seals."""
    return entry.get("status") != "running" and entry.get("stage") != "report"


@lru_cache(maxsize=1)
def tool_versions() -> Mapping[str, str]:
    """What did the work: Python, SQLite, the platform, and each library that is installed."""
    versions = {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "platform": platform.platform(terse=True),
    }
    for name in _TOOLS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return MappingProxyType(versions)


def git_revision(folder: Path) -> str | None:
    """The commit that `folder` stands at, if it lies in a git work tree. Only `rev-parse`: it runs no hook of the repository."""
    git = shutil.which("git")
    if git is None or not folder.is_dir():
        return None
    try:
        done = subprocess.run(  # noqa: S603  a fixed command, no shell
            [git, "-C", str(folder), "rev-parse", "--verify", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@dataclass(frozen=True, slots=True)
class Custody:
    """What `verify` found. `intact` is about the run folder; `inputs_changed` names inputs that are no longer what they were.

    `since`: what stages of this run did after it was sealed, in words; `ours`: the files that they left other than they were
    sealed. `ledger` is "" where it was not checked or is intact, else what is wrong with its chain. `manifest_sha256` is the
    digest to compare with the one that was printed when the run was sealed, `follows` those of the seals before it, the oldest
    first; `unaccounted`: what nobody had accounted for when the run was sealed anew, in words.
    """

    run: Path
    manifest_sha256: str
    checked: int
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    amended: tuple[str, ...] = ()
    inputs_changed: tuple[str, ...] = ()
    ledger: str = ""
    since: tuple[str, ...] = ()
    ours: tuple[str, ...] = ()
    follows: tuple[str, ...] = ()
    unaccounted: tuple[str, ...] = ()

    @property
    def broken(self) -> bool:
        """Whether something is not what was sealed, and no stage of this run says that it did it."""
        return bool(self.changed or self.missing or self.extra or self.ledger)

    @property
    def intact(self) -> bool:
        """Whether every sealed file is there, unchanged, with nothing beside it, and the ledger's chain holds."""
        return not (self.broken or self.ours)

    def lines(self) -> list[str]:
        """The result as lines of text, the worst first."""
        broken = [
            *(f"changed: {name}" for name in self.changed),
            *(f"missing: {name}" for name in self.missing),
            *(f"extra:   {name}" for name in self.extra),
            *((f"ledger:  {self.ledger}",) if self.ledger else ()),
        ]
        files = f"{self.checked:,} sealed file{'' if self.checked == 1 else 's'}"
        if broken:
            head = f"NOT intact: {len(broken):,} difference{'' if len(broken) == 1 else 's'} to the seal over {files}"
        elif self.ours:
            written = "1 file was" if len(self.ours) == 1 else f"{len(self.ours):,} files were"
            head = (
                f"out of date: {written} written after the seal over {files}, by stages of this run as run.json has it. "
                f"Write the report and seal anew: vecforensics report {self.run}"
            )
        else:
            head = f"intact: all {files} are what they were{', whatever ran since' if self.since else ''}"
        return [
            head,
            *broken,
            *(f"written since: {name}" for name in self.ours),
            *(f"since the seal: {what}" for what in self.since),
            *(f"amended since, as it may be: {name}" for name in self.amended),
            *(f"input no longer what it was: {name}" for name in self.inputs_changed),
            *self.unaccounted,
            f"SHA-256 of manifest.json: {self.manifest_sha256}",
            *(f"the seal before it: {one}" for one in self.follows[-1:]),
        ]

    def __str__(self) -> str:
        return "\n".join(printable(line, 1_000) for line in self.lines())

    def _repr_html_(self) -> str:
        from markupsafe import escape

        items = "".join(f"<li>{escape(printable(line, 1_000))}</li>" for line in self.lines())
        return f"<ul>{items}</ul>"


def verify_run(run: RunFolder, *, check_ledger: Callable[[Path], str] | None = None) -> Custody:
    """Re-check every digest of `manifest.json`. Raises EvidenceError where there is no readable manifest.

    `check_ledger` is given the ledger's path and answers "" where its hash chain holds, else what is wrong.
    """
    manifest = _sealed(run)
    sealed = manifest["outputs"]
    found = {name: digest for name, digest, _ in _outputs(run.path)}
    journal = run.journal()
    changed, missing, extra = _differences(run, manifest, found)
    amended = ({_NOTES} & changed) | ({_NOTES} & extra)
    frozen = _frozen(run)
    written = _since_seal(journal)
    ours = {
        name
        for name in (changed | missing | extra) - amended - frozen.keys()
        if name in written and written[name].get("sha256") == found.get(name)
    }
    changed |= {name for name in found.keys() & frozen.keys() if frozen[name] != found[name]}
    follows = [one for one in manifest["follows"] if isinstance(one, dict)]
    return Custody(
        run=run.path,
        manifest_sha256=digest_of(run.manifest_json)[0],
        checked=len(sealed),
        changed=tuple(sorted(changed - amended - ours)),
        missing=tuple(sorted(missing - ours)),
        extra=tuple(sorted(extra - amended - ours)),
        amended=tuple(sorted(amended)),
        inputs_changed=tuple(_inputs_changed(run, manifest["inputs"])),
        ledger=check_ledger(run.ledger_sqlite) if check_ledger and run.ledger_sqlite.is_file() else "",
        since=tuple(_done_since(journal, manifest)),
        ours=tuple(
            f"{name}, by {written[name].get('by')} at {written[name].get('at')}" for name in sorted(ours)
        ),
        follows=tuple(str(one.get("sha256")) for one in follows),
        unaccounted=tuple(
            f"not accounted for when the seal of {one.get('sealed')} was replaced: {', '.join(map(str, names))}"
            for one in follows
            if isinstance(names := one.get("unaccounted"), list) and names
        ),
    )


def _sealed(run: RunFolder) -> dict[str, Any]:
    """`manifest.json`. Raises EvidenceError where it is none, or one of an earlier version."""
    manifest = run.read_json(run.manifest_json, made_by="report")
    lists = ("inputs", "journal", "follows")
    wrong = "has no outputs or inputs in it" if not isinstance(manifest.get("outputs"), dict) else ""
    if not wrong and manifest.get("format") != _MANIFEST_FORMAT:
        wrong = "was written by another version"
    if not wrong and not all(isinstance(manifest.get(key), list) for key in lists):
        wrong = "has no outputs or inputs in it"
    if wrong:
        raise EvidenceError(
            f"is no seal that can be checked ({wrong})",
            where=str(run.manifest_json),
            hint=f"Make it again: vecforensics report {run.path}",
        )
    return manifest


def _differences(
    run: RunFolder, manifest: Mapping[str, Any], found: Mapping[str, str]
) -> tuple[set[str], set[str], set[str]]:
    """Names of what is other than it was sealed: changed, missing, extra."""
    sealed = manifest["outputs"]
    changed = {name for name in sealed.keys() & found.keys() if _sha256(sealed[name]) != found[name]}
    entries = {_entry_digest(entry) for entry in entries_of(run.journal())}
    if {str(digest) for digest in manifest["journal"]} - entries:
        changed.add(_JOURNAL)
    return changed, sealed.keys() - found.keys(), found.keys() - sealed.keys()


def _done_since(journal: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[str]:
    """What stages and notebooks did after the seal, in words, in order of time."""
    known = {str(one) for one in manifest["journal"]}
    new = [
        entry
        for entry in entries_of(journal)
        if entry.get("stage") != "report" and _entry_digest(entry) not in known
    ]
    for entry in sorted(new, key=lambda entry: str(entry.get("began"))):
        name = entry.get("stage") or f"notebook {entry.get('notebook')}"
        parameters = entry.get("parameters")
        mode = parameters.get("mode") if isinstance(parameters, dict) else None
        ends = {"done": "ran", "failed": "failed"}.get(str(entry.get("status")), "began and has not ended")
        yield f"{name}{f' ({mode})' if mode else ''} {ends} at {entry.get('ended') or entry.get('began')}"


def _frozen(run: RunFolder) -> dict[str, str]:
    """What collect wrote down of its own files when it froze them: a second witness, older than the manifest."""
    index = run.evidence / "evidence.json"
    files = run.read_json(index, made_by="collect").get("files") if index.is_file() else None
    if not isinstance(files, dict):
        return {}
    return {f"evidence/{name}": digest for name, digest in files.items() if isinstance(digest, str)}


def _sha256(entry: Any) -> str | None:
    value = entry.get("sha256") if isinstance(entry, Mapping) else None
    return value if isinstance(value, str) else None


def _inputs_changed(run: RunFolder, sealed: list[Any]) -> Iterator[str]:
    """Names of the inputs whose digest is no longer the sealed one; the case says where they lie, never the manifest."""
    try:
        now = {(item.role, item.name): item.sha256 for item in inputs_of(run.case())}
    except InputError:
        yield "all of them: not checked, since the frozen case file cannot be read"
        return
    for row in sealed:
        if not isinstance(row, dict) or not isinstance(row.get("after"), str):
            continue
        key = (str(row.get("role")), str(row.get("name")))
        if now.get(key) != row["after"]:
            yield f"{key[0]} {key[1]}"
