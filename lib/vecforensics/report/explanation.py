"""What explains the damage: the race examined, for the kinds that it produced itself and what these bring about; the crash with
which the log ends, for the rows that were not reached; how far rehearsals bear the race out."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from vecforensics.findings import Kind
from vecforensics.report.account import Account
from vecforensics.report.crash import crash_of

__all__ = ["explained", "follows", "kinds_of_race", "left_to_explain", "unexplained", "unrehearsed"]

# What another kind brings about by itself: a child dangles as soon as its parent is not under its own id.
_FOLLOWS: Final = {Kind.DANGLING: (Kind.MISSING, Kind.MANGLED_ID)}


def kinds_of_race(account: Account) -> dict[str, int]:
    """Kind -> failing schedules that showed it."""
    return account.exploration.facts.counts("failures")


def left_to_explain(account: Account, kind: Kind) -> int:
    """Findings of a kind that a migration can have caused, but for the rows that a crash kept from being reached."""
    crash = crash_of(account) if kind is Kind.MISSING else None
    return account.caused(kind) - (crash.missing if crash is not None else 0)


def follows(kind: Kind, shown: Collection[str]) -> tuple[Kind, ...]:
    """The kinds among `shown` that explain `kind` as their consequence."""
    return tuple(cause for cause in _FOLLOWS.get(kind, ()) if cause.value in shown)


def explained(account: Account) -> tuple[Kind, ...]:
    """Corrupt kinds in the target that some schedule of the suspect produced, and what follows from these."""
    shown = set(kinds_of_race(account)) | set(account.witness.texts("kinds"))
    crash = crash_of(account)
    known = shown | ({Kind.MISSING.value} if crash is not None and crash.missing else set())
    return tuple(kind for kind in _open(account) if kind.value in shown or follows(kind, known))


def unexplained(account: Account) -> tuple[Kind, ...]:
    """Corrupt kinds in the target that no schedule of the suspect produced, nor a crash."""
    known = explained(account)
    return tuple(kind for kind in _open(account) if kind not in known)


def unrehearsed(account: Account) -> int:
    """How many rehearsals the suspect came through without a fault, where it came through all of them; else 0."""
    runs = [run for run in account.rehearsal.facts.each("runs") if run.text("side") == "before"]
    failed = any(
        run.count("wrong") or run.count("premature") or run.flag("crashed") or run.text("raised")
        for run in runs
    )
    return 0 if failed or account.race_verdict != "failing" else len(runs)


def _open(account: Account) -> tuple[Kind, ...]:
    return tuple(kind for kind in account.corrupt_kinds if left_to_explain(account, kind) > 0)
