"""Findings while they are gathered: by running row numbers, turned into ids and one Arrow table at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics import arrow_columns as arrow
from vecforensics.diff.compare.field_changes import CHANGES
from vecforensics.diff.sides import Index, Side, Sides
from vecforensics.findings import FINDINGS_SCHEMA, SEVERITY, Kind, Severity
from vecforensics.records import canonical_json

__all__ = ["KINDS", "Found", "FoundColumns", "FoundRows", "findings_table"]

KINDS: Final = tuple(Kind)
_CODE: Final = {kind: code for code, kind in enumerate(KINDS)}
_CORRUPT: Final = np.array([SEVERITY[kind] is Severity.CORRUPT for kind in KINDS])
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Found(NamedTuple):
    """One finding. `source`, `target`, `partner`: running row numbers (partner: of the source), -1 for none."""

    kind: Kind
    source: int = -1
    target: int = -1
    partner: int = -1
    distance: float | None = None
    detail: Mapping[str, Any] = _NOTHING
    partner_id: str | None = None


_NUMBERS: Final = tuple(map(Found._fields.index, ("source", "target", "partner")))


@dataclass(frozen=True, slots=True)
class FoundColumns:
    """Of each finding its `kind`, uint8 (n,), as its place in `KINDS`, and running row numbers, int64 (n,), -1 for none."""

    kind: npt.NDArray[np.uint8]
    source: Index
    target: Index
    partner: Index

    @property
    def corrupt(self) -> npt.NDArray[np.bool_]:
        """Which findings make a verdict corrupt."""
        chosen: npt.NDArray[np.bool_] = _CORRUPT[self.kind]
        return chosen


@dataclass
class FoundRows:
    """The findings of one collection."""

    rows: list[Found] = field(default_factory=list)

    def add(self, kind: Kind, **columns: Any) -> None:
        self.rows.append(Found(kind, **columns))

    def add_pairs(
        self,
        kinds: Kind | Iterable[Kind],
        source: Index,
        target: Index,
        distance: npt.NDArray[np.floating[Any]],
        details: Iterable[Mapping[str, Any]] | None = None,
        partner: Index | None = None,
    ) -> None:
        """One finding for each joined row, the columns all of one length; without `details` nothing more is said."""
        columns = (
            repeat(kinds) if isinstance(kinds, Kind) else kinds,
            source.tolist(),
            target.tolist(),
            repeat(-1) if partner is None else partner.tolist(),
            distance.tolist(),
            repeat(_NOTHING) if details is None else details,
        )
        self.rows += map(Found, *columns)

    def sources(self, *kinds: Kind) -> set[int]:
        """The source rows that have a finding of one of these kinds."""
        return {found.source for found in self.rows if found.kind in kinds and found.source >= 0}

    def columns(self) -> FoundColumns:
        """The findings as they are now, column by column."""
        count = len(self.rows)
        codes = np.fromiter((_CODE[found.kind] for found in self.rows), np.uint8, count)
        numbers = (np.fromiter(map(itemgetter(place), self.rows), np.int64, count) for place in _NUMBERS)
        return FoundColumns(codes, *numbers)

    def metadata_fields(self) -> dict[str, dict[str, int]]:
        """Of each metadata field that drifted, how many rows changed it, miss it, and hold it as another type; by name."""
        counts = Counter(
            (name, entry["change"])
            for found in self.rows
            if found.kind is Kind.METADATA_DRIFT
            for name, entry in found.detail["fields"].items()
        )
        return {
            name: {change: counts[name, change] for change in CHANGES}
            for name in sorted({name for name, _ in counts})
        }


def _rounded(distances: npt.NDArray[np.float64]) -> pa.Array:
    """Nine significant digits, what the arithmetic of different machines agrees on; null for NaN and infinity."""
    known = np.isfinite(distances)
    values = np.zeros(len(distances))
    values[known] = [float(f"{distance:.9g}") for distance in distances[known].tolist()]
    return arrow.numbers(values, known)


def findings_table(
    name: str,
    sides: Sides,
    found: FoundRows,
    columns: FoundColumns,
    placed: Mapping[str, pa.Array] | None = None,
) -> pa.Table:
    """The findings as `FINDINGS_SCHEMA`, in an order that only the data decide: source position, target id, kind.

    `columns`: of the same findings; `placed`: `batch`, `worker` and `written_at` of each.
    """
    rows, source, target, codes = found.rows, columns.source, columns.target, columns.kind
    position = np.full(len(rows), np.iinfo(np.int64).max)
    known = source >= 0
    if known.any():
        position[known] = sides.source.integers("position", source[known])
    target_ids = _ids(sides.target, target)
    details = arrow.texts(_details(rows))
    keys = {
        "position": arrow.numbers(position),
        "target": pc.coalesce(target_ids, arrow.text("")),
        "kind": arrow.numbers(codes),
        "detail": details,
    }
    # Arrow sorts stably.
    table = pa.Table.from_arrays(list(keys.values()), list(keys))
    order = pc.sort_indices(table, sort_keys=[(key, "ascending") for key in keys])
    absent = pa.nulls(len(rows), pa.string())
    kinds = arrow.numbers(codes.astype(np.int32))
    said = {
        "collection": arrow.texts([name] * len(rows)),
        "source_id": _ids(sides.source, source),
        "target_id": target_ids,
        "kind": arrow.texts(kind.value for kind in KINDS).take(kinds),
        "severity": arrow.texts(SEVERITY[kind].value for kind in KINDS).take(kinds),
        "partner_id": pc.coalesce(
            arrow.texts([row.partner_id or None for row in rows]),
            _ids(sides.source, columns.partner),
        ),
        "distance": _rounded(np.array([row.distance for row in rows], np.float64)),
        "batch": absent,
        "worker": absent,
        "written_at": absent,
        "detail": details,
        **(placed or {}),
    }
    return pa.Table.from_arrays(
        [said[item.name].take(order) for item in FINDINGS_SCHEMA], schema=FINDINGS_SCHEMA
    )


def _details(rows: Iterable[Found]) -> list[str]:
    """What is said of each finding as canonical JSON. Most say one of a few things."""
    said: dict[str, str] = {}
    texts = []
    for row in rows:
        if not row.detail:
            texts.append("{}")
            continue
        # Not the items themselves: True == 1 == 1.0, but they are spelt otherwise.
        key = repr(row.detail)
        text = said.get(key)
        if text is None:
            text = said[key] = canonical_json(row.detail)
        texts.append(text)
    return texts


def _ids(side: Side, rows: Index) -> pa.Array:
    """The ids of these rows; null for -1."""
    known = rows >= 0
    place = np.cumsum(known) - 1
    return side.texts("id", rows[known]).take(arrow.numbers(place, known))
