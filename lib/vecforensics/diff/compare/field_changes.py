"""What happened to a metadata field that is not what it should be: gone, the same in another type, or another value; and how.

`types` says what a value of another type was and became, `form` what befell a text where that can be told: a time stamp that lost
its zone, its time of day or its fractions, a text that was cut off, or one of the conversions that ids suffer too; and a cell of
a CSV that came back as what a narrower format holds of its number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from vecforensics.diff.spellings import spellings
from vecforensics.metadata_rule import NOT_FINITE, Moment, moment, rounded
from vecforensics.records import FieldType, metadata_json

__all__ = ["ABSENT", "CHANGES", "change_of"]

# What may have happened to a field.
CHANGES: Final = ("changed", "missing", "retyped")
ABSENT: Final = object()
_LONGEST: Final = 4000  # characters of a text that are looked at for what happened to it
# What befell a zone, by whether there was one and whether there is one.
_ZONES: Final = {
    (True, True): "zone replaced",
    (True, False): "zone lost",
    (False, True): "zone added",
    (False, False): "",
}
# What a null becomes on its way through a text.
_SAYS_NULL: Final = frozenset({"null", "none", "nan", "undefined", "nil", "<na>"})


def change_of(expected: Any, actual: Any, kind: FieldType | None) -> dict[str, str]:
    """`change`, and where they can be told `types` and `form`, of a value that the target does not keep. `kind`: the source's."""
    if actual is ABSENT:
        lost = {"types": f"{_type_name(expected)}→absent"} if _is_unbounded(expected) else {}
        return {"change": "missing"} | lost
    if kind is FieldType.UNTYPED and isinstance(expected, str):
        # A cell has no type that could have changed.
        return _changed_cell(expected, actual)
    if kind is FieldType.TIME_STAMP and _is_epoch(moment(expected), actual):
        return {"change": "retyped", "types": f"{kind.value}→{_type_name(actual)}"}
    if _same_content(expected, actual):
        declared = kind if kind is FieldType.DECIMAL and isinstance(actual, str) else None
        types = f"{declared.value}→text" if declared else _types(expected, actual)
        return {"change": "retyped", "types": types}
    return _changed(expected, actual)


def _changed_cell(cell: str, actual: Any) -> dict[str, str]:
    changed = _changed(cell, actual if isinstance(actual, str) else metadata_json(actual), FieldType.UNTYPED)
    number = _number(cell)
    if (
        "form" not in changed
        and number is not None
        and number.is_finite()
        and (narrower := _narrower(float(number), actual))
    ):
        return changed | {"form": narrower}
    return changed


def _changed(expected: Any, actual: Any, kind: FieldType | None = None) -> dict[str, str]:
    form = _form_of_change(expected, actual, kind)
    return {"change": "changed"} | ({} if form is None else {"form": form})


def _same_content(expected: Any, actual: Any) -> bool:
    """Whether two values that differ say the same in other types: 3 and 3.0, "true" and true, ["a"] and "a", [1] and [1.0], "007"
    and 7, a double and what single or half precision leaves of it, null and "None"."""
    if type(expected) is type(actual):
        if isinstance(expected, list):
            return len(expected) == len(actual) and _same_contents(zip(expected, actual, strict=True))
        if isinstance(expected, dict):
            return expected.keys() == actual.keys() and _same_contents(
                (expected[key], actual[key]) for key in expected
            )
        return _narrower(expected, actual) is not None
    if expected is None or actual is None:
        value = actual if expected is None else expected
        return _is_unbounded(value) or (isinstance(value, str) and value.strip().lower() in _SAYS_NULL)
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
    return one is not None and (one == other or (one.is_nan() and other is not None and other.is_nan()))


def _same_contents(pairs: Iterable[tuple[Any, Any]]) -> bool:
    return all(
        metadata_json(one) == metadata_json(other) or _same_content(one, other) for one, other in pairs
    )


