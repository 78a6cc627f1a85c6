"""A QuickJS realm under control: time and memory bounded, microtasks one at a time, rejections seen.

quickjs-ng's Python module gives contexts, evaluation, limits and `execute_pending_job`, which is the exact control of
microtasks that the laboratory needs. Two things are missing from it. One is the engine's own notice that a promise was
rejected and nobody handles it, which ends a Node process (`JS_SetHostPromiseRejectionTracker`). The other is bytecode, without
which every schedule parses the same two texts again (1.4 ms against 0.1). The functions of the C interface are exported by
the module's shared library, so both are reached through ctypes. Before any pointer is used, the engine itself is asked
whether it is the right one; where the answer is no (another build, another layout) realms run from text and without the
notice, and `sees_rejections` says so.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from time import thread_time
from typing import Any, Final

from vecforensics.errors import MissingExtra, SuspectError

__all__ = ["MEMORY_BYTES", "STEP_S", "Code", "Realm", "compile_code", "sees_rejections"]

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
_EXCEPTION_TAG: Final = 6
_COMPILE_ONLY: Final = 1 << 5  # JS_EVAL_FLAG_COMPILE_ONLY
_BYTECODE: Final = 1 << 0  # JS_WRITE_OBJ_BYTECODE, JS_READ_OBJ_BYTECODE
_Interrupt = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
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
    pointer, value, size = ctypes.c_void_p, _Value, ctypes.c_size_t
    try:
        library = ctypes.CDLL(str(import_module("_quickjs").__file__))
        for name, result, *arguments in (
            ("JS_GetRuntime", pointer, pointer),
            ("JS_SetHostPromiseRejectionTracker", None, pointer, _Tracker, pointer),
            ("JS_SetInterruptHandler", None, pointer, _Interrupt, pointer),
            ("JS_GetGlobalObject", value, pointer),
            ("JS_GetPropertyStr", value, pointer, value, ctypes.c_char_p),
            ("JS_Call", value, pointer, value, value, ctypes.c_int, ctypes.POINTER(_Value)),
            ("JS_FreeValue", None, pointer, value),
            ("JS_Eval", value, pointer, ctypes.c_char_p, size, ctypes.c_char_p, ctypes.c_int),
            ("JS_WriteObject", pointer, pointer, ctypes.POINTER(size), value, ctypes.c_int),
            ("JS_ReadObject", value, pointer, ctypes.c_char_p, size, ctypes.c_int),
            ("JS_EvalFunction", value, pointer, value),
            ("js_free", None, pointer, pointer),
        ):
            function = getattr(library, str(name))
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):
        return None
    quickjs = _module()
    if sys.implementation.name != "cpython":
        return None  # elsewhere the id of an object is not its address
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


@dataclass(frozen=True, slots=True)
class Code:
    """A script, and its bytecode where this build can make it."""

    text: str
    bytecode: bytes | None


def compile_code(text: str) -> Code:
    """`text`, which is known to parse, as code that many realms can run."""
    library = _library()
    if library is None:
        return Code(text, None)
    context = _module().Context()
    _, pointer = _pointers(context)
    raw, length = text.encode("utf-8", "surrogatepass"), ctypes.c_size_t()
    compiled = library.JS_Eval(pointer, raw, len(raw), b"<input>", _COMPILE_ONLY)
    if compiled.tag == _EXCEPTION_TAG:
        return Code(text, None)
    written = library.JS_WriteObject(pointer, ctypes.byref(length), compiled, _BYTECODE)
    library.JS_FreeValue(pointer, compiled)
    if not written:
        return Code(text, None)
    bytecode = ctypes.string_at(written, length.value)
    library.js_free(pointer, written)
    return Code(text, bytecode)


# JSContext* -> the realm's function `track`, and JSRuntime* -> the realm, for as long as the realm lives.
_tracking: dict[int, _Value] = {}
_running: dict[int, Realm] = {}


def _interrupted(runtime: int, _opaque: int | None) -> int:
    """Asked by the engine every ten thousand steps or so: whether to stop. Only then is there a clock to read."""
    realm = _running.get(runtime)
    if realm is None:
        return 0
    now = thread_time()
    if realm.since_s is None:
        realm.since_s = now
    return int(now - realm.since_s > STEP_S)


def _rejected(context: int, promise: _Value, reason: _Value, handled: bool, _opaque: int | None) -> None:
    track = _tracking.get(context)
    if track is None:
        return
    library = _library()
    arguments = (_Value * 3)(promise, reason, _Value(int(handled), _BOOL_TAG))
    library.JS_FreeValue(context, library.JS_Call(context, track, _Value(*_UNDEFINED), 3, arguments))


# Kept here, since the engine holds no reference of Python's.
_on_interrupt: Final = _Interrupt(_interrupted)
_on_rejected: Final = _Tracker(_rejected)


class Realm:
    """One fresh global object. It belongs to the thread that made it, and `close` frees it there.

    `since_s` is the CPU time at which the current stretch of JavaScript was first looked at; whoever enters sets it to None.
    Code that does not come to an end within `STEP_S` seconds of CPU time, or wants more than `MEMORY_BYTES`, is stopped with a
    JavaScript exception that it cannot catch; `refusal` makes one line of it, and `where` is what the line blames.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.context: Any = _module().Context()
        self.context.set_memory_limit(MEMORY_BYTES)
        self.context.set_max_stack_size(_STACK_BYTES)
        self.since_s: float | None = None
        self._runtime, self._pointer = 0, 0
        library = _library()
        if library is None:
            self.context.set_time_limit(STEP_S)
        else:
            self._runtime, self._pointer = _pointers(self.context)
            _running[self._runtime] = self
            library.JS_SetInterruptHandler(self._runtime, _on_interrupt, None)

    def watch_rejections(self, name: str) -> None:
        """Take the global function `name`: from now on it is called as (promise, reason, handled)."""
        library = _library()
        if library is None:
            self.context.eval(f"delete globalThis.{name}")
            return
        pointer = self._pointer
        top = library.JS_GetGlobalObject(pointer)
        function = library.JS_GetPropertyStr(pointer, top, name.encode())
        library.JS_FreeValue(pointer, top)
        _tracking[pointer] = function
        library.JS_SetHostPromiseRejectionTracker(self._runtime, _on_rejected, None)
        self.context.eval(f"delete globalThis.{name}")

    def evaluate(self, text: str) -> Any:
        """The value of the script `text`. A JavaScript exception leaves as it is."""
        self.since_s = None
        return self.context.eval(text)

    def run(self, code: Code) -> None:
        """Run a script that has been evaluated from its text before, in another realm."""
        self.since_s = None
        library, pointer = _library(), self._pointer
        if code.bytecode is None or library is None:
            self.context.eval(code.text)
            return
        read = library.JS_ReadObject(pointer, code.bytecode, len(code.bytecode), _BYTECODE)
        result = library.JS_EvalFunction(pointer, read)  # consumes `read`
        if result.tag == _EXCEPTION_TAG:
            raise SuspectError(
                "fails at its top level in one run and not in another",
                where=self.where,
                hint="Make what the file does before its function is called independent of earlier runs",
            )
        library.JS_FreeValue(pointer, result)

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
        _running.pop(self._runtime, None)
        function = _tracking.pop(self._pointer, None)
        if function is not None:
            _library().JS_FreeValue(self._pointer, function)
        self.context = None
