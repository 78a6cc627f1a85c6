"""What prose needs to know of one witness, looked up once."""

from __future__ import annotations

from dataclasses import dataclass

from vecforensics.race.model import (
    Constraint,
    EventKind,
    Operation,
    OperationKind,
    Source,
    Trace,
    Witness,
)
from vecforensics.race.views.edges import meetings, missing_edges
from vecforensics.race.views.words import Names

__all__ = ["Facts", "Sentence", "capital", "in_order_of_asking"]


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence, what it answers, and the places it speaks of."""

    role: str
    text: str
    places: tuple[Source, ...] = ()


class Facts:
    """The witness, by operation, by event and by task."""

    def __init__(self, witness: Witness) -> None:
        self.witness, self.trace = witness, witness.trace
        self.names = Names(witness.records)
        self.by_id = {item.id: item for item in self.trace.operations}
        self.seen = {
            (event.kind, event.operation): event.seq for event in self.trace.events if event.operation
        }
        self.orders = [Constraint(edge.after, edge.before, "") for edge in missing_edges(witness)]
        self.met = [(self.by_id[first], self.by_id[then]) for first, then in meetings(witness)]
        self.faults = [item for item in witness.constraints if item.fault]
        self.began: dict[str, Source | None] = {
            event.task: event.source for event in self.trace.events if event.kind is EventKind.TASK_START
        }

    # --- who is who -------------------------------------------------------------------------------------------------

    def subject(self, task: str, other_than: str = "") -> str | None:
        """The one record that `task` works for, read off what it embeds and writes."""
        keys = {
            item.record_id or item.key
            for item in self.trace.operations
            if item.task == task and item.kind in (OperationKind.EMBED, OperationKind.UPSERT)
        } & set(self.names.parents)
        keys.discard(other_than)
        return keys.pop() if len(keys) == 1 else None

    def pair(self, item: Constraint) -> tuple[Operation | None, Operation | None]:
        return self.by_id.get(item.first), self.by_id.get(item.then)

    @staticmethod
    def places(*operations: Operation | None) -> tuple[Source, ...]:
        return tuple(
            dict.fromkeys(item.source for item in operations if item is not None and item.source is not None)
        )


def in_order_of_asking(trace: Trace) -> bool:
    """Whether operations completed in the order in which they began and none was given up, as where answers are immediate."""
    begun = {event.operation: event.seq for event in trace.events if event.kind is EventKind.BEGIN}
    timers = {item.id for item in trace.operations if item.kind is OperationKind.TIMER}
    ended = [event for event in trace.events if event.kind in (EventKind.COMPLETE, EventKind.CANCEL)]
    order = [
        begun[event.operation]
        for event in ended
        if event.operation in begun and event.operation not in timers
    ]
    given_up = any(event.kind is EventKind.CANCEL and event.operation not in timers for event in ended)
    return order == sorted(order) and not given_up


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]
