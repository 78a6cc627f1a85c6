"""Several rows under one id: which is the record's own, and which are further copies of it?

A store lists its rows in no order that means anything, so only what they hold may decide: the row that is what the record
expects, else the one nearest to it; among rows that hold one vector the one with the source's metadata. What is left is settled
by bytes, so that the answer is always the same.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.arrow_columns import as_numpy, flags, numbers, whole
from vecforensics.diff.compare.relation import cosine_distances
from vecforensics.diff.vectors import MappedVectors

__all__ = ["digests_of", "own_first", "raw_vectors"]

Rows = npt.NDArray[np.integer[Any]]

_BLOCK: Final = 512


def own_first(source: pa.Table, target: pa.Table, source_row: Rows, target_row: Rows) -> npt.NDArray[np.intp]:
    """The order of joined pairs by record, a record's own row before the further copies."""
    wanted, held = digests_of(source)[source_row], digests_of(target)[target_row]
    expected, actual = MappedVectors(source), MappedVectors(target)
    without_digest = np.flatnonzero(held == 0)
    raw = raw_vectors(target, actual, target_row[without_digest])
    raw_of = dict(zip(without_digest.tolist(), raw, strict=True))
    away = np.full(len(source_row), np.inf)
    asked = np.flatnonzero((wanted != 0) & (held != wanted) & expected.present[source_row])
    for start in range(0, len(asked), _BLOCK):
        part = asked[start : start + _BLOCK]
        vectors = np.array(actual.take(target_row[part]))
        for place in np.flatnonzero(held[part] == 0).tolist():
            vectors[place] = _as_far_as_it_goes(raw_of[int(part[place])], expected.dimension)
        away[part] = cosine_distances(expected.take(source_row[part]), vectors)
    # In single precision, which every machine agrees on; without a direction is as far as can be.
    away = np.where(np.isnan(away), np.inf, away).astype(np.float32)
    rank = {one: number for number, one in enumerate(sorted(set(raw)))}
    raw_rank = np.zeros(len(source_row), np.int64)
    raw_rank[without_digest] = [rank[one] for one in raw]
    said = whole(target["metadata"]).take(numbers(target_row))
    told = whole(source["metadata"]).take(numbers(source_row))
    order: npt.NDArray[np.intp] = np.lexsort(
        (
            target_row,
            as_numpy(pc.rank(said, tiebreaker="dense")),
            ~flags(pc.equal(said, told)),
            raw_rank,
            held,
            away,
            held != wanted,
            source_row,
        )
    )
    return order


def raw_vectors(target: pa.Table, vectors: MappedVectors, rows: Rows) -> list[bytes]:
    """The bytes of the vectors of some rows of a bucket, of whatever length; for those that have no digest and are few."""
    ragged = whole(target["ragged"]).take(numbers(rows)).to_pylist()
    return [
        vectors.take(rows[place : place + 1]).tobytes()
        if vectors.present[row]
        else np.array(ragged[place] or (), np.float32).tobytes()
        for place, row in enumerate(rows.tolist())
    ]


def _as_far_as_it_goes(raw: bytes, dimension: int) -> npt.NDArray[np.float32]:
    """A vector that holds NaN or has another length, with zeros for what is not there."""
    held = np.frombuffer(raw, np.float32)[:dimension]
    vector = np.zeros(dimension, np.float32)
    vector[: len(held)] = np.where(np.isfinite(held), held, np.float32(0))
    return vector


def digests_of(table: pa.Table) -> npt.NDArray[np.uint64]:
    """xxh3_64 of each row's vector, uint64 (n,); 0 where it is absent or not finite."""
    digests: npt.NDArray[np.uint64] = as_numpy(whole(table["digest"]))
    return digests
