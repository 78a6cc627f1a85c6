"""Metadata: which field changed, disappeared or came back as another type.

Both sides are canonical JSON, so equal text means equal metadata and costs nothing. Where the text differs the fields of the
case file are compared one by one; what else a target carries (the text itself, a batch number) is its own business. A store
does some things by nature (Pinecone drops nulls and keeps every number as a double); for that store they are no finding. A NaN
that came back as nothing is a loss everywhere: `records.canonical_json` writes it as text, so it is not mistaken for a null.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.arrow_columns import flags, numbers, present, whole
from vecforensics.diff.compare.json_columns import or_empty, typed_columns
from vecforensics.diff.spellings import coercions
from vecforensics.records import canonical_json
from vecforensics.stores.habits import StoreHabits

__all__ = ["CHANGES", "as_object", "drift_of_rows", "field_drift"]

# What may have happened to a field.
CHANGES: Final = ("changed", "missing", "retyped")
_ABSENT: Final = object()
_SHOWN: Final = 80  # characters of a value in a finding
_LARGEST_SINGLE: Final = 3.4e38
_LONGEST: Final = 4000  # characters of a text that are looked at for what happened to it
_NAN: Final = "NaN"
# What a null becomes on its way through a text.
_SAYS_NULL: Final = frozenset({"null", "none", "nan", "undefined", "nil", "<na>"})
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
    habits: StoreHabits,
) -> dict[int, dict[str, Any]]:
    """For each source row whose metadata drifted: what happened to which field."""
    one = whole(source).take(numbers(source_row))
    other = whole(target).take(numbers(target_row))
    differs = np.flatnonzero(~flags(pc.equal(one, other)))
    if len(differs) >= _BY_COLUMN:
        rows = numbers(differs)
        differs = differs[_may_drift(one.take(rows), or_empty(other.take(rows)), fields)]
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
            known[key] = field_drift(as_object(wanted), as_object(held), fields, habits)
            if held is not None and not held.startswith("{"):
                for entry in known[key].values():
                    entry["form"] = _UNREADABLE
        if known[key]:
            drift[int(source_row[number])] = known[key]
    return drift


def _may_drift(one: pa.Array, other: pa.Array, fields: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which pairs of JSON texts differ in one of the fields, as far as columns can tell: no false "no".

    A target that carries more than the source's fields (a batch, a time of writing) differs from it in every text.
    """
    suspect = np.zeros(len(one), np.bool_)
    wanted, held = typed_columns(one), typed_columns(other)
    if wanted is None or held is None:
        return np.ones(len(one), np.bool_)
    for name in fields:
        if name not in wanted and name not in held:
            continue
        if name not in wanted or name not in held or wanted[name].type != held[name].type:
            return np.ones(len(one), np.bool_)
        left, right = wanted[name], held[name]
        # Absent and null are one to a column; there the text has to say which.
        named = f"{json.dumps(name, ensure_ascii=False)}:"
        says, said = (flags(pc.match_substring(side, named)) for side in (one, other))
        if any(_names_inside(column.type, name) for side in (wanted, held) for column in side.values()):
            # It may also mean a key of that name further inside.
            suspect |= (says & ~present(left)) | (said & ~present(right))
        else:
            suspect |= says ^ said
        if pa.types.is_null(left.type):
            continue
        if pa.types.is_nested(left.type):
            return np.ones(len(one), np.bool_)
        suspect |= ~(flags(pc.equal(left, right)) | ~(present(left) | present(right)))
        if pa.types.is_floating(left.type):
            # A column of doubles hides that 3 became 3.0.
            whole = re.escape(named) + r"-?\d+[,}]"
            suspect |= flags(
                pc.or_(pc.match_substring_regex(one, whole), pc.match_substring_regex(other, whole))
            )
    return suspect


def _names_inside(kind: pa.DataType, name: str) -> bool:
    """Whether values of this type hold objects with a key of that name."""
    if pa.types.is_list(kind):
        return _names_inside(kind.value_type, name)
    if not pa.types.is_struct(kind):
        return False
    return any(item.name == name or _names_inside(item.type, name) for item in kind)


