"""When something was written, as people and stores spell it: time stamps and sequence numbers, read as far as they are any."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics import arrow_columns as arrow

__all__ = ["NEVER", "sequence_numbers", "times", "zoneless"]

# An unknown time; less than all others.
NEVER: Final = np.int64(np.iinfo(np.int64).min)
_ZONE: Final = r"(?:Z|[+-]\d\d:?\d\d)$"


def zoneless(values: list[Any]) -> npt.NDArray[np.bool_]:
    """Which of these times are taken for UTC only because they name no zone."""
    column = arrow.texts(value if isinstance(value, str) else None for value in values)
    return arrow.present(column) & ~arrow.flags(pc.match_substring_regex(column, _ZONE))


def times(values: list[Any]) -> npt.NDArray[np.int64]:
    """ISO 8601, without a zone as UTC, or a number of seconds, milli-, micro- or nanoseconds since 1970, all as nanoseconds;
    what is no time is unknown."""
    column = arrow.texts(value if isinstance(value, str) else None for value in values)
    zoned = arrow.flags(pc.match_substring_regex(column, _ZONE))
    moments = np.full(len(values), NEVER)
    for rows, kind in (
        (np.flatnonzero(zoned), pa.timestamp("ns", "UTC")),
        (np.flatnonzero(~zoned), pa.timestamp("ns")),
    ):
        part = column.take(arrow.numbers(rows))
        try:
            moments[rows] = arrow.as_numpy(part.cast(kind).cast(pa.int64()), NEVER)
        except pa.ArrowInvalid:
            moments[rows] = [_moment(text, kind) for text in part]
    for number, value in enumerate(values):
        if type(value) in (int, float):
            moments[number] = _since_1970(value)
    return moments


def _since_1970(value: float) -> int:
    """A number as nanoseconds, its unit by its size: each covers the years 2001 to 2096 and none another."""
    for unit in (10**9, 10**6, 10**3, 1):
        if 10**18 <= value * unit < 4 * 10**18:
            return value * unit if isinstance(value, int) else int(value * 10**6) * unit // 10**6
    return int(NEVER)


def _moment(text: pa.StringScalar, kind: pa.TimestampType) -> int:
    try:
        read = text.cast(kind)
    except pa.ArrowInvalid:
        return int(NEVER)
    return int(read.value) if read.is_valid else int(NEVER)


def sequence_numbers(values: list[Any]) -> npt.NDArray[np.float64]:
    """Numbers or the texts of such; what is none is NaN."""
    parsed = np.full(len(values), np.nan)
    for number, value in enumerate(values):
        if value is None:
            continue
        try:
            parsed[number] = float(value)
        except (TypeError, ValueError, OverflowError):
            continue
    return parsed
