"""The text of a JavaScript file, made ready for a script realm without moving a line.

A migration is written for Node: CommonJS or an ES module. Inside the laboratory it is evaluated as a script, so that its
functions can be called by name. CommonJS needs nothing (the realm has `module`, `exports` and `require`). Of a module's
syntax, `export` before a declaration is blanked with spaces, a default export is kept in `exports`, an export list or
re-export is dropped, and an `import` becomes the `require` of the same names. Lines keep their numbers, and but for imports
and exports their columns.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from vecforensics.errors import SuspectError
from vecforensics.race.model import Source

__all__ = ["Script", "read_script"]

_LIMIT_BYTES: Final = 4 << 20
_NAME: Final = r"[A-Za-z_$][\w$]*"
_IDENTIFIER: Final = re.compile(_NAME)
# Module syntax stands at the start of a line in every formatter's output; anywhere else it is left alone.
_EXPORT_DECLARATION: Final = re.compile(
    rf"^export[ \t]+(?:default[ \t]+(?=(?:async[ \t]+)?function[ \t*]+{_NAME}|class[ \t]+{_NAME})|"
    r"(?=(?:async[ \t]+)?function\b|class\b|const\b|let\b|var\b))",
    re.M,
)
_DEFAULT_NAME: Final = re.compile(
    rf"^export[ \t]+default[ \t]+(?:async[ \t]+)?function[ \t*]+({_NAME})", re.M
)
_EXPORT_LIST: Final = re.compile(
    rf"^export[ \t]*(?:\{{[^}}]*\}}|\*(?:[ \t]+as[ \t]+{_NAME})?)(?:[ \t]*from[ \t]*(['\"])[^'\"\n]*\1)?[ \t]*;?",
    re.M,
)
_EXPORT_DEFAULT: Final = re.compile(r"^export[ \t]+default[ \t]+", re.M)
_IMPORT: Final = re.compile(
    rf"^import[ \t]+(?:(?P<default>{_NAME})[ \t]*,?[ \t]*)?(?:\*[ \t]+as[ \t]+(?P<all>{_NAME})|(?P<names>\{{[^}}]*\}}))?"
    rf"[ \t]*from[ \t]*(?P<module>(['\"])[^'\"\n]*\5)[ \t]*;?",
    re.M,
)
_AS: Final = re.compile(r"[ \t]+as[ \t]+")
_IMPORT_BARE: Final = re.compile(r"^import[ \t]*(['\"])[^'\"\n]*\1[ \t]*;?", re.M)


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _require(match: re.Match[str]) -> str:
    module = match["module"]
    parts = [f"{match[group]} = require({module})" for group in ("default", "all") if match[group]]
    if match["names"]:
        names = _AS.sub(": ", match["names"])
        parts.append(f"{names} = require({module})")
    return f"var {', '.join(parts)};" if parts else _blank(match)


class Script:
    """A file's text as the realm evaluates it, with what a person should see of it.

    `file` is the path as given, `shown_as` the name in stacks and log lines, `function` the migration's name.
    """

    def __init__(self, text: str, file: str, shown_as: str, function: str) -> None:
        if not _IDENTIFIER.fullmatch(function):
            raise SuspectError(f"{function!r} is no name of a JavaScript function", where=file)
        self.file, self.shown_as, self.function = file, shown_as, function
        self.lines = text.splitlines()
        if text.startswith("#!"):
            text = "//" + text[2:]
        by_default = _DEFAULT_NAME.search(text)
        text = _EXPORT_DECLARATION.sub(_blank, text)
        text = _EXPORT_LIST.sub(_blank, text)
        text = _EXPORT_DEFAULT.sub("exports.default = ", text)
        text = _IMPORT_BARE.sub(_blank, text)
        text = _IMPORT.sub(_require, text)
        self.text = f"{text}\nexports.default = {by_default[1]};\n" if by_default else text

    def place(self, told: str | None) -> Source | None:
        """The source line of the kernel's "line:column:function"."""
        if told is None:
            return None
        line, _column, function = told.split(":", 2)
        return self.at(int(line), function or "(top level)")

    def at(self, line: int, function: str) -> Source:
        text = self.lines[line - 1].strip() if 0 < line <= len(self.lines) else ""
        return Source(self.file, line, function, text)

    def innermost(self, stack: str) -> Source | None:
        """The first frame of `stack` that lies in this file."""
        found = re.search(rf"at (?:(.*) \()?{re.escape(self.shown_as)}:(\d+):\d+\)?", stack)
        return self.at(int(found[2]), found[1] or "(anonymous)") if found else None

    def refusal(self, error: Any) -> SuspectError:
        """One line for an error at load: syntax, or something that the file does at its top level."""
        head, _, stack = str(error).strip().partition("\n")
        line = re.search(r"<input>:(\d+):\d+", stack) or re.search(
            rf"{re.escape(self.shown_as)}:(\d+):\d+", stack
        )
        hint = (
            "Correct the syntax; `node --check` names the same place"
            if head.startswith("SyntaxError")
            else "The file is evaluated before its function is called; keep side effects out of its top level"
        )
        return SuspectError(head, where=f"{self.file}:{line[1]}" if line else self.file, hint=hint)


def read_script(path: Path, function: str, shown_as: str | None = None) -> Script:
    """The script in the file at `path`. Raises SuspectError with one line for what cannot be read."""
    where = str(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SuspectError(
            error.strerror or "cannot be read", where=where, hint="Give the path of a .js file"
        ) from None
    if len(raw) > _LIMIT_BYTES:
        raise SuspectError(
            f"is larger than {_LIMIT_BYTES >> 20} MB", where=where, hint="Give the source, not a bundle"
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SuspectError(
            f"is not UTF-8 (byte {error.start})", where=where, hint="Save it as UTF-8"
        ) from None
    if "\0" in text:
        raise SuspectError("holds a NUL character", where=where, hint="Give the text of a .js file")
    return Script(text, where, shown_as or path.name, function)
