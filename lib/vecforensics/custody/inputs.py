"""What went in: the inputs that a case names, by their SHA-256, as they are now and as they were when they were read."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vecforensics.case import Case, resolve_env
from vecforensics.errors import CaseError
from vecforensics.run_folder import RunFolder, write_json

__all__ = ["InputDigest", "digest_of", "files_below", "inputs_before", "inputs_of", "record_inputs"]

_FORMAT: Final = 1
# Long enough for a thread that hashes beside busy ones: between blocks it waits for its turn.
_CHUNK: Final = 4 << 20


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
    for name, file_path in files_below(path):
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
    return InputDigest(role, name, digest, size, _note(path))


def _note(path: Path) -> str:
    log = Path(f"{path}-wal")
    if log.is_file() and log.stat().st_size:
        return f"the digest is that of the database without {log.name}, its write-ahead log"
    return "folder" if path.is_dir() else ""


def _local(case: Case, role: str, uri: str) -> Path | None:
    """Where `uri` lies on this machine, or None for a service, a module or another machine's file."""
    if uri.startswith("file://"):
        return Path(uri.removeprefix("file://"))
    if role.startswith("source") and uri.startswith(("sqlite://", "sqlite+")):
        from vecforensics.sources.databases import sqlite_file

        return sqlite_file(uri, case.folder)
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


def inputs_before(run: RunFolder) -> dict[tuple[str, str], str | None]:
    """By role and name, the SHA-256 of each input as it was when the evidence was collected."""
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


def files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """Relative name (with /) and path of each file below `folder`, sorted; symbolic links are not followed."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file() and not path.is_symlink():
                yield path.relative_to(folder).as_posix(), path
