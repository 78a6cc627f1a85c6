"""A log that ends with an exception, and the rows that were never written because of it.

The two are found apart. `events` sees that a log ends with an exception which nothing caught; the diff sees, as a hot spot, that
the source ends with rows nearly all of which are missing. Together they say what neither says alone: the process died there, and
what stood behind that place was not reached. A few rows behind it may have been written nevertheless, since answers come out of
turn; some of those before it were under way. Where a log ends otherwise there is no crash, and where the source's last rows are
there no row is put down to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from vecforensics.findings import Kind
from vecforensics.report.account import Account
from vecforensics.report.facts import Facts

__all__ = ["Crash", "crash_of"]

# Of the rows behind the place where the process died so many are missing at least.
_NEARLY_ALL: Final = 0.9
_REFUSED: Final = re.compile(r"\b429\b|too many requests|rate.?limit|throttl|quota", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Crash:
    """The exception that ended the log, and what was not reached: `missing` rows of the last `of`, which stand at `where`.

    `missing` is 0 where the source does not end with a run of missing rows.
    """

    event: Facts
    missing: int = 0
    of: int = 0
    where: str = ""

    @property
    def error(self) -> str:
        """What the runtime printed."""
        return self.event.text("message").strip()

    @property
    def place(self) -> str:
        return f"{self.event.text('file', 'log')}:{self.event.count('line_number')}"

    @property
    def refused(self) -> bool:
        """Whether a provider's rate limit is what the exception speaks of."""
        return bool(_REFUSED.search(self.error))


def crash_of(account: Account) -> Crash | None:
    """The crash with which the logs end; None where they end otherwise."""
    if not account.logs.ending:
        return None
    spot = next(_tails(account), Facts())
    missing = min(spot.count("rows"), account.caused(Kind.MISSING))
    return Crash(account.logs.ending, missing, spot.count("of"), spot.text("where"))


def _tails(account: Account) -> Iterator[Facts]:
    """Hot spots of missing rows that are a run up to the end of the source, in whatever order, the strongest first."""
    for spot in account.findings.facts.each("hot_spots"):
        parts = spot.each("parts")
        if (
            spot.text("kind") != Kind.MISSING.value
            or spot.text("side", "source") != "source"
            or len(parts) != 1
        ):
            continue
        nearly_all = spot.count("rows") >= _NEARLY_ALL * spot.count("of") > 0
        if parts[0].flag("to_the_end") and nearly_all:
            yield spot
