"""Migration logs as events: when, how bad, which record, which vector id, and the stack that stood there.

A log is a stranger's text in no fixed format, so nothing is required of it: a line that begins with a time stamp, a level or a
JSON object begins an event, the indented lines after it belong to it. From the text come the ids (`UserId: 12345`,
`user_id=12345`, `Vector ID: NaN`), the fields that place a write (batch, worker, seq) and what was done (`wrote`, `fetched`,
`failed`); from the lines below, the frames of a JavaScript, Python or Java stack. Ids stay text, and say nothing about anything
else: an id is a stranger's word, and may read `batch=9 failed`. In a JSON line the values are taken as they stand.

One line may name all the ids of one upsert (`"ids": ["u0", "u1"]`). And many a line names its record by nothing but its place:
`wrote u0 collection=users`. Nobody can tell here whether `u0` is an id or a word like any other, so it is handed on as a word;
whoever knows the ids decides (`diff/writing/writes.py`). A bare number there is more often a count (`wrote 100`), and is handed
on only where it is called an id (`wrote record id 100`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from vecforensics.collect.log_files import LogFile
from vecforensics.collect.log_times import Time, keyed_time, stamp_of, under_key
from vecforensics.records import canonical_json

__all__ = ["Frame", "LogEvent", "parse_log", "read_log"]

# A line beyond this is cut: a log is evidence, not a place to store a dump. A JSON line may list the thousand ids of one upsert,
# and half of one says nothing.
_MAX_LINE: Final = 8_192
_MAX_JSON_LINE: Final = 2**20
_MAX_FRAMES: Final = 64

_LEVEL: Final = re.compile(
    r"\[?\b(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL)\b\]?[:\-\s]*", re.IGNORECASE
)
_LEVEL_KEYS: Final = ("level", "severity", "levelname", "lvl")
# Levels as numbers: those of pino and bunyan.
_LEVELS: Final = {10: "trace", 20: "debug", 30: "info", 40: "warn", 50: "error", 60: "fatal"}
_JS_FRAME: Final = re.compile(
    r"^\s+at (?:async )?(?:(?P<function>[^()]*?) \()?(?P<file>[^()]+?):(?P<line>\d{1,9})(?::(?P<column>\d{1,9}))?\)?\s*$"
)
_PY_FRAME: Final = re.compile(r'^\s+File "(?P<file>[^"]+)", line (?P<line>\d{1,9}), in (?P<function>\S+)')
_ID: Final = re.compile(
    r"\b(?P<name>(?:[A-Za-z]+[ _]?)?(?:Id|ID|id))\b\s*[:=]\s*(?:\"(?P<quoted>[^\"]*)\"|(?P<bare>[^\s,;\"()\[\]{}]+))"
)
_FIELDS: Final = ("batch", "worker", "shard", "seq", "collection", "attempt", "status")
_FIELD: Final = re.compile(
    rf"\b(?P<name>{'|'.join(_FIELDS)})\b\s*[:=]\s*(?:\"(?P<quoted>[^\"]*)\"|(?P<bare>[^\s,;\"()\[\]{{}}]+))",
    re.IGNORECASE,
)
_ID_KEY: Final = re.compile(r"(?:[A-Za-z]+[ _-]?)?(?:Id|ID|id)")
# What is written, by its common names; lists of others (`failed_ids`, `parent ids`) are none of what was written.
_NOUN: Final = "record|row|vector|embedding|point|document|doc|chunk|item|entity|object|key|user|post"
_WROTE: Final = "insert(?:ed)?|upsert(?:ed)?|wrote|written|stored|saved"
_IDS_KEY: Final = re.compile(rf"(?:(?P<of>{_NOUN}|{_WROTE})[ _-]?)?ids", re.IGNORECASE)
_IDS: Final = re.compile(
    r"\b(?P<key>(?:[A-Za-z]+[ _-])?[A-Za-z]*ids)\s*[:=]\s*\[(?P<list>[^\]]*)\]", re.IGNORECASE
)
# Words before `ids` that say nothing of which they are.
_OF_ALL: Final = re.compile("(?:all|for|new|of|the|with) ", re.IGNORECASE)
# A list that names its ends, or how many more there were, is none.
_CUT_SHORT: Final = frozenset({"...", "..", "\u2026", "more"})
_LISTED: Final = re.compile(r"\"([^\"]*)\"|'([^']*)'|([^\s,;\"']+)")
_HALF_A_CHARACTER: Final = re.compile("[\ud800-\udfff]")
# How deep objects in a JSON line are looked into.
_DEEPEST: Final = 3
_VERB: Final = re.compile(rf"\b(?:{_WROTE})\b:?[ \t]+", re.IGNORECASE)
_KEY: Final = re.compile(r"(?<!\S)[\w.-]+(?:=|:(?=\s))")
_CALLED: Final = re.compile(rf"(?:the )?(?:(?:{_NOUN})(?: id)?|id) ", re.IGNORECASE)
# So much of a line is looked at behind the verb; an id that is longer has a key.
_LONGEST_WORD: Final = 512
_COUNT: Final = re.compile(r"0|[1-9]\d*")
# `failed=0`, `"error": null`: what is said not to have been.
_NOTHING: Final = (None, "", "0", "false")
_NONE: Final = re.compile(r"(?<!\S)[\w.-]+=(?:0|null|none|false)(?=[\s,;]|$)", re.IGNORECASE)
_ACTIONS: Final = (
    (
        "failed",
        re.compile(
            r"\b(fail(?:ed|ure)?|error|reject(?:ed|ion)|not found|timed? ?out|unhandled|corruption)\b",
            re.IGNORECASE,
        ),
    ),
    ("wrote", re.compile(rf"\b({_WROTE})\b", re.IGNORECASE)),
    ("fetched", re.compile(r"\b(fetch(?:ed)?|look(?:ed)? ?up|read)\b", re.IGNORECASE)),
    ("crashed", re.compile(r"\b(crash(?:ed)?|exit(?:ed)?(?: with)? code|killed)\b", re.IGNORECASE)),
)


@dataclass(frozen=True, slots=True)
class Frame:
    """One line of a stack. `function` is empty where the runtime gave none."""

    function: str
    file: str
    line: int
    column: int | None = None


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One event. `time` is ISO 8601 in UTC, or None, and UTC only for want of a zone where it is `zoneless`; `fields` holds
    batch, worker, seq and their like, as text.

    `yearless`: what stands there instead of a time, where it names no year. `record_ids`: what a key names, the record first and
    then perhaps others (a parent); `id_keys`: under which key each stands. `listed_ids`: everything that was written in one go;
    `list_key`: the key of the list, "" where there are several. `words`: what may be the record's id, or may be nothing of the
    kind, the likeliest first.
    """

    file: str
    line_number: int
    time: str | None
    level: str
    message: str
    action: str
    zoneless: bool = False
    yearless: str | None = None
    record_ids: tuple[str, ...] = ()
    id_keys: tuple[str, ...] = ()
    vector_id: str | None = None
    listed_ids: tuple[str, ...] = ()
    list_key: str = ""
    words: tuple[str, ...] = ()
    fields: dict[str, str] = field(default_factory=dict)
    stack: tuple[Frame, ...] = ()

    def to_json(self) -> str:
        """Canonical JSON, one line. Half a character, which JSON may name and no text can hold, becomes U+FFFD."""
        # Not `asdict`, which copies every text: that took half of the time of reading a log.
        said = {name: getattr(self, name) for name in self.__slots__}
        said["stack"] = [asdict(frame) for frame in self.stack]
        return _HALF_A_CHARACTER.sub("\ufffd", canonical_json(said))


