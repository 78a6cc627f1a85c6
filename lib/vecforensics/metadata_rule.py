"""When metadata of the source and of the target say the same: the one rule, for the diff and for the verification after a repair.

The same value in the same type is the same, and so are 0.0 and -0.0, which are equal. Beyond that, two things speak for a value
that is spelt otherwise:

* what a store does by nature (`stores/habits.py`): nulls dropped, whole numbers kept as doubles;
* what the source's type leaves open. A CSV has no types: a cell agrees with the number, the truth value, the structure or the
  text that it spells, and an empty one with null, nothing and "". JSON has no time stamps and no decimals: a time stamp is the
  instant that it names, in any zone and with T or a space, and a decimal is its number. Nor has it numbers of single or half
  precision: such a one is every double that rounds to it, since 0.1 is what most programs print of the single next to 0.1.

A cell spells a number as programs print one: `007` has zeros and `+49` a sign to lose, so they are no 7 and no 49. A whole number
is compared to the last digit, a fraction as the double next to it. It spells true as `true`, `True`, `TRUE`, `t` (PostgreSQL) or
`1` (MySQL), not as a word that may be another thing (`yes`; `no`, a country).
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from vecforensics.records import FieldType, metadata_json
from vecforensics.stores.habits import StoreHabits, as_doubles

__all__ = ["FALSE_CELLS", "NOT_FINITE", "TRUE_CELLS", "MetadataRule", "Moment", "moment", "rounded"]

NOT_FINITE: Final = {
    **dict.fromkeys(("nan", "-nan"), math.nan),
    **dict.fromkeys(("inf", "+inf", "infinity", "+infinity"), math.inf),
    **dict.fromkeys(("-inf", "-infinity"), -math.inf),
}
"""What programs print of a number that is none or beyond all others, in lower case."""
TRUE_CELLS: Final = ("true", "True", "TRUE", "t", "1")
FALSE_CELLS: Final = ("false", "False", "FALSE", "f", "0")
# More digits than any number that anybody stores; Python refuses to read some thousands of them.
_NUMBER: Final = re.compile(r"-?(?:(?:0|[1-9]\d{0,400})(\.\d{0,400})?|(\.\d{1,400}))([eE][+-]?\d{1,3})?")
_MOMENT: Final = re.compile(
    r"(\d{4}|[+-]\d{6,12})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(Z|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d){0,2})?)?"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# The Gregorian calendar repeats itself after so many years and seconds: a year that `datetime` lacks is read in another cycle.
_CYCLE_YEARS, _CYCLE_S = 400, 146_097 * 86_400


class Moment(NamedTuple):
    """What an ISO 8601 text names: `ns` since 1970, by the clock on the wall where there is no zone; `wall`: always by that
    clock; `day`: only a date; `fraction`: the digits of the second's, zeros at the end left out."""

    ns: int
    wall: int
    zoned: bool
    day: bool
    fraction: str


def moment(text: Any) -> Moment | None:
    """The moment that a text names, None where it is none."""
    found = _MOMENT.fullmatch(text) if isinstance(text, str) and len(text) <= 50 else None
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    cycles, in_cycle = divmod(int(year), _CYCLE_YEARS)
    try:
        clock = (int(hour or 0), int(minute or 0), int(second or 0))
        at = datetime(_CYCLE_YEARS + in_cycle, int(month), int(day), *clock, tzinfo=UTC)
    except ValueError:
        return None
    fraction = (fraction or "").rstrip("0")
    wall_s = (at - _EPOCH) // timedelta(seconds=1) + (cycles - 1) * _CYCLE_S
    wall = wall_s * 10**9 + int(fraction.ljust(9, "0"))
    return Moment(wall - _offset_s(zone) * 10**9, wall, zone is not None, hour is None, fraction)


def _offset_s(zone: str | None) -> int:
    if zone is None or zone == "Z":
        return 0
    digits = zone[1:].replace(":", "").ljust(6, "0")
    return int(zone[0] + "1") * (3600 * int(digits[:2]) + 60 * int(digits[2:4]) + int(digits[4:]))


