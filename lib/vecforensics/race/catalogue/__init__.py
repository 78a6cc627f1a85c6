"""The anti-patterns by which asynchronous migrations lose data, each as a program that fails beside one that cannot.

A catalogue that only describes mistakes goes stale unnoticed. Here every entry is run: the laboratory finds the failing
order of events in the broken form, names the same kinds of damage as the entry promises, and proves or samples the fixed
form clean.

Entries are ordered as a reader meets them: forgotten work first, then order, shared state, queues and locks, errors, and
what only a faulty network brings out.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from vecforensics.race.catalogue.pattern import Entry, Pattern, Thread

__all__ = ["NAMES", "Entry", "Pattern", "Thread", "entries", "entry"]

NAMES: Final = (
    "fire_and_forget",
    "forgotten_await",
    "unread_results",
    "children_before_parents",
    "completion_order",
    "check_then_act",
    "buffer_reuse",
    "late_binding",
    "flush_clears_arrivals",
    "leave_when_empty",
    "lock_per_call",
    "stale_overwrite",
    "delete_overtakes_insert",
    "redrawn_ranges",
    "swallowed_errors",
    "blind_retry",
    "rate_limit_as_permanent",
)


def entry(name: str) -> Entry:
    """The entry called `name`. Raises `KeyError` for a name that is not in `NAMES`."""
    if name not in NAMES:
        raise KeyError(name)
    module = import_module(f"{__name__}.{name}")
    return Entry(module.PATTERN, module.broken, module.fixed)


def entries() -> tuple[Entry, ...]:
    """All entries in the order of `NAMES`."""
    return tuple(entry(name) for name in NAMES)
