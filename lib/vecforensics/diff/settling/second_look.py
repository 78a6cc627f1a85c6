"""What stands under an id now: rows fetched once more from the store, and judged by themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from vecforensics import arrow_columns as arrow
from vecforensics.diff.compare.metadata import drift_of_rows
from vecforensics.diff.compare.ragged import compare_ragged
from vecforensics.diff.compare.relation import Relation, compare_pairs
from vecforensics.diff.explain.earlier import stale_records
from vecforensics.diff.explain.not_finite import not_finite_parts
from vecforensics.diff.explain.owners import find_owners
from vecforensics.diff.sides import Index, Sides
from vecforensics.findings import Kind
from vecforensics.metadata_rule import MetadataRule
from vecforensics.stores import VectorReader

__all__ = ["Sight", "count_ids", "look_at_records", "look_for_others", "owner_of_each"]

_AT_ONCE: Final = 500
_KINDS: Final = {
    int(Relation.ZERO): Kind.ZERO,
    int(Relation.PART_ZERO): Kind.PARTIAL,
}


@dataclass(frozen=True, slots=True)
class Sight:
    """What stands under a record's id: `kind` None where it is in order, `missing` where nothing is there. `vector` float32 (d,)
    where one of the right length is."""

    kind: Kind | None
    detail: Mapping[str, Any] = field(default_factory=dict)
    vector: npt.NDArray[np.float32] | None = None
    distance: float | None = None


def count_ids(reader: VectorReader, collection: str, ids: Sequence[str]) -> Counter[str]:
    """How often each id stands in the store; absent ids are left out."""
    counts: Counter[str] = Counter()
    for start in range(0, len(ids), _AT_ONCE):
        counts.update(reader.fetch(collection, ids[start : start + _AT_ONCE])["id"].to_pylist())
    return counts


def look_at_records(
    sides: Sides, rows: Index, reader: VectorReader, collection: str, tolerance: float
) -> dict[int, Sight]:
    """Fetch these running source rows by their ids and say of each what stands there."""
    seen: dict[int, Sight] = {}
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        ids = [text or "" for text in sides.source.text("id", part)]
        held = reader.fetch(collection, ids)
        seen.update(zip(part.tolist(), _judged(sides, part, ids, held, tolerance), strict=True))
    return seen


def look_for_others(
    sides: Sides,
    rows: Index,
    frozen: npt.NDArray[np.float32],
    reader: VectorReader,
    collection: str,
) -> npt.NDArray[np.bool_]:
    """Of which of these running source rows the store now holds another vector than `frozen` (k, d), one only."""
    others = np.zeros(len(rows), np.bool_)
    for start in range(0, len(rows), _AT_ONCE):
        ids = [text or "" for text in sides.source.text("id", rows[start : start + _AT_ONCE])]
        held = reader.fetch(collection, ids)
        vectors: dict[str, list[Any]] = {}
        for text, vector in zip(held["id"].to_pylist(), held["vector"].to_pylist(), strict=True):
            vectors.setdefault(text, []).append(vector)
        for number, text in enumerate(ids, start):
            there = vectors.get(text, [])
            others[number] = len(there) == 1 and not np.array_equal(
                np.array(there[0], np.float32), frozen[number]
            )
    return others


def _judged(sides: Sides, rows: Index, ids: list[str], held: pa.Table, tolerance: float) -> list[Sight]:
    places: dict[str, list[int]] = {}
    for place, text in enumerate(held["id"].to_pylist()):
        places.setdefault(text, []).append(place)
    sights = [
        Sight(Kind.DUPLICATE, {"form": "same id"}) if text in places else Sight(Kind.MISSING) for text in ids
    ]
    alone = [number for number, text in enumerate(ids) if len(places.get(text, ())) == 1]
    at = arrow.numbers(np.array([places[ids[number]][0] for number in alone], np.int64))
    vectors, ragged = held["vector"].take(at).to_pylist(), held["ragged"].take(at).to_pylist()
    has_expected = sides.source.integers("digest", rows) != 0
    wanted = sides.source.take(rows)
    for number, vector, other in zip(alone, vectors, ragged, strict=True):
        width = sides.source.dimension or len(vector or ())
        if vector is None or len(vector) != width:
            expected = wanted[number : number + 1] if has_expected[number] else None
            sights[number] = _of_another_length(expected, vector or other or [], sides, tolerance)
        elif has_expected[number]:
            sights[number] = _compared(sides, wanted[number], np.array(vector, np.float32), tolerance)
        else:
            sights[number] = _by_itself(np.array(vector, np.float32))
    for number, version in _stale(sides, rows, sights, tolerance).items():
        sights[number] = replace(sights[number], kind=Kind.STALE, detail={"version": version})
    drift = _drift(sides, rows, held, alone, at)
    return [
        Sight(Kind.METADATA_DRIFT, {"fields": drift[number]})
        if number in drift and sight.kind is None
        else sight
        for number, sight in enumerate(sights)
    ]


def _of_another_length(
    expected: npt.NDArray[np.float32] | None, held: Sequence[float], sides: Sides, tolerance: float
) -> Sight:
    row = np.array(held, np.float32)
    if expected is None:
        wanted = sides.source.dimension or sides.target.dimension
        return Sight(Kind.WRONG_DIMENSION, {"length": len(row), "expected_length": wanted})
    return Sight(Kind.WRONG_DIMENSION, compare_ragged(expected, [row], tolerance)[0])


def _compared(
    sides: Sides, expected: npt.NDArray[np.float32], vector: npt.NDArray[np.float32], tolerance: float
) -> Sight:
    if not np.isfinite(vector).all():
        return Sight(*not_finite_parts(expected[None], vector[None], sides.grid, sides.noise)[0])
    found = compare_pairs(expected[None], vector[None], tolerance, sides.grid)
    relation = Relation(int(found.relation[0]))
    kind = None if relation.benign else _KINDS.get(int(relation), Kind.DRIFTED)
    return Sight(kind, vector=vector, distance=float(found.distance[0]))


def _by_itself(vector: npt.NDArray[np.float32]) -> Sight:
    if not np.isfinite(vector).all():
        return Sight(*not_finite_parts(None, vector[None])[0])
    return Sight(None if vector.any() else Kind.ZERO)


def _stale(sides: Sides, rows: Index, sights: Sequence[Sight], tolerance: float) -> dict[int, str | None]:
    """By number in `rows`: the earlier version of the same record whose vector was seen where another is expected."""
    seen = {
        number: sight.vector
        for number, sight in enumerate(sights)
        if sight.vector is not None and sight.kind in (Kind.DRIFTED, Kind.PARTIAL)
    }
    wrong = np.array(list(seen), np.int64)
    found = stale_records(
        sides,
        rows[wrong],
        lambda some: np.stack([seen[number] for number in wrong[some].tolist()]),
        tolerance,
    )
    return {int(wrong[place]): version for place, version in found.items()}


def _drift(
    sides: Sides, rows: Index, held: pa.Table, alone: list[int], at: pa.Array
) -> dict[int, dict[str, Any]]:
    """By number in `rows`: the fields of metadata that are not what they should be."""
    fields = sides.frozen.metadata
    if not fields or not alone:
        return {}
    places = np.arange(len(alone), dtype=np.int32)
    drift = drift_of_rows(
        pa.chunked_array([sides.source.texts("metadata", rows[alone])]),
        pa.chunked_array([arrow.texts(held["metadata"].take(at).to_pylist())]),
        places,
        places,
        fields,
        MetadataRule.of(sides.frozen.facts),
    )
    return {alone[place]: what for place, what in drift.items()}


def owner_of_each(sides: Sides, sights: Mapping[int, Sight], tolerance: float) -> dict[int, int]:
    """Source row → the other record whose expected vector was seen under its id; the nearest in the source of several."""
    asked = {
        row: one.vector for row, one in sights.items() if one.vector is not None and one.kind is Kind.DRIFTED
    }
    if not asked or not sides.source.dimension:
        return {}
    rows = np.array(list(asked), np.int64)
    vectors = np.stack(list(asked.values()))
    digests = np.array([xxhash.xxh3_64_intdigest(vector.tobytes()) for vector in vectors], np.uint64)
    places = sides.source.integers("position", rows).astype(np.int64)
    owners = find_owners(sides.source, vectors, digests, places, tolerance, sides.grid)
    away = np.abs(sides.source.integers("position", owners.owner).astype(np.int64) - places[owners.query])
    order = np.lexsort((owners.owner, away, owners.distance, owners.query))[::-1]
    return {
        int(rows[owners.query[place]]): int(owners.owner[place])
        for place in order.tolist()
        if owners.owner[place] != rows[owners.query[place]]
    }
