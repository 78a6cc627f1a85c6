"""The values of an Arrow column for Python and JSON; whatever counts time comes as ISO 8601 text.

Arrow counts in 64 bits what Python's `datetime` holds for the years 1 to 9999 and to the microsecond only: to Parquet
PostgreSQL's `infinity` is in the year 294247, and to Python five nanoseconds past midnight are midnight. So the count itself is
spelt here, as Python would spell it where it can (`2026-01-02T03:04:05.000600+01:00`), else as ECMAScript does: a year beyond
9999 or before 0 has a sign and six digits or more, and its time is in UTC. One count has one spelling, whatever stands beside it.

A time stamp with a zone is an instant, whatever the zone is called; in a zone that this machine does not know it is spelt in UTC.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache, partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vecforensics.arrow_columns import as_numpy, encoded, texts, whole

__all__ = ["beyond_four_digits", "counts_time", "rows_of", "values_of"]

_PER_SECOND: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# The Gregorian calendar repeats itself after so many years and seconds.
_CYCLE_YEARS, _CYCLE_S, _DAY_S = 400, 146_097 * 86_400, 86_400
# Where the years that `datetime` knows begin and end.
_YEAR_1_S, _YEAR_10000_S = -62_135_596_800, 253_402_300_800

_Read = Callable[[Any], Any]


def values_of(column: pa.Array) -> list[Any]:
    """Like `to_pylist`, with text for all that counts time, also inside of lists and structs."""
    if pa.types.is_dictionary(column.type) and counts_time(column.type.value_type):
        column = column.dictionary_decode()
    kind = column.type
    read = _reader(kind)
    if read is None:
        values: list[Any] = column.to_pylist()
        return values
    if pa.types.is_nested(kind):
        return [None if value is None else read(value) for value in column.view(_counted(kind)).to_pylist()]
    # Times repeat themselves more often than not: each is spelt once.
    distinct = encoded(column.view(_counted(kind)))
    spelt = texts(read(value) for value in distinct.dictionary.to_pylist())
    found: list[Any] = spelt.take(distinct.indices).to_pylist()
    return found


def rows_of(table: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """The same of several columns: what each row holds, by column."""
    if not table.num_columns:
        return [{} for _ in range(table.num_rows)]
    columns = (whole(one) if isinstance(one, pa.ChunkedArray) else one for one in table.columns)
    return [
        dict(zip(table.schema.names, row, strict=True))
        for row in zip(*(values_of(column) for column in columns), strict=True)
    ]


def counts_time(kind: pa.DataType) -> bool:
    """Whether the values of a type are time stamps, dates, times of day or spans of time."""
    return bool(
        pa.types.is_timestamp(kind)
        or pa.types.is_date(kind)
        or pa.types.is_time(kind)
        or pa.types.is_duration(kind)
    )


def beyond_four_digits(column: pa.Array) -> npt.NDArray[np.bool_]:
    """Which time stamps or dates lie outside the years 1 to 9999. Arrow's own functions count years in 16 bits and begin anew: to
    them the year 67560 is 2024."""
    kind = column.type
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        return np.zeros(len(column), np.bool_)
    days = pa.types.is_date32(kind)
    unit = 1 if days else _PER_SECOND["ms" if pa.types.is_date64(kind) else kind.unit]
    second = as_numpy(column.view(_counted(kind))).astype(np.int64) // unit * (_DAY_S if days else 1)
    far: npt.NDArray[np.bool_] = (second < _YEAR_1_S) | (second >= _YEAR_10000_S)
    return far


def _counted(kind: pa.DataType) -> pa.DataType:
    """The type of the same layout that holds whole numbers in place of times."""
    if counts_time(kind):
        return pa.int32() if kind.bit_width == 32 else pa.int64()
    if pa.types.is_struct(kind):
        return pa.struct([item.with_type(_counted(item.type)) for item in kind])
    if pa.types.is_map(kind):
        return pa.map_(_counted(kind.key_type), _counted(kind.item_type), kind.keys_sorted)
    if not _is_list(kind):
        return kind
    item = kind.value_field.with_type(_counted(kind.value_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(item, kind.list_size)
    return pa.large_list(item) if pa.types.is_large_list(kind) else pa.list_(item)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _reader(kind: pa.DataType) -> _Read | None:
    """What makes a value of this type of one of `_counted`; None where both are the same."""
    if pa.types.is_timestamp(kind):
        return partial(_time_stamp, unit=kind.unit, zone=None if kind.tz is None else _zone(kind.tz))
    if pa.types.is_date(kind):
        return _day if kind.bit_width == 32 else lambda count: _day(count // (1000 * _DAY_S))
    if pa.types.is_time(kind):
        return partial(_time_of_day, unit=kind.unit)
    if pa.types.is_duration(kind):
        return partial(_span, unit=kind.unit)
    if pa.types.is_struct(kind):
        inside = {item.name: read for item in kind if (read := _reader(item.type)) is not None}
        return partial(_struct, inside=inside) if inside else None
    if pa.types.is_map(kind):
        key, item = _reader(kind.key_type), _reader(kind.item_type)
        return None if key is item is None else partial(_map, key=key or _same, item=item or _same)
    if _is_list(kind) and (read := _reader(kind.value_type)) is not None:
        return partial(_list, read=read)
    return None


def _same(value: Any) -> Any:
    return value


def _list(values: list[Any], read: _Read) -> list[Any]:
    return [None if value is None else read(value) for value in values]


def _struct(values: dict[str, Any], inside: dict[str, _Read]) -> dict[str, Any]:
    return {
        name: inside[name](value) if name in inside and value is not None else value
        for name, value in values.items()
    }


def _map(values: list[tuple[Any, Any]], key: _Read, item: _Read) -> list[tuple[Any, Any]]:
    return [(key(name), None if value is None else item(value)) for name, value in values]


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    try:
        zone: tzinfo = pa.lib.string_to_tzinfo(name)
    except (pa.ArrowInvalid, ValueError, LookupError, OSError):
        return UTC
    return zone


def _time_stamp(count: int, unit: str, zone: tzinfo | None) -> str:
    second, rest = divmod(count, _PER_SECOND[unit])
    try:
        at = _EPOCH + timedelta(seconds=second)
        spelt = (at if zone is None or zone is UTC else at.astimezone(zone)).isoformat()
        year = spelt[:4]
    except OverflowError:
        cycles, second = divmod(second, _CYCLE_S)
        at = _EPOCH + timedelta(seconds=second)
        spelt, year = at.isoformat(), _far_year(at.year + cycles * _CYCLE_YEARS)
    return f"{year}{spelt[4:19]}{_fraction(rest, unit)}{'' if zone is None else spelt[19:]}"


def _day(count: int) -> str:
    cycles, days = divmod(count, _CYCLE_S // _DAY_S)
    at = _EPOCH + timedelta(days=days)
    return f"{_far_year(at.year + cycles * _CYCLE_YEARS)}{at.isoformat()[4:10]}"


def _far_year(year: int) -> str:
    return f"{year:04d}" if 0 <= year <= 9999 else f"{year:+07d}"


def _time_of_day(count: int, unit: str) -> str:
    second, rest = divmod(abs(count), _PER_SECOND[unit])
    clock = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
    return f"{'-' if count < 0 else ''}{clock}{_fraction(rest, unit)}"


def _span(count: int, unit: str) -> str:
    """As Python's `timedelta` reads, in nanoseconds where that would not hold it."""
    nanoseconds = count * (10**9 // _PER_SECOND[unit])
    try:
        if nanoseconds % 1000 == 0:
            return str(timedelta(microseconds=nanoseconds // 1000))
    except OverflowError:
        pass
    return f"{nanoseconds} ns"


def _fraction(rest: int, unit: str) -> str:
    """Of a second: no digits where it is whole, else six, or nine where six are too few."""
    nanoseconds = rest * (10**9 // _PER_SECOND[unit])
    if nanoseconds % 1000:
        return f".{nanoseconds:09d}"
    return f".{nanoseconds // 1000:06d}" if nanoseconds else ""
