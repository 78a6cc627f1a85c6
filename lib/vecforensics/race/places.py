"""Where in the person's own code something happened: frames of asyncio, the standard library and this engine are skipped.

The catalogue of anti-patterns lies inside this package and still counts as somebody's own code; so does a suspect that was
installed as a package, where nothing nearer is on the stack.
"""

from __future__ import annotations

import linecache
import sys
import sysconfig
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

from vecforensics.race.model import Source

__all__ = ["is_own_code", "is_standard_library", "last_place", "place_of_caller", "place_of_frame"]

_HERE: Final = str(Path(__file__).parent)
_STDLIB: Final = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})
_LIBRARIES: Final = tuple({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
_known: dict[str, bool] = {}


def is_own_code(file: str) -> bool:
    """Whether `file` is neither of this engine, nor of the standard library, nor made up ("<frozen …>", or "<string>",
    where the methods of dataclasses come from)."""
    answer = _known.get(file)
    if answer is None:
        folder = str(Path(file).parent)
        engine = folder in (_HERE, f"{_HERE}/javascript", f"{_HERE}/strategies")
        library = file.startswith((*_STDLIB, *_LIBRARIES))
        answer = _known[file] = not (engine or library or file.startswith("<frozen") or file == "<string>")
    return answer


def is_standard_library(file: str) -> bool:
    """Whether `file` came with Python."""
    return file.startswith("<frozen") or (file.startswith(_STDLIB) and not file.startswith(_LIBRARIES))


def place_of_frame(frame: FrameType) -> Source:
    """Where `frame` stands now."""
    return _place(frame, frame.f_lineno)


def _place(frame: FrameType, lineno: int) -> Source:
    code: CodeType = frame.f_code
    text = linecache.getline(code.co_filename, lineno).strip()
    return Source(code.co_filename, lineno, code.co_qualname.replace(".<locals>", ""), text)


def place_of_caller() -> Source | None:
    """The nearest line of the person's own code on the stack of this thread."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if is_own_code(frame.f_code.co_filename):
            return place_of_frame(frame)
        frame = frame.f_back
    return None


def last_place(error: BaseException | None) -> Source | None:
    """The innermost line of the person's own code that `error` passed through."""
    found: Source | None = None
    traceback = error.__traceback__ if error is not None else None
    while traceback is not None:
        if is_own_code(traceback.tb_frame.f_code.co_filename):
            found = _place(traceback.tb_frame, traceback.tb_lineno)
        traceback = traceback.tb_next
    return found
