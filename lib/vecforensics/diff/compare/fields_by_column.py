"""Which of many metadata pairs may differ in a field, by Arrow columns instead of one text after the other: no false "no".

What is left is looked at one by one, so a column may leave too much and never too little. A target that carries more than the
source's fields (a batch, a time of writing) differs from it in every text, and so does one that gave a CSV's cells their types or
spelt the instants of a time stamp otherwise. Those have to be told from damage by the million.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.arrow_columns import as_numpy, flags, numbers, present, text, texts
from vecforensics.diff.compare.json_columns import typed_columns
from vecforensics.metadata_rule import FALSE_CELLS, TRUE_CELLS
from vecforensics.records import FieldType

__all__ = ["may_drift"]

Mask = npt.NDArray[np.bool_]

# From here on a double may be another number than the text said.
_INEXACT: Final = 2.0**53
_NARROW: Final[Mapping[FieldType, type[np.floating[Any]]]] = {
    FieldType.SINGLE: np.float32,
    FieldType.HALF: np.float16,
}
# Narrower than what `metadata_rule` takes for a number or a moment: what is left out is looked at one by one.
_NUMBER: Final = r"^-?((0|[1-9]\d{0,30})(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,2})?$"
_MOMENT: Final = r"^[1-9]\d{3}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?"
_ZONE: Final = r"(Z|[+-]([01]\d|2[0-3]):?[0-5]\d)"


def may_drift(one: pa.Array, other: pa.Array, fields: Sequence[str], types: Mapping[str, FieldType]) -> Mask:
    """Which pairs of JSON texts differ in one of the fields, as far as columns can tell. `types`: the source's."""
    suspect = np.zeros(len(one), np.bool_)
    wanted, held = typed_columns(one), typed_columns(other)
    if wanted is None or held is None:
        return np.ones(len(one), np.bool_)
    for name in fields:
        if name not in wanted and name not in held:
            continue
        kind = types.get(name)
        if kind is FieldType.UNTYPED:
            nothing = pa.nulls(len(one))
            suspect |= ~_spelt_by_cells(wanted.get(name, nothing), held.get(name, nothing))
            continue
        if name not in wanted or name not in held:
            return np.ones(len(one), np.bool_)
        left, right = wanted[name], held[name]
        both_numbers = kind is FieldType.DECIMAL and _is_number(left.type) and _is_number(right.type)
        if left.type != right.type and not both_numbers:
            return np.ones(len(one), np.bool_)
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
        neither = ~(present(left) | present(right))
        if both_numbers:
            suspect |= ~(_equal_numbers(left, right) | neither)
            continue
        same = flags(pc.equal(left, right))
        if kind is not None and kind in _NARROW and pa.types.is_floating(left.type):
            same |= _equal_rounded(left, right, _NARROW[kind])
        if kind is FieldType.TIME_STAMP:
            same |= _equal_moments(left, right, ~same)
        suspect |= ~(same | neither)
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


def _spelt_by_cells(cells: pa.Array, held: pa.Array) -> Mask:
    """Where a cell of a CSV certainly spells the value that is held; an empty one nothing, null or ""."""
    if not (pa.types.is_string(cells.type) or pa.types.is_null(cells.type)):
        return np.zeros(len(cells), np.bool_)
    cells = cells.cast(pa.string())
    empty = ~_filled(cells)
    if pa.types.is_null(held.type):
        return empty
    if pa.types.is_string(held.type):
        same = flags(pc.equal(cells, held))
        return same | (empty & ~_filled(held)) | _equal_moments(cells, held, ~same)
    nothing = empty & ~present(held)
    if pa.types.is_boolean(held.type):
        true, false = (flags(pc.is_in(cells, value_set=texts(spelt))) for spelt in (TRUE_CELLS, FALSE_CELLS))
        said: Mask = np.where(flags(held), true, false) & present(held)
        return nothing | said
    return nothing | _equal_numbers(cells, held) if _is_number(held.type) else nothing


def _filled(column: pa.StringArray) -> Mask:
    """Where a text stands that is not empty."""
    return present(column) & ~flags(pc.equal(column, text("")))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _equal_numbers(one: pa.Array, other: pa.Array) -> Mask:
    """Where two numbers, the first of them perhaps spelt in a text, are certainly the same."""
    same = np.zeros(len(one), np.bool_)
    rows = np.flatnonzero(present(one) & present(other))
    if pa.types.is_string(one.type):
        rows = rows[flags(pc.match_substring_regex(one.take(numbers(rows)), _NUMBER))]
    left, right = (_doubles(column.take(numbers(rows))) for column in (one, other))
    same[rows] = (left == right) & (np.abs(right) < _INEXACT)
    return same


def _equal_rounded(one: pa.Array, other: pa.Array, kind: type[np.floating[Any]]) -> Mask:
    """Where two doubles are one number of a narrower format."""
    with np.errstate(over="ignore"):
        left, right = (as_numpy(column).astype(kind) for column in (one, other))
    equal: Mask = (left == right) & np.isfinite(left) & present(one) & present(other)
    return equal


def _doubles(column: pa.Array) -> npt.NDArray[np.float64]:
    exact = pc.cast(column, pa.float64(), safe=False)
    values: npt.NDArray[np.float64] = as_numpy(exact)
    return values


def _equal_moments(one: pa.Array, other: pa.Array, rows: Mask) -> Mask:
    """Of `rows`, where two texts certainly name the same moment: with a zone both, or neither."""
    same = np.zeros(len(one), np.bool_)
    for zone, kind in ((_ZONE, pa.timestamp("us", "UTC")), ("", pa.timestamp("us"))):
        left, right = ((column.take(numbers(np.flatnonzero(rows)))) for column in (one, other))
        said = flags(
            pc.and_(*(pc.match_substring_regex(side, f"{_MOMENT}{zone}$") for side in (left, right)))
        )
        places, chosen = np.flatnonzero(rows)[said], numbers(np.flatnonzero(said))
        try:
            equal = pc.equal(*(pc.cast(side.take(chosen), kind) for side in (left, right)))
        except pa.ArrowInvalid:  # a day that there is not
            continue
        same[places] = flags(equal)
    return same
