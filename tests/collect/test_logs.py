"""A stranger's log becomes events: ids stay text, stacks stay whole, nothing in it can hurt."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecforensics.collect.logs import Frame, LogEvent, parse_log, read_log
from vecforensics.errors import SourceError

INCIDENT = """\
2026-11-05T10:12:33.123Z ERROR: Data Corruption Detected in Migration: Key Not Found - UserId: 12345, Vector ID: NaN
\tat migrateDataToVectorDB (/src/migration.js:45:12)
\tat processMigration (/src/migration.js:23:5)
\tat async main (/src/index.js:12:3)
"""


def events(text: str) -> list[LogEvent]:
    return list(parse_log(text.splitlines(keepends=True), "migration.log"))


def test_the_incidents_own_lines_give_user_vector_id_and_stack() -> None:
    [event] = events(INCIDENT)
    assert event.time == "2026-11-05T10:12:33.123Z"
    assert (event.level, event.action) == ("error", "failed")
    assert event.record_ids == ("12345",)
    assert event.vector_id == "NaN"
    assert event.stack == (
        Frame("migrateDataToVectorDB", "/src/migration.js", 45, 12),
        Frame("processMigration", "/src/migration.js", 23, 5),
        Frame("main", "/src/index.js", 12, 3),
    )


def test_without_a_time_stamp_the_event_has_no_time() -> None:
    [event] = events(INCIDENT.split("Z ", 1)[1])
    assert event.time is None
    assert event.level == "error"
    assert event.record_ids == ("12345",)


@pytest.mark.parametrize(
    ("stamp", "utc"),
    [
        ("2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00Z"),
        ("2026-01-01 01:00:00,250", "2026-01-01T01:00:00.250Z"),
        ("[2026-01-01T01:00:00Z]", "2026-01-01T01:00:00Z"),
        ("2026-01-01T01:00:00-0230", "2026-01-01T03:30:00Z"),
    ],
)
def test_times_are_told_in_utc(stamp: str, utc: str) -> None:
    [event] = events(f"{stamp} INFO inserted user_id=1\n")
    assert event.time == utc


def test_an_impossible_time_is_no_time() -> None:
    [event] = events("2026-13-41T25:61:61Z INFO inserted user_id=1\n")
    assert event.time is None


def test_ids_stay_text_whatever_they_look_like() -> None:
    [event] = events('INFO inserted user_id=007 post_id="a b" parentId: 1e5, orderId=9007199254740993\n')
    assert event.record_ids == ("007", "a b", "1e5", "9007199254740993")


def test_a_json_log_line_gives_time_level_ids_and_fields() -> None:
    line = {
        "ts": "2026-01-01T00:00:00Z",
        "level": "WARN",
        "msg": "upserted",
        "user_id": "007",
        "batch": 3,
        "worker": "w1",
    }
    [event] = events(json.dumps(line) + "\n")
    assert (event.time, event.level, event.action) == ("2026-01-01T00:00:00Z", "warn", "wrote")
    assert event.record_ids == ("007",)
    assert event.fields == {"batch": "3", "worker": "w1"}


@pytest.mark.parametrize(
    "text",
    [" sp 166 ", "line\nbreak", 'q"uo;te', "a, b", "(x)", "batch=9 worker=w9 collection=other", "failed", ""],
)
def test_the_ids_of_a_json_line_are_its_values_whatever_stands_in_them(text: str) -> None:
    line = {
        "time": "2026-11-24T02:59:56Z",
        "event": "upsert",
        "collection": "my posts",
        "post_id": text,
        "batch": 7,
    }
    [event] = events(json.dumps(line) + "\n")
    assert event.record_ids == (text,)
    assert event.action == "wrote"
    assert event.fields == {"collection": "my posts", "batch": "7"}


def test_a_json_line_may_hold_its_ids_in_an_object_and_its_text_names_others() -> None:
    line = {
        "level": "info",
        "msg": "inserted user_id=5",
        "context": {"postId": "x 1", "vectorId": None, "worker": "w 3"},
    }
    [event] = events(json.dumps(line) + "\n")
    assert event.record_ids == ("x 1", "5")
    assert (event.action, event.vector_id) == ("wrote", "null")
    assert event.fields == {"worker": "w 3"}


@pytest.mark.parametrize(
    ("time", "utc"),
    [
        (1_767_225_600, "2026-01-01T00:00:00Z"),
        (1_767_225_600.25, "2026-01-01T00:00:00.250000Z"),
        (1_767_225_600_007, "2026-01-01T00:00:00.007000Z"),
        (12, None),
        (True, None),
        (float("nan"), None),
    ],
)
def test_a_json_line_may_give_its_time_and_level_as_numbers(time: float, utc: str | None) -> None:
    """As pino and zap write them."""
    [event] = events(json.dumps({"level": 40, "time": time, "msg": "upserted", "id": "a"}) + "\n")
    assert (event.time, event.level) == (utc, "warn")


def test_an_id_in_plain_text_says_nothing_about_what_was_done() -> None:
    [event] = events('upserted id="error: batch=9" batch=7\n')
    assert (event.record_ids, event.action, event.fields) == (("error: batch=9",), "wrote", {"batch": "7"})


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("wrote u0 collection=alpha batch=0 worker=0", ("u0",)),
        ("upserted user u0 to alpha batch=0", ("user u0 to alpha", "u0 to alpha", "u0")),
        ('inserted record "a b: batch=9 failed" batch=0', ("a b: batch=9 failed",)),
        ("stored post/7:a, retrying the rest", ("post/7:a, retrying the rest", "post/7:a")),
        ("saved 'u0'.", ("'u0'", "u0")),
        ("wrote u0 parent_id=u7", ("u0",)),
        ("wrote user id 12 batch=0", ("user id 12", "12")),
        ("wrote 0012 batch=0", ("0012",)),
        # Counts, numbers of rows, and what is a field or has a key of its own.
        ("wrote 100 batch=0", ()),
        ("wrote row 100", ("row 100",)),
        ("wrote batch=9", ()),
        ("inserted user_id=5", ()),
        ("inserted UserId: 5", ()),
        ("written", ()),
        # What was not written is nobody's write.
        ("failed to insert u0", ()),
        ("fetched u0", ()),
        ("u0 is next", ()),
    ],
)
def test_what_stands_behind_a_verb_of_writing_is_a_word_that_may_be_an_id(
    said: str, words: tuple[str, ...]
) -> None:
    [event] = events(f"INFO {said}\n")
    assert event.words == words
    assert event.listed_ids == ()


def test_a_quoted_word_says_nothing_about_the_rest_of_the_line() -> None:
    [event] = events('INFO wrote "failed batch=9 collection=beta user_id=4" batch=7\n')
    assert (event.action, event.fields, event.record_ids) == ("wrote", {"batch": "7"}, ())


@pytest.mark.parametrize("key", ["ids", "record_ids", "vector_ids", "recordIds", "IDs"])
def test_a_json_line_may_list_all_the_ids_of_one_upsert(key: str) -> None:
    line = {
        "event": "upsert",
        key: ["u0", "a, b", 7, " ", 'q"]', None, True, 1.5, ["x"], {"id": "y"}],
        "batch": 3,
    }
    [event] = events(json.dumps(line) + "\n")
    assert event.listed_ids == ("u0", "a, b", "7", " ", 'q"]')
    assert (event.action, event.record_ids, event.fields) == ("wrote", (), {"batch": "3"})


def test_half_a_character_in_a_json_line_is_kept_visible() -> None:
    [event] = events('{"event": "upsert", "ids": ["a\\ud800"], "user_id": "\\udfff"}\n')
    written = json.loads(event.to_json().encode())
    assert (written["listed_ids"], written["record_ids"]) == (["a\ufffd"], ["\ufffd"])


@pytest.mark.parametrize(
    "line",
    [
        '{"msg": "upserted", "id": "u1", "error": null}',
        '{"msg": "upserted", "id": "u1", "failed": 0, "reject": false, "failure": ""}',
        "INFO upserted id=u1 failed=0 error=null",
        "INFO upserted id=u1 error=none failed=0, timeout=false",
    ],
)
def test_a_line_that_counts_no_failure_is_no_failure(line: str) -> None:
    [event] = events(f"{line}\n")
    assert (event.action, event.record_ids) == ("wrote", ("u1",))


@pytest.mark.parametrize(
    "line",
    [
        '{"msg": "upserted", "id": "u1", "error": "time out"}',
        '{"msg": "upserted", "id": "u1", "failed": 3}',
        "INFO upserted id=u1 failed=10",
        "INFO upserted id=u1 failed=0.5",
        "ERROR key not found: null id=u1",
    ],
)
def test_a_line_that_counts_one_is(line: str) -> None:
    [event] = events(f"{line}\n")
    assert (event.action, event.words) == ("failed", ())


def test_lists_of_what_was_not_written_are_left_alone() -> None:
    line = {
        "event": "upsert",
        "failed_ids": ["a"],
        "parent_ids": ["b"],
        "tags": ["c"],
        "context": {"ids": ["d"]},
    }
    [event] = events(json.dumps(line) + "\n")
    assert event.listed_ids == ("d",)


def test_a_line_of_plain_text_may_list_ids_too() -> None:
    [event] = events("INFO upserted ids=['u0', \"a, b\", u1] batch=3\n")
    assert (event.listed_ids, event.words, event.fields) == (("u0", "a, b", "u1"), (), {"batch": "3"})


@pytest.mark.parametrize(
    "said",
    [
        "upserted ids=[u0, u1] batch=3",
        "upserted ids: ['u0' 'u1'] batch=3",
        "upserted 2 records: ids=[u0,u1] batch=3",
        "upserted_ids=[u0, u1] batch=3",
        "batch=3 upserted the ids=[u0, u1]",
        'wrote user ids: ["u0", "u1"] batch=3',
    ],
)
def test_the_verb_before_a_list_says_that_it_was_written(said: str) -> None:
    [event] = events(f"INFO {said}\n")
    assert (event.action, event.listed_ids, event.fields) == ("wrote", ("u0", "u1"), {"batch": "3"})
    assert event.words == ()


def test_a_json_key_may_say_that_its_list_was_written() -> None:
    [event] = events('{"event": "batch done", "upserted_ids": ["u0"]}\n')
    assert (event.action, event.listed_ids, event.list_key) == ("wrote", ("u0",), "upserted_ids")


@pytest.mark.parametrize("what", ["failed", "skipped", "parent", "existing", "batch"])
def test_a_list_in_plain_text_of_what_was_not_written_is_none(what: str) -> None:
    [event] = events(f"INFO upserted ids=[u0] {what} ids=[u1]\n")
    assert event.listed_ids == ("u0",)


@pytest.mark.parametrize("text", ["u0, u1, ..., u9", "u0 … u9", "u0 .. u9", "u0, 8 more"])
def test_a_list_that_names_only_its_ends_is_none(text: str) -> None:
    [event] = events(f"INFO upserted ids=[{text}] batch=3\n")
    assert (event.action, event.listed_ids, event.words) == ("wrote", (), ())


def test_one_id_may_stand_under_two_keys() -> None:
    [event] = events("INFO upserted user_id=7 post_id=7 userId=8 userId=8\n")
    assert event.record_ids == ("7", "7", "8")
    assert event.id_keys == ("user_id", "post_id", "userId")


def test_a_thousand_long_ids_of_one_upsert_are_read_whole(tmp_path: Path) -> None:
    ids = [f"{number:04d}" + "x" * 500 for number in range(1000)]
    (tmp_path / "m.log").write_text(json.dumps({"event": "upsert", "ids": ids}) + "\nINFO wrote u0\n")
    first, second = read_log(tmp_path / "m.log")
    assert first.listed_ids == tuple(ids)
    assert len(first.message) < 10_000
    assert (second.line_number, second.words) == (2, ("u0",))


def test_a_line_without_an_end_is_never_held(tmp_path: Path) -> None:
    with (tmp_path / "m.log").open("w") as file:
        file.write('{"ids": [' + '"x", ' * 2_000_000 + "\nINFO wrote u0\n")
    tracemalloc.start()
    long, after = read_log(tmp_path / "m.log")
    assert tracemalloc.get_traced_memory()[1] < 12e6
    tracemalloc.stop()
    assert (long.listed_ids, after.line_number, after.words) == ((), 2, ("u0",))


@pytest.mark.parametrize("piece", ["wrote ", " ", "a", "a.", "ids=[", "id=", 'wrote "', "wrote a=", 'ids:["'])
def test_a_long_hostile_line_says_little(piece: str) -> None:
    [event] = events("INFO wrote x" + piece * (8192 // len(piece)) + "\n")
    assert sum(map(len, event.words)) < 2000


def test_a_python_traceback_belongs_to_the_line_above() -> None:
    text = 'ERROR failed user_id=9\nTraceback (most recent call last):\n  File "m.py", line 3, in f\n    g()\nINFO done\n'
    first, second = events(text)
    assert first.stack == (Frame("f", "m.py", 3),)
    assert second.message == "done"


def test_anonymous_javascript_frames_have_no_function() -> None:
    [event] = events("ERROR x\n    at /src/migration.js:45:12\n    at async Promise.all (index 0)\n")
    assert event.stack == (Frame("", "/src/migration.js", 45, 12),)


@pytest.mark.parametrize(
    "time", ["1" * 400, "-" + "1" * 400, "1" * 5000, "1e400", "NaN", "true", "999999999", "4000000000000"]
)
def test_a_number_that_is_no_time_gives_none(time: str) -> None:
    [event] = events(f'{{"time": {time}, "msg": "wrote", "id": "u0", "seq": {"9" * 400}}}\n')
    assert event.time is None
    assert event.action == "wrote"
    assert json.loads(event.to_json())["line_number"] == 1


@pytest.mark.parametrize("time", ["1000000000", "1000000000000", "1e12"])
def test_seconds_and_milliseconds_since_1970_are_times(time: str) -> None:
    [event] = events(f'{{"time": {time}, "msg": "wrote"}}\n')
    assert event.time == "2001-09-09T01:46:40Z"


@pytest.mark.parametrize(
    "frame",
    ["    at f (a.js:{}:1)", "    at f (a.js:1:{})", "    at a.js:{}", '  File "m.py", line {}, in f'],
)
def test_a_line_number_of_thousands_of_digits_is_no_fault(frame: str) -> None:
    [event] = events("ERROR x\n" + frame.format("1" * 5000) + "\n" + frame.format("7") + "\n")
    assert all(one.line < 10**9 for one in event.stack)
    assert 7 in (event.stack[-1].line, event.stack[-1].column)


def test_a_line_of_ten_megabytes_is_cut_and_the_rest_read() -> None:
    long, after = events("ERROR " + "x" * 10_000_000 + "\nINFO inserted user_id=1\n")
    assert len(long.message) < 10_000
    assert after.record_ids == ("1",)


@given(st.lists(st.text(max_size=60), max_size=8))
def test_no_text_breaks_the_parser_and_every_event_is_json(lines: list[str]) -> None:
    for event in parse_log([line + "\n" for line in lines], "x.log"):
        assert json.loads(event.to_json())["file"] == "x.log"
        assert 1 <= event.line_number <= len(lines)


def test_bytes_that_are_no_text_are_kept_visible(tmp_path: Path) -> None:
    (tmp_path / "m.log").write_bytes(b"ERROR user_id=\xff\xfe1\n")
    [event] = read_log(tmp_path / "m.log")
    assert event.record_ids == ("\ufffd\ufffd1",)


def test_a_log_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        list(read_log(tmp_path))
