"""A witness for other people's tools: JSON of our own, Chrome trace for Perfetto, a ShiViz log with vector clocks.

    witness JSON   the witness alone, in the form of `race/exchange.py`
    Chrome trace   for ui.perfetto.dev or chrome://tracing. The failing run is one process with a thread a task, the store another
                   with a thread a key; arrows (flow events) go from operation to key and from a write to the reads that saw it.
                   Time is logical: one millisecond an event
    ShiViz         for bestchai.bitbucket.io/shiviz. Its upload wants the parser expression in the first line and the delimiter of
                   executions in the second; both are `SHIVIZ_EVENT` and `SHIVIZ_EXECUTION`. Hosts are tasks and keys, an
                   operation is a message from its task to the key and back

Names of hosts must be free of spaces and colons, and ids are strangers': they are escaped to letters, digits and a few signs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from vecforensics.errors import printable
from vecforensics.race.exchange import to_plain
from vecforensics.race.model import EventKind, Operation, OperationKind, Trace, Witness
from vecforensics.race.views.text import ascii_only

__all__ = ["SHIVIZ_EVENT", "SHIVIZ_EXECUTION", "chrome_trace", "shiviz_log", "witness_json"]

SHIVIZ_EVENT: Final = r"(?<host>\S*) (?<clock>{.*})\n(?<event>.*)"
SHIVIZ_EXECUTION: Final = r"^=== (?<trace>.*) ===$"

_STORE: Final = (OperationKind.UPSERT, OperationKind.FETCH, OperationKind.DELETE)
_STEP_US: Final = 1000
_ENDS: Final = (EventKind.COMPLETE, EventKind.FAULT, EventKind.CANCEL)


def witness_json(witness: Witness) -> str:
    """Sorted keys, two spaces, a line feed at the end."""
    return json.dumps(to_plain(witness), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


# --- Chrome trace -----------------------------------------------------------------------------------------------------


def chrome_trace(witness: Witness) -> str:
    """The JSON object form of the trace event format: the failing run as processes 1 and 2, the passing one as 3 and 4."""
    events = list(_chrome(witness.trace, "fails", 1))
    if witness.passing is not None:
        events += _chrome(witness.passing, "passes", 3)
    plain = {
        "displayTimeUnit": "ms",
        "otherData": {
            "kinds": list(witness.kinds),
            "replay": witness.replay,
            "time": "logical, 1 ms an event",
        },
        "traceEvents": events,
    }
    return json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _chrome(trace: Trace, word: str, pid: int) -> Iterator[dict[str, Any]]:
    threads: dict[str, int] = {}
    keys = {
        key: n
        for n, key in enumerate(dict.fromkeys(o.key for o in trace.operations if o.kind in _STORE), start=1)
    }
    begun: dict[str, tuple[int, str]] = {}
    busy: dict[str, set[int]] = {}
    flow = pid * 1_000_000
    written: dict[str, int] = {}
    yield _named("process_name", pid, 0, f"{word}: tasks")
    yield _named("process_name", pid + 1, 0, f"{word}: store")
    for key, tid in keys.items():
        yield _named("thread_name", pid + 1, tid, printable(key, 200))

    def thread(name: str) -> int:
        return threads.setdefault(name, len(threads) + 1)

    for event in trace.events:
        now = event.seq * _STEP_US
        operation = trace.operation(event.operation)
        if event.kind is EventKind.BEGIN and operation is not None:
            # Operations of one task that overlap need rows of their own: slices of a thread must nest.
            row = next(
                n for n in range(len(trace.operations)) if n not in busy.setdefault(operation.task, set())
            )
            busy[operation.task].add(row)
            begun[operation.id] = (now, f"{operation.task} ({row + 1})" if row else operation.task)
        elif event.kind in _ENDS and operation is not None and operation.id in begun:
            start, name = begun.pop(operation.id)
            busy[operation.task].discard(int(name.rpartition("(")[2][:-1]) - 1 if name.endswith(")") else 0)
            tid = thread(name)
            yield _slice(pid, tid, start, now - start, operation, event.kind, event.text)
            if operation.kind in _STORE and event.kind is not EventKind.CANCEL:
                yield _slice(pid + 1, keys[operation.key], now - 200, 400, operation, event.kind, event.text)
                flow += 1
                points = [(pid, tid, now - 100), (pid + 1, keys[operation.key], now)]
                if operation.kind is OperationKind.FETCH:
                    points.reverse()
                yield from _flow(
                    flow, "answers" if operation.kind is OperationKind.FETCH else "writes", *points
                )
                if event.read_from and event.read_from in written:
                    flow += 1
                    at = (pid + 1, keys[operation.key])
                    yield from _flow(flow, "is read by", (*at, written[event.read_from]), (*at, now))
                written[operation.id] = now
        elif event.kind in (EventKind.RETURN, EventKind.QUIESCENT, EventKind.ERROR):
            yield {
                "name": printable(f"{event.kind.value} {event.text}".strip(), 300),
                "ph": "i", "s": "p", "pid": pid, "tid": thread(event.task), "ts": now,
            }  # fmt: skip
    last = len(trace.events) * _STEP_US
    for name, (start, where) in begun.items():
        operation = trace.operation(name)
        assert operation is not None  # begun holds operations of the trace
        yield _slice(
            pid, thread(where), start, last - start, operation, EventKind.QUIESCENT, "never answered"
        )
    for name, tid in threads.items():
        yield _named("thread_name", pid, tid, name)


def _named(what: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": pid, "tid": tid, "ts": 0, "args": {"name": printable(name, 200)}}


def _slice(
    pid: int, tid: int, start: int, length: int, operation: Operation, kind: EventKind, text: str
) -> dict[str, Any]:
    source = operation.source
    args = {"operation": operation.id, "key": printable(operation.key, 200), "ended": kind.value}
    if text:
        args["note"] = printable(text, 300)
    if source is not None:
        args["source"] = printable(f"{source.file}:{source.lineno} {source.text}", 400)
    return {
        "name": printable(operation.label, 200), "cat": operation.kind.value, "ph": "X", "pid": pid, "tid": tid,
        "ts": start, "dur": max(length, 1), "args": args,
    }  # fmt: skip


def _flow(
    number: int, name: str, start: tuple[int, int, int], stop: tuple[int, int, int]
) -> Iterator[dict[str, Any]]:
    for phase, (pid, tid, now) in (("s", start), ("f", stop)):
        point: dict[str, Any] = {
            "name": name,
            "cat": "order",
            "ph": phase,
            "id": number,
            "pid": pid,
            "tid": tid,
            "ts": now,
        }
        yield {**point, "bp": "e"} if phase == "f" else point


# --- ShiViz -----------------------------------------------------------------------------------------------------------


def shiviz_log(witness: Witness) -> str:
    """The file to upload: expressions, then the failing execution, then the passing one."""
    parts = [SHIVIZ_EVENT, SHIVIZ_EXECUTION, "=== fails ===", *_shiviz(witness.trace)]
    if witness.passing is not None:
        parts += ["=== passes ===", *_shiviz(witness.passing)]
    return "\n".join(parts) + "\n"


def _host(kind: str, name: str) -> str:
    plain = ascii_only(printable(name, 60))
    return f"{kind}-{''.join(ch if ch.isalnum() or ch in '._-' else '_' for ch in plain) or 'empty'}"


def _shiviz(trace: Trace) -> Iterator[str]:
    clocks: dict[str, dict[str, int]] = {}
    messages: dict[str, dict[str, int]] = {}
    hosts: dict[tuple[str, str], str] = {}

    def host(kind: str, name: str) -> str:
        # Two ids that look alike once they are escaped are still two hosts.
        if (kind, name) not in hosts:
            wanted = _host(kind, name)
            taken = set(hosts.values())
            number = next(
                n for n in range(1, len(taken) + 2) if (wanted if n == 1 else f"{wanted}_{n}") not in taken
            )
            hosts[kind, name] = wanted if number == 1 else f"{wanted}_{number}"
        return hosts[kind, name]

    def tick(name: str, seen: dict[str, int] | None = None) -> dict[str, int]:
        clock = clocks.setdefault(name, {})
        for other, count in (seen or {}).items():
            clock[other] = max(clock.get(other, 0), count)
        clock[name] = clock.get(name, 0) + 1
        return dict(clock)

    def line(name: str, clock: dict[str, int], text: str) -> str:
        return f"{name} {json.dumps(clock, sort_keys=True)}\n{ascii_only(printable(text, 300))}"

    for event in trace.events:
        operation = trace.operation(event.operation)
        mine = host("task", event.task)
        if event.kind is EventKind.TASK_START:
            parent = event.task.rpartition(".")[0]
            born = dict(clocks.get(host("task", parent), {})) if parent else {}
            yield line(mine, tick(mine, born), f"starts {event.text}".strip())
        elif operation is None or operation.kind not in _STORE:
            text = f"{event.kind.value} {operation.label if operation else event.text}".strip()
            yield line(mine, tick(mine), text)
        elif event.kind is EventKind.BEGIN:
            messages[operation.id] = tick(mine)
            yield line(mine, messages[operation.id], f"asks for {operation.label}")
        elif event.kind is EventKind.CANCEL:
            yield line(mine, tick(mine), f"gives up {operation.label}")
        else:
            store = host("key", operation.key)
            done = tick(store, messages.get(operation.id))
            yield line(store, done, f"{event.kind.value} {operation.label} {event.text}".strip())
            yield line(mine, tick(mine, done), f"has the answer to {operation.label}")
