"""Why it could happen: what the code starts, what does not wait for it, and what became of the record on its way.

"Nothing in the code makes A wait for B" needs no analysis of the code: the trace is a run in which A did not.
"""

from __future__ import annotations

from collections.abc import Sequence

from vecforensics.findings import Kind
from vecforensics.race.model import (
    Constraint,
    EventKind,
    Operation,
    OperationKind,
    Source,
)
from vecforensics.race.views.edges import RETURN
from vecforensics.race.views.facts import Facts, Sentence, capital
from vecforensics.race.views.words import clip, listed

__all__ = ["Mechanism"]

# Damage that a single write brought along: what it carried was wrong.
_CARRIED = frozenset(
    {
        Kind.METADATA_DRIFT,
        Kind.STALE,
        Kind.NON_FINITE,
        Kind.ZERO,
        Kind.WRONG_DIMENSION,
        Kind.PARTIAL,
        Kind.DRIFTED,
    }
)


class Mechanism(Facts):
    """The second sentence."""

    def mechanism(self) -> Sentence:
        if self.orders:
            best = self.orders[0]
            first, then = self.pair(best)
            if best.first == RETURN and then is not None:
                return self._not_awaited(then)
            if first is not None and then is not None:
                return self._concurrent(first, then)
        if self.met:
            return self._side_by_side(*self.met[0])
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
            lines = dict.fromkeys(item.source for item in self.trace.outcome.waits if item.source is not None)
            return Sentence(
                "mechanism",
                f"Every operation had been answered, and {n or 'some'} task{'s' if n != 1 else ''} still waited: nothing "
                f"was left that could wake {'it' if n == 1 else 'them'}.",
                tuple(lines),
            )
        said, places = self.flow()
        if said:
            return Sentence("mechanism", f"{capital(said)}.", places)
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
            if item.kind in _CARRIED and writes:
                return (
                    f"the write of {names.thing(key)} carried it so: {clip(item.detail, 120)}",
                    self.places(writes[-1]),
                )
            if item.kind is Kind.ORPHAN and writes:
                return f"a write went out under {names.thing(key)}", self.places(writes[-1])
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
                f"{capital(act)} was still under way, and the code went on without it{so}",
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

    def _side_by_side(self, first: Operation, then: Operation) -> Sentence:
        """Two answers in one round: both tasks are awake before either has come to its next wait."""
        said, more = self.flow()
        started = [self.began.get(task) for task in dict.fromkeys((first.task, then.task))]
        places = [*(place for place in started if place is not None), *self.places(first, then), *more]
        so = f"; so {said}." if said else "."
        return Sentence(
            "mechanism",
            "Their tasks were awake at the same time and took their next steps in turn, and nothing in the code makes the one "
            f"wait until the other is through{so}",
            tuple(dict.fromkeys(places))[:4],
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


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count} times"
