"""When a log's line says that it was written, in the forms that logs have.

A time stands at the beginning of a line (ISO 8601, or as Apache writes it, there also behind the name of a client), under a key
(`ts=…`, of a JSON line or in logfmt), or is a number of seconds, milli-, micro- or nanoseconds since 1970. A time without a zone
is taken for UTC, and said to have none. One that names no year, as syslog's, says nothing beyond its own log, and is handed on
as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

__all__ = ["Stamp", "Time", "keyed_time", "stamp_of", "under_key"]

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH: Final = "|".join(_MONTHS)
_CLOCK: Final = r"(?P<clock>\d\d:\d\d:\d\d)(?:[.,](?P<fraction>\d{1,9}))?"
# RFC 5424 puts a number before its time, and RFC 3164 too.
_PRIORITY: Final = re.compile(r"<\d{1,3}>(?:\d )?")
_ISO: Final = re.compile(
    rf"\[?(?P<date>\d{{4}}(?P<dash>[-/])\d\d(?P=dash)\d\d)[T ]{_CLOCK}\s?(?P<zone>Z|UTC|[+-]\d\d:?\d\d)?\]?[ \t]*"
)
_APACHE: Final = re.compile(
    rf"(?:\S{{1,256}} \S{{1,256}} \S{{1,256}} (?=\[))?\[?(?P<day>\d\d)/(?P<month>{_MONTH})/(?P<year>\d{{4}}):{_CLOCK}"
    r"(?: (?P<zone>[+-]\d{4}))?\]?[ \t]*"
)
_WITHOUT_A_YEAR: Final = re.compile(
    rf"\[?(?:(?:{_MONTH}) [ \d]\d )?\d\d:\d\d:\d\d(?:[.,]\d{{1,9}})?\]?(?:[ \t]+|$)"
)
# Under these keys stands the time of a line, the likeliest first.
_KEYS: Final = ("time", "timestamp", "ts", "@timestamp", "asctime", "t")
_NUMBER: Final = re.compile(r"\d{10,19}(?:\.\d{1,9})?")
# A word of the line, or a key with its value; what stands in quotes is part of its word and says nothing.
_WORD: Final = re.compile(
    r"(?<!\S)(?:(?P<key>@?\w+)=(?:\"(?P<quoted>[^\"]*)\"|(?P<bare>[^\s\"]+))(?!\S)|[^\s\"]*(?:\"[^\"]*\"[^\s\"]*)*)"
)
_MAY_HOLD_A_KEY: Final = re.compile(r"\b(?:time|timestamp|ts|asctime|t)=")


class Time(NamedTuple):
    """`utc`: ISO 8601 in UTC; `zoneless`: it is UTC only because the log names no zone."""

    utc: str
    zoneless: bool = False


@dataclass(frozen=True, slots=True)
class Stamp:
    """`time` of the line, or None. `yearless`: what stands there instead of one, where it names no year. `rest`: the line
    without either."""

    time: Time | None
    yearless: str | None
    rest: str


def stamp_of(line: str) -> Stamp:
    """The time of a line of plain text: the one that it begins with, or else one under a key."""
    priority = _PRIORITY.match(line)
    if priority:
        line = line[priority.end() :]
    found = _ISO.match(line) or _APACHE.match(line)
    if found:
        return Stamp(_utc(found), None, line[found.end() :])
    found = _WITHOUT_A_YEAR.match(line)
    if found:
        return Stamp(None, found[0].strip(), line[found.end() :])
    if _MAY_HOLD_A_KEY.search(line):
        for value, rest in under_key(line, _KEYS):
            time = _time(value)
            if time is not None:
                return Stamp(time, None, rest)
    return Stamp(None, None, line)


def under_key(line: str, keys: Collection[str]) -> Iterator[tuple[str, str]]:
    """What stands under one of these keys in a line of logfmt (`level=info msg="…"`), and the line without it."""
    for found in _WORD.finditer(line):
        if found["key"] in keys:
            value = found["bare"] if found["quoted"] is None else found["quoted"]
            yield value, line[: found.start()] + line[found.end() :].lstrip()


def keyed_time(record: Mapping[str, Any], keys: Mapping[str, str]) -> tuple[Time | None, str | None]:
    """The time of a JSON line, and its key there; `keys`: each key in lower case and as it stands."""
    there = [keys[name] for name in _KEYS if name in keys]
    times = ((_time(record[key]), key) for key in there)
    return next(((time, key) for time, key in times if time), (None, there[0] if there else None))


def _time(value: Any) -> Time | None:
    if type(value) in (int, float):
        return _since_1970(value)
    text = str(value)
    if _NUMBER.fullmatch(text):
        return _since_1970(float(text) if "." in text else int(text))
    found = _ISO.match(text) or _APACHE.match(text)
    return _utc(found) if found else None


def _since_1970(value: float) -> Time | None:
    """The unit follows from the size: each covers the years 2001 to 2096 and none another."""
    # Compared before anything is divided: a whole number in JSON may be larger than any double.
    digits = next((n for n in (0, 3, 6, 9) if 10 ** (9 + n) <= value < 4 * 10 ** (9 + n)), None)
    if digits is None:
        return None
    if isinstance(value, float):
        return Time(_spelt(datetime.fromtimestamp(value / 10**digits, UTC)))
    seconds, rest = divmod(value, 10**digits)
    nanoseconds = rest * 10 ** (9 - digits)
    moment = datetime.fromtimestamp(seconds, UTC)
    if nanoseconds % 1000:
        return Time(f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z")
    return Time(_spelt(moment.replace(microsecond=nanoseconds // 1000)))


def _spelt(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _utc(found: re.Match[str]) -> Time | None:
    """The digits that the log gave are kept."""
    parts = found.groupdict()
    zone = parts["zone"]
    offset = "+00:00" if zone in (None, "Z", "UTC") else zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
    date = (
        parts["date"].replace("/", "-")
        if "date" in parts
        else f"{parts['year']}-{_MONTHS.index(parts['month']) + 1:02d}-{parts['day']}"
    )
    try:
        moment = datetime.fromisoformat(f"{date}T{parts['clock']}{offset}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    fraction = f".{parts['fraction']}" if parts["fraction"] else ""
    return Time(moment.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z", zoneless=zone is None)
