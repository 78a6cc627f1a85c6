"""Trying again: which errors are worth it, and how long. Whoever writes has one authority that does so, `migrate/effects.py`:
retries inside retries multiply, and hide from the ledger. A reader of a store over a network tries again what it reads.

An error is *transient* where its own status says so (408, 425, 429, 5xx) or where it is a broken connection or a time-out. The
status is looked for along the chain of causes, since adapters and embedders wrap what their client raised. A `Retry-After` is
honoured as given: stamina's default would give up after 45 s, before a server that asks for 60 s may be asked again.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import stamina

__all__ = ["Retry", "is_transient", "nobody_may", "retry_after_s"]

# stamina logs each retry; unless the program has set up logging, Python would print that as a bare word on standard error.
logging.getLogger("stamina").addHandler(logging.NullHandler())

_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
# No such key, not paid, not allowed, not there: whatever was asked, the answer is the same.
_WHOEVER_ASKS: Final = frozenset({401, 402, 403, 404})
# A server may ask for a long pause; nobody waits for hours inside one write.
_LONGEST_S: Final = 900.0


@dataclass(frozen=True, slots=True)
class Retry:
    """How long to try: `attempts` in all, for at most `timeout_s`; waits grow from `first_s` to `longest_s`."""

    attempts: int = 8
    timeout_s: float = 1_800.0
    first_s: float = 0.2
    longest_s: float = 30.0

    def around(self) -> Iterator[Any]:
        """Attempts, as `for attempt in retry.around(): with attempt: …`; the last error is raised as it is."""
        return iter(
            stamina.retry_context(
                on=_hook,
                attempts=self.attempts,
                timeout=self.timeout_s,
                wait_initial=self.first_s,
                wait_max=self.longest_s,
                wait_jitter=self.first_s / 2,
            )
        )


def _hook(error: Exception) -> bool | float:
    if not is_transient(error):
        return False
    asked = retry_after_s(error)
    return True if asked is None else min(asked, _LONGEST_S)


def is_transient(error: BaseException) -> bool:
    """Whether trying again later can help."""
    for one in _causes(error):
        status = _status(one)
        if status is not None:
            return status in _STATUS
        if isinstance(one, TimeoutError | ConnectionError):
            return True
        # LanceDB: two writers committed at the same moment; it says itself that this is worth another try.
        if isinstance(one, RuntimeError | OSError) and "commit conflict" in str(one).lower():
            return True
    return False


def nobody_may(error: BaseException) -> bool:
    """Whether the other side refuses whoever asks for whatever: its answer says nothing about what was sent."""
    return any(_status(one) in _WHOEVER_ASKS for one in _causes(error))


def retry_after_s(error: BaseException) -> float | None:
    """The pause in seconds that the other side asks for, where it does."""
    for one in _causes(error):
        for name in ("retry_after_s", "retry_after"):
            seconds = _number(getattr(one, name, None))
            if seconds is not None:
                return seconds
        headers = getattr(one, "headers", None) or getattr(getattr(one, "response", None), "headers", None)
        if headers is not None and hasattr(headers, "get"):
            seconds = _number(headers.get("Retry-After") or headers.get("retry-after"))
            if seconds is not None:
                return seconds
    return None


def _status(error: BaseException) -> int | None:
    for place in (error, getattr(error, "response", None)):
        for name in ("status", "status_code"):
            value = getattr(place, name, None)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
    return None


def _number(value: Any) -> float | None:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__
