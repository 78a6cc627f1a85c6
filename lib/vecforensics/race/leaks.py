"""What leaks into a schedule: things that the program reads and that no schedule decides.

The wall clock, random numbers, fresh UUIDs, the order of a set: two runs of one schedule may differ by them. They are watched for
only where two runs are compared, since a profile function slows a program down. A generator that was given a seed is no leak.
Sets and hashes of text are the same all through one process and different in the next; whether they matter is asked of other
processes (`second_process.py`), here they are only found.
"""

from __future__ import annotations

import ast
import linecache
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from vecforensics.race.places import is_own_code, place_of_caller

__all__ = ["SET_ORDER", "hashing_lines", "unreadable", "watch_leaks"]

SET_ORDER: Final = "the order of a set"

_CALLS: Final = {
    ("time", "time"): "the wall clock (time.time)",
    ("time", "time_ns"): "the wall clock (time.time_ns)",
    ("time", "localtime"): "the wall clock (time.localtime)",
    ("time", "gmtime"): "the wall clock (time.gmtime)",
    ("time", "ctime"): "the wall clock (time.ctime)",
    ("time", "monotonic"): "a clock (time.monotonic)",
    ("time", "monotonic_ns"): "a clock (time.monotonic_ns)",
    ("time", "perf_counter"): "a clock (time.perf_counter)",
    ("time", "perf_counter_ns"): "a clock (time.perf_counter_ns)",
    ("time", "process_time"): "a clock (time.process_time)",
    ("posix", "urandom"): "os.urandom",
    ("posix", "getpid"): "the process id",
    ("builtins", "id"): "the address of an object (id)",
}
# Functions written in Python, by the file of the standard library that has them.
_FUNCTIONS: Final = {
    "uuid.py": frozenset({"uuid1", "uuid4"}),
    "secrets.py": frozenset({"choice", "randbelow", "token_bytes", "token_hex", "token_urlsafe"}),
}
_CLOCK: Final = frozenset({"now", "utcnow", "today"})
_SHARED: Final = random.random.__self__  # type: ignore[attr-defined]  # what `random.shuffle` and its kin draw from


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
            what = _called(frame)
            if what:
                note(what)
        elif event == "c_call" and is_own_code(frame.f_code.co_filename):
            what = _called_in_c(arg)
            if what:
                note(what)

    before, drawn = sys.getprofile(), _numpy_state()
    sys.setprofile(profile)
    try:
        yield found
    finally:
        sys.setprofile(before)
        if drawn != _numpy_state():
            found.append("numpy.random without a generator of its own")
        found.extend(line for line in _set_loops(files) if line not in found)


def _numpy_state() -> str:
    """Where numpy's shared generator stands; its functions are compiled, and no profile function is told of a call."""
    module = sys.modules.get("numpy.random")
    if module is None:
        return ""
    state = module.get_state()
    return f"{state[1].tobytes().hex()} {state[2:]}"


def _called(frame: FrameType) -> str:
    """The leak that a call of a Python function of the standard library is, or ""."""
    code = frame.f_code
    file = code.co_filename.rpartition("/")[2]
    name = code.co_name
    if name in _FUNCTIONS.get(file, ()):
        return f"secrets.{name}" if file == "secrets.py" else name
    if file != "random.py" or frame.f_back is None or not is_own_code(frame.f_back.f_code.co_filename):
        return ""
    owner = frame.f_locals.get("self")
    if name == "__init__":
        return "random.Random without a seed" if frame.f_locals.get("x") is None else ""
    return f"random.{name}" if owner is _SHARED or type(owner).__name__ == "SystemRandom" else ""


def _called_in_c(function: Any) -> str:
    """The leak that a call of a function written in C is, or ""."""
    module, name = str(getattr(function, "__module__", "")), str(getattr(function, "__name__", ""))
    known = _CALLS.get((module, name))
    if known is not None:
        return known
    owner = getattr(function, "__self__", None)
    if owner is _SHARED:
        return f"random.{name}"
    if name in _CLOCK and getattr(owner, "__name__", "") in ("datetime", "date"):
        return f"the wall clock (datetime.{name})"
    return ""


def _trees(files: Sequence[str]) -> Iterator[tuple[str, ast.Module]]:
    """Those that can be read. A notebook's cell is no file, but linecache knows its lines."""
    for file in files:
        linecache.checkcache(file)
        try:
            tree = ast.parse("".join(linecache.getlines(file)))
        except (SyntaxError, ValueError):
            continue
        if tree.body:
            yield file, tree


def unreadable(files: Sequence[str]) -> bool:
    """Whether there is a file, or none at all, of which nothing can be said."""
    return not files or len(list(_trees(files))) < len(files)


def _set_loops(files: Sequence[str]) -> Iterator[str]:
    """Loops over a set that is visible as one. Its order depends on addresses and on the hash seed of the process."""
    for file, tree in _trees(files):
        for node in ast.walk(tree):
            loop = node.iter if isinstance(node, ast.For | ast.comprehension) else None
            if loop is not None and _is_set(loop):
                yield f"{SET_ORDER}, {file}:{loop.lineno}"


def hashing_lines(files: Sequence[str]) -> list[str]:
    """ "file:line" of everything that depends on how this process hashes text: sets made, and `hash` asked for."""
    found: dict[str, None] = {}
    for file, tree in _trees(files):
        for node in ast.walk(tree):
            if isinstance(node, ast.expr) and (_is_set(node) or _calls(node, "hash")):
                found[f"{file}:{node.lineno}"] = None
    return list(found)


def _calls(node: ast.AST, *names: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names


def _is_set(node: ast.expr) -> bool:
    """A set that can be seen to be one: written out, made by `set`, or from the keys of two dictionaries."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr | ast.BitXor | ast.Sub):
        return any(
            _is_set(side)
            or (
                isinstance(side, ast.Call)
                and isinstance(side.func, ast.Attribute)
                and side.func.attr in ("keys", "items")
            )
            for side in (node.left, node.right)
        )
    return isinstance(node, ast.Set | ast.SetComp) or _calls(node, "set", "frozenset")