def read_log(path: Path) -> Iterator[LogEvent]:
    """The events of a log file, as a stream; of what is no text none. Raises SourceError where it cannot be read."""
    return parse_log(LogFile.at(path).lines(_MAX_JSON_LINE), path.name)


def parse_log(lines: Iterable[str], name: str) -> Iterator[LogEvent]:
    """Group lines into events. `name`: what the events call their file."""
    head: tuple[int, str] | None = None
    frames: list[Frame] = []
    for number, raw in enumerate(lines, 1):
        line = raw.rstrip("\r\n")[: _MAX_JSON_LINE if raw.startswith("{") else _MAX_LINE]
        frame = _frame(line)
        if head is not None and (
            frame is not None or line[:1] in (" ", "\t") or line.startswith("Traceback (")
        ):
            if frame is not None and len(frames) < _MAX_FRAMES:
                frames.append(frame)
            continue
        if head is not None:
            yield _event(name, head, frames)
        head, frames = ((number, line), []) if line.strip() else (None, [])
    if head is not None:
        yield _event(name, head, frames)


def _frame(line: str) -> Frame | None:
    found = _JS_FRAME.match(line) or _PY_FRAME.match(line)
    if found is None:
        return None
    parts = found.groupdict()
    column = parts.get("column")
    return Frame(
        (parts["function"] or "").strip(), parts["file"], int(parts["line"]), int(column) if column else None
    )


