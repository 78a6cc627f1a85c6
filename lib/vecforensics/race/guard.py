"""The border of the laboratory: what leaves it is stopped, what leaks into it is named.

While a suspect runs, an audit hook of the interpreter watches the threads that are under control. Opening a connection,
resolving a name, starting a process there is refused with a line that names the call, since no schedule can decide when such
a thing ends. `time.sleep` in controlled code does not wait: it moves the virtual clock, as far as the program can tell.

Leaks are milder: the wall clock, random numbers and fresh UUIDs do not break a schedule, but two runs of it may differ.
They are watched for only where two runs are compared.
"""

from __future__ import annotations

import ast
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from vecforensics.errors import SuspectError
from vecforensics.race.places import is_own_code, place_of_caller

__all__ = ["SET_ORDER", "controlled", "under_control", "watch_leaks"]

SET_ORDER: Final = "the order of a set"

_REFUSED: Final = {
    "socket.connect": "socket.connect",
    "socket.bind": "socket.bind",
    "socket.sendto": "socket.sendto",
    "socket.getaddrinfo": "socket.getaddrinfo",
    "socket.gethostbyname": "socket.gethostbyname",
    "subprocess.Popen": "subprocess.Popen",
    "os.system": "os.system",
    "os.fork": "os.fork",
    "os.forkpty": "os.forkpty",
    "os.exec": "os.exec",
    "os.posix_spawn": "os.posix_spawn",
    "os.spawn": "os.spawn",
    "signal.pthread_kill": "signal.pthread_kill",
}

# Thread id -> what is told of a refusal, and of a sleep. Only threads under control are in it.
_watched: dict[int, tuple[Callable[[SuspectError], None], Callable[[float], None]]] = {}
_installed = False
_real_sleep = time.sleep
_lock = threading.Lock()


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _watched or event not in _REFUSED:
        return
    watcher = _watched.get(threading.get_ident())
    if watcher is None:
        return
    place = place_of_caller()
    error = SuspectError(
        f"{_REFUSED[event]} leaves the program for the operating system, which the race laboratory cannot control",
        where=f"{place.file}:{place.lineno}" if place is not None else "",
        hint="Hand the outside world to migrate through `embed` and `store`",
    )
    watcher[0](error)
    raise error


def _sleep(seconds: Any, /) -> None:
    watcher = _watched.get(threading.get_ident())
    if watcher is None:
        _real_sleep(seconds)
    else:
        watcher[1](seconds)


@contextmanager
def controlled(refuse: Callable[[SuspectError], None], sleep: Callable[[float], None]) -> Iterator[None]:
    """This thread is under control for the time being. `refuse` is told of a call that was stopped, `sleep` replaces
    `time.sleep` (seconds)."""
    global _installed
    with _lock:
        if not _installed:
            sys.addaudithook(_audit)
            _installed = True
    me = threading.get_ident()
    before = _watched.get(me)
    _watched[me] = (refuse, sleep)
    if time.sleep is not _sleep:
        time.sleep = _sleep
    try:
        yield
    finally:
        if before is None:
            del _watched[me]
        else:
            _watched[me] = before
        if not _watched:
            time.sleep = _real_sleep


def under_control(thread: int | None) -> Any:
    """The world whose program runs in `thread` now, or None."""
    watcher = _watched.get(thread or 0)
    return getattr(watcher[0], "__self__", None) if watcher is not None else None


_LEAKS: Final = {
    ("time", "time"): "the wall clock (time.time)",
    ("time", "time_ns"): "the wall clock (time.time_ns)",
    ("time", "monotonic"): "a clock (time.monotonic)",
    ("time", "perf_counter"): "a clock (time.perf_counter)",
    ("posix", "urandom"): "os.urandom",
    ("posix", "getpid"): "the process id",
    ("builtins", "id"): "the address of an object (id)",
}
_RANDOM: Final = {"random", "getrandbits", "randbytes"}
_CLOCK: Final = {"now", "utcnow", "today"}


@contextmanager
def watch_leaks(files: Sequence[str]) -> Iterator[list[str]]:
    """Collect what could make two runs of one schedule differ: calls made in this thread from the person's own code, and
    loops over sets in `files`."""
    found: list[str] = []

    def note(what: str) -> None:
        place = place_of_caller()
        line = f"{what}, {place.file}:{place.lineno}" if place is not None else what
        if line not in found:
            found.append(line)

    def profile(frame: FrameType, event: str, arg: Any) -> None:
        if event == "call":
            code = frame.f_code
            if code.co_name == "uuid4" and code.co_filename.endswith("uuid.py"):
                note("uuid4")
            elif code.co_name in ("random", "randint", "choice", "shuffle", "sample", "uniform") and (
                code.co_filename.endswith("random.py")
                and frame.f_back
                and is_own_code(frame.f_back.f_code.co_filename)
            ):
                note(f"random.{code.co_name}")
        elif event == "c_call" and is_own_code(frame.f_code.co_filename):
            module, name = str(getattr(arg, "__module__", "")), str(getattr(arg, "__name__", ""))
            owner = getattr(arg, "__self__", None)
            if (module, name) in _LEAKS:
                note(_LEAKS[module, name])
            elif name in _RANDOM and type(owner).__name__ == "Random":
                note(f"random.{name}")
            elif name in _CLOCK and getattr(owner, "__name__", "") in ("datetime", "date"):
                note(f"the wall clock (datetime.{name})")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        yield found
    finally:
        sys.setprofile(before)
        found.extend(line for line in _set_loops(files) if line not in found)


def _set_loops(files: Sequence[str]) -> Iterator[str]:
    """Loops over a set that is visible as one. Its order depends on addresses and on the hash seed of the process."""
    for file in files:
        try:
            with open(file, encoding="utf-8") as source:
                tree = ast.parse(source.read())
        except (OSError, SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            loop = node.iter if isinstance(node, ast.For | ast.comprehension) else None
            call = loop.func if isinstance(loop, ast.Call) else None
            made = isinstance(call, ast.Name) and call.id in ("set", "frozenset")
            if loop is not None and (made or isinstance(loop, ast.Set | ast.SetComp)):
                yield f"{SET_ORDER}, {file}:{loop.lineno}"