def as_object(text: str | None) -> Mapping[str, Any]:
    """The metadata of a JSON text, empty where it is none."""
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def field_drift(
    wanted: Mapping[str, Any], held: Mapping[str, Any], fields: Sequence[str], habits: StoreHabits
) -> dict[str, Any]:
    """For each field that drifted `{"change": missing|changed|retyped, "expected": …, "actual": …}`; empty when none did.

    `types` says what a retyped value became, `form` what happened to a changed text where that can be told.
    """
    drift = {}
    for name in fields:
        if habits.kept(name, wanted, held):
            continue
        expected, actual = wanted.get(name), held.get(name, _ABSENT)
        change = (
            "missing" if actual is _ABSENT else "retyped" if _same_content(expected, actual) else "changed"
        )
        entry: dict[str, Any] = {"change": change, "expected": _shown(expected)}
        if actual is not _ABSENT:
            entry["actual"] = _shown(actual)
        if change == "retyped":
            entry["types"] = _types(expected, actual)
        elif expected == _NAN and actual is _ABSENT:
            entry["types"] = "NaN→absent"
        form = _form_of_change(expected, actual) if change == "changed" else None
        if form is not None:
            entry["form"] = form
        drift[name] = entry
    return drift


def _same_content(expected: Any, actual: Any) -> bool:
    """Whether two values that differ say the same in other types: 3 and 3.0, "true" and true, ["a"] and "a", [1] and [1.0], "007"
    and 7, a double and what single precision leaves of it, null and "None"."""
    if type(expected) is type(actual):
        if isinstance(expected, list):
            return len(expected) == len(actual) and _same_contents(zip(expected, actual, strict=True))
        if isinstance(expected, dict):
            return expected.keys() == actual.keys() and _same_contents(
                (expected[key], actual[key]) for key in expected
            )
        return (
            isinstance(expected, float)
            and abs(expected) < _LARGEST_SINGLE
            and float(np.float32(expected)) == actual
        )
    if expected is None or actual is None:
        value = actual if expected is None else expected
        return isinstance(value, str) and value.strip().lower() in _SAYS_NULL
    if isinstance(expected, str | dict | list) and isinstance(actual, str | dict | list):
        # A structure that became its own JSON text.
        text, value = (expected, actual) if isinstance(expected, str) else (actual, expected)
        if isinstance(text, str) and _read(text) == value:
            return True
    if isinstance(expected, list) and not isinstance(actual, list):
        return len(expected) == 1 and (expected[0] == actual or _same_content(expected[0], actual))
    if isinstance(actual, list):
        return len(actual) == 1 and (actual[0] == expected or _same_content(expected, actual[0]))
    if isinstance(expected, dict) or isinstance(actual, dict):
        return False
    if _truth(expected) is not None and _truth(expected) == _truth(actual):
        return True
    one, other = _number(expected), _number(actual)
    return one is not None and one == other


def _same_contents(pairs: Iterable[tuple[Any, Any]]) -> bool:
    return all(
        canonical_json(one) == canonical_json(other) or _same_content(one, other) for one, other in pairs
    )


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _number(value: Any) -> Decimal | None:
    """A number, or a text that is one, exactly: an integer beyond 2^53 is not the double beside it."""
    try:
        number = Decimal(value if not isinstance(value, str) else value.strip())
    except (InvalidOperation, TypeError, ValueError):
        return None
    return number if number.is_finite() else None


def _truth(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return None


def _types(expected: Any, actual: Any) -> str:
    """What a value was and became: `int→float`; of structures of one type the first part that is another."""
    if expected == _NAN and actual is None:
        return "NaN→null"
    if isinstance(expected, float) and isinstance(actual, float):
        return "float→single precision"
    if type(expected) is type(actual):
        pairs = (
            zip(expected, actual, strict=True)
            if isinstance(expected, list)
            else ((expected[key], actual[key]) for key in sorted(expected))
        )
        inner = next(
            _types(one, other) for one, other in pairs if canonical_json(one) != canonical_json(other)
        )
        return f"{_type_name(expected)} of {inner}"
    return f"{_type_name(expected)}→{_type_name(actual)}"


def _form_of_change(expected: Any, actual: Any) -> str | None:
    """What happened to a text: cut off, or one of the conversions that ids suffer too; None where it is another text."""
    if not isinstance(expected, str) or not isinstance(actual, str) or len(expected) > _LONGEST:
        return None
    if actual and expected.startswith(actual):
        return "cut off"
    return coercions(expected).get(actual)


def _type_name(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "float", str: "text", list: "list", dict: "object"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


def _shown(value: Any) -> Any:
    """A value as a finding shows it: numbers, booleans and null as they are, everything else as short text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else canonical_json(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
