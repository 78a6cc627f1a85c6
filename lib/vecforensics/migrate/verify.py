"""Verification: does the target hold what the source says? Asked by another path than the writer's.

Everything here is made anew: a reader that cannot write, an enumeration of the whole target by `scan`, an own comparison. It
shares no code with the lanes, and of the ledger it takes only the pre-images (`beside.py`), so that an error there cannot hide
itself here; it is small for the same reason and
says only *that* something is wrong, seldom why: a swapped vector is `drifted` here, a mangled id is an `orphan` and a `missing`
record. Run the diff on fresh evidence for the classes. What is benign the diff has said already (`doubts.py`).

How it goes: the target is written once into a scratch SQLite file; then the frozen source streams past it in batches. Memory is
bounded by a batch, whatever the size of either side.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vecforensics import stores
from vecforensics.arrow_columns import matrix_of
from vecforensics.case import Case
from vecforensics.custody import inputs_of
from vecforensics.errors import EvidenceError, TargetError
from vecforensics.evidence import Evidence
from vecforensics.findings import Kind
from vecforensics.metadata_rule import MetadataRule
from vecforensics.migrate.beside import compare_beside
from vecforensics.migrate.doubts import Doubts, vector_bytes
from vecforensics.migrate.ledger import Ledger
from vecforensics.migrate.verification import Tally, Verification
from vecforensics.records import PARENT_PREFIX
from vecforensics.run_folder import RunFolder, write_json

__all__ = ["changed_sources", "verify_target"]

_BATCH: Final = 4_096
# A norm that differs by more is another norm, not rounding: float16 keeps 11 bits.
_SAME_NORM: Final = 1e-3

Matrix = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_SCHEMA: Final = """
CREATE TABLE stands (place INTEGER NOT NULL, id TEXT NOT NULL, vector BLOB, metadata TEXT);
CREATE TABLE source (place INTEGER NOT NULL, id TEXT NOT NULL);
CREATE TABLE needs (place INTEGER NOT NULL, id TEXT NOT NULL, collection TEXT NOT NULL, child TEXT NOT NULL);
CREATE TABLE ask (row INTEGER PRIMARY KEY, id TEXT NOT NULL);
"""


def verify_target(
    case: Case, run: RunFolder, evidence: Evidence, ledger: Ledger | None = None
) -> Verification:
    """Compare every source record of the evidence with what stands now; writes `migration/verification.json`. `ledger`: of what
    was written again, to see that what the case does not name is what it was."""
    tally = Tally()
    with _scratch(run.migration) as db:
        places, settled, unread = _enumerate(case, db, tally)
        doubts = Doubts(db, evidence, run.findings_parquet)
        for name in case.collections:
            if places[name] in unread:
                _leave_unchecked(evidence, name, tally)
                continue
            _compare(case, evidence, name, db, places, settled, doubts, tally)
        _look_for_extras(case, db, places, tally)
        _look_for_parents(db, settled, tally)
    if ledger is not None:
        compare_beside(case, evidence, ledger, tally)
    result = tally.verification(
        source_changed=changed_sources(case, run), evidence=evidence.digest, damaged=evidence.verify()
    )
    write_json(run.verification_json, result.as_dict())
    return result


@contextmanager
def _scratch(folder: Path) -> Iterator[sqlite3.Connection]:
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(".verify-*"):
        shutil.rmtree(stale, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix=".verify-", dir=folder) as scratch,
        closing(sqlite3.connect(Path(scratch, "target.sqlite"), isolation_level=None)) as db,
    ):
        db.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {_SCHEMA}")
        yield db


def _enumerate(case: Case, db: sqlite3.Connection, tally: Tally) -> tuple[dict[str, int], bool, set[int]]:
    """Write every row of every target into the scratch file. Gives collection → place, whether all
    writes are visible, and the places that could not be read."""
    places: dict[str, int] = {}
    known: dict[tuple[str, str], int] = {}
    settled = True
    unread: set[int] = set()
    for name, one in case.collections.items():
        spot = (one.target.uri, one.target.collection)
        if spot in known:
            places[name] = known[spot]
            continue
        places[name] = known[spot] = len(known)
        try:
            reader = stores.open_reader(one.target, case.folder)
            batches = reader.scan(one.target.collection, _BATCH)
            db.execute("BEGIN")
            for batch in batches:
                db.executemany("INSERT INTO stands VALUES (?, ?, ?, ?)", _rows(batch, places[name]))
            db.execute("COMMIT")
            fresh = reader.freshness(one.target.collection)
        except TargetError as error:
            if db.in_transaction:
                db.execute("COMMIT")
            tally.unseen(f"{name}: the target could not be read to its end ({error})")
            unread.add(places[name])
            continue
        if not fresh.settled:
            settled = False
            tally.unseen(f"{name}: {fresh.note}")
    db.execute("CREATE INDEX stands_by_id ON stands (place, id)")
    return places, settled, unread


def _rows(batch: pa.RecordBatch, place: int) -> Iterator[tuple[int, str, bytes | None, str | None]]:
    """One scan batch as rows: the vector's bytes; null where there is none; where it is ragged, bytes of its own length."""
    ragged = batch.column("ragged")
    vectors, metadata = vector_bytes(batch.column("vector")), batch.column("metadata").to_pylist()
    for row, record_id in enumerate(batch.column("id").to_pylist()):
        vector = vectors[row]
        if vector is None:
            other = ragged[row].as_py()
            vector = np.array(other, np.float32).tobytes() if other else None
        yield place, record_id, vector, metadata[row]


