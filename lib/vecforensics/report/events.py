"""The logs in brief: which messages there were, how often, from when to when, and the one that best shows the fault.

A migration's log has a line for every record. Lines that differ only in their ids are one *shape*: "Key Not Found - UserId: …,
Vector ID: …". The report tells shapes, never all lines; memory is bounded by the number of shapes.

How a log ends is looked at apart. The exception that ended a process is printed by the runtime and not by the program: under its
own name, without a level (`RateLimited: 429 too many requests`), so that nobody who counts errors sees it. It is taken for that
only where nothing follows it in its log but what a runtime adds; an exception after which the program went on is none.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from vecforensics.report.facts import Facts

__all__ = ["LogDigest", "Shape", "read_log_digest"]

_MOST_SHAPES: Final = 500
_VARYING: Final = re.compile(r"\"[^\"]*\"|'[^']*'|\b[\w.-]*\d[\w.-]*\b")
_ERRORS: Final = frozenset({"error", "critical", "fatal"})
_LEVELS: Final = ("fatal", "critical", "error", "warn", "warning")

# `RateLimited: 429 …`, `openai.RateLimitError`, `Uncaught TypeError: x is undefined`, `Error [ERR_SOCKET]: closed`.
_EXCEPTION: Final = re.compile(
    r"\[?(?:(?:Uncaught|Unhandled)(?: \(in promise\))? )?(?:[A-Za-z_$][\w$]*\.)*(?P<name>[A-Z][\w$]*)(?: \[\w+\])?"
    r"(?:: .*)?\Z",
    re.DOTALL,
)
# By its name alone: what a line says behind the name of a logger (`BatchWriter: 400 rows, 0 failed`) proves nothing.
_NAMED_SO: Final = re.compile(
    r"(?:Error|Exception|Interrupt|Rejection|Failure|Fault|Timeout|TimedOut|Limited|LimitExceeded|Exceeded|TooManyRequests|"
    r"Throttled|Overloaded|Unavailable|Refused|Reset|Denied|Forbidden|Unauthorized|NotFound|Aborted|Failed|Rejected)\Z"
)
# The program's own level stands there, if it has one, where a handler of last resort printed it.
_UNCAUGHT: Final = re.compile(
    r"\b(?:uncaught|unhandled)[ _-]?(?:promise[ _-]?)?(?:exception|rejection|error)\b(?!s?: 0\b)",
    re.IGNORECASE,
)
# What a runtime and a package manager print below an exception.
_BELOW: Final = re.compile(
    r"Node\.js v\d|[\s{}\[\]()]*\Z|npm (?:ERR!|error)|error Command failed|\w+:internal/|triggerUncaughtException|"
    r"(?:process |command )?exit(?:ed)?\b.{0,40}\bcode",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Shape:
    """Lines alike but for their ids. `example` is the first of them; `first`, `last` are UTC texts or "". `ends`: the exception
    with which a log ends is one of them."""

    pattern: str
    level: str
    example: Facts
    count: int
    first: str
    last: str
    ends: bool = False

    @property
    def is_error(self) -> bool:
        return self.ends or self.level in _ERRORS


@dataclass(frozen=True, slots=True)
class LogDigest:
    """All events in brief. `telling` is the event to show in full: an error with a vector id and a stack, or the best there is.

    `ending` is the exception that nothing caught and that ended a log; without facts where none did. `lines_left_out`: events of
    shapes beyond the first 500. `damaged`: lines that were no event.
    """

    events: int = 0
    shapes: tuple[Shape, ...] = ()
    telling: Facts = field(default_factory=Facts)
    ending: Facts = field(default_factory=Facts)
    lines_left_out: int = 0
    damaged: int = 0

    @property
    def first(self) -> str:
        return min((shape.first for shape in self.shapes if shape.first), default="")

    @property
    def last(self) -> str:
        return max((shape.last for shape in self.shapes if shape.last), default="")


def read_log_digest(path: Path) -> LogDigest:
    """Stream `evidence/logs.jsonl`; an empty digest where there is none."""
    shapes: dict[tuple[str, str], Shape] = {}
    telling, best = Facts(), -1
    endings: dict[str, Facts] = {}
    events = left_out = damaged = 0
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                event = _event(line)
                if event is None:
                    damaged += 1
                    continue
                events += 1
                level = event.text("level", "info")
                _note_ending(endings, event, level)
                weight = _telling(event, level)
                if weight > best:
                    telling, best = event, weight
                if not _shaped(shapes, event, level):
                    left_out += 1
    except OSError:
        return LogDigest()
    ending = max(endings.values(), key=lambda event: event.text("time"), default=Facts())
    if ending:
        key = _shape_of(ending, ending.text("level", "info"))
        shapes.update({key: replace(shapes[key], ends=True)} if key in shapes else {})
    return LogDigest(
        events, tuple(shapes.values()), telling if best > 0 else Facts(), ending, left_out, damaged
    )


def _event(line: str) -> Facts | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return Facts(value) if isinstance(value, dict) else None


def _telling(event: Facts, level: str) -> int:
    """How much an event shows: an error first, then a stack, then a vector id that is none."""
    if level not in _LEVELS:
        return 0
    broken_id = event.text("vector_id").casefold() in ("nan", "undefined", "null", "none")
    return 1 + 8 * (level in _ERRORS) + 4 * bool(event.each("stack")) + 2 * broken_id


def _note_ending(endings: dict[str, Facts], event: Facts, level: str) -> None:
    """Keep, for each log, the exception that nothing has followed so far."""
    name, message = event.text("file"), event.text("message")[:2_000].strip()
    if _ended_by(message, level):
        endings[name] = event
    elif not _BELOW.match(message):
        endings.pop(name, None)


def _ended_by(message: str, level: str) -> bool:
    if _UNCAUGHT.search(message):
        return True
    found = _EXCEPTION.match(message) if level == "info" else None
    return found is not None and _NAMED_SO.search(found["name"]) is not None


def _shape_of(event: Facts, level: str) -> tuple[str, str]:
    return level, _VARYING.sub("…", event.text("message")[:500])


def _shaped(shapes: dict[tuple[str, str], Shape], event: Facts, level: str) -> bool:
    key = _shape_of(event, level)
    time = event.text("time")
    known = shapes.get(key)
    if known is None:
        if len(shapes) >= _MOST_SHAPES:
            return False
        shapes[key] = Shape(key[1], level, event, 1, time, time)
        return True
    shapes[key] = replace(
        known,
        count=known.count + 1,
        first=min(filter(None, (known.first, time)), default=""),
        last=max(known.last, time),
    )
    return True
