"""The chain under the ledger: the states an operation goes through, and how every entry hangs on the one before.

    PLANNED → INTENT → SENT → APPLIED → VERIFIED → DONE | QUARANTINED | ROLLED_BACK

An entry's digest is SHA-256 over the digest before it and all of its own columns; a PLANNED entry covers the planned operation as
well, and the note of a pre-image names the digest of the rows saved. So nothing in the three tables can change, come or go
without breaking the chain, except at its end: that is what the head, a file of its own, is for.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

__all__ = [
    "ALLOWED",
    "GENESIS",
    "NOTE",
    "STATES",
    "Broken",
    "Entry",
    "Operation",
    "State",
    "code",
    "link",
    "walk",
]

GENESIS: Final = hashlib.sha256(b"vecforensics ledger 1").digest()
NOTE: Final = "NOTE:"


class State(StrEnum):
    """How far an operation got."""

    PLANNED = "PLANNED"
    INTENT = "INTENT"
    SENT = "SENT"
    APPLIED = "APPLIED"
    VERIFIED = "VERIFIED"
    DONE = "DONE"
    QUARANTINED = "QUARANTINED"
    ROLLED_BACK = "ROLLED_BACK"


STATES: Final = tuple(State)
_CODE: Final = {state: number for number, state in enumerate(STATES)}

# APPLIED → SENT: acknowledged, but not there when it was read back; it is sent once more.
# QUARANTINED → INTENT, SENT: the other side turned out to refuse everything, so that the record was not to blame.
ALLOWED: Final[Mapping[State, frozenset[State]]] = {
    State.PLANNED: frozenset({State.INTENT, State.QUARANTINED}),
    State.INTENT: frozenset({State.SENT, State.QUARANTINED, State.ROLLED_BACK}),
    State.SENT: frozenset({State.APPLIED, State.QUARANTINED, State.ROLLED_BACK}),
    State.APPLIED: frozenset({State.VERIFIED, State.SENT, State.QUARANTINED, State.ROLLED_BACK}),
    State.VERIFIED: frozenset({State.DONE, State.ROLLED_BACK}),
    State.DONE: frozenset({State.ROLLED_BACK}),
    State.QUARANTINED: frozenset({State.INTENT, State.SENT, State.ROLLED_BACK}),
    State.ROLLED_BACK: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One planned effect. `op` counts from 1; one operation a (collection, id). `because`: why, as canonical JSON."""

    op: int
    chunk: int
    kind: str
    collection: str
    id: str
    because: str = "{}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the chain. `op` is 0 for a note about the whole run, whose `state` then is `NOTE:` and its name."""

    seq: int
    op: int
    state: str
    detail: str
    at: str


class Broken(Exception):
    """The chain does not hold; the text says where."""


def code(state: str) -> int:
    """The number under which a state is kept in memory. Raises ValueError for a name that is none."""
    return _CODE[State(state)]


def link(previous: bytes, columns: Sequence[Any], operation: Operation | None) -> bytes:
    """The digest of an entry: SHA-256 over the one before and all columns, each in JSON so that no two splits coincide."""
    fields = list(columns)
    if operation is not None:
        fields += [
            operation.op,
            operation.chunk,
            operation.kind,
            operation.collection,
            operation.id,
            operation.because,
        ]
    return hashlib.sha256(previous + json.dumps(fields).encode()).digest()


def walk(connection: sqlite3.Connection, head: tuple[int, bytes]) -> tuple[int, bytes, bytearray]:
    """Recompute the chain: last number, last digest, the state of each operation (index 0 is unused). Raises Broken.

    `head`: number and digest of an entry that is known to have been written.
    """
    operations, images = connection.execute(
        "SELECT (SELECT count(*) FROM operation), (SELECT count(*) FROM preimage)"
    ).fetchone()
    digest, seq, planned, saved = GENESIS, 0, 0, 0
    states = bytearray(operations + 1)
    query = (
        "SELECT e.seq, e.op, e.state, e.detail, e.at, e.digest, o.op, o.chunk, o.kind, o.collection, o.id, o.because "
        "FROM entry e LEFT JOIN operation o ON e.state = 'PLANNED' AND o.op = e.op ORDER BY e.seq"
    )
    for row in connection.execute(query):
        seq += 1
        operation = Operation(*row[6:]) if row[6] is not None else None
        digest = link(digest, row[:5], operation)
        if row[0] != seq or row[5] != digest:
            raise Broken(f"the chain breaks at entry {min(row[0], seq)}")
        if seq == head[0] and digest != head[1]:
            raise Broken(f"entry {seq} is not the one that was written")
        if row[1] == 0:
            saved += row[2] == f"{NOTE}pre-image" and _image_stands(connection, row[3], seq)
        elif operation is not None:
            planned += 1
            states[row[1]] = _CODE[State.PLANNED]
        elif not 0 < row[1] <= operations or State(row[2]) not in ALLOWED[STATES[states[row[1]]]]:
            raise Broken(f"entry {seq} is no step that can follow")
        else:
            states[row[1]] = _CODE[State(row[2])]
    if seq < head[0]:
        raise Broken(f"the end is torn off: entries {seq + 1} to {head[0]} were written and are gone")
    if planned != operations or saved != images:
        raise Broken("it holds operations or pre-images that no entry speaks of")
    return seq, digest, states


def _image_stands(connection: sqlite3.Connection, detail: str, seq: int) -> bool:
    note = json.loads(detail)
    query = "SELECT collection, rows FROM preimage WHERE number = ?"
    row = connection.execute(query, (note["number"],)).fetchone()
    if row is None or row[0] != note["collection"] or hashlib.sha256(row[1]).hexdigest() != note["sha256"]:
        raise Broken(f"the pre-image of entry {seq} is not the one that was saved")
    return True
