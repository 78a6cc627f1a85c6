"""What can go wrong, as one tree.

    VecforensicsError            every error of ours; the command line prints it on one line and ends with 2
    ├── InputError               something that the person gave cannot be used
    │   ├── CaseError            the case file
    │   ├── SourceError          the source records
    │   ├── TargetError          the vector store
    │   │   └── TargetNotThere   there is no such store, or no such collection in it
    │   ├── EvidenceError        a run folder or the frozen evidence in it
    │   └── SuspectError         the migration code under test
    ├── MissingExtra             an optional library is not installed
    ├── RunLocked                another process works on the same run folder
    └── ToolFailed               a notebook, a kernel or a store broke while it was at work

A message says what is wrong, where, and what to do next, on one line. Texts inside it come from strangers: `printable`
makes control characters visible, so that an id cannot move the cursor or paint the terminal. A URI is shown without the user and
the password in it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = [
    "CaseError",
    "EvidenceError",
    "InputError",
    "MissingExtra",
    "RunLocked",
    "SourceError",
    "SuspectError",
    "TargetError",
    "TargetNotThere",
    "ToolFailed",
    "VecforensicsError",
    "holds_password",
    "printable",
    "without_userinfo",
]

_PASSWORD: Final = re.compile(r"://[^/\s:@]*:[^/\s@]*@")
_USERINFO: Final = re.compile(r"(?<=://)[^/?#\s]*@")


def printable(text: object, limit: int = 400) -> str:
    """`text` on one line for a terminal or a log: control, format and surrogate characters as escapes, cut at `limit`."""
    shown = "".join(
        ch
        if ch == " " or unicodedata.category(ch)[0] not in "CZ"
        else ch.encode("unicode_escape", "surrogatepass").decode()
        for ch in str(text)[: limit + 1]
    )
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def without_userinfo(text: object) -> str:
    """`text` with `…` for the user and password of each URI in it."""
    return _USERINFO.sub("…@", str(text))


def holds_password(uri: str) -> bool:
    """Whether a password stands in a URI, or in one behind a scheme of ours (`qdrant:http://…`)."""
    return _PASSWORD.search(uri) is not None


class VecforensicsError(Exception):
    """An error with what is wrong, where, and what to do next."""

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.what, self.where, self.hint = what, where, hint
        super().__init__(what)

    def __str__(self) -> str:
        where, what, hint = (printable(without_userinfo(text)) for text in (self.where, self.what, self.hint))
        head = f"{where}: {what}" if where else what
        return f"{head}. {hint}" if hint else head


class InputError(VecforensicsError):
    """Something that the person gave cannot be used."""


class CaseError(InputError):
    """The case file is missing, is not YAML, or says something that cannot be meant."""


class SourceError(InputError):
    """The source records cannot be read as the case file says."""


class TargetError(InputError):
    """The vector store or the collection cannot be read as the case file says."""


class TargetNotThere(TargetError):
    """There is no such store, or no such collection in it: lost, not made yet, or misspelt."""


class EvidenceError(InputError):
    """A run folder lacks what a stage needs, or what lies there is not what was frozen."""


class SuspectError(InputError):
    """The migration code under test cannot be loaded or run."""


class MissingExtra(VecforensicsError):
    """An optional library is not installed; the message names the extra."""

    def __init__(self, extra: str, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs the extra [{extra}]", hint=f"Install it: pip install 'vecforensics[{extra}]'"
        )


class RunLocked(VecforensicsError):
    """Another process holds the lock of the run folder."""


class ToolFailed(VecforensicsError):
    """A notebook, a kernel or a store broke while it was at work."""
