"""Metadata: which field changed, disappeared or came back as another type.

Both sides are canonical JSON, so equal text means equal metadata and costs nothing. Where the text differs the fields of the
case file are compared one by one; what else a target carries (the text itself, a batch number) is its own business. A store
does some things by nature (Pinecone drops nulls and keeps every number as a double); for that store they are no finding. A NaN
that came back as nothing is a loss everywhere: `records.canonical_json` writes it as text, so it is not mistaken for a null.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.arrow_columns import flags, numbers, whole
from vecforensics.diff.compare.field_changes import ABSENT, change_of
from vecforensics.diff.compare.fields_by_column import may_drift
from vecforensics.diff.compare.json_columns import or_empty
from vecforensics.metadata_rule import MetadataRule
from vecforensics.records import canonical_json

__all__ = ["as_object", "drift_of_rows", "field_drift"]

_SHOWN: Final = 80  # characters of a value in a finding
# From so many differing texts on they are looked at by column first.
_BY_COLUMN: Final = 256
# Said of each field that is missing because of it.
_UNREADABLE: Final = "since the row's metadata is no JSON object"


def drift_of_rows(
    source: pa.ChunkedArray,
    target: pa.ChunkedArray,
    source_row: npt.NDArray[np.int32],
    target_row: npt.NDArray[np.int32],
    fields: Sequence[str],
    rule: MetadataRule,
) -> dict[int, dict[str, Any]]:
    """For each source row whose metadata drifted: what happened to which field."""
    one = whole(source).take(numbers(source_row))
    other = whole(target).take(numbers(target_row))
    differs = np.flatnonzero(~flags(pc.equal(one, other)))
    if len(differs) >= _BY_COLUMN:
        rows = numbers(differs)
        differs = differs[may_drift(one.take(rows), or_empty(other.take(rows)), fields, rule.types)]
    drift: dict[int, dict[str, Any]] = {}
    known: dict[tuple[str, str | None], dict[str, Any]] = {}
    texts = zip(
        differs.tolist(),
        one.take(numbers(differs)).to_pylist(),
        other.take(numbers(differs)).to_pylist(),
        strict=True,
    )
    for number, wanted, held in texts:
        key = (wanted, held)
        if key not in known:
            if len(known) >= 4096:
                known.clear()
            known[key] = field_drift(as_object(wanted), as_object(held), fields, rule)
            if held is not None and not held.startswith("{"):
                for entry in known[key].values():
                    entry["form"] = _UNREADABLE
        if known[key]:
            drift[int(source_row[number])] = known[key]
    return drift


def as_object(text: str | None) -> Mapping[str, Any]:
    """The metadata of a JSON text, empty where it is none."""
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def field_drift(
    wanted: Mapping[str, Any], held: Mapping[str, Any], fields: Sequence[str], rule: MetadataRule
) -> dict[str, Any]:
    """For each field that drifted `{"change": missing|changed|retyped, "expected": …, "actual": …}`; empty when none did.

    `types` says what a retyped value became, `form` what happened to a changed text where that can be told.
    """
    drift = {}
    for name in fields:
        if rule.kept(name, wanted, held):
            continue
        expected, actual = wanted.get(name), held.get(name, ABSENT)
        shown = {} if actual is ABSENT else {"actual": _shown(actual)}
        drift[name] = (
            change_of(expected, actual, rule.types.get(name)) | {"expected": _shown(expected)} | shown
        )
    return drift


def _shown(value: Any) -> Any:
    """A value as a finding shows it: numbers, booleans and null as they are, everything else as short text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else canonical_json(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
