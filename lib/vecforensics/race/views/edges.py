"""The order that was missing: edges that a correct program would have, and that this run shows to be absent.

Two sources. The damage itself names the plainest ones: a record that went out under a broken id while its parent was not yet
written wants "write of the parent before the record is ready"; a child that was written before its parent wants "write of the
parent before write of the child"; a stale vector, that the older write comes first; a record that was missing at the return and
written later wants "write before return". Where the damage names none (a shared buffer, a counter), the constraints of the
schedule are turned round: if the failure needs A before B, what is missing is B before A. Either way no analysis of the code is
needed: the run at hand is the proof that nothing in the program enforces the edge.

Answers that have to arrive in one round of the event loop are no order: the failure needs both at once, and one at a time they do
no harm. Such pairs are `meetings`, and no edge is made of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from vecforensics.findings import Kind
from vecforensics.race.model import EventKind, Moment, Operation, OperationKind, Witness

__all__ = ["RETURN", "MissingEdge", "meetings", "missing_edges"]

RETURN: Final = "return"
_MOST: Final = 3


@dataclass(frozen=True, slots=True)
class MissingEdge:
    """`before` should complete before `after` does; `after` may be "return". `letter` is its mark in picture and text."""

    letter: str
    before: str
    after: str


def missing_edges(witness: Witness) -> tuple[MissingEdge, ...]:
    """At most three, the plainest first. Empty where no order would have helped (a fault, a program that is always wrong)."""
    trace = witness.trace
    pairs = dict.fromkeys(_from_damage(witness))
    if not pairs:
        known = {item.id for item in trace.operations}
        met = meetings(witness)
        pairs = dict.fromkeys(
            (item.then, item.first)
            for item in witness.constraints
            if not item.fault
            and item.then in known
            and (item.first in known or item.first == RETURN)
            and (item.first, item.then) not in met
        )
    return tuple(
        MissingEdge(chr(ord("A") + n), before, after) for n, (before, after) in enumerate(list(pairs)[:_MOST])
    )


def meetings(witness: Witness) -> tuple[tuple[str, str], ...]:
    """Pairs of operations among the conditions whose answers arrived in the same round of the event loop."""
    if witness.granularity != "fine":
        return ()
    at = {event.operation: event.time_s for event in witness.trace.events if event.kind is EventKind.COMPLETE}
    pairs = ((item.first, item.then) for item in witness.constraints if not item.fault)
    return tuple(
        (first, then) for first, then in pairs if first in at and then in at and at[first] == at[then]
    )


def _from_damage(witness: Witness) -> Iterator[tuple[str, str]]:
    trace = witness.trace
    done = {
        event.operation: event.seq
        for event in trace.events
        if event.kind in (EventKind.COMPLETE, EventKind.FAULT)
    }
    begun = {event.operation: event.seq for event in trace.events if event.kind is EventKind.BEGIN}
    returned = next((event.seq for event in trace.events if event.kind is EventKind.RETURN), None)

    def writes(key: str | None) -> list[Operation]:
        found = [item for item in trace.operations if item.kind is OperationKind.UPSERT and item.key == key]
        return sorted(found, key=lambda item: done.get(item.id, len(trace.events)))

    parents = {record.id: record.depends_on for record in witness.records}
    for item in trace.outcome.damage:
        if item.kind is Kind.MANGLED_ID and item.record_id is not None:
            for write in writes(item.target_id)[:1]:
                asked = begun.get(write.id, -1)
                ready = [
                    one
                    for one in trace.operations
                    if one.task == write.task and done.get(one.id, asked) < asked
                ]
                for needed in parents.get(item.record_id, ()):
                    late = [one for one in writes(needed)[:1] if done.get(one.id, asked) > asked]
                    if ready and late:
                        yield late[0].id, max(ready, key=lambda one: done[one.id]).id
    for item in trace.outcome.damage:
        if item.kind is Kind.PREMATURE:
            child, parent = writes(item.target_id), writes(item.partner_id)
            if child and parent and done.get(child[0].id, -1) < done.get(parent[0].id, len(trace.events)):
                yield parent[0].id, child[0].id
    for item in trace.outcome.damage:
        if item.kind is Kind.STALE:
            *_, before, last = [None, None, *writes(item.target_id)]
            if before is not None and last is not None:
                yield last.id, before.id
    for item in trace.outcome.damage:
        if item.kind is Kind.MISSING and item.moment is Moment.RETURN and returned is not None:
            for write in writes(item.record_id)[:1]:
                if done.get(write.id, len(trace.events)) > returned:
                    yield write.id, RETURN
