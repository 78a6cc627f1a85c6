"""The corrected strategies, one a file: `serial` (the verified fall-back), `locked` (a lock a key), `waves` (the default)."""

from __future__ import annotations

import functools

from vecforensics.errors import CaseError
from vecforensics.migrate.strategies import locked, serial, waves
from vecforensics.migrate.strategies.order import dependency_levels
from vecforensics.migrate.strategies.protocol import Embed, Store, Strategy, Vector

__all__ = ["STRATEGIES", "Embed", "Store", "Strategy", "Vector", "dependency_levels", "load_strategy"]

STRATEGIES = ("locked", "serial", "waves")


def load_strategy(name: str, width: int) -> Strategy:
    """The strategy of that name. `width`: records under way at once. Raises CaseError for a name that is none."""
    if width < 1:
        raise CaseError(f"a concurrency of {width}", where="--concurrency", hint="Give at least 1")
    match name:
        case "serial":
            return serial.migrate
        case "locked":
            return functools.partial(locked.migrate, width=width)
        case "waves":
            return functools.partial(waves.migrate, width=width)
    raise CaseError(f"no strategy {name!r}", where="--strategy", hint=f"Known: {', '.join(STRATEGIES)}")