def _compare(
    case: Case,
    evidence: Evidence,
    name: str,
    db: sqlite3.Connection,
    places: Mapping[str, int],
    settled: bool,
    doubts: Doubts,
    tally: Tally,
) -> None:
    """Stream the frozen records of one collection past what stands."""
    place = places[name]
    frozen = evidence.collection(name)
    rule = MetadataRule.of(frozen.facts)
    compared = 0
    for batch in evidence.iter_source(name, _BATCH):
        ids = batch.column("id").to_pylist()
        db.execute("BEGIN")
        db.executemany("INSERT INTO source VALUES (?, ?)", ((place, one) for one in ids))
        found = _found(db, place, ids)
        for row, one in enumerate(ids):
            if row not in found:
                tally.add(name, Kind.MISSING if settled else Kind.PENDING, one)
            elif len(found[row]) > 1:
                tally.add(name, Kind.DUPLICATE, one)
        _note_parents(db, batch, name, places, found)
        db.execute("COMMIT")
        single = [row for row in range(len(ids)) if len(found.get(row, ())) == 1]
        _compare_metadata(name, batch, ids, found, single, frozen.metadata, rule, tally)
        compared += _compare_vectors(case, name, batch, ids, found, single, frozen.dimension, doubts, tally)
    compared -= doubts.settle(name, tally)
    tally.checked(name, compared, frozen.rows["source"])


def _leave_unchecked(evidence: Evidence, name: str, tally: Tally) -> None:
    for batch in evidence.iter_source(name, _BATCH):
        for one in batch.column("id").to_pylist():
            tally.add(name, Kind.UNCHECKED, one)
    tally.checked(name, 0, evidence.collection(name).rows["source"])


_Found = dict[int, list[tuple[bytes | None, str | None]]]


def _found(db: sqlite3.Connection, place: int, ids: list[str]) -> _Found:
    db.execute("DELETE FROM ask")
    db.executemany("INSERT INTO ask VALUES (?, ?)", enumerate(ids))
    found: _Found = {}
    query = "SELECT ask.row, stands.vector, stands.metadata FROM ask CROSS JOIN stands ON stands.place = ? AND stands.id = ask.id"
    for row, vector, metadata in db.execute(query, (place,)):
        found.setdefault(row, []).append((vector, metadata))
    return found


def _note_parents(
    db: sqlite3.Connection, batch: pa.RecordBatch, name: str, places: Mapping[str, int], found: _Found
) -> None:
    ids = batch.column("id").to_pylist()
    for column in batch.schema.names:
        if column.startswith(PARENT_PREFIX):
            parent = column.removeprefix(PARENT_PREFIX)
            needs = (
                (places[parent], value, name, ids[row])
                for row, value in enumerate(batch.column(column).to_pylist())
                if value is not None and row in found
            )
            db.executemany("INSERT INTO needs VALUES (?, ?, ?, ?)", needs)


def _compare_metadata(
    name: str,
    batch: pa.RecordBatch,
    ids: list[str],
    found: _Found,
    rows: list[int],
    fields: Sequence[str],
    rule: MetadataRule,
    tally: Tally,
) -> None:
    expected = batch.column("metadata").to_pylist()
    for row in rows:
        there = found[row][0][1]
        if there == expected[row]:
            continue
        meant, stands = json.loads(expected[row]), json.loads(there) if there is not None else {}
        if not isinstance(stands, dict):
            stands = {}
        if not all(rule.kept(field, meant, stands) for field in fields):
            tally.add(name, Kind.METADATA_DRIFT, ids[row])


