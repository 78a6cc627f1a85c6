"""Where those stand that wait for ever: the innermost line of the person's own code in each task or thread that has not ended.

A coroutine that waits has no stack, only a chain of what awaits what; a thread that waits has one, in the interpreter's table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from vecforensics.race.driver import Session
from vecforensics.race.model import Source, Waiting
from vecforensics.race.places import is_own_code, place_of_frame

__all__ = ["waiting"]


def waiting(session: Session) -> tuple[Waiting, ...]:
    """The tasks of `session.stuck()`, each with its place where it can be seen (JavaScript tells of none)."""
    places = dict(_places(session))
    return tuple(Waiting(info.path, places.get(id(info))) for info in session.stuck())


def _places(session: Any) -> Iterator[tuple[int, Source | None]]:
    if hasattr(session, "strands"):
        frames = sys._current_frames()
        for strand in session.strands.all:
            yield id(strand.info), _in_stack(frames.get(strand.identity))
    elif hasattr(session, "loop"):
        for task in session.loop.tasks:
            yield id(task.info), _in_chain(task.get_coro())


def _in_stack(frame: FrameType | None) -> Source | None:
    while frame is not None:
        if is_own_code(frame.f_code.co_filename):
            return place_of_frame(frame)
        frame = frame.f_back
    return None


def _in_chain(awaited: Any) -> Source | None:
    found: Source | None = None
    while awaited is not None:
        frame, awaited = _step(awaited)
        if frame is not None and is_own_code(frame.f_code.co_filename):
            found = place_of_frame(frame)
    return found


def _step(awaited: Any) -> tuple[FrameType | None, Any]:
    """The frame of a coroutine, an async generator or a generator, and what it awaits."""
    for kind, then in (("cr", "await"), ("ag", "await"), ("gi", "yieldfrom")):
        if hasattr(awaited, f"{kind}_frame"):
            return getattr(awaited, f"{kind}_frame"), getattr(awaited, f"{kind}_{then}")
    return None, None
