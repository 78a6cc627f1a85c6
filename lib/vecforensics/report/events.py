"""The logs in brief: which messages there were, how often, from when to when, and the one that best shows the fault.

A migration's log has a line for every record. Lines that differ only in their ids are one *shape*: "Key Not Found - UserId: …,
Vector ID: …". The report tells shapes, never all lines; memory is bounded by the number of shapes.
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


@dataclass(frozen=True, slots=True)
class Shape:
    """Lines alike but for their ids. `example` is the first of them; `first`, `last` are UTC texts or ""."""

    pattern: str
    level: str
    example: Facts
    count: int
    first: str
    last: str

    @property
    def is_error(self) -> bool:
        return self.level in _ERRORS


@dataclass(frozen=True, slots=True)
class LogDigest:
    """All events in brief. `telling` is the event to show in full: an error with a vector id and a stack, or the best there is.

    `lines_left_out`: events of shapes beyond the first 500. `damaged`: lines that were no event.
    """

    events: int = 0
    errors: int = 0
    shapes: tuple[Shape, ...] = ()
    telling: Facts = field(default_factory=Facts)
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
    events = errors = left_out = damaged = 0
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                event = _event(line)
                if event is None:
                    damaged += 1
                    continue
                events += 1
                level = event.text("level", "info")
                errors += level in _ERRORS
                weight = _telling(event, level)
                if weight > best:
                    telling, best = event, weight
                if not _shaped(shapes, event, level):
                    left_out += 1
    except OSError:
        return LogDigest()
    return LogDigest(
        events, errors, tuple(shapes.values()), telling if best > 0 else Facts(), left_out, damaged
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


def _shaped(shapes: dict[tuple[str, str], Shape], event: Facts, level: str) -> bool:
    pattern = _VARYING.sub("…", event.text("message")[:500])
    key = (level, pattern)
    time = event.text("time")
    known = shapes.get(key)
    if known is None:
        if len(shapes) >= _MOST_SHAPES:
            return False
        shapes[key] = Shape(pattern, level, event, 1, time, time)
        return True
    shapes[key] = replace(
        known,
        count=known.count + 1,
        first=min(filter(None, (known.first, time)), default=""),
        last=max(known.last, time),
    )
    return True
