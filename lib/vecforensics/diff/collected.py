"""Findings while they are gathered: by running row numbers, turned into ids and one Arrow table at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from vecforensics import arrow_columns as arrow
from vecforensics.diff.sides import Sides
from vecforensics.findings import FINDINGS_SCHEMA, SEVERITY, Kind
from vecforensics.records import canonical_json

__all__ = ["Found", "FoundRows", "findings_table"]


@dataclass(frozen=True, slots=True)
class Found:
    """One finding. `source`, `target`, `partner`: running row numbers (partner: of the source), -1 for none."""

    kind: Kind
    source: int = -1
    target: int = -1
    partner: int = -1
    distance: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    partner_id: str | None = None


@dataclass
class FoundRows:
    """The findings of one collection."""

    rows: list[Found] = field(default_factory=list)

    def add(self, kind: Kind, **columns: Any) -> None:
        self.rows.append(Found(kind, **columns))

    def sources(self, *kinds: Kind) -> set[int]:
        """The source rows that have a finding of one of these kinds."""
        return {found.source for found in self.rows if found.kind in kinds and found.source >= 0}


def _rounded(distance: float | None) -> float | None:
    """Nine significant digits: what the arithmetic of different machines agrees on."""
    if distance is None or not np.isfinite(distance):
        return None
    return float(f"{distance:.9g}")


def findings_table(
    name: str, sides: Sides, found: FoundRows, placed: Mapping[str, list[str | None]] | None = None
) -> pa.Table:
    """The findings as `FINDINGS_SCHEMA`, in an order that only the data decide: source position, target id, kind."""
    rows = found.rows
    source = np.array([row.source for row in rows], np.int64)
    target = np.array([row.target for row in rows], np.int64)
    partner = np.array([row.partner for row in rows], np.int64)
    source_ids = _texts(sides, "source", source)
    target_ids = _texts(sides, "target", target)
    partner_ids = _texts(sides, "source", partner)
    known = source >= 0
    position = np.full(len(rows), np.iinfo(np.int64).max)
    if known.any():
        position[known] = sides.source.integers("position", source[known])
    order_of = {kind: number for number, kind in enumerate(Kind)}
    details = _details(rows)
    kinds = [order_of[row.kind] for row in rows]
    keys = list(zip(position.tolist(), (text or "" for text in target_ids), kinds, details, strict=True))
    order = sorted(range(len(rows)), key=keys.__getitem__)
    columns: dict[str, list[Any]] = {
        "collection": [name] * len(rows),
        "source_id": [source_ids[n] for n in order],
        "target_id": [target_ids[n] for n in order],
        "kind": [rows[n].kind.value for n in order],
        "severity": [SEVERITY[rows[n].kind].value for n in order],
        "partner_id": [rows[n].partner_id or partner_ids[n] for n in order],
        "distance": [_rounded(rows[n].distance) for n in order],
        "detail": [details[n] for n in order],
    }
    for column in ("batch", "worker", "written_at"):
        values = (placed or {}).get(column)
        columns[column] = [values[n] if values else None for n in order]
    distances = columns.pop("distance")
    arrays = {name: arrow.texts(column) for name, column in columns.items()}
    known = np.array([distance is not None for distance in distances], np.bool_)
    arrays["distance"] = arrow.numbers(np.array(distances, np.float64), known)
    return pa.Table.from_arrays([arrays[item.name] for item in FINDINGS_SCHEMA], schema=FINDINGS_SCHEMA)


def _details(rows: Sequence[Found]) -> list[str]:
    """What is said of each finding as canonical JSON. Most say one of a few things."""
    said: dict[tuple[tuple[str, Any], ...], str] = {}
    texts = []
    for row in rows:
        key = tuple(row.detail.items())
        try:
            text = said.get(key)
        except TypeError:  # a list or an object inside
            texts.append(canonical_json(dict(row.detail)))
            continue
        # True == 1 == 1.0, but they are spelt otherwise.
        if text is None or any(type(value) is not str and type(value) is not int for _, value in key):
            text = said[key] = canonical_json(dict(row.detail))
        texts.append(text)
    return texts


def _texts(sides: Sides, side: str, numbers: Any) -> list[str | None]:
    texts: list[str | None] = [None] * len(numbers)
    known = np.flatnonzero(numbers >= 0)
    if len(known):
        for place, text in zip(known.tolist(), getattr(sides, side).text("id", numbers[known]), strict=True):
            texts[place] = text
    return texts
