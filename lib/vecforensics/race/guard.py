"""The border of the laboratory: what leaves it is stopped with a line that names the call.

While a suspect runs, the thread it runs in is under control. Two things watch it. An audit hook of the interpreter sees what it
asks of the operating system: a connection, a name to resolve, a process to start, another process to signal. Calls of which the
interpreter tells no hook, `os._exit` above all, are replaced for as long as the laboratory is open (`border`); each replacement
asks first whether its thread is under control, so that the rest of the process (Jupyter, say) notices nothing. No schedule can
decide when such a thing ends, and the exit code of a suspect must never become the laboratory's.

`time.sleep` in controlled code does not wait: it moves the virtual clock, as far as the program can tell. What the suspect
prints is swallowed: two thousand schedules would print it two thousand times, and a suspect that closes its standard output
would close the laboratory's. Only a schedule that somebody replays is heard.

A module that is only being loaded may do as it likes with the network, but it may neither end the process nor keep it alive: its
threads are daemons, and what it registers for the end of the process is forgotten.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final

from vecforensics.errors import SuspectError
from vecforensics.race.places import is_own_code, is_standard_library, place_of_caller

__all__ = [
    "NoSuchOperation",
    "audible",
    "border",
    "controlled",
    "endless",
    "loading",
    "no_such_operation",
    "refuse_executor",
    "stray_thread",
    "under_control",
]

_OUTSIDE: Final = "leaves the program for the operating system, which the race laboratory cannot control"
_THREADS: Final = "starts a thread beside the event loop, which the race laboratory cannot control"
_BESIDE: Final = "answers beside the event loop, which the race laboratory cannot control"
_ENDS: Final = "would end the process, and the laboratory with it"
_PROCESSES: Final = "hands work to another process, which the race laboratory cannot control"
_OWN_LOOP: Final = "brings an event loop of its own, which the race laboratory cannot control"

# Events of the interpreter's audit hook; the name is that of the call.
_EVENTS: Final = {
    "builtins.input": _OUTSIDE,
    "import": _OWN_LOOP,  # of uvloop
    "os.exec": _OUTSIDE,
    "os.fork": _OUTSIDE,
    "os.forkpty": _OUTSIDE,
    "os.kill": _OUTSIDE,
    "os.killpg": _OUTSIDE,
    "os.posix_spawn": _OUTSIDE,
    "os.spawn": _OUTSIDE,
    "os.system": _OUTSIDE,
    "signal.pthread_kill": _OUTSIDE,
    "socket.bind": _OUTSIDE,
    "socket.connect": _OUTSIDE,
    "socket.getaddrinfo": _OUTSIDE,
    "socket.gethostbyname": _OUTSIDE,
    "socket.sendto": _OUTSIDE,
    "subprocess.Popen": _OUTSIDE,
}
# Calls that no hook is told of: module, attribute, name to be shown, why.
_CALLS: Final = (
    ("os", "_exit", "os._exit", _ENDS),
    ("os", "abort", "os.abort", _ENDS),
    ("signal", "raise_signal", "signal.raise_signal", _ENDS),
    ("signal", "alarm", "signal.alarm", _OUTSIDE),
    ("signal", "setitimer", "signal.setitimer", _OUTSIDE),
    ("signal", "signal", "signal.signal", _OUTSIDE),
    ("asyncio", "set_event_loop_policy", "asyncio.set_event_loop_policy", _OWN_LOOP),
    ("concurrent.futures.process", "ProcessPoolExecutor.__init__", "ProcessPoolExecutor", _PROCESSES),
    ("concurrent.futures.process", "ProcessPoolExecutor.submit", "ProcessPoolExecutor.submit", _PROCESSES),
    ("multiprocessing.process", "BaseProcess.start", "multiprocessing.Process.start", _PROCESSES),
    ("multiprocessing.synchronize", "SemLock.__init__", "a lock or queue of multiprocessing", _PROCESSES),
    ("uvloop", "install", "uvloop.install", _OWN_LOOP),
    ("uvloop", "new_event_loop", "uvloop.new_event_loop", _OWN_LOOP),
    ("uvloop", "run", "uvloop.run", _OWN_LOOP),
)
_WAYS_OUT: Final = {
    _ENDS: "Let migrate return, or raise an error of its own",
    _OWN_LOOP: "Write it as async def migrate(records, embed, store); the laboratory brings the loop",
    _PROCESSES: "Use asyncio.to_thread, or a ThreadPoolExecutor, while it is explored",
    _BESIDE: "Use asyncio.to_thread or loop.run_in_executor while it is explored",
    _THREADS: "Use asyncio.to_thread or loop.run_in_executor, or write migrate as a plain def on threads",
}
_NOT_LOADED_FOR_THIS: Final = ("uvloop",)

_WORLD: Final = str(Path(__file__).with_name("world.py"))

Refuse = Callable[[SuspectError], None]
Sleep = Callable[[float], None]

# Thread id -> what is told of a refusal, and of a sleep. Only threads under control are in it.
_watched: dict[int, tuple[Refuse, Sleep]] = {}
# Threads that load a suspect.
_loading: set[int] = set()
# Thread id -> what is to be said should its run wait for ever: a library has started a thread of its own.
_strays: dict[int, SuspectError] = {}
_audible = 0  # how many ask to hear what suspects print
_hooked = False
_open = 0
_put_back: list[tuple[Any, str, Any, Any]] = []  # owner, name, what stood there, what stands there now
_real_sleep = time.sleep
_lock = threading.Lock()


def _refusal(name: str, why: str) -> SuspectError:
    place = place_of_caller()
    return SuspectError(
        f"{name} {why}",
        where=f"{place.file}:{place.lineno}" if place is not None else "",
        hint=_WAYS_OUT.get(why, "Hand the outside world to migrate through `embed` and `store`"),
    )


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _watched or event not in _EVENTS:
        return
    watcher = _watched.get(threading.get_ident())
    if watcher is None:
        return
    name, why = event, _EVENTS[event]
    if why is _OWN_LOOP:
        if args[0] != "uvloop":
            return
        name = "uvloop"
    error = _refusal(name.removeprefix("builtins."), why)
    watcher[0](error)
    raise error


def _sleep(seconds: Any, /) -> None:
    watcher = _watched.get(threading.get_ident())
    if watcher is None:
        _real_sleep(seconds)
    else:
        watcher[1](seconds)


def _guarded(original: Callable[..., Any], name: str, why: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        me = threading.get_ident()
        watcher = _watched.get(me)
        if watcher is not None and (why is not _PROCESSES or _callers()[0]):
            error = _refusal(name, why)
            watcher[0](error)
            raise error
        if me in _loading:
            if why is _ENDS:
                raise _refusal(name, why)
            if name == "signal.signal":
                return None  # a script may set up its handlers; they are not the laboratory's
        return original(*args, **kwargs)

    return call


def _thread_starts(original: Callable[..., Any]) -> Callable[..., Any]:
    """What `Thread.start` ends in, for a coroutine migration that starts threads itself: nobody could say when they answer."""

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        me = threading.get_ident()
        watcher = _watched.get(me)
        if watcher is not None:
            own, within_call = _callers()
            if own and not within_call:
                error = _refusal("Thread.start", _THREADS)
                watcher[0](error)
                raise error
            if not within_call and not _only_looks_on(args[0]):
                _strays[me] = _refusal("a thread that a library starts here", _BESIDE)
        return original(*args, **kwargs)

    return call


def _callers() -> tuple[bool, bool]:
    """Whether it is the person's code that calls (and not a library for itself, as a progress bar does), and whether it does so
    within a call that the loop's executor makes in one piece."""
    frame: FrameType | None = sys._getframe(2)
    own: bool | None = None
    while frame is not None:
        file = frame.f_code.co_filename
        if file == _WORLD:
            return bool(own), True
        if own is None and file != __file__ and not is_standard_library(file):
            own = is_own_code(file)
        frame = frame.f_back
    return bool(own), False


