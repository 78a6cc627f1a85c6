"""The time of a log's line, in the forms that logs have; and none where there only seems to be one."""

from __future__ import annotations

import json

import pytest

from vecforensics.collect.logs import LogEvent, parse_log


def event(line: str) -> LogEvent:
    [one] = parse_log([line + "\n"], "m.log")
    return one


@pytest.mark.parametrize(
    ("line", "utc"),
    [
        ("level=info ts=2026-01-01T01:00:00+01:00 msg=upserted id=u0", "2026-01-01T00:00:00Z"),
        ('ts="2026-01-01 00:00:00.250" msg="upserted" id=u0', "2026-01-01T00:00:00.250Z"),
        ("time=1767225600 msg=upserted id=u0", "2026-01-01T00:00:00Z"),
        ("upserted id=u0 t=1767225600123", "2026-01-01T00:00:00.123000Z"),
        ("@timestamp=1767225600.5 upserted id=u0", "2026-01-01T00:00:00.500000Z"),
        ("[01/Jan/2026:02:00:00 +0200] upserted id=u0", "2026-01-01T00:00:00Z"),
        ("01/Jan/2026:00:00:00 +0000 INFO upserted id=u0", "2026-01-01T00:00:00Z"),
        ('10.0.0.7 - - [31/Dec/2025:19:00:00 -0500] "upserted" id=u0', "2026-01-01T00:00:00Z"),
        ("2026/01/01 00:00:00 upserted id=u0", "2026-01-01T00:00:00Z"),
        ("INFO 2026-01-01 00:00:00,007 upserted id=u0", "2026-01-01T00:00:00.007Z"),
        ("[INFO] [2026-01-01 00:00:00] upserted id=u0", "2026-01-01T00:00:00Z"),
        ("<34>1 2026-01-01T00:00:00.003Z host migrate - - upserted id=u0", "2026-01-01T00:00:00.003Z"),
    ],
)
def test_a_line_gives_its_time_at_its_beginning_or_under_a_key(line: str, utc: str) -> None:
    one = event(line)
    assert (one.time, one.yearless) == (utc, None)
    assert (one.action, one.record_ids, one.level) == ("wrote", ("u0",), "info")


@pytest.mark.parametrize(
    ("number", "utc"),
    [
        (1_767_225_600_000_007, "2026-01-01T00:00:00.000007Z"),
        (1_767_225_600_000_000_007, "2026-01-01T00:00:00.000000007Z"),
        (1_767_225_600_000_000_000, "2026-01-01T00:00:00Z"),
        ("1767225600000", "2026-01-01T00:00:00Z"),
        ("176722560", None),
        (17_672_256_000_000_000_000_000, None),
    ],
)
def test_micro_and_nanoseconds_since_1970_are_times(number: float | str, utc: str | None) -> None:
    assert event(json.dumps({"timestamp": number, "msg": "wrote", "id": "u0"})).time == utc


def test_of_two_keys_the_one_that_holds_a_time_gives_it() -> None:
    one = event(json.dumps({"time": 12.5, "ts": "2026-01-01T00:00:00Z", "msg": "wrote", "id": "u0"}))
    assert one.time == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Nov  8 08:00:00 host migrate[12]: upserted id=u0", "Nov  8 08:00:00"),
        ("<13>Nov 28 08:00:00 host migrate: upserted id=u0", "Nov 28 08:00:00"),
        ("[08:00:00.250] INFO upserted id=u0", "[08:00:00.250]"),
    ],
)
def test_a_time_without_a_year_is_handed_on_as_it_stands(line: str, said: str) -> None:
    one = event(line)
    assert (one.time, one.yearless) == (None, said)
    assert (one.action, one.record_ids) == ("wrote", ("u0",))


@pytest.mark.parametrize(
    "line",
    [
        'upserted id="x ts=2026-01-01T00:00:00Z"',
        'msg="upserted ts=2026-01-01T00:00:00Z" id=u0',
        'upserted record("ts=2026-01-01T00:00:00Z ts=1767225600")',
        "upserted id=u0 latency_t=1767225600",
        "upserted id=u0 t=12 time=5ms ts=later",
        "upserted id=u0 32/Foo/2026:00:00:00",
        "31/Feb/2026:00:00:00 +0000 upserted id=u0",
    ],
)
def test_what_is_no_time_or_stands_in_an_id_is_none(line: str) -> None:
    assert (event(line).time, event(line).yearless) == (None, None)


def test_a_level_may_stand_under_a_key() -> None:
    one = event('ts=2026-01-01T00:00:00Z level=ERROR msg="key not found" id="level=debug"')
    assert (one.level, one.action, one.record_ids) == ("error", "failed", ("level=debug",))


@pytest.mark.parametrize("piece", ["ts=", 'ts="', '"a" ', "t= ", '"', "1/Jan", "x - - ["])
def test_a_long_hostile_line_is_read_at_once(piece: str) -> None:
    assert event(piece * (8192 // len(piece))).time is None
