"""From an order of completions to a time for each operation, so that stock asyncio does the same.

Completions are laid out on a line, a fixed gap apart (none where they fell into one round of the loop); a timer stays at its own
deadline and what comes before or after it is squeezed in accordingly. The latency of an operation is the time from its beginning
to its completion on that line.
"""

from __future__ import annotations

from vecforensics.race.model import EventKind, OperationKind, Trace

__all__ = ["GAP_S", "latencies"]

GAP_S = 0.02


def latencies(trace: Trace) -> dict[str, float]:
    """Seconds for each completed operation by its id; timers are left out, since the program sets them itself."""
    kinds = {item.id: item.kind for item in trace.operations}
    delays = {
        item.id: float(item.key)
        for item in trace.operations
        if item.kind is OperationKind.TIMER and _number(item.key)
    }
    clock, gap, last = 0.0, _gap(trace, delays), -1.0
    begun: dict[str, float] = {}
    found: dict[str, float] = {}
    for event in trace.events:
        name = event.operation
        if event.kind is EventKind.BEGIN:
            begun[name] = clock
        elif event.kind in (EventKind.COMPLETE, EventKind.FAULT) and name in begun:
            if kinds[name] is OperationKind.TIMER:
                clock = max(clock, begun.pop(name) + delays.get(name, 0.0))
            elif name not in found:
                clock += gap if event.time_s != last else 0.0
                found[name] = round(clock - begun[name], 9)
            last = event.time_s
    return found


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _gap(trace: Trace, delays: dict[str, float]) -> float:
    """Small enough for all completions to fit before the shortest timer, fired or cancelled."""
    shortest = min((delay for delay in delays.values() if delay > 0), default=None)
    count = sum(1 for event in trace.events if event.kind is EventKind.COMPLETE) + 1
    return GAP_S if shortest is None else min(GAP_S, shortest / (2 * count))
