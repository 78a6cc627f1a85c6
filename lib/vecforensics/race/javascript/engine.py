"""A QuickJS realm under control: time and memory bounded, microtasks one at a time, rejections seen.

quickjs-ng's Python module gives contexts, evaluation, limits and `execute_pending_job`, which is the exact control of
microtasks that the laboratory needs. One thing is missing from it: the engine's own notice that a promise was rejected and
nobody handles it, which ends a Node process. The engine has it (`JS_SetHostPromiseRejectionTracker`), and the functions of the
C interface are exported by the module's shared library, so it is reached through ctypes. Before any pointer is used, the
engine itself is asked whether it is the right one; where the answer is no (another build, another layout) the realm runs
without the notice and says so in `sees_rejections`.
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib import import_module
from typing import Any, Final

from vecforensics.errors import MissingExtra, SuspectError

__all__ = ["MEMORY_BYTES", "STEP_S", "Realm", "sees_rejections"]

STEP_S: Final = 5.0
"""CPU time for one stretch of JavaScript without an await. Ten thousand records take well under a second."""

MEMORY_BYTES: Final = 512 << 20
_STACK_BYTES: Final = 256 << 10  # below the 512 KB that a thread has on macOS
_JOBS: Final = 2_000_000  # microtasks in one stretch; ten thousand records need some hundred thousand


class _Value(ctypes.Structure):
    """A `JSValue`: passed by value, a pointer or number and a tag."""

    _fields_ = (("payload", ctypes.c_uint64), ("tag", ctypes.c_int64))


_UNDEFINED: Final = (0, 3)
_BOOL_TAG: Final = 1
_Tracker = ctypes.CFUNCTYPE(None, ctypes.c_void_p, _Value, _Value, ctypes.c_bool, ctypes.c_void_p)


def _module() -> Any:
    try:
        import quickjs
    except ImportError:
        raise MissingExtra("js", "running a JavaScript migration") from None
    return quickjs


def _pointers(context: Any) -> tuple[int, int]:
    """(JSRuntime*, JSContext*): the first two fields after the object's head."""
    fields = (ctypes.c_uint64 * 2).from_address(id(context) + object.__basicsize__)
    return int(fields[0]), int(fields[1])


@cache
def _library() -> Any:
    """The C interface, or None where it is not what this module knows."""
    try:
        library = ctypes.CDLL(str(import_module("_quickjs").__file__))
        library.JS_GetRuntime.restype = ctypes.c_void_p
        library.JS_GetRuntime.argtypes = [ctypes.c_void_p]
        library.JS_SetHostPromiseRejectionTracker.restype = None
        library.JS_SetHostPromiseRejectionTracker.argtypes = [ctypes.c_void_p, _Tracker, ctypes.c_void_p]
        library.JS_GetGlobalObject.restype = _Value
        library.JS_GetGlobalObject.argtypes = [ctypes.c_void_p]
        library.JS_GetPropertyStr.restype = _Value
        library.JS_GetPropertyStr.argtypes = [ctypes.c_void_p, _Value, ctypes.c_char_p]
        library.JS_Call.restype = _Value
        library.JS_Call.argtypes = [ctypes.c_void_p, _Value, _Value, ctypes.c_int, ctypes.POINTER(_Value)]
        library.JS_FreeValue.restype = None
        library.JS_FreeValue.argtypes = [ctypes.c_void_p, _Value]
    except (OSError, AttributeError):
        return None
    quickjs = _module()
    if quickjs.Context.__basicsize__ < object.__basicsize__ + 16 or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    runtime, context = _pointers(probe := quickjs.Context())
    aligned = all(pointer > 1 << 16 and pointer % 8 == 0 for pointer in (runtime, context))
    known = aligned and library.JS_GetRuntime(context) == runtime
    del probe
    return library if known else None


def sees_rejections() -> bool:
    """Whether unhandled rejections can be seen with the installed build of quickjs-ng."""
    return _library() is not None


# JSContext* -> the realm's function `track`, for as long as the realm lives.
_tracking: dict[int, _Value] = {}


def _rejected(context: int, promise: _Value, reason: _Value, handled: bool, _opaque: int | None) -> None:
    track = _tracking.get(context)
    if track is None:
        return
    library = _library()
    arguments = (_Value * 3)(promise, reason, _Value(int(handled), _BOOL_TAG))
    library.JS_FreeValue(context, library.JS_Call(context, track, _Value(*_UNDEFINED), 3, arguments))


_on_rejected: Final = _Tracker(_rejected)  # kept here, since the engine holds no reference of Python's


class Realm:
    """One fresh global object. It belongs to the thread that made it, and `close` frees it there.

    Code that does not come to an end within `STEP_S` seconds of CPU time, or wants more than `MEMORY_BYTES`, is stopped with a
    JavaScript exception that it cannot catch; `refusal` makes one line of it, and `where` is what the line blames.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.context: Any = _module().Context()
        self.context.set_memory_limit(MEMORY_BYTES)
        self.context.set_time_limit(STEP_S)
        self.context.set_max_stack_size(_STACK_BYTES)
        self._pointer = 0

    def watch_rejections(self, name: str) -> None:
        """Take the global function `name`: from now on it is called as (promise, reason, handled)."""
        library = _library()
        if library is None:
            self.context.eval(f"delete globalThis.{name}")
            return
        runtime, pointer = _pointers(self.context)
        top = library.JS_GetGlobalObject(pointer)
        function = library.JS_GetPropertyStr(pointer, top, name.encode())
        library.JS_FreeValue(pointer, top)
        self._pointer = pointer
        _tracking[pointer] = function
        library.JS_SetHostPromiseRejectionTracker(runtime, _on_rejected, None)
        self.context.eval(f"delete globalThis.{name}")

    def evaluate(self, text: str) -> Any:
        """The value of the script `text`. A JavaScript exception leaves as it is."""
        return self.context.eval(text)

    def run_jobs(self) -> None:
        """Run microtasks until none is left. Errors of the engine leave as they are; `refusal` words them."""
        step = self.context.execute_pending_job
        for _ in range(_JOBS):
            if not step():
                return
        raise SuspectError(
            f"awaits itself round and round: {_JOBS:,} microtasks without an operation or a timer",
            where=self.where,
            hint="Node would hang here too; let the loop wait for something",
        )

    def refusal(self, error: Exception) -> SuspectError | None:
        """One line where `error` says that a limit was reached; None for any other exception out of the realm.

        An error that is not the engine's is raised again.
        """
        if not isinstance(error, _module().JSException):
            raise error
        text = str(error)
        if "interrupted" in text:
            return SuspectError(
                f"runs for more than {STEP_S:g} seconds without an await",
                where=self.where,
                hint="Look for a loop without an end",
            )
        if "out of memory" in text or text.strip() == "null":
            return SuspectError(
                f"needs more than {MEMORY_BYTES >> 20} MB of memory",
                where=self.where,
                hint="Try fewer records (--records)",
            )
        return None

    def close(self) -> None:
        """Free the realm. Nothing of it may be used afterwards."""
        function = _tracking.pop(self._pointer, None)
        if function is not None:
            _library().JS_FreeValue(self._pointer, function)
        self.context = None
