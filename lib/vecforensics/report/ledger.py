"""The repair's ledger in brief, read without touching it: how many operations came how far, and when.

SQLite would leave files beside a database that it opens, and fold a write-ahead log into it. So a ledger without such a log is
opened as immutable, and one with a log is copied first. Whether its hash chain holds is for `vecforensics verify` to say.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["LedgerDigest", "Quarantined", "read_ledger_digest"]

_MOST_QUARANTINED = 20
_APPLIED = ("APPLIED", "VERIFIED", "DONE")


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An operation that was given up, and why."""

    collection: str
    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class LedgerDigest:
    """`states`: operations by the state they ended in; `kinds`: by what they do. `first`, `last`: UTC texts of the entries.

    `rolling_back`: a roll-back was begun; `concluded`: what was begun last, a repair or a roll-back, came to its verification.
    `problem` is set, and everything else empty, where the file cannot be read.
    """

    states: Mapping[str, int] = field(default_factory=dict)
    kinds: Mapping[str, int] = field(default_factory=dict)
    entries: int = 0
    first: str = ""
    last: str = ""
    first_write: str = ""
    last_write: str = ""
    quarantine: tuple[Quarantined, ...] = ()
    rolling_back: bool = False
    concluded: bool = False
    problem: str = ""

    @property
    def operations(self) -> int:
        return sum(self.states.values())

    @property
    def applied(self) -> int:
        """Operations that the store acknowledged and that were not rolled back."""
        return sum(self.states.get(state, 0) for state in _APPLIED)

    @property
    def quarantined(self) -> int:
        return self.states.get("QUARANTINED", 0)

    @property
    def rolled_back(self) -> int:
        return self.states.get("ROLLED_BACK", 0)

    @property
    def read_back(self) -> int:
        """Operations that were found to stand as meant and that were not rolled back."""
        return self.states.get("VERIFIED", 0) + self.states.get("DONE", 0)

    @property
    def broke_off(self) -> bool:
        """Whether a repair was begun and has not come to its end, and nobody began to take it back."""
        ended = self.states.get("DONE", 0) + self.quarantined + self.rolled_back
        return not self.rolling_back and not self.rolled_back and ended < self.operations

    @property
    def roll_back_broke_off(self) -> bool:
        """Whether a roll-back was begun and has not come to its end."""
        return self.rolling_back and not self.concluded

    @property
    def in_doubt(self) -> int:
        """Operations that were sent and whose outcome nobody has read back yet."""
        return self.states.get("SENT", 0)


def read_ledger_digest(path: Path) -> LedgerDigest | None:
    """The ledger in brief; None where there is none."""
    if not path.is_file() or path.stat().st_size == 0:
        return None
    try:
        with _opened(path) as connection:
            return _digest(connection)
    except (sqlite3.Error, OSError) as error:
        return LedgerDigest(problem=f"cannot be read ({error})")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    log = Path(f"{path}-wal")
    with contextlib.ExitStack() as stack:
        file, options = path, "mode=ro&immutable=1"
        if log.is_file() and log.stat().st_size:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vecforensics-")))
            file, options = folder / path.name, "mode=rw"
            shutil.copyfile(path, file)
            shutil.copyfile(log, f"{file}-wal")
        yield stack.enter_context(contextlib.closing(sqlite3.connect(f"{file.as_uri()}?{options}", uri=True)))


def _digest(connection: sqlite3.Connection) -> LedgerDigest:
    def pairs(query: str) -> dict[str, int]:
        return {str(name): int(number) for name, number in connection.execute(query)}

    def span(where: str) -> tuple[int, str, str]:
        number, first, last = connection.execute(
            f"SELECT count(*), min(at), max(at) FROM entry WHERE {where}"  # noqa: S608  our own words
        ).fetchone()
        return int(number), str(first or ""), str(last or "")

    entries, first, last = span("1")
    _, first_write, last_write = span("state IN ('SENT', 'APPLIED')")
    notes = dict(
        connection.execute(
            "SELECT state, max(seq) FROM entry WHERE state LIKE 'NOTE:%' GROUP BY state"
        ).fetchall()
    )
    begun = max(notes.get(f"NOTE:{name}", 0) for name in ("plan", "resumed", "rollback"))
    return LedgerDigest(
        # With one max() SQLite gives the other columns of the very row that holds the maximum.
        states=pairs(
            "SELECT state, count(*) FROM (SELECT op, state, max(seq) FROM entry WHERE op > 0 GROUP BY op) "
            "GROUP BY state ORDER BY state"
        ),
        kinds=pairs("SELECT kind, count(*) FROM operation GROUP BY kind ORDER BY kind"),
        entries=entries,
        first=first,
        last=last,
        first_write=first_write,
        last_write=last_write,
        rolling_back="NOTE:rollback" in notes,
        concluded=notes.get("NOTE:verified", 0) > begun,
        quarantine=tuple(
            Quarantined(str(collection), str(record_id), str(reason))
            for collection, record_id, reason in connection.execute(
                "SELECT o.collection, o.id, e.detail FROM entry e JOIN operation o USING (op) "
                "WHERE e.state = 'QUARANTINED' AND e.seq = (SELECT max(seq) FROM entry WHERE op = e.op) ORDER BY e.seq LIMIT ?",
                (_MOST_QUARANTINED,),
            )
        ),
    )