def _event(name: str, head: tuple[int, str], frames: list[Frame]) -> LogEvent:
    number, line = head
    said = _structured(line) or _plain(line[:_MAX_LINE])
    ids = [(key, value) for key, value in said.pairs if _ID_KEY.fullmatch(key)]
    lists, text = list(said.lists), said.text
    if "[" in text:
        lists += [one for found in _IDS.finditer(text) if (one := _plain_list(found))]
        # The verb before a list is no part of its key.
        text = _IDS.sub(lambda found: f"{re.sub('[_-]', ' ', found['key'])}=", text)
    listed = dict.fromkeys(one for _, some in lists for one in some)
    spoken_of = _Object.of(text)
    if spoken_of.quoted:
        text = text[: spoken_of.start] + text[spoken_of.stop :]
    ids += [(m["name"], _value(m)) for m in _ID.finditer(text)]
    text = _ID.sub(lambda found: f"{found['name']} ", text)
    rest = [(key, value) for key, value in said.pairs if not _ID_KEY.fullmatch(key)]
    spoken = " ".join(
        [
            _NONE.sub("", text),
            *(_spelt(pair) for pair in rest if pair[1] not in _NOTHING),
            *(re.sub("[_-]", " ", key) for key, _ in said.lists),
        ]
    )
    fields = {m["name"].lower(): _value(m) for m in _FIELD.finditer(text)}
    fields.update((key.lower(), value) for key, value in rest if key.lower() in _FIELDS)
    vector_ids = [value for key, value in ids if key.lower().startswith("vector")]
    records = dict.fromkeys(
        (value, key) for key, value in ids if not key.lower().startswith("vector") and value is not None
    )
    list_keys = {key for key, _ in lists}
    action = next((action for action, pattern in _ACTIONS if pattern.search(spoken)), "noted")
    return LogEvent(
        file=name,
        line_number=number,
        time=said.time and said.time.utc,
        level=said.level,
        message=said.message,
        action=action,
        zoneless=said.time is not None and said.time.zoneless,
        yearless=said.yearless,
        record_ids=tuple(value for value, _ in records),
        id_keys=tuple(key for _, key in records),
        vector_id=next((value or "null" for value in vector_ids), None),
        listed_ids=tuple(listed),
        list_key=list_keys.pop() if len(list_keys) == 1 else "",
        words=spoken_of.words(beside_ids=bool(ids)) if action == "wrote" and not listed else (),
        fields={key: value for key, value in fields.items() if value is not None},
        stack=tuple(frames),
    )


@dataclass(frozen=True, slots=True)
class _Object:
    """What stands behind the first verb of writing, up to the first key: `wrote user "a b"`, `upserted u0 to users batch=7`."""

    said: str = ""
    quoted: bool = False
    start: int = 0
    stop: int = 0

    @classmethod
    def of(cls, text: str) -> _Object:
        verb = _VERB.search(text)
        if verb is None:
            return cls()
        said = text[verb.end() : verb.end() + _LONGEST_WORD]
        called = _CALLED.match(said)
        start = called.end() if called else 0
        if said[start : start + 1] == '"' and '"' in said[start + 1 :]:
            stop = said.index('"', start + 1)
            return cls(said[start + 1 : stop], True, verb.end() + start, verb.end() + stop + 1)
        ends = [found.start() for found in (_KEY.search(said), _ID.search(said)) if found]
        return cls(said[: min(ends, default=len(said))])

    def words(self, beside_ids: bool) -> tuple[str, ...]:
        """What of it may be an id: the whole, the whole without `user` or the like before it, the first word of that.

        A number counts only where it is called an id: what was written is counted (`wrote 100`) and numbered (`row 7`) too.
        """
        if self.quoted:
            return (self.said,)
        whole = self.said.strip().rstrip(".,;:!")
        called = _CALLED.match(whole)
        bare = whole[called.end() :].lstrip("#") if called else whole
        first = bare.split(None, 1)[0].rstrip(".,;:!").strip("'`") if bare.strip() else ""
        numbers = called is not None and called[0].lower().endswith("id ") and not beside_ids
        return tuple(
            word
            for word in dict.fromkeys((whole, bare, first))
            if word and (numbers or not _COUNT.fullmatch(word))
        )


