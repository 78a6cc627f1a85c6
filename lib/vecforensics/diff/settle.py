"""Not there, or not there yet? Rows that are wrong and younger than `settle_s` are fetched again before anything is said of them.

A store that is eventually consistent shows an acknowledged write late. A row's age is counted from its time of writing where
logs or metadata give one, else from the moment of freezing, since it may have been written then. What a further look finds in
order is in order; what is wrong still and has become old enough meanwhile is judged; the rest is `pending`. Waiting ends after
`patience_s`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vecforensics.diff.bucket import BucketResult, State
from vecforensics.diff.collected import FoundRows
from vecforensics.diff.compare import Relation, compare_pairs
from vecforensics.diff.metadata import StoreHabits, drift_of_rows
from vecforensics.diff.sides import Index, Sides
from vecforensics.diff.writes import Writes
from vecforensics.findings import Kind
from vecforensics.stores import VectorReader

__all__ = ["Settled", "frozen_moment", "settle"]

_AT_ONCE: Final = 500
_NEVER: Final = np.iinfo(np.int64).min


@dataclass
class Settled:
    """How many rows were fetched again; which were in order then, and which are `pending` (running source rows)."""

    fetched: int = 0
    in_order: list[int] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)


def settle(
    sides: Sides,
    results: list[BucketResult],
    writes: Writes,
    reader: VectorReader | None,
    target_collection: str,
    *,
    settle_s: float,
    frozen_at: datetime,
    tolerance: float,
    found: FoundRows,
    patience_s: float = 60.0,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], None] = time.sleep,
) -> Settled:
    """Look again at young wrong rows; takes those that are in order, or pending, out of `results`."""
    outcome = Settled()
    young, born = _young(sides, results, writes, settle_s, frozen_at)
    if not len(young):
        return outcome
    outcome.fetched = len(young) if reader is not None else 0
    patient_until = clock().timestamp() + patience_s
    fine: set[int] = set()
    while reader is not None:
        still = np.array([row for row in young.tolist() if row not in fine], np.int64)
        fine |= _in_order(sides, still, reader, target_collection, tolerance)
        open_rows = ~np.isin(young, np.array(sorted(fine), np.int64))
        if not open_rows.any():
            break
        now = clock().timestamp()
        oldest_wait = float((born[open_rows] + settle_s).max()) - now
        if oldest_wait <= 0 or now + oldest_wait > patient_until:
            break
        sleep(min(oldest_wait, max(settle_s / 4, 0.05)))
    now = clock().timestamp() if reader is not None else frozen_at.timestamp()
    outcome.in_order = sorted(fine)
    pending = [
        row
        for row, birth in zip(young.tolist(), born.tolist(), strict=True)
        if row not in fine and birth + settle_s > now
    ]
    outcome.pending = pending
    would_be = _take_out(sides, results, np.array(sorted({*fine, *pending}), np.int64))
    for row in pending:
        found.add(Kind.PENDING, source=row, detail={"seems": would_be[row]})
    return outcome


def _young(
    sides: Sides, results: list[BucketResult], writes: Writes, settle_s: float, frozen_at: datetime
) -> tuple[Index, npt.NDArray[np.float64]]:
    """Running source rows that look wrong and may be too young to say so, and when each was born (seconds since 1970)."""
    wrong = [np.empty(0, np.int64)]
    for result in results:
        bad = (result.state >= Relation.NON_FINITE) & (result.state != Relation.UNUSABLE)
        drifted = np.array(list(result.drift), np.int32)
        wrong.append(
            sides.source.number(result.bucket, np.r_[result.missing, result.source_row[bad], drifted])
        )
    rows = np.unique(np.concatenate(wrong))
    written = writes.time[rows]
    born = np.where(written != _NEVER, written / 1e9, frozen_at.timestamp())
    young = born + settle_s > frozen_at.timestamp()
    return rows[young], born[young]


def _in_order(sides: Sides, rows: Index, reader: VectorReader, collection: str, tolerance: float) -> set[int]:
    """Those of the rows that the store now shows as they should be."""
    fine: set[int] = set()
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        ids = [text or "" for text in sides.source.text("id", part)]
        held = reader.fetch(collection, ids)
        vectors: dict[str, Any] = {}
        for text, vector in zip(held["id"].to_pylist(), held["vector"].to_pylist(), strict=True):
            vectors.setdefault(text, vector)
        for text in _drifted(sides, part, ids, held):
            vectors.pop(text, None)
        if not sides.source.dimension:
            fine |= {
                row for row, text in zip(part.tolist(), ids, strict=True) if vectors.get(text) is not None
            }
            continue
        there = [n for n, text in enumerate(ids) if len(vectors.get(text) or ()) == sides.source.dimension]
        if there:
            actual = np.array([vectors[ids[n]] for n in there], np.float32)
            relation = compare_pairs(sides.source.take(part[there]), actual, tolerance).relation
            fine |= {
                int(part[n]) for n, one in zip(there, relation.tolist(), strict=True) if Relation(one).benign
            }
    return fine


def _drifted(sides: Sides, rows: Index, ids: list[str], held: pa.Table) -> set[str]:
    """Those ids whose metadata in the store are still not what they should be."""
    fields = sides.frozen.metadata
    if not fields or "metadata" not in held.schema.names:
        return set()
    stands = dict(zip(held["id"].to_pylist(), held["metadata"].to_pylist(), strict=True))
    there = np.array([number for number, text in enumerate(ids) if text in stands], np.int32)
    drift = drift_of_rows(
        pa.chunked_array([sides.source.texts("metadata", rows[there])]),
        pa.chunked_array([pa.array([stands[ids[number]] for number in there.tolist()], pa.string())]),
        np.arange(len(there), dtype=np.int32),
        np.arange(len(there), dtype=np.int32),
        fields,
        StoreHabits.of(str(sides.frozen.facts.get("store", ""))),
    )
    return {ids[int(there[number])] for number in drift}


def _take_out(sides: Sides, results: list[BucketResult], rows: Index) -> dict[int, str]:
    """Remove these source rows from what differs; returns what each would have been called."""
    seemed: dict[int, str] = {}
    gone_rows = set(rows.tolist())
    for result in results:
        first = int(sides.source.offsets[result.bucket])
        for row in [row for row in result.drift if first + row in gone_rows]:
            seemed[first + row] = Kind.METADATA_DRIFT.value
            del result.drift[row]
        missing = sides.source.number(result.bucket, result.missing)
        gone = np.isin(missing, rows)
        seemed.update(dict.fromkeys(missing[gone].tolist(), Kind.MISSING.value))
        result.missing = result.missing[~gone]
        pair = sides.source.number(result.bucket, result.source_row)
        out = np.isin(pair, rows)
        for row, state in zip(pair[out].tolist(), result.state[out].tolist(), strict=True):
            seemed[row] = _SEEMS.get(state, Kind.DRIFTED.value)
        kept = np.flatnonzero(~out)
        renumbered = {old: new for new, old in enumerate(kept.tolist())}
        result.detail = {renumbered[old]: item for old, item in result.detail.items() if old in renumbered}
        for name in ("source_row", "target_row", "state", "distance", "right", "start", "stop"):
            setattr(result, name, getattr(result, name)[kept])
    return seemed


_SEEMS: Final = {
    int(Relation.NON_FINITE): Kind.NON_FINITE.value,
    int(Relation.ZERO): Kind.ZERO.value,
    int(Relation.PART_ZERO): Kind.PARTIAL.value,
    int(Relation.PART_NAN): Kind.PARTIAL.value,
    int(State.RAGGED): Kind.WRONG_DIMENSION.value,
    int(State.STALE): Kind.STALE.value,
}


def frozen_moment(facts: Any) -> datetime:
    """When the evidence was frozen, by its index."""
    return datetime.fromisoformat(str(facts["frozen_at"]).replace("Z", "+00:00"))
