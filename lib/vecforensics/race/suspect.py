"""From a reference to a program: `file.py:function`, `package.module:function`, `file.js[:function]`, or a function itself.

Whether it is a coroutine function, a plain one or JavaScript decides the driver. Where a file names no function, `migrate` is
meant (`migrateDataToVectorDB` in JavaScript). A file is loaded under guard: it can neither end this process nor hold it up for
ever.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vecforensics.code_reference import load_function
from vecforensics.errors import MissingExtra, SuspectError
from vecforensics.race import watchdog
from vecforensics.race.driver import Program
from vecforensics.race.guard import loading

__all__ = ["load_suspect"]


def load_suspect(suspect: str | Callable[..., Any], folder: Path | None = None) -> Program:
    """A program that can be started. Raises SuspectError, or MissingExtra where JavaScript needs the extra [js]."""
    if callable(suspect):
        return _program(suspect, _name(suspect))
    base = folder if folder is not None else Path.cwd()
    file, function = _split(suspect)
    if file.endswith((".js", ".mjs", ".cjs")):
        path = base / file
        if not path.is_file():
            raise SuspectError("there is no such file", where=str(path), hint="Check the path of the suspect")
        if importlib.util.find_spec("quickjs") is None:
            raise MissingExtra("js", f"Running {file}")
        from vecforensics.race.javascript import JavaScriptProgram

        return JavaScriptProgram.load(path, function or "migrateDataToVectorDB")
    reference = f"{file}:{function or 'migrate'}"
    found = watchdog.watched(
        lambda: _load(reference, base), f"{file} has been loading", watchdog.IMPORT_PATIENCE_S
    )
    return _program(found, reference)


def _load(reference: str, base: Path) -> Callable[..., Any]:
    """The function, in this thread. Scripts that ask for the thread's event loop as they load find one, as in a main thread."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        with loading():
            return load_function(reference, base, SuspectError)
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _split(reference: str) -> tuple[str, str]:
    """("migration.py", "migrate"); a Windows drive is no function."""
    place, colon, name = reference.rpartition(":")
    return (place, name) if colon and name.isidentifier() and len(place) > 1 else (reference, "")


def _name(function: Callable[..., Any]) -> str:
    inner = function.func if isinstance(function, functools.partial) else function
    module = getattr(inner, "__module__", None) or "?"
    return f"{module}:{getattr(inner, '__qualname__', type(inner).__name__)}"


def _program(function: Callable[..., Any], name: str) -> Program:
    inner: Any = function.func if isinstance(function, functools.partial) else function
    if not inspect.isfunction(inner) and not inspect.ismethod(inner):
        inner = getattr(inner, "__call__", inner)  # noqa: B004  (an object with an async __call__)
    try:
        inspect.signature(function).bind(None, None, None)
    except TypeError:
        raise SuspectError(
            "this does not take (records, embed, store)",
            where=name,
            hint="Write it as async def migrate(records, embed, store), or wrap it in one that is",
        ) from None
    except ValueError:
        pass  # a builtin without a signature: calling it will tell
    if inspect.isasyncgenfunction(inspect.unwrap(inner)) or inspect.isgeneratorfunction(
        inspect.unwrap(inner)
    ):
        raise SuspectError(
            "this is a generator: calling it runs none of its lines",
            where=name,
            hint="Take the yield out of it, or wrap it in a function that runs it to its end",
        )
    code = getattr(inspect.unwrap(inner), "__code__", None)
    files = (code.co_filename,) if code is not None else ()
    if inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(inspect.unwrap(inner)):
        from vecforensics.race.coroutines import AsyncioProgram

        return AsyncioProgram(function, name, files)
    from vecforensics.race.threads import ThreadsProgram

    return ThreadsProgram(function, name, files)
