"""How a parent's id is spelt where the column that names it holds doubles.

A table that pandas has touched keeps whole numbers beside an empty cell as doubles, and a double cannot say whether it was
written 5 or 5.0. The parents' own ids can: where theirs are doubles as well (`1.0`, `2.0`), the child's stays `5.0`; else it is
`5`. Above 2^53, where a double no longer holds every whole number, and with a fraction, it stays as it is. A CSV has no types:
there `5.0` is the same question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics import arrow_columns as arrow

__all__ = [
    "NOTHING_KNOWN",
    "DoubleIds",
    "are_doubles",
    "from_double",
    "from_doubles",
    "from_texts",
    "unknown",
]

DoubleIds = Callable[[], bool]
"""Whether the ids of the parents' own collection are doubles; asked only where it matters, since it takes a look at them."""

NOTHING_KNOWN: Final[Mapping[str, DoubleIds]] = MappingProxyType({})

_EXACT: Final = 2.0**53
_DOUBLE: Final = r"^-?\d+(\.\d+)?(e[+-]?\d+)?$"
_WITH_POINT: Final = r"[.e]"
_WHOLE: Final = r"^-?(0|[1-9]\d{0,14})\.0+$"


def unknown() -> bool:
    """Where nothing is known of the parents, a child's cell is taken as it stands."""
    return True


def are_doubles(ids: pa.Array) -> bool:
    """Whether all of these ids, text, are what a column of doubles is spelt like."""
    alike = pc.and_(pc.match_substring_regex(ids, _DOUBLE), pc.match_substring_regex(ids, _WITH_POINT))
    return len(ids) > 0 and bool(arrow.flags(alike).all())


def from_double(value: float, doubles: DoubleIds) -> str:
    """One id that is a double, as text."""
    if value.is_integer() and abs(value) < _EXACT and not doubles():
        return str(int(value))
    return repr(value)


def from_doubles(column: pa.Array, doubles: DoubleIds) -> pa.Array:
    """A column of doubles as text; null stays null."""
    values = arrow.as_numpy(column).astype(np.float64)
    is_whole = np.isfinite(values) & (np.floor(values) == values) & (np.abs(values) < _EXACT)
    if is_whole[arrow.present(column)].all() and not doubles():
        return pc.cast(arrow.numbers(values.astype(np.int64), arrow.present(column)), pa.string())
    return arrow.texts(None if value is None else from_double(value, doubles) for value in column.to_pylist())


def from_texts(column: pa.StringArray, doubles: DoubleIds) -> pa.StringArray:
    """Ids in cells without a type: `5.0` as if it were a double."""
    alike = pc.match_substring_regex(column, _WHOLE)
    if not arrow.flags(alike).any() or doubles():
        return column
    return pc.if_else(alike, pc.replace_substring_regex(column, r"\.0+$", ""), column)
