"""From a trace to rows: one for each thing that ended, with what began below it; what is not shown folds and is counted.

Two runs are compared by what their strategies decided, that is by the order in which operations ended. Up to the first difference
their rows are the same; there a fold is broken, so that the difference stands on a line of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from vecforensics.findings import Kind
from vecforensics.race.model import (
    Damage,
    Event,
    EventKind,
    Moment,
    Operation,
    OperationKind,
    Trace,
    Witness,
)
from vecforensics.race.views.selection import chosen_operations, is_kept, run_lanes
from vecforensics.race.views.story import Lane, Row, RowKind, Run, Span, took_effect
from vecforensics.race.views.words import Names

__all__ = ["endings_in_common", "lay_out", "parting_row"]

_ENDS = {EventKind.COMPLETE: RowKind.DONE, EventKind.FAULT: RowKind.FAULT, EventKind.CANCEL: RowKind.CANCEL}


def _endings(trace: Trace) -> list[Event]:
    """What the strategy decided, in order: the events by which operations end."""
    return [event for event in trace.events if event.kind in _ENDS]


def _signature(trace: Trace, event: Event) -> tuple[str, ...]:
    operation = trace.operation(event.operation)
    kind, key = (operation.kind.value, operation.key) if operation is not None else ("", "")
    return (event.kind.value, kind, key)


def endings_in_common(failing: Trace, other: Trace) -> int | None:
    """How many endings both runs have in common, or None where one run only goes on where the other stops."""
    count = 0
    for mine, theirs in zip(_endings(failing), _endings(other), strict=False):
        if _signature(failing, mine) != _signature(other, theirs):
            break
        count += 1
    return count


def parting_row(mine: Sequence[Row], theirs: Sequence[Row]) -> int | None:
    for n, (one, other) in enumerate(zip(mine, theirs, strict=False)):
        same = one.kind is other.kind and one.number == other.number and one.folded == other.folded
        label = (one.event.operation, one.event.kind) if one.event is not None else None
        label_other = (other.event.operation, other.event.kind) if other.event is not None else None
        if not same or label != label_other:
            return n
    return None


def lay_out(
    trace: Trace,
    witness: Witness,
    keys: tuple[Lane, ...],
    parting: int | None,
    title: str,
    names: Names,
    most_operations: int,
    most_lanes: int,
) -> Run:
    chosen = chosen_operations(trace, witness, most_operations)
    lanes = run_lanes(trace, chosen, keys, names, most_lanes)
    kept = is_kept(lanes, {item.id for item in chosen})
    by_id = {operation.id: operation for operation in trace.operations}
    rows: list[Row] = [Row(RowKind.START)]
    begins: dict[str, int] = {}
    ends: dict[str, tuple[int, RowKind]] = {}
    number, endings = 0, 0
    for event in trace.events:
        operation = by_id.get(event.operation)
        if event.kind is EventKind.BEGIN:
            if operation is not None and kept(operation):
                begins[operation.id] = len(rows) - 1
                rows[-1] = replace(rows[-1], begins=(*rows[-1].begins, operation.id))
        elif event.kind in _ENDS:
            broken = parting is not None and endings == parting
            endings += 1
            again = operation is not None and operation.id in ends
            number += 0 if again and event.kind is EventKind.COMPLETE else 1
            if operation is None or not kept(operation):
                if rows[-1].kind is RowKind.FOLD and not broken and not rows[-1].begins:
                    rows[-1] = replace(rows[-1], hidden=(*rows[-1].hidden, event))
                else:
                    rows.append(Row(RowKind.FOLD, hidden=(event,)))
                continue
            if again and event.kind is EventKind.COMPLETE:
                continue  # a write acknowledged late: the fault has its row already
            if operation.id not in begins:  # a late write begins to show, unasked, where it was acknowledged
                fault = _last_fault(rows, operation.key, by_id)
                begins[operation.id] = fault
                rows[fault] = replace(rows[fault], begins=(*rows[fault].begins, operation.id))
            rows.append(Row(_ENDS[event.kind], event, number, text=event.text))
            ends[operation.id] = (len(rows) - 1, _ENDS[event.kind])
        elif event.kind is EventKind.ERROR:
            rows.append(Row(RowKind.ERROR, event, text=event.text))
        elif event.kind is EventKind.RETURN:
            rows.append(Row(RowKind.RETURN, event))
    rows.append(Row(RowKind.END))
    spans = _slots(
        [Span(by_id[name], begin, *ends.get(name, (None, None))) for name, begin in begins.items()],
        len(rows),
    )
    return Run(title, trace.outcome.failing, trace, lanes, tuple(rows), spans, _ends(trace, lanes))


def _last_fault(rows: Sequence[Row], key: str, by_id: Mapping[str, Operation]) -> int:
    """The row of the last fault on `key`, 0 where there is none."""
    for n in range(len(rows) - 1, 0, -1):
        event = rows[n].event
        if rows[n].kind is RowKind.FAULT and event is not None and by_id[event.operation].key == key:
            return n
    return 0


def _slots(spans: list[Span], rows: int) -> tuple[Span, ...]:
    """Give operations that are under way in one task at the same time places side by side."""
    placed: list[Span] = []
    for span in spans:
        taken = {
            other.slot
            for other in placed
            if other.operation.task == span.operation.task
            and (other.end if other.end is not None else rows) > span.begin
        }
        placed.append(replace(span, slot=next(n for n in range(len(taken) + 1) if n not in taken)))
    return tuple(placed)


_SAID: dict[Kind, str] = {
    Kind.MISSING: "missing",
    Kind.MANGLED_ID: "mangled",
    Kind.NON_FINITE: "NaN inside",
    Kind.WRONG_DIMENSION: "wrong size",
    Kind.FOREIGN_MODEL: "foreign",
    Kind.METADATA_DRIFT: "metadata",
    Kind.PREMATURE: "too early",
}


def _ends(trace: Trace, lanes: Sequence[Lane]) -> tuple[tuple[str, str, bool], ...]:
    """For each key lane the word that stands at its foot, and whether that is right."""
    found: list[tuple[str, str, bool]] = []
    for lane in lanes:
        if lane.is_task:
            continue
        mine = [item for item in trace.outcome.damage if _stands_at(item) == lane.key]
        if mine:
            worst = next((item for item in mine if item.moment is not Moment.WRITE), mine[0])
            late = worst.kind is Kind.MISSING and worst.moment is Moment.RETURN
            found.append((lane.key, "too late" if late else _SAID.get(worst.kind, worst.kind.value), False))
        else:
            writes = {
                item.id
                for item in trace.operations
                if item.kind is OperationKind.UPSERT and item.key == lane.key
            }
            present = any(event.operation in writes and took_effect(event) for event in trace.events)
            found.append((lane.key, "right" if present else "absent", True))
    return tuple(found)


def _stands_at(item: Damage) -> str | None:
    return item.target_id if item.target_id is not None else item.record_id
