"""The nouns: a record of the source, a vector of the target, and the Arrow shapes in which they travel.

A *record* is what somebody wanted migrated: an id, a text to embed, metadata that should go along, and the ids of the records
it depends on. A *vector row* is what a store holds: an id, a vector, metadata. Ids are text everywhere and never become
numbers: most of what mangles an id is a well-meant conversion.

Two shapes cross the borders between packages, both as Arrow record batches:

* source batch: `id`, `text`, `metadata` (`metadata_json`), `version` (text), one column `parent:<collection>` for each
  dependency, and `vector` where the source carries the expected vectors itself.
* target batch: `id`, `vector` (fixed-size list, the fast path), `ragged` (the vector where its length is not the
  collection's; null elsewhere), `metadata` (`metadata_json`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import pyarrow as pa

__all__ = [
    "NO_ID",
    "PARENT_PREFIX",
    "FieldType",
    "Record",
    "canonical_json",
    "lab_ids",
    "metadata_json",
    "source_schema",
    "target_schema",
]

PARENT_PREFIX: Final = "parent:"
NO_ID: Final = "null"
"""What stands for the id of a target's row that has none. No store finds that row by it."""
_ENCODER, _METADATA_ENCODER = (
    json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=words)
    for words in (False, True)
)


@dataclass(frozen=True, slots=True)
class Record:
    """One source record, as a migration under test sees it.

    `depends_on` holds the ids of the records that must stand in the target before this one. `version` grows when the record
    is edited. `collection` is empty where only one is at hand.
    """

    id: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    version: int = 1
    collection: str = ""


class FieldType(StrEnum):
    """What a source says of a metadata field's type that JSON does not show: that it has none (a CSV), or one that JSON lacks."""

    UNTYPED = "untyped"
    TIME_STAMP = "time stamp"
    DECIMAL = "decimal"
    SINGLE = "single"
    HALF = "half"


def lab_ids(keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """(collection, id) → the one id by which a strategy knows the record, in the order of `keys`.

    A strategy sees one store with one space of ids, a case has several collections whose ids may overlap (user 1, post 1). Where
    all ids are distinct they stay as they are; else every one becomes `collection/id`, with `/` and `%` in the collection's name
    escaped, so that the first `/` is always the border and no two records can meet.
    """
    distinct = dict.fromkeys(keys)
    if len({record_id for _, record_id in distinct}) == len(distinct):
        return {key: key[1] for key in distinct}
    return {
        (collection, record_id): f"{collection.replace('%', '%25').replace('/', '%2F')}/{record_id}"
        for collection, record_id in distinct
    }


def canonical_json(value: Any) -> str:
    """One text for one value: keys sorted, no spaces, non-ASCII kept, shortest floats. What JSON has no word for becomes text:
    NaN and infinities "NaN", "Infinity", "-Infinity", times ISO 8601 with a T between. A decimal is its number, and text only
    where no double is that number."""
    return _ENCODER.encode(_plain(value, _word))


def metadata_json(value: Any) -> str:
    """The same for metadata, where a number must not read like the text "NaN": NaN, Infinity and -Infinity are bare words, which
    Python reads and writes as JSON, though the standard does not know them."""
    return _METADATA_ENCODER.encode(_plain(value, float))


def _word(number: float) -> str:
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _plain(value: Any, unbounded: Callable[[float], Any]) -> Any:
    """`value` with what JSON has no word for made something that it has; `unbounded`: what becomes of NaN and infinities."""
    # Nearly all values are of these types; the general questions below cost five times as much.
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is dict:
        return {key if type(key) is str else str(key): _plain(item, unbounded) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return unbounded(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, unbounded) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, unbounded) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, date | time):
        return value.isoformat()
    return _number(value, unbounded) if isinstance(value, Decimal) else str(value)


def _number(value: Decimal, unbounded: Callable[[float], Any]) -> Any:
    if not value.is_finite():
        return unbounded(math.nan if value.is_nan() else float(value))
    if value.as_tuple().exponent == 0:
        return int(value)
    double = float(value)
    return double if math.isfinite(double) and Decimal(repr(double)) == value else str(value)


def source_schema(parents: Iterable[str], dimension: int | None = None) -> pa.Schema:
    """The schema of a source batch. `parents`: names of the collections it depends on. `dimension`: of its own vectors."""
    fields = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("metadata", pa.string(), nullable=False),
        pa.field("version", pa.string()),
        *(pa.field(f"{PARENT_PREFIX}{name}", pa.string()) for name in parents),
    ]
    if dimension is not None:
        fields.append(pa.field("vector", pa.list_(pa.float32(), dimension)))
    return pa.schema(fields)


def target_schema(dimension: int) -> pa.Schema:
    """The schema of a target batch. `dimension`: the length that the collection's vectors should have, 0 where none is known."""
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dimension)),
            pa.field("ragged", pa.list_(pa.float32())),
            pa.field("metadata", pa.string()),
        ]
    )
