"""A suspect that never hands control back: a loop without `await` holds the only thread that could stop it.

The exploration runs in a thread of its own, so the thread that waits for it can watch. Between two calls of the store or the
embedder a program has only its own arithmetic to do; where that takes longer than `PATIENCE_S`, it is taken for endless. This
is the one place where the laboratory reads a clock, and it can only end an exploration, never change its answer.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from types import FrameType
from typing import Any

from vecforensics.errors import SuspectError
from vecforensics.race.guard import under_control
from vecforensics.race.places import is_own_code, last_place

__all__ = ["PATIENCE_S", "Watchdog", "ended_process"]

PATIENCE_S = 30.0


class Watchdog:
    """Looks at a thread of the laboratory from outside, a few times a second."""

    def __init__(self, thread: threading.Thread) -> None:
        self.thread = thread
        self.last: Any = None
        self.since = time.monotonic()

    def look(self) -> None:
        """Raises SuspectError, and stops the thread, where its program has asked for nothing for `PATIENCE_S` seconds."""
        world = under_control(self.thread.ident)
        now = (id(world), world.begun, world.now) if world is not None else None
        if now is None or now != self.last:
            self.last, self.since = now, time.monotonic()
            return
        if time.monotonic() - self.since < PATIENCE_S:
            return
        where = _line(sys._current_frames().get(self.thread.ident or 0))
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(self.thread.ident or 0), ctypes.py_object(SystemExit)
        )
        self.thread.join(1)
        raise SuspectError(
            f"the suspect has been running for {PATIENCE_S:g} s without asking for anything",
            where=where,
            hint="A loop that waits must await something; no schedule can get in otherwise",
        )


def ended_process(error: BaseException) -> BaseException:
    """What is said of a suspect that calls `sys.exit`: its exit code must never become the laboratory's. Else `error` itself."""
    if not isinstance(error, SystemExit | KeyboardInterrupt):
        return error
    place = last_place(error)
    return SuspectError(
        f"the suspect ended the process ({error!r})",
        where=f"{place.file}:{place.lineno}" if place is not None else "",
        hint="Let migrate return, or raise an error of its own",
    )


def _line(frame: FrameType | None) -> str:
    while frame is not None:
        if is_own_code(frame.f_code.co_filename):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
