"""The ledger: what is meant to be done to the target, how far it got, and what stood there before.

Every effect is written here before it is tried and again when its outcome is known. Each operation goes its way through

    PLANNED → INTENT (pre-image saved) → SENT → APPLIED → VERIFIED → DONE | QUARANTINED | ROLLED_BACK

and no other. So after a kill at any point the state says what may have happened: at PLANNED and INTENT nothing was sent,
at SENT the outcome is unknown and has to be read back, from APPLIED on the store has acknowledged it.

SQLite in WAL mode with synchronous=FULL; one commit a batch; one connection a thread (a shared one loses rows silently under
threads). Each entry carries a SHA-256 over all its columns and the entry before it; the planned operations and the pre-images
hang on it too. `ledger.head` beside the database repeats the last entry's number and digest after each commit: SQLite quietly
forgets commits when its write-ahead log is cut short, and only something outside can notice. A chain shows damage and clumsy
tampering. Who can rewrite both files can forge both, so seal the run (`manifest.json`) and keep that digest elsewhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from vecforensics.errors import EvidenceError, ToolFailed, printable
from vecforensics.migrate.chain import (
    ALLOWED,
    GENESIS,
    NOTE,
    STATES,
    Broken,
    Entry,
    Operation,
    State,
    code,
    link,
    walk,
)
from vecforensics.records import canonical_json

__all__ = ["Ledger", "check_ledger"]


_SCHEMA: Final = """
CREATE TABLE operation (
    op INTEGER PRIMARY KEY, chunk INTEGER NOT NULL, kind TEXT NOT NULL, collection TEXT NOT NULL, id TEXT NOT NULL,
    because TEXT NOT NULL, UNIQUE (collection, id)
) STRICT;
CREATE TABLE preimage (number INTEGER PRIMARY KEY, collection TEXT NOT NULL, rows BLOB NOT NULL) STRICT;
CREATE TABLE entry (
    seq INTEGER PRIMARY KEY, op INTEGER NOT NULL, state TEXT NOT NULL, detail TEXT NOT NULL, at TEXT NOT NULL,
    digest BLOB NOT NULL
) STRICT;
"""


class Ledger:
    """An open ledger. Not to be used after `close`. Several threads may share it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._lock = threading.RLock()
        self._seq = 0
        self._digest = GENESIS
        self._states = bytearray(1)
        self._head = -1

    @classmethod
    def create(cls, path: Path, operations: Iterable[Operation], plan: Mapping[str, Any]) -> Ledger:
        """A new ledger holding `operations` as PLANNED and `plan` as its first note, in one commit: all of it or nothing."""
        ledger = cls(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{path}{suffix}")
        ledger._write_head()
        with ledger._mapped():
            connection = ledger._connection()
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("BEGIN IMMEDIATE")
            for statement in filter(str.strip, _SCHEMA.split(";")):
                connection.execute(statement)
            planned = list(operations)
            connection.executemany(
                "INSERT INTO operation VALUES (?, ?, ?, ?, ?, ?)",
                ((o.op, o.chunk, o.kind, o.collection, o.id, o.because) for o in planned),
            )
            ledger._append([(0, f"{NOTE}plan", canonical_json(plan), None)], connection)
            ledger._append([(o.op, State.PLANNED, "", o) for o in planned], connection)
            connection.execute("COMMIT")
            ledger._states = bytearray([code(State.PLANNED)]) * (len(planned) + 1)
            ledger._write_head()
        return ledger

    @classmethod
    def open(cls, path: Path) -> Ledger:
        """An existing ledger, its chain checked first. Raises EvidenceError where there is none or where it is damaged."""
        ledger = cls(path)
        try:
            ledger.verify_chain()
        except BaseException:
            ledger.close()
            raise
        return ledger

    @staticmethod
    def begun(path: Path) -> bool:
        """Whether there is a ledger at all: a creation that was killed leaves an empty file, and nothing has happened then."""
        with contextlib.suppress(OSError, ValueError):
            if int(_head_path(path).read_text(encoding="ascii").split()[0]) > 0:
                return True
        if not path.is_file() or path.stat().st_size == 0:
            return False
        try:
            connection = sqlite3.connect(path)
            with contextlib.closing(connection):
                tables: int = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
                return tables > 0
        except sqlite3.DatabaseError:
            return True

    # --- what stands ---------------------------------------------------------------------------------------------------

    def state(self, op: int) -> State:
        """The state of one operation."""
        return STATES[self._states[op]]

    def counts(self) -> dict[State, int]:
        """How many operations are in each state; zeros are there too."""
        return {state: self._states.count(number, 1) for number, state in enumerate(STATES)}

    def operations(self, chunk: int | None = None) -> Iterator[Operation]:
        """The planned operations in order, of one chunk or all."""
        with self._mapped():
            where, args = ("", ()) if chunk is None else (" WHERE chunk = ?", (chunk,))
            for row in self._connection().execute(f"SELECT * FROM operation{where} ORDER BY op", args):  # noqa: S608
                yield Operation(*row)

    def find(self, collection: str, record_id: str) -> Operation | None:
        """The operation on one key, if there is one."""
        with self._mapped():
            row = (
                self._connection()
                .execute("SELECT * FROM operation WHERE collection = ? AND id = ?", (collection, record_id))
                .fetchone()
            )
        return Operation(*row) if row else None

    def entries(self, *states: str) -> Iterator[Entry]:
        """The chain in order, or only the entries of some states."""
        with self._mapped():
            marks = ", ".join("?" * len(states))
            where = f" WHERE state IN ({marks})" if states else ""
            query = f"SELECT seq, op, state, detail, at FROM entry{where} ORDER BY seq"  # noqa: S608
            for row in self._connection().execute(query, states):
                yield Entry(*row)

    def last_step(self) -> str:
        """When an operation last took a step, as the ledger writes times."""
        with self._mapped():
            found = (
                self._connection()
                .execute("SELECT at FROM entry WHERE op > 0 ORDER BY seq DESC LIMIT 1")
                .fetchone()
            )
        return str(found[0]) if found else ""

    def notes(self, name: str) -> list[dict[str, Any]]:
        """The details of all notes of that name."""
        return [json.loads(entry.detail) for entry in self.entries(f"{NOTE}{name}")]

    def preimages(self) -> Iterator[tuple[str, tuple[int, ...], bytes]]:
        """(collection, operations, rows) of every pre-image saved; rows as they were given."""
        for note in self.notes("pre-image"):
            with self._mapped():
                rows = (
                    self._connection()
                    .execute("SELECT rows FROM preimage WHERE number = ?", (note["number"],))
                    .fetchone()[0]
                )
            yield note["collection"], tuple(note["ops"]), rows

    # --- what happens --------------------------------------------------------------------------------------------------

    def advance(self, ops: Sequence[int], state: State, detail: str | Mapping[int, str] = "") -> None:
        """Bring operations to `state`, in one commit. `detail`: why or how. Raises ToolFailed for a forbidden step."""
        each = dict.fromkeys(ops, detail) if isinstance(detail, str) else detail
        self._commit([(op, state, each[op], None) for op in ops])

    def save_preimage(self, collection: str, ops: Sequence[int], rows: bytes) -> None:
        """Keep what stands under the keys of `ops` (PLANNED), and bring them to INTENT, in one commit."""
        with self._lock:
            number = self._seq + 1
            note = {
                "number": number,
                "collection": collection,
                "ops": list(ops),
                "sha256": hashlib.sha256(rows).hexdigest(),
            }
            self._commit(
                [
                    (0, f"{NOTE}pre-image", canonical_json(note), None),
                    *((op, State.INTENT, "", None) for op in ops),
                ],
                ("INSERT INTO preimage VALUES (?, ?, ?)", (number, collection, rows)),
            )

    def note(self, name: str, detail: Mapping[str, Any]) -> None:
        """Say something about the whole run: a resumption, a retry, the end."""
        self._commit([(0, f"{NOTE}{name}", canonical_json(detail), None)])

    def _commit(
        self,
        entries: list[tuple[int, str, str, Operation | None]],
        with_: tuple[str, tuple[Any, ...]] | None = None,
    ) -> None:
        if not entries:
            return
        with self._lock, self._mapped():
            for op, state, _, _ in entries:
                if op and State(state) not in ALLOWED[self.state(op)]:
                    raise ToolFailed(
                        f"operation {op} cannot go from {self.state(op)} to {state}",
                        where=str(self.path),
                        hint="This is an error of vecforensics; please report it",
                    )
            before = (self._seq, self._digest)
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                if with_:
                    connection.execute(*with_)
                self._append(entries, connection)
                connection.execute("COMMIT")
            except BaseException:
                self._seq, self._digest = before
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            for op, state, _, _ in entries:
                if op:
                    self._states[op] = code(state)
            self._write_head()

    def _append(
        self, entries: Iterable[tuple[int, str, str, Operation | None]], connection: sqlite3.Connection
    ) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        rows = []
        for op, state, detail, planned in entries:
            self._seq += 1
            self._digest = link(self._digest, (self._seq, op, str(state), detail, at), planned)
            rows.append((self._seq, op, str(state), detail, at, self._digest))
        connection.executemany("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)", rows)

    def _write_head(self) -> None:
        if self._head < 0:
            self._head = os.open(_head_path(self.path), os.O_RDWR | os.O_CREAT, 0o644)
        os.pwrite(self._head, f"{self._seq:020d} {self._digest.hex()}\n".encode(), 0)
        os.fdatasync(self._head)

    # --- whether it is whole ---------------------------------------------------------------------------------------------

    def verify_chain(self) -> int:
        """Recompute everything and give the number of entries. Raises EvidenceError with one line for the first thing wrong."""
        if not self.path.is_file():
            raise EvidenceError(
                "there is no ledger", where=str(self.path), hint="Run first: vecforensics migrate --apply"
            )
        head = self._read_head()
        with self._lock, self._mapped():
            connection = self._connection()
            # A torn last page is filled up with zeros by SQLite without a word, and may have ended in zeros anyway.
            if self.path.stat().st_size % connection.execute("PRAGMA page_size").fetchone()[0]:
                raise self._damaged("the file does not end at the end of a page")
            problem = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if problem != "ok":
                raise self._damaged(f"SQLite finds it broken ({' '.join(str(problem).split())})")
            try:
                self._seq, self._digest, self._states = walk(connection, head)
            except Broken as broken:
                raise self._damaged(str(broken)) from None
        return self._seq

    def _read_head(self) -> tuple[int, bytes]:
        path = _head_path(self.path)
        try:
            number, digest = path.read_text(encoding="ascii").split()
            return int(number), bytes.fromhex(digest)
        except FileNotFoundError:
            raise self._damaged(f"{path.name} beside it is gone") from None
        except ValueError:
            raise self._damaged(f"{path.name} beside it is unreadable") from None

    def _damaged(self, what: str) -> EvidenceError:
        return EvidenceError(
            f"the ledger is damaged: {what}",
            where=str(self.path),
            hint="Restore it from a copy; without it nothing can be resumed or rolled back; a new run can still repair",
        )

    def close(self) -> None:
        """Fold the write-ahead log into the file and let go of all connections. The threads that used it must be done."""
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()
            self._connections.clear()
            self._local = threading.local()
            if self._head >= 0:
                os.close(self._head)
                self._head = -1

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA synchronous=FULL")
            self._local.connection = connection
            self._connections.append(connection)
        return connection

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        """SQLite's errors as ours: a broken file is damage, anything else (a full disk) ends the work."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "UTF-8" in str(error) or "malformed" in str(error):
                raise self._damaged(printable(error)) from None
            raise ToolFailed(
                f"the ledger cannot be used ({error}); nothing more is sent",
                where=str(self.path),
                hint="Make room or mend the rights, then run the same command again",
            ) from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if isinstance(error, sqlite3.IntegrityError):
                raise ToolFailed(
                    f"two operations on one key ({error})",
                    where=str(self.path),
                    hint="This is an error of vecforensics; please report it",
                ) from error
            raise self._damaged(printable(error)) from None
        except (ValueError, KeyError) as error:
            raise self._damaged(f"an entry makes no sense ({printable(error)})") from None


def check_ledger(path: Path) -> str:
    """ "" where the ledger at `path` is whole, else what is wrong with it in one line."""
    try:
        Ledger.open(path).close()
    except (EvidenceError, ToolFailed) as error:
        return error.what
    return ""


def _head_path(path: Path) -> Path:
    return path.with_name("ledger.head")
