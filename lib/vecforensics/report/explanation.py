"""What of the damage the race examined explains: the kinds that it produced itself, and what these bring about."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from vecforensics.findings import Kind
from vecforensics.report.account import Account

__all__ = ["explained", "follows", "kinds_of_race", "unexplained"]

# What another kind brings about by itself: a child dangles as soon as its parent is not under its own id.
_FOLLOWS: Final = {Kind.DANGLING: (Kind.MISSING, Kind.MANGLED_ID)}


def kinds_of_race(account: Account) -> dict[str, int]:
    """Kind -> failing schedules that showed it."""
    return account.exploration.facts.counts("failures")


def follows(kind: Kind, shown: Collection[str]) -> tuple[Kind, ...]:
    """The kinds among `shown` that explain `kind` as their consequence."""
    return tuple(cause for cause in _FOLLOWS.get(kind, ()) if cause.value in shown)


def explained(account: Account) -> tuple[Kind, ...]:
    """Corrupt kinds in the target that some schedule of the suspect produced, and what follows from these."""
    shown = set(kinds_of_race(account)) | set(account.witness.texts("kinds"))
    return tuple(kind for kind in _caused(account) if kind.value in shown or follows(kind, shown))


def unexplained(account: Account) -> tuple[Kind, ...]:
    """Corrupt kinds in the target that no schedule of the suspect produced."""
    known = explained(account)
    return tuple(kind for kind in _caused(account) if kind not in known)


def _caused(account: Account) -> tuple[Kind, ...]:
    return tuple(kind for kind in account.corrupt_kinds if account.caused(kind) > 0)
