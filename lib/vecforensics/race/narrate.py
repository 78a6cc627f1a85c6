"""A detailed run put into words of the model: operations with labels and sources, numbered events, a digest.

Only the few runs that somebody will look at are played in detail. The digest covers everything that the program did, so two
runs of one schedule agree on it unless the program listens to something that no schedule controls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from vecforensics.race.exchange import to_plain
from vecforensics.race.model import Event, EventKind, Operation, OperationKind, Trace
from vecforensics.race.play import Run
from vecforensics.race.records import noun
from vecforensics.race.world import KIND_NAMES, TIMER, UPSERT, VISIBLE, Ground, Op
from vecforensics.records import canonical_json

__all__ = ["label", "narrate", "operation"]


def label(op: Op, ground: Ground) -> str:
    """ "upsert(user 10001)"."""
    if op.kind == TIMER:
        return f"timer({op.key} s)"
    if op.kind == VISIBLE:
        return f"visibility({_named(op.key, ground)})"
    return f"{KIND_NAMES[op.kind]}({_named(op.key, ground)})"


def _named(key: str, ground: Ground) -> str:
    record = ground.current.get(key)
    return f"{noun(record)} {key}" if record is not None else key


def operation(op: Op, ground: Ground) -> Operation:
    owner = ground.owner.get(op.payload[0]) if op.kind == UPSERT else None
    # What a late write does when it shows is told as a timer of the store's: it is nobody's call.
    kind = OperationKind.TIMER if op.kind == VISIBLE else OperationKind(KIND_NAMES[op.kind])
    return Operation(
        id=op.id,
        kind=kind,
        key=op.key,
        task=op.task.path,
        label=label(op, ground),
        record_id=owner[0] if owner is not None else None,
        source=op.source,
    )


def narrate(run: Run) -> Trace:
    """The trace of a run that was played with `detail`."""
    world = run.world
    assert world.log is not None
    operations: dict[str, Operation] = {}
    events: list[Event] = []
    for time_s, kind, op, task, text, source in world.log:
        name = ""
        if op is not None:
            name = op.id
            if name not in operations:
                operations[name] = operation(op, world.ground)
        read_from = None
        if kind == "complete" and op is not None and KIND_NAMES[op.kind] == "fetch":
            read_from = op.read.id if op.read is not None else ""
        events.append(
            Event(
                seq=len(events),
                time_s=round(time_s, 9),
                kind=EventKind(kind),
                operation=name,
                task=task.path if task is not None else "main",
                text=text,
                read_from=read_from,
                source=source,
            )
        )
    ordered = tuple(operations.values())
    return Trace(ordered, tuple(events), run.outcome, _digest((ordered, events, run.outcome)))


def _digest(parts: Iterable[Any]) -> str:
    plain = [
        [to_plain(item) for item in part] if isinstance(part, list | tuple) else to_plain(part)
        for part in parts
    ]
    return hashlib.sha256(canonical_json(plain).encode()).hexdigest()
