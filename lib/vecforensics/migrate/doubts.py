"""A vector beyond tolerance: damage, or a copy in a narrower format that nobody touched?

The verification compares each vector by itself, and a copy in int8 lies beyond many tolerances. What such a copy is shows only in
many rows together, and after a repair not even in those. The diff had them all, and its findings lie in the run folder. So it is
believed of a row that stands, to the last bit, as it stood when the evidence was frozen: what it called benign is benign, what it
called corrupt has not been mended. Of most rows of a collection it may say so in one line; that line speaks of all rows that no
finding names. Where it said nothing nobody knows. Any other row, whatever wrote it, is damage.

The rows in doubt wait in the scratch file. Memory is bounded by one bucket of the evidence.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vecforensics.arrow_columns import matrix_of, present, texts, whole
from vecforensics.evidence import Evidence, hash_text
from vecforensics.findings import SEVERITY, Kind, Severity
from vecforensics.migrate.verification import Tally

__all__ = ["Doubts", "vector_bytes"]

_SCHEMA: Final = """
CREATE TABLE doubt (
    collection TEXT NOT NULL, id TEXT NOT NULL, bucket INTEGER NOT NULL, vector BLOB, stood INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE judged (collection TEXT NOT NULL, id TEXT, kind TEXT NOT NULL, rank INTEGER NOT NULL);
"""
# What the diff may say of the contents of a vector.
_OF_CONTENTS: Final = (
    *(Kind.NORMALISED, Kind.QUANTISED, Kind.NOISE, Kind.SWAPPED, Kind.SHIFTED, Kind.BROADCAST, Kind.PARTIAL),
    *(Kind.STALE, Kind.FOREIGN_MODEL, Kind.DRIFTED, Kind.PENDING, Kind.UNCHECKED),
)
# Of several findings on one record the gravest counts; of lines on a whole collection too.
_RANK: Final = {Severity.CORRUPT: 0, Severity.UNKNOWN: 1, Severity.BENIGN: 2}


def vector_bytes(vectors: pa.FixedSizeListArray) -> list[bytes | None]:
    """The bytes of each vector of a float32 column; None where there is none."""
    matrix, there = matrix_of(vectors), present(vectors)
    return [matrix[row].tobytes() if there[row] else None for row in range(len(vectors))]


class Doubts:
    """The rows beyond tolerance, of all collections. `findings`: what the diff wrote, if there was one."""

    def __init__(self, db: sqlite3.Connection, evidence: Evidence, findings: Path) -> None:
        self._db, self._evidence, self._findings = db, evidence, findings
        self._loaded = False
        db.executescript(_SCHEMA)

    def add(self, collection: str, ids: Sequence[str], vectors: Sequence[bytes]) -> None:
        """Records whose vector, as it stands, is beyond tolerance."""
        if ids:
            buckets = hash_text(texts(ids)) % self._evidence.collection(collection).buckets
            rows = zip([collection] * len(ids), ids, buckets.tolist(), vectors, strict=True)
            self._db.execute("BEGIN")
            self._db.executemany("INSERT INTO doubt VALUES (?, ?, ?, ?, 0)", rows)
            self._db.execute("COMMIT")

    def settle(self, collection: str, tally: Tally) -> int:
        """Say what each of them is; gives of how many that is not known."""
        self._see_what_stood(collection)
        line = "SELECT kind FROM judged WHERE collection = ? AND id IS NULL ORDER BY rank, kind = 'quantised' DESC, kind LIMIT 1"
        (of_all,) = self._db.execute(line, (collection,)).fetchone() or (Kind.UNCHECKED,)
        query = (
            "SELECT id, stood, (SELECT kind FROM judged WHERE judged.collection = doubt.collection AND judged.id = doubt.id "
            "ORDER BY rank LIMIT 1) FROM doubt WHERE collection = ? ORDER BY rowid"
        )
        unknown = 0
        for record_id, stood, judged in self._db.execute(query, (collection,)):
            kind = Kind(judged or of_all) if stood else Kind.DRIFTED
            unknown += kind is Kind.UNCHECKED
            tally.add(collection, Kind.DRIFTED if SEVERITY[kind] is Severity.CORRUPT else kind, record_id)
        if unknown:
            tally.unseen(
                f"{collection}: whether {unknown:,} vectors beyond tolerance are damage: they stand as they stood when they were "
                "frozen, and no findings of this run judge them"
            )
        return unknown

    def _see_what_stood(self, collection: str) -> None:
        """Mark the rows that stand as they stood when the evidence was frozen."""
        asked = "SELECT DISTINCT bucket FROM doubt WHERE collection = ? ORDER BY bucket"
        buckets = [bucket for (bucket,) in self._db.execute(asked, (collection,))]
        if buckets:
            self._load()
        query = "SELECT rowid, id, vector FROM doubt WHERE collection = ? AND bucket = ?"
        for bucket in buckets:
            numbers, ids, now = zip(*self._db.execute(query, (collection, bucket)), strict=True)
            frozen = self._evidence.table(collection, "target", bucket)
            known = whole(frozen["id"])
            at = pc.index_in(texts(ids).cast(known.type), value_set=known)
            stood = vector_bytes(whole(frozen["vector"]).take(at))
            same = [(number,) for number, one, other in zip(numbers, now, stood, strict=True) if one == other]
            self._db.execute("BEGIN")
            self._db.executemany("UPDATE doubt SET stood = 1 WHERE rowid = ?", same)
            self._db.execute("COMMIT")

    def _load(self) -> None:
        """Read once what the diff said of the contents of vectors."""
        if self._loaded:
            return
        self._loaded = True
        # Damaged findings are as good as none: then nothing is known.
        with contextlib.suppress(pa.ArrowException, OSError):
            for batch in pq.ParquetFile(self._findings).iter_batches(
                columns=["collection", "source_id", "kind", "target_id"]
            ):
                of_contents = pc.is_in(batch["kind"], value_set=texts(kind.value for kind in _OF_CONTENTS))
                # What names a row of the target only is said of a stray.
                named = pc.or_(batch["source_id"].is_valid(), batch["target_id"].is_null())
                told = batch.filter(pc.and_(of_contents, named))
                names, ids, kinds = (
                    told[column].to_pylist() for column in ("collection", "source_id", "kind")
                )
                ranks = [_RANK[SEVERITY[Kind(kind)]] for kind in kinds]
                rows = zip(names, ids, kinds, ranks, strict=True)
                self._db.executemany("INSERT INTO judged VALUES (?, ?, ?, ?)", rows)
        self._db.execute("CREATE INDEX judged_by_id ON judged (collection, id)")