def _narrower(expected: Any, actual: Any) -> str | None:
    """From which format to which a number went that is now what the narrower of them holds; None where it did not."""
    if not isinstance(expected, float) or not isinstance(actual, float):
        return None
    narrow = (
        kind for kind in (FieldType.SINGLE, FieldType.HALF) if rounded(expected, kind) == actual != expected
    )
    return next((f"float→{kind.value} precision" for kind in narrow), None)


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _number(value: Any) -> Decimal | None:
    """A number, or a text that is one, exactly: an integer beyond 2^53 is not the double beside it."""
    if isinstance(value, str):
        value = NOT_FINITE.get(value.strip().lower(), value.strip())
    try:
        number = Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        return None
    return number if number.is_finite() or isinstance(value, float) else None


def _is_unbounded(value: Any) -> bool:
    """Whether a value is NaN or an infinity: a number that JSON has no word for."""
    return isinstance(value, float) and not math.isfinite(value)


def _truth(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return None


def _types(expected: Any, actual: Any) -> str:
    """What a value was and became: `int→float`; of structures of one type the first part that is another."""
    if (narrower := _narrower(expected, actual)) is not None:
        return narrower
    if type(expected) is type(actual):
        pairs = (
            zip(expected, actual, strict=True)
            if isinstance(expected, list)
            else ((expected[key], actual[key]) for key in sorted(expected))
        )
        inner = next(_types(one, other) for one, other in pairs if metadata_json(one) != metadata_json(other))
        return f"{_type_name(expected)} of {inner}"
    return f"{_type_name(expected)}→{_type_name(actual)}"


def _form_of_change(expected: Any, actual: Any, kind: FieldType | None) -> str | None:
    """What happened to a text, None where it is another one."""
    if not isinstance(expected, str) or not isinstance(actual, str) or len(expected) > _LONGEST:
        return None
    one, other = moment(expected), moment(actual)
    if one is not None and other is not None and (form := _form_of_moments(one, other, kind)) is not None:
        return form
    converted = spellings(expected).get(actual)
    return "cut off" if converted is None and actual and expected.startswith(actual) else converted


def _form_of_moments(one: Moment, other: Moment, kind: FieldType | None) -> str | None:
    """What a time stamp lost, None where it is another time."""
    if one.day and not other.day:
        # Midnight is no change to a cell of a CSV.
        added = ["time of day"] * (kind is not FieldType.UNTYPED) + ["zone"] * other.zoned
        return " and ".join(added) + " added" if other.wall == one.wall and added else None
    if other.day:
        day = 86_400 * 10**9
        return "time of day lost" if other.ns in (one.wall // day * day, one.ns // day * day) else None
    unit = 10 ** (9 - len(other.fraction))
    # As it was or with fewer digits; by the clock on the wall or in UTC.
    for zone, was, now in (
        ("", one.ns, other.ns),
        ("zone replaced", one.wall, other.wall),
        ("zone lost", one.wall, other.wall),
        ("zone lost", one.ns, other.wall),
        ("zone added", one.wall, other.wall),
        ("zone added", one.wall, other.ns),
    ):
        if zone == _ZONES[one.zoned, other.zoned] or (one.zoned == other.zoned and not zone):
            if was == now:
                return zone or "another spelling of the moment"
            if was // unit * unit == now:
                return " and ".join(filter(None, [zone, "fractions of a second cut off"]))
    return None


def _is_epoch(one: Moment | None, actual: Any) -> bool:
    """Whether a number counts the seconds since 1970, or thousandths, millionths or billionths of them, to a time stamp."""
    if one is None or isinstance(actual, bool) or not isinstance(actual, int | float):
        return False
    return any(Decimal(actual) * 10**power == one.ns for power in (9, 6, 3, 0))


def _type_name(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "float", str: "text", list: "list", dict: "object"}
    if _is_unbounded(value):
        return metadata_json(value)
    return "null" if value is None else names.get(type(value), type(value).__name__)
