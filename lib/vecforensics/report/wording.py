"""Numbers and names as a reader wants them: 2,431 · 33.8 % · 120 ms · users and posts."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

__all__ = [
    "count",
    "duration",
    "figure",
    "listing",
    "metric_label",
    "metric_text",
    "plural",
    "quoted",
    "share",
    "utc",
]


def count(value: float) -> str:
    """A whole number with its thousands marked."""
    return f"{int(value):,}"


def plural(value: float, one: str, many: str | None = None) -> str:
    """ "1 record", "2,431 records"."""
    return f"{count(value)} {one if value == 1 else many or one + 's'}"


def share(part: float, whole: float | None = None) -> str:
    """Per cent with one digit; never "0.0 %" of something, nor "100.0 %" of less than all."""
    if whole is not None:
        if whole <= 0:
            return "–"
        part = part / whole
    percent = part * 100
    if 0 < percent < 0.05:
        return "< 0.1 %"
    if 99.95 <= percent < 100:
        return "> 99.9 %"
    return f"{percent:.0f} %" if percent in (0, 100) else f"{percent:.1f} %"


def figure(value: float) -> str:
    """Three significant digits, or the whole number where there is one."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.1e}"


def listing(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


_LABELS: Final = {
    "error_rate": "Error rate",
    "latency_ms": "Insert latency, mean",
    "mean_latency_ms": "Insert latency, mean",
    "duration_s": "Duration of a run",
    "crashes": "Crashed runs",
    "failed_runs": "Runs with a wrong record",
}


def metric_label(name: str) -> str:
    """A metric's name as a row head."""
    return _LABELS.get(name) or name.removesuffix("_ms").removesuffix("_s").replace("_", " ").capitalize()


def claim_text(name: str, value: float) -> str:
    """A claimed value, with no more digits than were claimed."""
    return f"{value * 100:g} %" if name.endswith(("_rate", "_share")) else metric_text(name, value)


def metric_text(name: str, value: float) -> str:
    """A metric's value with the unit that stands in its name."""
    if name.endswith(("_rate", "_share")):
        return share(value)
    for suffix in ("ms", "s"):
        if name.endswith(f"_{suffix}"):
            return f"{figure(value)} {suffix}"
    return figure(value)


def utc(time: str) -> str:
    """An ISO 8601 UTC text as "2026-11-24 08:24:05.123"; what is none stays as it is."""
    return time.removesuffix("Z").replace("T", " ", 1) if time.endswith("Z") and "T" in time else time


def duration(seconds: float) -> str:
    """ "0.4 s", "12 s", "3 min 5 s"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def quoted(*words: str) -> str:
    """A command line that a shell reads as exactly these words."""
    return shlex.join(words)
