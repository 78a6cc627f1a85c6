"""A log's bytes as lines of text, and what a person has to know of a log that says less than it might.

UTF-8 is what logs are written in, and UTF-16 what PowerShell makes of them. What is neither and holds control characters is no
text: a compressed log would be read as noise, so nothing of it is.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from vecforensics.errors import SourceError

__all__ = ["Heard", "LogFile"]

_LOOKED_AT: Final = 4096
# UTF-32 before UTF-16, whose mark it begins with.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Below a space, but for NUL (which holes in files are read as), tab, line ends and the escape of colours.
_CONTROLS: Final = bytes(code for code in range(1, 32) if code not in b"\t\n\f\r\x1b")
# Of the bytes of compressed data about a tenth are such, of those of text none.
_SHARE_OF_CONTROLS: Final = 0.02


@dataclass(frozen=True, slots=True)
class LogFile:
    """A log of the case. `encoding` is None where it is no text."""

    path: Path
    encoding: str | None

    @classmethod
    def at(cls, path: Path) -> LogFile:
        """Raises SourceError where it cannot be read."""
        try:
            with path.open("rb") as file:
                return cls(path, _encoding(file.read(_LOOKED_AT)))
        except OSError as error:
            raise _unreadable(path, error) from None

    def lines(self, longest: int) -> Iterator[str]:
        """The lines, each without what lies beyond `longest` characters, which is never held. Undecodable bytes become U+FFFD.
        Raises SourceError where they cannot be read."""
        if self.encoding is None:
            return
        try:
            with self.path.open(encoding=self.encoding, errors="replace", newline=None) as lines:
                yield from _bounded(lines, longest)
        except OSError as error:
            raise _unreadable(self.path, error) from None


def _unreadable(path: Path, error: OSError) -> SourceError:
    return SourceError(
        f"the log cannot be read ({error.strerror})", where=str(path), hint="Check logs in the case file"
    )


def _encoding(head: bytes) -> str | None:
    marked = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)
    if marked:
        return marked
    # Of most characters in a log UTF-16 makes a byte and a NUL; a hole is NUL all over.
    even, odd = head[::2], head[1::2]
    for holds, other, encoding in ((even, odd, "utf-16-le"), (odd, even, "utf-16-be")):
        if 2 * other.count(0) > len(other) and 10 * holds.count(0) < len(holds):
            return encoding
    written = len(head) - head.count(0)
    controls = len(head) - len(head.translate(None, _CONTROLS))
    return None if controls > _SHARE_OF_CONTROLS * written else "utf-8"


def _bounded(file: TextIO, longest: int) -> Iterator[str]:
    while line := file.readline(longest):
        yield line
        while line and not line.endswith("\n"):
            line = file.readline(longest)


@dataclass
class Heard:
    """What a log told, counted while it is read: events, those with a time, and those with one that names no year."""

    events: int = 0
    timed: int = 0
    yearless: int = 0

    def add(self, time: str | None, yearless: str | None) -> None:
        self.events += 1
        self.timed += time is not None
        self.yearless += yearless is not None

    def notes(self, log: LogFile) -> Iterator[str]:
        """What is to be said of the log, where it is less than anybody would expect."""
        name = log.path.name
        if log.encoding is None:
            yield f"{name}: is not text (compressed, perhaps); nothing of it was read."
        elif not self.events:
            yield f"{name}: is empty."
        elif self.yearless:
            yield (
                f"{name}: {self.yearless:,} of {self.events:,} entries give a time without a year or a day, which was not used; "
                "of these only the order counts."
            )
        elif not self.timed:
            yield f"{name}: no entry gives a time that could be read; only their order counts."
