"""The chain of custody: SHA-256 of what went in and of what came out, and the check that nothing was touched since.

Three moments. `record_inputs` runs while evidence is collected, which changes nothing, and writes what the inputs (sources, logs,
the suspect, local stores) were *before* anything was done. `write_manifest` runs last and writes `manifest.json`: the inputs once
more, *after*, and every file of the run folder. `verify_run` re-computes all of it and lists what changed, went missing or came
along.

What this can show is that the run folder is the one that was sealed. Whoever can rewrite a file can rewrite the manifest too,
so the digest of the manifest is printed when it is written: keep it somewhere else. Three things may change without breaking
the seal and are therefore named apart: `notes.md` (the analyst goes on writing), the end of the report stage in `run.json`
(it is noted after sealing), and the inputs, which belong to somebody else and live on.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from vecforensics.case import Case, resolve_env
from vecforensics.errors import CaseError, EvidenceError, InputError, printable
from vecforensics.run_folder import RunFolder, sync, write_json

__all__ = [
    "Custody",
    "InputDigest",
    "digest_of",
    "git_revision",
    "inputs_of",
    "record_inputs",
    "tool_versions",
    "verify_run",
    "write_manifest",
]

_FORMAT: Final = 1
# Long enough for a thread that hashes beside busy ones: between blocks it waits for its turn.
_CHUNK: Final = 4 << 20
_NOTES: Final = "notes.md"
_JOURNAL: Final = "run.json"
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


def write_manifest(case: Case, run: RunFolder, now: Sequence[InputDigest] | None = None) -> str:
    """Seal the run folder: write `manifest.json` and give its SHA-256. Called last; calling it again seals the present state.

    `now`: the inputs as they are, where somebody has just digested them.
    """
    # The seal must not survive a loss of power that what it vouches for does not.
    for _, path in _files(run.path):
        sync(path)
    for folder, _, _ in os.walk(run.path):
        sync(Path(folder))
    before = _before(run)
    inputs = []
    for item in inputs_of(case) if now is None else now:
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
    write_json(
        run.manifest_json,
        {
            "format": _FORMAT,
            "algorithm": "sha256",
            "case": case.case,
            "run": run.path.name,
            "inputs": inputs,
            "outputs": {name: {"sha256": digest, "bytes": size} for name, digest, size in _outputs(run.path)},
            "tools": dict(tool_versions()),
            "git": git_revision(case.folder),
        },
    )
    return digest_of(run.manifest_json)[0]


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


def _outputs(folder: Path) -> Iterator[tuple[str, str, int]]:
    """Name, digest, size of what the manifest covers: every file except itself, the lock and files still being written."""
    for name, path in _files(folder):
        if name == "manifest.json" or path.name.startswith(".") or name.endswith(_PASSING):
            continue
        if name == _JOURNAL:
            yield name, _journal_digest(path), path.stat().st_size
        else:
            yield name, *digest_of(path)


def _journal_digest(path: Path) -> str:
    """SHA-256 of `run.json` without what is noted after sealing: the status, and how the report stage ended."""
    try:
        journal = json.loads(path.read_text(encoding="utf-8"))
        kept = {key: value for key, value in journal.items() if key not in ("status", "ended")}
        kept["stages"] = {name: entry for name, entry in journal["stages"].items() if name != "report"}
    except (ValueError, KeyError, AttributeError):
        return digest_of(path)[0]
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


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

    `ledger` is "" where it was not checked or is intact, else what is wrong with its chain. `manifest_sha256` is the digest to
    compare with the one that was printed when the run was sealed.
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

    @property
    def intact(self) -> bool:
        """Whether every sealed file is there, unchanged, with nothing beside it, and the ledger's chain holds."""
        return not (self.changed or self.missing or self.extra or self.ledger)

    def lines(self) -> list[str]:
        """The result as lines of text, the worst first."""
        broken = [
            *(f"changed: {name}" for name in self.changed),
            *(f"missing: {name}" for name in self.missing),
            *(f"extra:   {name}" for name in self.extra),
            *((f"ledger:  {self.ledger}",) if self.ledger else ()),
        ]
        head = (
            f"intact: all {self.checked:,} sealed files are what they were"
            if self.intact
            else f"NOT intact: {len(broken):,} differences to the seal over {self.checked:,} files"
        )
        return [
            head,
            *broken,
            *(f"amended since, as it may be: {name}" for name in self.amended),
            *(f"input no longer what it was: {name}" for name in self.inputs_changed),
            f"SHA-256 of manifest.json: {self.manifest_sha256}",
        ]

    def __str__(self) -> str:
        return "\n".join(printable(line) for line in self.lines())

    def _repr_html_(self) -> str:
        from markupsafe import escape

        return "<ul>" + "".join(f"<li>{escape(printable(line))}</li>" for line in self.lines()) + "</ul>"


def verify_run(run: RunFolder, *, check_ledger: Callable[[Path], str] | None = None) -> Custody:
    """Re-check every digest of `manifest.json`. Raises EvidenceError where there is no readable manifest.

    `check_ledger` is given the ledger's path and answers "" where its hash chain holds, else what is wrong.
    """
    manifest = run.read_json(run.manifest_json, made_by="report")
    sealed, inputs = manifest.get("outputs"), manifest.get("inputs")
    if not isinstance(sealed, dict) or not isinstance(inputs, list):
        raise EvidenceError(
            "is damaged (no outputs or inputs in it)",
            where=str(run.manifest_json),
            hint=f"Make it again: vecforensics report {run.path}",
        )
    found = {name: digest for name, digest, _ in _outputs(run.path)}
    frozen = _frozen(run)
    amended = {
        name for name in (_NOTES,) if name in found and _sha256(sealed.get(name)) not in (None, found[name])
    }
    amended |= {_NOTES} & (found.keys() - sealed.keys())
    return Custody(
        run=run.path,
        manifest_sha256=digest_of(run.manifest_json)[0],
        checked=len(sealed),
        changed=tuple(
            name
            for name in sorted(sealed.keys() & found.keys())
            if name not in amended
            and (_sha256(sealed[name]) != found[name] or frozen.get(name, found[name]) != found[name])
        ),
        missing=tuple(sorted(sealed.keys() - found.keys())),
        extra=tuple(sorted(found.keys() - sealed.keys() - amended)),
        amended=tuple(sorted(amended)),
        inputs_changed=tuple(_inputs_changed(run, inputs)),
        ledger=check_ledger(run.ledger_sqlite) if check_ledger and run.ledger_sqlite.is_file() else "",
    )


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
