"""The head of the report: which case, which verdict, and the sentence that says it all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vecforensics.findings import Verdict
from vecforensics.report.account import Account
from vecforensics.report.blocks import State, visible
from vecforensics.report.headline import headline
from vecforensics.report.wording import listing, utc

__all__ = ["Masthead", "masthead"]

_STATE: Final = {Verdict.CLEAN: State.GOOD, Verdict.CORRUPT: State.BAD, Verdict.UNKNOWN: State.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Masthead:
    """`verdict` is on the target as it was found; `state` its mark. `language` is that of the document."""

    case: str
    title: str
    run: str
    began: str
    verdict: str
    state: State
    headline: str
    version: str
    language: str = "en"


def masthead(account: Account) -> Masthead:
    """The head for an account; the time is that of `run.json`."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        release = version("vecforensics")
    except PackageNotFoundError:
        release = "(not installed)"
    return Masthead(
        case=account.case.case,
        title=account.case.title
        or f"Vector migration of {listing([visible(n, 40) for n in account.case.collections])}",
        run=account.run.path.name,
        began=utc(account.journal.text("began")),
        verdict=account.verdict.value,
        state=_STATE[account.verdict],
        headline=headline(account),
        version=release,
    )