def _compare_vectors(
    case: Case,
    name: str,
    batch: pa.RecordBatch,
    ids: list[str],
    found: _Found,
    rows: list[int],
    dimension: int,
    doubts: Doubts,
    tally: Tally,
) -> int:
    """Compare what stands exactly once with what is expected; gives how many were compared. What is beyond tolerance goes to
    `doubts`."""
    right_length = []
    for row in rows:
        blob = found[row][0][0]
        if blob is None or len(blob) != 4 * dimension:
            tally.add(name, Kind.WRONG_DIMENSION, ids[row])
        else:
            right_length.append((row, blob))
    if not right_length:
        return len(rows)
    at = np.array([row for row, _ in right_length])
    there = np.frombuffer(b"".join(blob for _, blob in right_length), np.float32).reshape(-1, dimension)
    if "vector" in batch.schema.names:
        column = batch.column("vector")
        meant, known = matrix_of(column)[at], column.is_valid().to_numpy(zero_copy_only=False)[at]
    else:
        meant, known = np.zeros_like(there), np.zeros(len(at), np.bool_)
    known &= np.isfinite(meant).all(axis=1)
    judged = _judge(there, meant, known, case.tolerance.cosine)
    beyond = judged.pop(Kind.DRIFTED)
    doubts.add(name, [ids[row] for row in at[beyond]], [row.tobytes() for row in there[beyond]])
    for kind, mask in judged.items():
        for row in at[mask]:
            tally.add(name, kind, ids[row])
    return len(rows) - int((~known).sum())


def _judge(there: Matrix, meant: Matrix, known: Mask, tolerance: float) -> dict[Kind, Mask]:
    """The kind of each row that is not bit for bit what was meant; `DRIFTED` is what lies beyond tolerance.

    Cosine alone is unsound: it lets NaN and zero vectors pass. So those are looked for first, and nothing is called the same
    unless the distance is a number and within `tolerance`. A zero vector is right where nothing else is meant: of an empty text
    some embedders know no more.
    """
    finite = np.asarray(np.isfinite(there).all(axis=1))
    zero = np.asarray(~there.any(axis=1))
    blank = known & ~meant.any(axis=1)
    same = (there.view(np.uint32) == meant.view(np.uint32)).all(axis=1) & known
    open_ = finite & ~zero & ~same & known
    a, b = there[open_].astype(np.float64), meant[open_].astype(np.float64)
    norm_a, norm_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    usable = np.isfinite(norm_b) & (norm_b > 0)
    cosine = np.zeros(len(a))
    cosine[usable] = (a[usable] * b[usable]).sum(axis=1) / (norm_a[usable] * norm_b[usable])
    near = usable & (1.0 - cosine <= tolerance)
    same_norm = np.zeros(len(a), np.bool_)
    same_norm[usable] = np.abs(norm_a[usable] / norm_b[usable] - 1.0) <= _SAME_NORM

    def spread(mask: Mask) -> Mask:
        whole = np.zeros(len(there), np.bool_)
        whole[open_] = mask
        return whole

    return {
        Kind.NON_FINITE: ~finite,
        Kind.ZERO: zero & ~blank,
        Kind.DRIFTED: spread(~near),
        Kind.NORMALISED: spread(near & ~same_norm),
        Kind.NOISE: spread(near & same_norm),
        Kind.UNCHECKED: finite & ~zero & ~known,
    }


def _look_for_extras(case: Case, db: sqlite3.Connection, places: Mapping[str, int], tally: Tally) -> None:
    """Rows whose id is no record's, under the first collection of their place."""
    db.execute("CREATE INDEX source_by_id ON source (place, id)")
    seen: set[int] = set()
    for name in case.collections:
        if places[name] in seen:
            continue
        seen.add(places[name])
        query = (
            "SELECT id FROM stands WHERE place = ? AND NOT EXISTS "
            "(SELECT 1 FROM source WHERE source.place = stands.place AND source.id = stands.id) ORDER BY id"
        )
        for (extra,) in db.execute(query, (places[name],)):
            tally.add(name, Kind.ORPHAN, extra)


def _look_for_parents(db: sqlite3.Connection, settled: bool, tally: Tally) -> None:
    query = (
        "SELECT collection, child FROM needs WHERE NOT EXISTS "
        "(SELECT 1 FROM stands WHERE stands.place = needs.place AND stands.id = needs.id) ORDER BY needs.rowid"
    )
    for collection, child in db.execute(query):
        tally.add(collection, Kind.DANGLING if settled else Kind.PENDING, child)


def changed_sources(case: Case, run: RunFolder) -> dict[str, str]:
    """Input → what is wrong with it: sources that are no longer what the evidence was made from, or that cannot be digested."""
    try:
        rows = run.read_json(run.evidence / "inputs.json", made_by="collect").get("inputs", [])
    except EvidenceError:
        rows = []
    before: dict[Any, Any] = {(row.get("role"), row.get("name")): row.get("sha256") for row in rows}
    found: dict[str, str] = {}
    for item in inputs_of(case):
        if item.role == "target":
            break
        was = before.get((item.role, item.name))
        if item.sha256 is None or was is None:
            found[f"{item.role} {item.name}"] = "unknown"
        elif was != item.sha256:
            found[f"{item.role} {item.name}"] = "changed"
    return found
