"""A suspect that never hands control back: a loop without `await` holds the only thread that could stop it.

The exploration runs in a thread of its own, so the thread that waits for it can watch. Between two calls of the store or the
embedder a program has only its own arithmetic to do; where that takes longer than `PATIENCE_S`, it is taken for endless. One that
fills the memory meanwhile is stopped before the machine is. This is the one place where the laboratory reads a clock, and it can
only end an exploration, never change its answer.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

from vecforensics.errors import SuspectError
from vecforensics.race.guard import under_control
from vecforensics.race.places import is_own_code, last_place

__all__ = ["IMPORT_PATIENCE_S", "MOST_MEMORY_BYTES", "PATIENCE_S", "Watchdog", "ended_process", "watched"]

PATIENCE_S = 30.0
IMPORT_PATIENCE_S = 60.0
"""Real seconds for a module to load: some bring a model along."""
MOST_MEMORY_BYTES = 4 << 30
"""What one exploration may add to the process; less where the machine has less than twice as much."""

_LOOK_S: Final = 0.2
_TRIES: Final = 5


class Watchdog:
    """Looks at a thread of the laboratory from outside, a few times a second."""

    def __init__(self, thread: threading.Thread) -> None:
        self.thread = thread
        self.last: Any = None
        self.since = time.monotonic()
        self.resident = _resident_bytes()

    def look(self) -> None:
        """Raises SuspectError, and stops the thread, where its program has asked for nothing for `PATIENCE_S` seconds, or has
        filled the memory."""
        if _resident_bytes() - self.resident > _most_memory():
            where = self.stop()
            raise SuspectError(
                f"the suspect has filled {_most_memory() / (1 << 30):.3g} GiB of memory",
                where=where,
                hint="Look for a loop that makes tasks, requests or objects without end; or explore fewer records",
            )
        world = under_control(self.thread.ident)
        now = (id(world), world.begun, world.now) if world is not None else None
        if now is None or now != self.last:
            self.last, self.since = now, time.monotonic()
            return
        if time.monotonic() - self.since >= PATIENCE_S:
            where = self.stop()
            if world is not None and world.refused is not None:
                raise world.refused  # it was stopped before, and goes on all the same
            raise SuspectError(
                f"the suspect has been running for {PATIENCE_S:g} s without asking for anything",
                where=where,
                hint="A loop that waits must await something; no schedule can get in otherwise",
            )

    def stop(self) -> str:
        """End the thread, if it can be ended. The line of the person's code on which it was."""
        where = _line(sys._current_frames().get(self.thread.ident or 0))
        for _ in range(_TRIES):
            if self.thread.ident is None:  # stopped while it started
                time.sleep(_LOOK_S)
                continue
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self.thread.ident or 0), ctypes.py_object(SystemExit)
            )
            # Raised inside a destructor it is lost. A second is ample for putting everything back, which no other may interrupt.
            self.thread.join(1)
            if not self.thread.is_alive():
                break
        return where


def watched(work: Callable[[], Any], what: str, patience_s: float) -> Any:
    """The result of `work`, done in a thread of its own, or its exception. Raises SuspectError where it takes longer than
    `patience_s` seconds; the message begins with `what`."""
    box: list[Any] = []

    def body() -> None:
        try:
            box.extend((work(), None))
        except BaseException as error:
            box.extend((None, error))

    thread = threading.Thread(target=body, name="race-loading", daemon=True)
    thread.start()
    watchdog, end = Watchdog(thread), time.monotonic() + patience_s
    while thread.is_alive():
        thread.join(_LOOK_S)
        if thread.is_alive():
            watchdog.look()
            if time.monotonic() > end:
                raise SuspectError(
                    f"{what} for more than {patience_s:g} s",
                    where=watchdog.stop(),
                    hint="Put what is to run under if __name__ == '__main__'",
                )
    result, error = box
    if error is not None:
        raise error
    return result


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


def _resident_bytes() -> int:
    """Memory that this process holds now; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _most_memory() -> int:
    try:
        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return MOST_MEMORY_BYTES
    return min(MOST_MEMORY_BYTES, whole // 2)
