"""The facts of one witness, put into sentences one by one; `views/prose.py` says which.

Each method looks something up in the trace and words only what it finds there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vecforensics.findings import Kind
from vecforensics.race.model import (
    Constraint,
    EventKind,
    Moment,
    Operation,
    OperationKind,
    Source,
    Trace,
    Witness,
)
from vecforensics.race.views.edges import RETURN, missing_edges
from vecforensics.race.views.harm import clauses
from vecforensics.race.views.words import Names, clip, listed

__all__ = ["Sentence", "Tale"]


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence, what it answers, and the places it speaks of."""

    role: str
    text: str
    places: tuple[Source, ...] = ()


class Tale:
    """The facts of one witness, looked up once."""

    def __init__(self, witness: Witness) -> None:
        self.witness, self.trace = witness, witness.trace
        self.names = Names(witness.records)
        self.by_id = {item.id: item for item in self.trace.operations}
        self.seen = {
            (event.kind, event.operation): event.seq for event in self.trace.events if event.operation
        }
        self.orders = [Constraint(edge.after, edge.before, "") for edge in missing_edges(witness)]
        self.chosen = [item for item in witness.constraints if not item.fault]
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

    # --- trigger ----------------------------------------------------------------------------------------------------

    def trigger(self) -> Sentence:
        """The first missing edge, the plainest there is; a fault where no order is needed; else the damage itself."""
        if self.orders:
            best = self.orders[0]
            return Sentence("trigger", self._order(best), self.places(*self.pair(best)))
        if self.faults:
            return self._fault(self.faults[0])
        what = clauses(self.trace.outcome, self.names)[0]
        if self.witness.passing is None:
            return Sentence("trigger", f"{_capital(what)}, in whatever order the answers come.")
        if _in_order_of_asking(self.trace):
            return Sentence("trigger", f"When answers come in the order of the questions, {what}.")
        return Sentence("trigger", f"{_capital(what)}.")

    def _order(self, item: Constraint) -> str:
        first, then = self.pair(item)
        names = self.names
        if then is None:
            return f"{_capital(clip(item.text, 160))}."
        if item.first == RETURN:
            return f"The migration returned before {names.happened(then)}."
        if first is None:
            return f"{_capital(clip(item.text, 160))}."
        if first.kind is OperationKind.FETCH and then.kind is OperationKind.UPSERT and first.key == then.key:
            who = self.subject(first.task, other_than=first.key)
            if who is not None:
                related = first.key in names.parents.get(who, ())
                what = (
                    f"its {names.noun(first.key)} {clip(first.key, 28)}"
                    if related
                    else names.thing(first.key)
                )
                return (
                    f"The {names.thing(who)} looked {what} up before the {names.noun(first.key)} was written."
                )
            return f"{_capital(names.thing(first.key))} was looked up before it was written."
        if first.kind is OperationKind.UPSERT and then.kind is OperationKind.UPSERT:
            if then.key in names.parents.get(first.key, ()):
                return f"{_capital(names.thing(first.key))} was written before {names.thing(then.key)}, on which it depends."
            if first.key == then.key:
                return (
                    f"{_capital(names.thing(first.key))} was written twice, and the write that should have come first "
                    "came last."
                )
        if then.kind is OperationKind.UPSERT and then.key in names.parents.get(first.key, ()):
            whom = names.thing(then.key)
            return f"{_capital(names.thing(first.key))} was ready before {whom}, on which it depends, was written."
        if first.kind is OperationKind.UPSERT and then.kind is OperationKind.DELETE and first.key == then.key:
            return f"{_capital(names.thing(first.key))} was deleted after it had been written, not before."
        if first.kind is then.kind is OperationKind.EMBED and first.key != then.key:
            return f"{_capital(names.happened(first))} before that of {names.thing(then.key)} did."
        before = (
            "it became visible"
            if then.label.startswith("visibility") and first.key == then.key
            else names.happened(then)
        )
        return f"{_capital(names.happened(first))} before {before}."

    def _fault(self, item: Constraint) -> Sentence:
        operation = self.by_id.get(item.then)
        said = next(
            (
                event.text
                for event in self.trace.events
                if event.kind is EventKind.FAULT and event.operation == item.then
            ),
            item.fault,
        )
        if operation is None:
            return Sentence("trigger", f"{_capital(clip(item.text, 160))}.")
        return Sentence(
            "trigger",
            f"One fault is enough, at {self.names.the_act(operation)}: {clip(said, 120)}.",
            self.places(operation),
        )

    # --- mechanism --------------------------------------------------------------------------------------------------

    def mechanism(self) -> Sentence:
        if self.orders:
            best = self.orders[0]
            first, then = self.pair(best)
            if best.first == RETURN and then is not None:
                return self._not_awaited(then)
            if first is not None and then is not None:
                return self._concurrent(first, then)
        lost = self.trace.outcome.lost
        if lost:
            places = tuple(item.source for item in lost if item.source is not None)
            return Sentence(
                "mechanism",
                f"The error that followed ({clip(lost[0].error, 80)}) reached nobody: its task ended with it and no code asked.",
                places,
            )
        if self.faults:
            return self._after_fault(self.faults[0])
        if self.trace.outcome.deadlock:
            n = len(self.trace.outcome.stuck)
            return Sentence(
                "mechanism",
                f"Every operation had been answered, and {n or 'some'} task{'s' if n != 1 else ''} still waited: nothing "
                "was left that could wake them.",
            )
        said, places = self.flow()
        if said:
            return Sentence("mechanism", f"{_capital(said)}.", places)
        return Sentence(
            "mechanism", "The program itself gives this result; no order of the answers is needed for it."
        )

    def flow(self) -> tuple[str, tuple[Source, ...]]:
        """What became of the first damaged record on its way through the program, as far as its operations tell."""
        names = self.names
        damage = self.trace.outcome.damage
        mangled = [item for item in damage if item.kind is Kind.MANGLED_ID]
        for item in (*mangled, *damage):
            key = item.record_id or item.target_id or ""
            mine = [one for one in self.trace.operations if one.key == key]
            writes = [one for one in mine if one.kind is OperationKind.UPSERT]
            if item.kind is Kind.MISSING and not writes:
                asked = [one for one in mine if one.kind is OperationKind.EMBED]
                counts: dict[str, list[Operation]] = {}
                for one in self.trace.operations:
                    if one.kind is OperationKind.UPSERT:
                        counts.setdefault(one.key, []).append(one)
                twice = next((ops for ops in counts.values() if len(ops) > 1), [])
                said = f"the store was never asked to write {names.thing(key)}"
                said += self._fate_of_embedding(asked)
                said += (
                    f", while {names.thing(twice[0].key)} was written {_times(len(twice))}" if twice else ""
                )
                return said, self.places(*asked[:1], *twice[:1])
            if item.kind is Kind.MANGLED_ID and item.target_id is not None and item.record_id is not None:
                under = [one for one in self.trace.operations if one.key == item.target_id]
                return (
                    f"the write of {names.thing(key)} went out under {names.thing(item.target_id)}",
                    self.places(*under[:1]),
                )
            if item.kind in (Kind.SWAPPED, Kind.SHIFTED, Kind.BROADCAST) and item.partner_id:
                wrong = [one for one in writes if one.record_id == item.partner_id]
                return (
                    f"the write under {names.thing(key)} carried the vector of {names.thing(item.partner_id)}",
                    self.places(*wrong[:1]),
                )
        return "", ()

    def _fate_of_embedding(self, asked: Sequence[Operation]) -> str:
        if any((EventKind.FAULT, one.id) in self.seen for one in asked):
            return ", because its embedding failed"
        if any((EventKind.COMPLETE, one.id) in self.seen for one in asked):
            return ", although its vector had been computed"
        return (
            ", because its embedding was cancelled"
            if any((EventKind.CANCEL, one.id) in self.seen for one in asked)
            else ""
        )

    def _not_awaited(self, then: Operation) -> Sentence:
        began = self.began.get(then.task)
        running = then.task in self.trace.outcome.left_behind
        started = self.seen.get((EventKind.BEGIN, then.id), 0)
        returned = next((event.seq for event in self.trace.events if event.kind is EventKind.RETURN), None)
        state = (
            "had been asked for but not answered"
            if returned is None or started < returned
            else "had not even been asked for"
        )
        why = (
            "its task was still running, and nothing awaited it"
            if running
            else "nothing made the function wait for the answer"
        )
        places = (began,) if began is not None and running else self.places(then)
        return Sentence("mechanism", f"At the return, {self.names.the_act(then)} {state}: {why}.", places)

    def _concurrent(self, first: Operation, then: Operation) -> Sentence:
        names = self.names
        ended = self.seen.get((EventKind.COMPLETE, first.id), self.seen.get((EventKind.FAULT, first.id), 0))
        begun = self.seen.get((EventKind.BEGIN, then.id))
        places = self.places(first, then)
        if first.task != then.task:
            started = [self.began.get(task) for task in (first.task, then.task)]
            places = tuple(dict.fromkeys([*(place for place in started if place is not None), *places]))
            who = "They run in different tasks"
        else:
            who = "The same task started both"
        if begun is None:
            state = f"{names.the_act(then)} never began"
        elif begun > ended:
            state = f"when {names.the_act(first)} was done, {names.the_act(then)} had not even been started"
        else:
            state = f"{names.the_act(first)} and {names.the_act(then)} were under way at the same time"
        if then.label.startswith("visibility"):
            return Sentence(
                "mechanism",
                f"The store had acknowledged the write of {names.thing(then.key)}, and it could not be seen yet: an answer "
                "of the store does not promise that the next look-up finds the row.",
                self.places(first),
            )
        said, more = self.flow()
        places = tuple(dict.fromkeys([*places, *more]))[:4]
        so = f"; so {said}." if said else "."
        if first.kind is OperationKind.TIMER:
            act = names.the_act(then)
            return Sentence(
                "mechanism",
                f"{_capital(act)} was still under way, and the code went on without it{so}",
                places,
            )
        if names.the_act(first) == names.the_act(then):
            return Sentence(
                "mechanism", f"{who}, and nothing in the code makes the one wait for the other{so}", places
            )
        return Sentence(
            "mechanism",
            f"{who}, and nothing in the code makes {names.the_act(first)} wait for {names.the_act(then)}: {state}{so}",
            places,
        )

    def _after_fault(self, item: Constraint) -> Sentence:
        operation = self.by_id.get(item.then)
        if operation is None:
            return Sentence("mechanism", "The code goes on as if the operation had succeeded.")
        at = self.seen.get((EventKind.FAULT, operation.id), 0)
        later = [
            other
            for other in self.trace.operations
            if other.task == operation.task and self.seen.get((EventKind.BEGIN, other.id), -1) > at
        ]
        crashed = self.trace.outcome.crashed
        if later:
            did = listed([self.names.label(other) for other in later], 2)
            return Sentence(
                "mechanism", f"After that its task went on with {did}.", self.places(operation, *later[:2])
            )
        if crashed:
            return Sentence(
                "mechanism", f"The migration then ended with {clip(crashed, 100)}.", self.places(operation)
            )
        return Sentence(
            "mechanism",
            f"After that its task did nothing more for {self.names.thing(operation.key)}, and the migration ended without an "
            "error: nobody was told.",
            self.places(operation),
        )

    # --- why it was not noticed -----------------------------------------------------------------------------------------

    def unnoticed(self) -> Sentence:
        passing = self.witness.passing
        count = len(self.witness.records)
        same = f"the same {count} records come" if count != 1 else "the same record comes"
        if passing is None:
            outcome = self.trace.outcome
            late = all(item.moment is Moment.RETURN for item in outcome.damage)
            if outcome.damage and late and not outcome.lost and not outcome.deadlock and not outcome.crashed:
                return Sentence(
                    "unnoticed",
                    "It hides from whoever looks a moment later: once everything is quiet, every record is in its place.",
                )
            those = f"these {count} records come" if count != 1 else "this record comes"
            return Sentence(
                "unnoticed", f"It does not hide: no order of events was found in which {those} out right."
            )
        if self.faults and not any(event.kind is EventKind.FAULT for event in passing.events):
            return Sentence(
                "unnoticed",
                f"It hides: while every operation succeeds at the first attempt, {same} out right.",
            )
        if _in_order_of_asking(self.trace) and not self.faults:
            return Sentence(
                "unnoticed",
                f"It hides only where answers come out of turn: there are orders in which {same} out right.",
            )
        if _in_order_of_asking(passing):
            return Sentence(
                "unnoticed",
                "It hides: when answers come in the order of the questions, as from a store in memory or a quick test "
                f"double, {same} out right.",
            )
        return Sentence("unnoticed", f"It hides: there are other orders in which {same} out right.")

    # --- consequence ----------------------------------------------------------------------------------------------------

    def consequence(self) -> Sentence:
        lost = [item.source for item in self.trace.outcome.lost if item.source is not None]
        return Sentence(
            "consequence",
            f"As a result, {'; '.join(clauses(self.trace.outcome, self.names))}.",
            tuple(dict.fromkeys(lost))[:3],
        )


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count} times"


def _in_order_of_asking(trace: Trace) -> bool:
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


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
