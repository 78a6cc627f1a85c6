"""In which order the versions of one record are, by what they are written like.

A version is a number, a moment, a date, or numbers with dots between (`v9`, `1.10.0`, `rev-12`). Each of these is a reading,
which fits where all versions of the record can be read so. The order is known where one reading fits, or where all that fit give
the same: `1.9` and `1.10` are the numbers 1.90 and 1.10 or the ninth and the tenth, 1/3/2024 and 2/1/2024 begin with the day or
with the month; there is no telling, and nothing is guessed. Texts are never compared letter by letter.

Moments are compared as such, in whatever zone and with however many digits of a second. One without a zone can be anywhere from
14 hours before what it says in UTC to 12 hours after, so beside one with a zone only what is farther apart is in order; likewise
a date covers its whole day.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.arrow_columns import as_numpy
from vecforensics.metadata_rule import moment

__all__ = ["places_of", "plain_keys"]

_HOUR_NS: Final = 3600 * 10**9
# The clock of a zone is ahead of UTC by no more and behind it by no more than this.
_AHEAD_NS, _BEHIND_NS, _DAY_NS = 14 * _HOUR_NS, 12 * _HOUR_NS, 24 * _HOUR_NS
_LONGEST: Final = 200  # characters; what is longer is no version
_DOTTED: Final = re.compile(r"(\D*)(\d+(?:\.\d+)*)(\D*)")
_YEAR_LAST: Final = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4})")
_YEAR_FIRST: Final = re.compile(r"(\d{4})([/-])(\d{1,2})\2(\d{1,2})")
# A fraction behind more digits than this is one of seconds since 1970, and not the second part of a version.
_LONGEST_MAJOR: Final = 8

_DAY: Final = r"[1-9]\d{3}-\d\d-\d\d"
_CLOCK: Final = _DAY + r"[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?"
_PREFIXED: Final = re.compile(r"(\D*[^\W\d_]\D*)[0-9]{1,18}")
# What most columns of versions are: all of one shape, and each readable in one way only.
_PLAIN: Final = tuple(
    (re.compile(shape), f"^(?:{shape})$", kind)
    for shape, kind in (
        (r"[0-9]{1,18}", pa.int64()),
        (_CLOCK, pa.timestamp("ns")),
        (_CLOCK + r"(?:Z|[+-][01]\d:?[0-5]\d)", pa.timestamp("ns", "UTC")),
        (_DAY, pa.timestamp("ns")),
    )
)


def plain_keys(versions: pa.StringArray) -> npt.NDArray[np.int64] | None:
    """Int64 (n,), larger for the higher version (null: 0), where all are of one plain shape; None where they are not, which says
    nothing of their order."""
    if versions.null_count == len(versions):
        return np.zeros(len(versions), np.int64)
    first = versions.drop_null()[0].as_py()
    if found := _PREFIXED.fullmatch(first):
        before = found[1]
        same = pc.all(pc.starts_with(versions, before)).as_py()
        return plain_keys(pc.utf8_slice_codeunits(versions, len(before))) if same else None
    for shape, pattern, kind in _PLAIN:
        if shape.fullmatch(first):
            if not pc.all(pc.match_substring_regex(versions, pattern)).as_py():
                return None
            try:
                return as_numpy(versions.cast(kind).cast(pa.int64()))
            except pa.ArrowInvalid:  # No such day, or one beyond the years that nanoseconds can count.
                return None
    return None


def places_of(versions: Iterable[str]) -> list[int] | None:
    """The place of each of a record's versions in their order, from 0, with one place for those that are the same; None where
    nothing says what order they have."""
    texts = [text.strip() for text in versions]
    if len(set(texts)) == 1:
        return [0] * len(texts)
    if max(map(len, texts)) > _LONGEST:
        return None
    orders = [_places(keys) for reading in _READINGS if (keys := reading(texts)) is not None]
    return orders[0] if orders and all(order == orders[0] for order in orders) else None


def _places(keys: list[Any]) -> list[int]:
    place = {key: number for number, key in enumerate(sorted(set(keys)))}
    return [place[key] for key in keys]


def _numbers(texts: Sequence[str]) -> list[Any] | None:
    try:
        read = [Decimal(text) for text in texts]
    except InvalidOperation:
        return None
    return read if all(number.is_finite() for number in read) else None


def _moments(texts: Sequence[str]) -> list[Any] | None:
    named = [one for text in texts if (one := moment(text)) is not None]
    if len(named) < len(texts):
        return None
    mixed = len({one.zoned for one in named}) > 1
    spans = []
    for one in named:
        ahead, behind = (_AHEAD_NS, _BEHIND_NS) if mixed and not one.zoned else (0, 0)
        spans.append((one.ns - ahead, one.ns + behind + (_DAY_NS - 1) * one.day, (one.zoned, one.day)))
    for (_, last, kind), (first, _, next_kind) in pairwise(sorted(spans)):
        if kind != next_kind and last >= first:
            return None
    return [first for first, _, _ in spans]


def _dotted(texts: Sequence[str]) -> list[Any] | None:
    """The numbers of each, where all have the same before them and the same behind."""
    read, around = [], set()
    for text in texts:
        found = _DOTTED.fullmatch(text)
        if found is None:
            return None
        before, digits, behind = found.groups()
        parts = digits.split(".")
        if before and not any(map(str.isalpha, before)):
            return None
        if not before and not behind and len(parts) == 2 and len(parts[0]) > _LONGEST_MAJOR:
            return None
        around.add((before, behind))
        whole = [int(part) for part in parts]
        while len(whole) > 1 and not whole[-1]:
            whole.pop()
        read.append(tuple(whole))
    return read if len(around) == 1 else None


def _dates(shape: re.Pattern[str], year: int, month: int, day: int) -> Callable[[Sequence[str]], Any]:
    """A reading of dates; which groups of `shape` are what."""

    def reading(texts: Sequence[str]) -> list[Any] | None:
        read = []
        for text in texts:
            found = shape.fullmatch(text)
            if found is None:
                return None
            try:
                read.append(date(int(found[year]), int(found[month]), int(found[day])))
            except ValueError:
                return None
        return read

    return reading


_READINGS: Final = (
    _numbers,
    _moments,
    _dotted,
    _dates(_YEAR_FIRST, 1, 3, 4),
    _dates(_YEAR_LAST, 4, 3, 1),
    _dates(_YEAR_LAST, 4, 1, 3),
)
