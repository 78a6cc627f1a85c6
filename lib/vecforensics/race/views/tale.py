"""The four sentences of one witness, each worded only as far as the trace bears it out; `views/prose.py` puts them together."""

from __future__ import annotations

from vecforensics.race.model import (
    Constraint,
    EventKind,
    Moment,
    Operation,
    OperationKind,
)
from vecforensics.race.views.edges import RETURN
from vecforensics.race.views.facts import Sentence, capital, in_order_of_asking
from vecforensics.race.views.harm import clauses
from vecforensics.race.views.mechanism import Mechanism
from vecforensics.race.views.words import clip

__all__ = ["Tale"]


class Tale(Mechanism):
    """Trigger, mechanism, why it was not noticed, consequence."""

    def trigger(self) -> Sentence:
        """The first missing edge, the plainest there is; else answers that met in one round, a fault, or the damage itself."""
        if self.orders:
            best = self.orders[0]
            return Sentence("trigger", self._order(best), self.places(*self.pair(best)))
        if self.met:
            first, then = self.met[0]
            return Sentence("trigger", self._meeting(first, then), self.places(first, then))
        if self.faults:
            return self._fault(self.faults[0])
        what = clauses(self.trace.outcome, self.names)[0]
        if self.witness.passing is None:
            return Sentence("trigger", f"{capital(what)}, in whatever order the answers come.")
        if in_order_of_asking(self.trace):
            return Sentence("trigger", f"When answers come in the order of the questions, {what}.")
        return Sentence("trigger", f"{capital(what)}.")

    def _order(self, item: Constraint) -> str:
        first, then = self.pair(item)
        names = self.names
        if then is None:
            return f"{capital(clip(item.text, 160))}."
        if item.first == RETURN:
            return f"The migration returned before {names.happened(then)}."
        if first is None:
            return f"{capital(clip(item.text, 160))}."
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
            return f"{capital(names.thing(first.key))} was looked up before it was written."
        if first.kind is OperationKind.UPSERT and then.kind is OperationKind.UPSERT:
            if then.key in names.parents.get(first.key, ()):
                return f"{capital(names.thing(first.key))} was written before {names.thing(then.key)}, on which it depends."
            if first.key == then.key:
                return (
                    f"{capital(names.thing(first.key))} was written twice, and the write that should have come first "
                    "came last."
                )
        if then.kind is OperationKind.UPSERT and then.key in names.parents.get(first.key, ()):
            whom = names.thing(then.key)
            return f"{capital(names.thing(first.key))} was ready before {whom}, on which it depends, was written."
        if first.kind is OperationKind.UPSERT and then.kind is OperationKind.DELETE and first.key == then.key:
            return f"{capital(names.thing(first.key))} was deleted after it had been written, not before."
        if first.kind is then.kind is OperationKind.EMBED and first.key != then.key:
            return f"{capital(names.happened(first))} before that of {names.thing(then.key)}."
        before = (
            "it became visible"
            if then.label.startswith("visibility") and first.key == then.key
            else names.happened(then)
        )
        return f"{capital(names.happened(first))} before {before}."

    def _meeting(self, first: Operation, then: Operation) -> str:
        names = self.names
        if first.kind is then.kind is OperationKind.EMBED and first.key != then.key:
            both = f"the vectors of {names.thing(first.key)} and {names.thing(then.key)} arrived"
        else:
            both = f"{names.the_act(first)} and {names.the_act(then)} were answered"
        return f"{capital(both)} in the same round of the event loop."

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
            return Sentence("trigger", f"{capital(clip(item.text, 160))}.")
        return Sentence(
            "trigger",
            f"One fault is enough, at {self.names.the_act(operation)}: {clip(said, 120)}.",
            self.places(operation),
        )

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
        if self.met and not self.orders and not self.faults:
            calm = (
                " and in the order of the questions, as from a store in memory"
                if in_order_of_asking(passing)
                else ""
            )
            return Sentence(
                "unnoticed", f"It hides: when answers arrive one at a time{calm}, {same} out right."
            )
        if in_order_of_asking(self.trace) and not self.faults:
            return Sentence(
                "unnoticed",
                f"It hides only where answers come out of turn: there are orders in which {same} out right.",
            )
        if in_order_of_asking(passing):
            return Sentence(
                "unnoticed",
                "It hides: when answers come in the order of the questions, as from a store in memory or a quick test "
                f"double, {same} out right.",
            )
        return Sentence("unnoticed", f"It hides: there are other orders in which {same} out right.")

    def consequence(self) -> Sentence:
        lost = [item.source for item in self.trace.outcome.lost if item.source is not None]
        return Sentence(
            "consequence",
            f"As a result, {'; '.join(clauses(self.trace.outcome, self.names))}.",
            tuple(dict.fromkeys(lost))[:3],
        )