@dataclass(frozen=True, slots=True)
class MetadataRule:
    """What a store does to metadata, and of which type the source's fields are, where that leaves something open."""

    habits: StoreHabits = field(default_factory=StoreHabits)
    types: Mapping[str, FieldType] = field(default_factory=dict)

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> MetadataRule:
        """The rule of a collection by what was frozen of its store and its source (`FrozenCollection.facts`)."""
        types = {name: FieldType(kind) for name, kind in facts.get("source_types", {}).items()}
        return cls(StoreHabits.of(str(facts.get("store", ""))), types)

    def kept(self, name: str, wanted: Mapping[str, Any], held: Mapping[str, Any]) -> bool:
        """Whether `held` says of the field `name` what `wanted` says."""
        kind, expected = self.types.get(name), wanted.get(name)
        if name not in held:
            dropped = expected is None and (self.habits.drops_nulls or kind is FieldType.UNTYPED)
            return name not in wanted or dropped or (kind is FieldType.UNTYPED and expected == "")
        actual = held[name]
        spelt = _spelt(actual)
        if _spelt(expected) == spelt:
            return True
        if self.habits.numbers_are_doubles and as_doubles(_unsigned(expected)) == spelt:
            return True
        match kind:
            case FieldType.UNTYPED:
                return _cell_says(expected, actual)
            case FieldType.TIME_STAMP:
                return _same_instant(moment(expected), moment(actual))
            case FieldType.DECIMAL:
                return _same_number(expected, actual)
            case FieldType.SINGLE | FieldType.HALF:
                return isinstance(actual, float) and rounded(actual, kind) == rounded(expected, kind)
        return False

    def in_source(self, fields: Iterable[str], held: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a target's row as the source would hold them: a cell is spelt as most programs do."""
        said = {}
        for name in fields:
            if self.types.get(name) is FieldType.UNTYPED:
                said[name] = _as_cell(held.get(name))
            elif name in held:
                said[name] = rounded(held[name], self.types.get(name))
        return said

    def core(self, name: str, value: Any) -> Any:
        """One value for all that agree by this rule, of a field of source or target; None where it says nothing."""
        kind = self.types.get(name)
        if kind is FieldType.UNTYPED:
            return _core_of_cell(value)
        if kind is FieldType.TIME_STAMP and (named := moment(value)) is not None:
            return [named.ns, named.zoned]
        return _as_double(value) if kind is FieldType.DECIMAL else _unsigned(rounded(value, kind))


def rounded(value: Any, kind: FieldType | None) -> Any:
    """What single or half precision holds of a number with a fraction; everything else as it is."""
    width = {FieldType.SINGLE: "f", FieldType.HALF: "e"}.get(kind) if kind is not None else None
    if width is None or not isinstance(value, float):
        return value
    try:
        return struct.unpack(width, struct.pack(width, value))[0]
    except OverflowError:
        return value


def _spelt(value: Any) -> str:
    """The canonical spelling of a value, with no sign before a zero."""
    spelt = metadata_json(value)
    return metadata_json(_unsigned(value)) if "-0.0" in spelt else spelt


def _unsigned(value: Any) -> Any:
    """A value in which every -0.0 is 0.0."""
    if isinstance(value, list):
        return [_unsigned(item) for item in value]
    if isinstance(value, dict):
        return {key: _unsigned(item) for key, item in value.items()}
    return value + 0.0 if isinstance(value, float) else value


def _cell_says(cell: str | None, value: Any) -> bool:
    if cell is None or cell == "":
        return value is None or value == ""
    if isinstance(value, bool):
        return cell.strip() in (TRUE_CELLS if value else FALSE_CELLS)
    if isinstance(value, int | float):
        return _spells(cell.strip(), value)
    if isinstance(value, str):
        one, other = moment(cell), moment(value)
        return one is not None and other is not None and (one.ns, one.zoned) == (other.ns, other.zoned)
    if isinstance(value, list | dict) and cell.lstrip()[:1] in ("[", "{"):
        try:
            return _spelt(json.loads(cell)) == _spelt(value)
        except (ValueError, RecursionError):
            return False
    return False


def _as_cell(value: Any) -> str | None:
    if isinstance(value, str) or value is None:
        return value or None
    return metadata_json(value)


def _spells(text: str, value: float) -> bool:
    found = _NUMBER.fullmatch(text)
    if found is None or not math.isfinite(value):
        said = NOT_FINITE.get(text.lower())
        return said is not None and metadata_json(said) == metadata_json(value)
    if not any(found.groups()):
        return int(text) == value
    return Decimal(text) == value if isinstance(value, int) else float(text) == value


def _core_of_cell(value: Any) -> Any:
    """A number as its double, and so what a number or a truth value is spelt like."""
    if value is None or value == "":
        return None
    if isinstance(value, list | dict):
        return metadata_json(value)
    if isinstance(value, bool | int | float):
        return _as_double(value)
    stripped = value.strip()
    if stripped in TRUE_CELLS or stripped in FALSE_CELLS:
        return float(stripped in TRUE_CELLS)
    if isinstance(number := _as_double(stripped), float):
        return number
    named = moment(value)
    if named is not None:
        return [named.ns, named.zoned]
    if value.lstrip()[:1] in ("[", "{"):
        try:
            return metadata_json(json.loads(value))
        except (ValueError, RecursionError):
            return value
    return value


def _as_double(value: Any) -> Any:
    """A number, or a text that spells one, as the double next to it; everything else as it is."""
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value) else NOT_FINITE.get(value.lower(), value)
    try:
        return float(value) if isinstance(value, int | float) else value
    except OverflowError:
        return value


def _same_instant(one: Moment | None, other: Moment | None) -> bool:
    """Of two time stamps, whether they name the same: with a zone both, or neither, and to the second both."""
    if one is None or other is None or other.day:
        return False
    return (one.ns, one.zoned) == (other.ns, other.zoned)


def _same_number(expected: Any, actual: Any) -> bool:
    if isinstance(expected, bool | None) or isinstance(actual, bool) or not isinstance(actual, int | float):
        return False
    if isinstance(expected, str):  # more digits than a double holds
        return bool(_NUMBER.fullmatch(expected)) and float(expected) == actual
    return bool(expected == actual)