def _only_looks_on(body: Any) -> bool:
    """A progress bar's monitor: nothing waits for it."""
    return type(getattr(body, "__self__", None)).__module__.startswith("tqdm")


def stray_thread() -> SuspectError | None:
    """For a run that this thread has found to wait for ever: the refusal where it may be waiting for a thread of a library."""
    return _strays.get(threading.get_ident())


def _thread_of_a_module(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def start(self: threading.Thread) -> None:
        if threading.get_ident() in _loading:
            self._daemonic = True  # type: ignore[attr-defined]
        original(self)

    return start


def _exit_handler(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def register(func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        me = threading.get_ident()
        if (me in _loading or me in _watched) and is_own_code(sys._getframe(1).f_code.co_filename):
            return func
        found: Callable[..., Any] = original(func, *args, **kwargs)
        return found

    return register


class NoSuchOperation(AttributeError):
    """The program asks the store for something that the laboratory's has not. It may ask whether it is there (`hasattr`)."""


def no_such_operation(name: str) -> NoSuchOperation:
    """To be raised where `name` is looked up in vain."""
    return NoSuchOperation(f"the store has upsert, fetch and delete, and no {name!r}")


class _Hushed:
    """A standard stream that a controlled thread writes into in vain, and cannot close."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return len(text) if _silent() else int(self._stream.write(text) or 0)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if not _silent():
            self._stream.flush()

    def close(self) -> None:
        if not _silent():
            self._stream.close()

    def detach(self) -> Any:
        return self if _silent() else self._stream.detach()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _silent() -> bool:
    return not _audible and threading.get_ident() in _watched


def _log_calls(original: Callable[..., Any]) -> Callable[..., Any]:
    """`logging.Logger.callHandlers` without the suspect's lines: its handlers hold streams and files of their own."""

    @functools.wraps(original)
    def call(self: logging.Logger, record: logging.LogRecord) -> None:
        if not _silent():
            original(self, record)

    return call


@contextmanager
def border() -> Iterator[None]:
    """The laboratory is open: what no audit hook is told of is replaced meanwhile. May be nested, also across threads."""
    global _hooked, _open
    with _lock:
        if not _hooked:
            sys.addaudithook(_audit)
            _hooked = True
        _open += 1
        if _open == 1:
            _replace()
    try:
        yield
    finally:
        with _lock:
            _open -= 1
            if _open == 0:
                while _put_back:
                    owner, name, before, ours = _put_back.pop()
                    if (
                        getattr(owner, name) is ours
                    ):  # else somebody has put a thing of his own there meanwhile
                        setattr(owner, name, before)


def _replace() -> None:
    def put(owner: Any, name: str, new: Any) -> None:
        _put_back.append((owner, name, getattr(owner, name), new))
        setattr(owner, name, new)

    for module, path, shown, why in _CALLS:
        with suppress(ImportError):  # no processes on this platform
            if module in _NOT_LOADED_FOR_THIS and module not in sys.modules:
                continue
            owner: Any = importlib.import_module(module)
            *outer, name = path.split(".")
            for part in outer:
                owner = getattr(owner, part)
            if hasattr(owner, name):
                put(owner, name, _guarded(getattr(owner, name), shown, why))
    put(time, "sleep", _sleep)
    starter = (
        "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
    )
    put(threading, starter, _thread_starts(getattr(threading, starter)))  # the former since Python 3.13
    put(threading.Thread, "start", _thread_of_a_module(threading.Thread.start))
    put(atexit, "register", _exit_handler(atexit.register))
    put(logging.Logger, "callHandlers", _log_calls(logging.Logger.callHandlers))
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is not None:
            put(sys, stream, _Hushed(getattr(sys, stream)))


@contextmanager
def controlled(refuse: Refuse, sleep: Sleep) -> Iterator[None]:
    """This thread is under control for the time being. `refuse` is told of a call that was stopped, `sleep` replaces
    `time.sleep` (seconds). To be entered inside a `border`."""
    me = threading.get_ident()
    before = _watched.get(me)
    _watched[me] = (refuse, sleep)
    _strays.pop(me, None)
    try:
        yield
    finally:
        if before is None:
            del _watched[me]
        else:
            _watched[me] = before


@contextmanager
def loading() -> Iterator[None]:
    """This thread loads a suspect: it may do much, but not end the process."""
    me = threading.get_ident()
    with border():
        _loading.add(me)
        try:
            yield
        finally:
            _loading.discard(me)


@contextmanager
def audible() -> Iterator[None]:
    """What suspects print meanwhile is let through: one schedule, played again by somebody who looks."""
    global _audible
    _audible += 1
    try:
        yield
    finally:
        _audible -= 1


def under_control(thread: int | None) -> Any:
    """The world whose program runs in `thread` now, or None."""
    watcher = _watched.get(thread or 0)
    return getattr(watcher[0], "__self__", None) if watcher is not None else None


def refuse_executor(executor: Any, refuse: Refuse) -> None:
    """Stop `run_in_executor` where the executor is a pool of processes: what the call does there, it does to copies."""
    if any(base.__name__ == "ProcessPoolExecutor" for base in type(executor).__mro__):
        error = _refusal("run_in_executor with a ProcessPoolExecutor", _PROCESSES)
        refuse(error)
        raise error


def endless(what: str, count: int, refuse: Refuse) -> SuspectError:
    """The refusal of a program that has made `count` tasks or threads in one run and goes on; to be raised."""
    place = place_of_caller()
    error = SuspectError(
        f"the suspect has made {count:,} {what} in one run, and goes on",
        where=f"{place.file}:{place.lineno}" if place is not None else "",
        hint="Look for a loop without an end; work in batches, or with a fixed number of workers",
    )
    refuse(error)
    return error