def _plain_list(found: re.Match[str]) -> tuple[str, tuple[str, ...]] | None:
    """The key and the ids of a list in a line of plain text, where it is one of what was written, and whole."""
    key = _OF_ALL.sub("", found["key"])
    ids = _split(found["list"])
    if _IDS_KEY.fullmatch(key) is None or not _CUT_SHORT.isdisjoint(ids):
        return None
    return key, tuple(ids)


def _split(text: str) -> list[str]:
    """The ids in a list that is written out: bare, or in either kind of quotes."""
    return [next(filter(None, parts), "") for parts in _LISTED.findall(text)]


def _value(found: re.Match[str]) -> str | None:
    quoted: str | None = found["quoted"]
    return quoted if quoted is not None else found["bare"]


def _spelt(pair: tuple[str, str | None]) -> str:
    return f"{pair[0]}={'null' if pair[1] is None else pair[1]}"


@dataclass(frozen=True, slots=True)
class _Said:
    """A line taken apart: what it says in words, what it names by keys (None: null), and the ids that it lists, by key."""

    time: Time | None
    level: str
    text: str
    pairs: tuple[tuple[str, str | None], ...] = ()
    lists: tuple[tuple[str, tuple[str, ...]], ...] = ()
    yearless: str | None = None

    @property
    def message(self) -> str:
        return " ".join([self.text, *map(_spelt, self.pairs)]).strip()[:_MAX_LINE]


def _plain(line: str) -> _Said:
    """A level stands before the time, behind it, or under a key."""
    level = _LEVEL.match(line)
    stamp = stamp_of(line[level.end() :] if level else line)
    word, text = level and level[1], stamp.rest
    if level is None and (level := _LEVEL.match(text)):
        word, text = level[1], text[level.end() :]
    elif level is None:
        word, text = next(under_key(text, _LEVEL_KEYS), ("info", text))
    return _Said(stamp.time, str(word).lower(), text, yearless=stamp.yearless)


def _structured(line: str) -> _Said | None:
    """The line as a JSON log record, where it is one: time, level and message under their usual keys, the rest as fields."""
    if not line.startswith("{"):
        return None
    try:
        record: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    keys = {str(key).lower(): key for key in record}
    time, time_key = keyed_time(record, keys)
    level_key = next((keys[k] for k in _LEVEL_KEYS if k in keys), None)
    text_key = next((keys[k] for k in ("message", "msg", "event") if k in keys), None)
    level = record.get(level_key, "info")
    rest = {key: value for key, value in record.items() if key not in (time_key, level_key, text_key)}
    return _Said(
        time,
        _LEVELS[level] if isinstance(level, int) and level in _LEVELS else str(level).lower(),
        str(record.get(text_key, ""))[:_MAX_LINE],
        tuple(_pairs(rest, _DEEPEST)),
        tuple(_lists(rest, _DEEPEST)),
    )


def _pairs(record: Mapping[str, Any], deep: int) -> Iterator[tuple[str, str | None]]:
    """Keys and values, those of objects inside by their own keys; lists are left out."""
    for key, value in record.items():
        if isinstance(value, dict):
            if deep > 1:
                yield from _pairs(value, deep - 1)
        elif not isinstance(value, list):
            yield key, value if isinstance(value, str) or value is None else json.dumps(value)


def _lists(record: Mapping[str, Any], deep: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Keys and contents of lists of ids: texts, and whole numbers as they are spelt; anything else in them is no id."""
    for key, value in record.items():
        if isinstance(value, dict) and deep > 1:
            yield from _lists(value, deep - 1)
        elif isinstance(value, list) and _IDS_KEY.fullmatch(key):
            yield key, tuple(str(one) for one in value if type(one) in (str, int))
