"""The run folder: everything that one investigation knows, under fixed names.

`reports/<case>/<run>/` is the only thing that passes from stage to stage, so that any notebook can be run again alone. Its rules:

* a file appears under its name only when it is whole (written beside it, synced, renamed);
* one process writes at a time, held by an `flock` that the kernel drops when the process dies, so a kill leaves no stale lock;
* `run.json` says which stages began and ended. A stage that began and never ended is `running` there: not done. An entry is never
  lost: when a stage or a notebook is run again, what was noted of the time before goes to the end of the list `earlier`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from vecforensics.case import Case, parse_case
from vecforensics.errors import EvidenceError, InputError, RunLocked, VecforensicsError

__all__ = ["STAGES", "RunFolder", "entries_of", "hold", "now", "sync", "write_json", "write_whole"]

STAGES: Final = ("collect", "diff", "reproduce", "migrate", "report")
_FORMAT: Final = 1
_LOCK: Final = ".lock"
# What one entry of each object of the journal is called.
_ONE: Final = {"stages": "stage", "notebooks": "notebook"}
_RUN_NAME: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z(-[0-9]+)?")


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file so that it is seen whole or not at all, also after a kill or a loss of power."""
    path.parent.mkdir(parents=True, exist_ok=True)
    payload = data.encode() if isinstance(data, str) else data
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
        sync(path.parent)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def sync(path: Path) -> None:
    """Wait until what was written to a file, or the names in a folder, are on the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems have no such thing for a folder; their server keeps the names.
        if error.errno != errno.EINVAL or not path.is_dir():
            raise
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON for people and diff tools: sorted keys, two spaces, a line feed at the end, whole or not at all."""
    write_whole(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


@contextlib.contextmanager
def hold(lock_file: Path, taken: str, *, reentrant: bool = False, patience_s: float = 0.0) -> Iterator[None]:
    """Hold a lock of a run folder, without waiting longer than `patience_s`. Raises RunLocked saying `taken`.

    `reentrant`: this process may take it again while it holds it. It is an `flock`, which the kernel drops when the process dies.
    """
    lock = FileLock(lock_file, is_singleton=reentrant)
    try:
        lock.acquire(timeout=patience_s)
    except Timeout:
        raise RunLocked(taken, where=str(lock_file.parent), hint="Wait for it, or begin a new run") from None
    try:
        yield
    finally:
        lock.release()


class _Place:
    """A fixed name below the run folder, read as an absolute path."""

    def __init__(self, relative: str) -> None:
        self.relative = relative

    def __get__(self, run: RunFolder, owner: type[RunFolder]) -> Path:
        return run.path / self.relative


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of one run, and its journal. `path` is absolute."""

    path: Path

    @classmethod
    def begin(cls, case_file: Path, case: Case, out: Path) -> RunFolder:
        """Make `out/<case>/<utc time>/` and freeze the text of the case file in it.

        Raises InputError where no folder can be made under `out`.
        """
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        parent = (out / case.case).resolve()
        try:
            parent.mkdir(parents=True, exist_ok=True)
            for attempt in range(10_000):
                path = parent / (stamp if attempt == 0 else f"{stamp}-{attempt + 1}")
                try:
                    path.mkdir()
                    break
                except FileExistsError:
                    continue
        except OSError as error:
            raise InputError(
                f"no run can be kept there ({error.strerror})",
                where=str(parent),
                hint="Name a folder that may be written to: --out",
            ) from error
        for folder in (parent, parent.parent):
            sync(folder)
        run = cls(path)
        write_whole(run.evidence / "case.yaml", case_file.read_bytes())
        write_json(
            run.run_json,
            {
                "format": _FORMAT,
                "case": case.case,
                "case_folder": str(case.folder),
                "case_file": case_file.name,
                "run": path.name,
                "status": "running",
                "began": now(),
                "parameters": {},
                "stages": {},
            },
        )
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing run. Raises EvidenceError where `path` is none."""
        folder = Path(path).resolve()
        if not (folder / "run.json").is_file():
            raise EvidenceError(
                "this is no run folder (no run.json in it)",
                where=str(path),
                hint="Begin one: vecforensics collect CASE.yaml",
            )
        return cls(folder)

    @classmethod
    def latest(cls, out: Path, case: str) -> RunFolder | None:
        """The newest run of a case under `out`, if there is one."""
        parent = out / case
        runs = (
            [p for p in parent.glob("*/run.json") if _RUN_NAME.fullmatch(p.parent.name)]
            if parent.is_dir()
            else []
        )
        return cls(max(runs, key=lambda p: p.stat().st_mtime_ns).parent.resolve()) if runs else None

    @staticmethod
    def is_run(path: str | Path) -> bool:
        """Whether a command's argument is a run folder (and not a case file)."""
        return (Path(path) / "run.json").is_file()

    run_json = _Place("run.json")
    manifest_json = _Place("manifest.json")
    evidence = _Place("evidence")
    findings_json = _Place("findings.json")
    findings_parquet = _Place("findings.parquet")
    race = _Place("race")
    witness_json = _Place("race/witness.json")
    repro_py = _Place("race/repro.py")
    rehearsal_json = _Place("race/rehearsal.json")
    corrected_json = _Place("race/corrected.json")
    migration = _Place("migration")
    plan_json = _Place("migration/plan.json")
    ledger_sqlite = _Place("migration/ledger.sqlite")
    verification_json = _Place("migration/verification.json")
    figures = _Place("figures")
    notebooks = _Place("notebooks")
    report_html = _Place("incident-report.html")
    report_md = _Place("incident-report.md")
    junit_xml = _Place("junit.xml")
    summary_md = _Place("summary.md")
    notes_md = _Place("notes.md")

    def journal(self) -> dict[str, Any]:
        """`run.json` as it stands."""
        return self.read_json(self.run_json, made_by="collect")

    def case(self) -> Case:
        """The case as it was frozen when the run began."""
        file = self.evidence / "case.yaml"
        if not file.is_file():
            raise EvidenceError(
                "the run folder holds no case file",
                where=str(file),
                hint="Begin a new run: vecforensics collect CASE.yaml",
            )
        return parse_case(
            file.read_text(encoding="utf-8"), folder=Path(self.journal()["case_folder"]), where=str(file)
        )

    def read_json(self, path: Path, *, made_by: str) -> dict[str, Any]:
        """A JSON file of this run. Raises EvidenceError naming the verb that makes it."""
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise EvidenceError(
                "has not been made yet",
                where=str(path),
                hint=f"Run first: vecforensics {made_by} {self.path}",
            ) from None
        except (ValueError, UnicodeDecodeError) as error:
            raise EvidenceError(
                f"is damaged ({error})",
                where=str(path),
                hint=f"Make it again: vecforensics {made_by} {self.path}",
            ) from None
        if not isinstance(value, dict):
            raise EvidenceError(
                "is damaged (no object)",
                where=str(path),
                hint=f"Make it again: vecforensics {made_by} {self.path}",
            )
        return value

    def done(self, stage: str) -> bool:
        """Whether a stage has ended well in this run."""
        return bool(self.journal()["stages"].get(stage, {}).get("status") == "done")

    def note(self, **changes: Any) -> None:
        """Put keys into `run.json` (status, parameters, …)."""
        write_json(self.run_json, {**self.journal(), **changes})

    @contextlib.contextmanager
    def locked(self, patience_s: float = 0.0) -> Iterator[None]:
        """Hold the run folder for writing; re-entrant within one process. Raises RunLocked where another process works on it."""
        taken = "another process works on this run"
        with hold(self.path / _LOCK, taken, reentrant=True, patience_s=patience_s):
            yield

    @contextlib.contextmanager
    def stage(self, name: str, parameters: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Hold the lock and journal one stage: running → done, or failed with the error's one line."""
        with self.locked():
            entry: dict[str, Any] = {
                "status": "running",
                "began": now(),
                "parameters": dict(parameters or {}),
            }
            self.enter("stages", name, entry)
            try:
                yield
            except BaseException as error:
                reason = str(error) if isinstance(error, VecforensicsError) else type(error).__name__
                self.enter("stages", name, {**entry, "status": "failed", "ended": now(), "error": reason})
                raise
            self.enter("stages", name, {**entry, "status": "done", "ended": now()})

    def enter(self, kind: str, name: str, entry: Mapping[str, Any]) -> None:
        """Note how far a stage or a notebook is (`kind`: "stages" or "notebooks"); what was noted of the time before is kept."""
        with self.locked():
            journal = self.journal()
            entries = journal.setdefault(kind, {})
            before = entries.get(name)
            # The same time goes from running to done or failed, and nowhere else.
            if before and (before.get("status") != "running" or before.get("began") != entry["began"]):
                journal.setdefault("earlier", []).append({_ONE[kind]: name, **before})
            entries[name] = dict(entry)
            write_json(self.run_json, journal)


def entries_of(journal: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every entry of a run's journal under its name (`stage` or `notebook`), the times that were followed by another first."""
    earlier = journal.get("earlier", [])
    found = [entry for entry in earlier if isinstance(entry, dict)] if isinstance(earlier, list) else []
    for kind, one in _ONE.items():
        entries = journal.get(kind, {})
        if isinstance(entries, dict):
            found += [{one: name, **entry} for name, entry in entries.items() if isinstance(entry, dict)]
    return found


def now() -> str:
    """This moment as it stands in a journal: ISO 8601 in UTC, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
