"""Which part of a witness is worth looking at, and in what rows and lanes: the plan that picture and text share.

A trace is a list of events; a reader wants to see who did what to which record, and where the failing run and the passing one
part. The plan is made in four steps:

1. *Relevant operations*: those that the constraints and the damage name, then what else their tasks did, then the rest, until
   `most_operations` is reached.
2. *Lanes*: one for each task that has a relevant operation, one for each key that they touch or that is damaged.
3. *Rows*: one for each completion, fault, cancellation, error and for the return; what begins in between hangs on the row
   above. Rows of operations that are not shown fold into one that counts them.
4. *Alignment*: rows up to the first difference between the two runs stand on the same line; there the fold is broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

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
from vecforensics.race.views.edges import MissingEdge, missing_edges
from vecforensics.race.views.words import Names, task_function
from vecforensics.race.world import FAULT_TEXT

__all__ = ["Lane", "Row", "RowKind", "Run", "Span", "Story", "named_operations", "tell", "took_effect"]


class RowKind(StrEnum):
    """What a row stands for."""

    START = "start"
    DONE = "done"
    FAULT = "fault"
    CANCEL = "cancel"
    ERROR = "error"
    RETURN = "return"
    FOLD = "fold"
    END = "end"


@dataclass(frozen=True, slots=True)
class Lane:
    """A column. `key` is a task's creation path or a store id; `title` and `subtitle` are its heading."""

    key: str
    title: str
    subtitle: str
    is_task: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a run. `number` counts completions from 1 (0: not one). `begins` are operations that start below this row."""

    kind: RowKind
    event: Event | None = None
    number: int = 0
    begins: tuple[str, ...] = ()
    hidden: tuple[Event, ...] = ()
    text: str = ""

    @property
    def folded(self) -> int:
        """How many completions this row stands for without showing them."""
        return len(self.hidden)


@dataclass(frozen=True, slots=True)
class Span:
    """An operation, from the row below which it begins to the row in which it ends (None: never).

    `slot`: its place beside others of the same task that are under way at the same time."""

    operation: Operation
    begin: int
    end: int | None
    fate: RowKind | None
    slot: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One of the two runs, ready to be laid out. `ends`: what stands under each key when all is quiet, by key."""

    title: str
    failing: bool
    trace: Trace
    lanes: tuple[Lane, ...]
    rows: tuple[Row, ...]
    spans: tuple[Span, ...]
    ends: tuple[tuple[str, str, bool], ...]

    def span(self, operation_id: str) -> Span | None:
        return next((item for item in self.spans if item.operation.id == operation_id), None)

    @property
    def return_row(self) -> int | None:
        return next((n for n, row in enumerate(self.rows) if row.kind is RowKind.RETURN), None)


@dataclass(frozen=True, slots=True)
class Story:
    """Both runs. `parting` is the first row in which they differ (None: there is but one run, or they never differ)."""

    names: Names
    failing: Run
    beside: Run | None
    parting: int | None
    missing: tuple[MissingEdge, ...]
    left_out: int

    def edge_text(self, edge: MissingEdge) -> str:
        """ "4 upsert(user 10001) before 2 upsert(post p-10001-1)"; the numbers are those of the failing run's completions."""
        said = []
        for name in (edge.before, edge.after):
            operation = self.failing.trace.operation(name)
            rows = (row.number for row in self.failing.rows if row.event and row.event.operation == name)
            number = next(rows, 0)
            label = self.names.label(operation) if operation is not None else "the return"
            said.append(f"{number} {label}" if number else label)
        return " before ".join(said)


_ENDS = {EventKind.COMPLETE: RowKind.DONE, EventKind.FAULT: RowKind.FAULT, EventKind.CANCEL: RowKind.CANCEL}
_SHORT = 10  # operations; a run of no more is shown whole
_STORE = (OperationKind.UPSERT, OperationKind.FETCH, OperationKind.DELETE)


def tell(
    witness: Witness,
    *,
    beside: Trace | None = None,
    beside_title: str = "",
    most_operations: int = 16,
    most_lanes: int = 6,
) -> Story:
    """Plan the view of `witness`. `beside`: the run to show next to it, instead of the witness's own passing run (for example
    the corrected program's on the same records). `most_lanes` binds the lanes of one run."""
    names = Names(witness.records)
    other = beside if beside is not None else witness.passing
    keys = _key_lanes(witness, names, most_operations, most_lanes)
    parting = _parting(witness.trace, other) if other is not None else None
    if witness.faults:
        title = "With this fault it fails"
    elif witness.passing is None:
        title = "It fails, in any order that was tried"
    else:
        title = "This order fails"
    failing = _run(witness.trace, witness, keys, parting, title, names, most_operations, most_lanes)
    missing = missing_edges(witness)
    left_out = len(witness.trace.operations) - len(failing.spans)
    if other is None:
        return Story(names, failing, None, None, missing, left_out)
    if not beside_title:
        if beside is not None:
            beside_title = "The corrected code: passes"
        elif witness.faults:
            beside_title = "The same code, no fault: passes"
        else:
            beside_title = "The same code, another order: passes"
    run = _run(other, witness, keys, parting, beside_title, names, most_operations, most_lanes)
    return Story(names, failing, run, _parting_row(failing.rows, run.rows), missing, left_out)


# --- what is relevant -----------------------------------------------------------------------------------------------


def _damaged_keys(damage: Iterable[Damage]) -> list[str]:
    """Keys that the damage names, in its order."""
    keys: dict[str, None] = {}
    for item in damage:
        for key in (item.target_id, item.record_id, item.partner_id):
            if key is not None:
                keys.setdefault(key)
    return list(keys)


def named_operations(witness: Witness) -> set[str]:
    """The operations that the missing edges and the constraints speak of."""
    edges = {name for edge in missing_edges(witness) for name in (edge.before, edge.after)}
    return edges | {name for item in witness.constraints for name in (item.first, item.then)}


def _chosen(trace: Trace, witness: Witness, most: int) -> list[Operation]:
    """The operations to show, the most telling first; within a rank in the order of the trace. A short run is shown whole; of
    a long one nothing that neither the edges nor the damage nor their tasks have to do with."""
    named = named_operations(witness)
    acts = {(item.kind, item.key) for item in witness.trace.operations if item.id in named}
    damaged = set(_damaged_keys(witness.trace.outcome.damage))
    hit = {event.operation for event in trace.events if event.kind is EventKind.FAULT}
    tasks = {item.task for item in trace.operations if (item.kind, item.key) in acts or item.id in hit}

    def rank(operation: Operation) -> int:
        if operation.id in hit or (operation.kind, operation.key) in acts:
            return 0
        if operation.key in damaged or operation.record_id in damaged:
            return 1
        return 2 if operation.task in tasks and operation.kind is not OperationKind.TIMER else 3

    ranked = sorted(trace.operations, key=rank)
    if len(ranked) > _SHORT:
        ranked = [item for item in ranked if rank(item) < 3] or ranked
    return ranked[:most]


def _key_lanes(witness: Witness, names: Names, most_operations: int, most_lanes: int) -> tuple[Lane, ...]:
    """The keys of both runs, in the order of the records."""
    chosen = _chosen(witness.trace, witness, most_operations)
    touched = [item.key for item in chosen if item.kind in _STORE]
    keys = list(dict.fromkeys([*_damaged_keys(witness.trace.outcome.damage), *touched]))
    tasks = len({item.task for item in chosen})
    kept = keys[: max(most_lanes // 2, most_lanes - tasks)]
    order = {record.id: n for n, record in enumerate(witness.records)}
    kept.sort(key=lambda name: (order.get(name, len(order)), name))
    return tuple(Lane(key, names.noun(key), key, is_task=False) for key in kept)


def _lanes(
    trace: Trace, chosen: Sequence[Operation], keys: tuple[Lane, ...], names: Names, most_lanes: int
) -> tuple[Lane, ...]:
    room = {lane.key for lane in keys}
    tasks = dict.fromkeys(item.task for item in chosen if item.kind not in _STORE or item.key in room)
    kept = sorted(list(tasks)[: most_lanes - len(keys)], key=_path_key)
    return (*(Lane(task, *_task_heading(trace, task, names), is_task=True) for task in kept), *keys)


def _path_key(task: str) -> tuple[tuple[int, str], ...]:
    """Creation paths in the order of creation: "main.10" after "main.9"."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in task.split("."))


def _task_heading(trace: Trace, task: str, names: Names) -> tuple[str, str]:
    """The function that runs in the task, and the one record that it works on, else its path."""
    title = task_function(trace, task) or "task"
    mine = [item for item in trace.operations if item.task == task and item.key in names.parents]
    made = [item for item in mine if item.kind in (OperationKind.EMBED, OperationKind.UPSERT)]
    keys = {item.key for item in made or mine}
    if len(keys) == 1:
        return title, keys.pop()
    return title, f"{len(keys)} records" if keys else task if title != task else ""


def _kept(lanes: Sequence[Lane], shown: set[str]) -> Callable[[Operation], bool]:
    tasks = {lane.key for lane in lanes if lane.is_task}
    keys = {lane.key for lane in lanes if not lane.is_task}

    def kept(operation: Operation) -> bool:
        return (
            operation.id in shown
            and operation.task in tasks
            and (operation.kind not in _STORE or operation.key in keys)
        )

    return kept


# --- rows -----------------------------------------------------------------------------------------------------------


def _endings(trace: Trace) -> list[Event]:
    """What the strategy decided, in order: the events by which operations end."""
    return [event for event in trace.events if event.kind in _ENDS]


def _signature(trace: Trace, event: Event) -> tuple[str, ...]:
    operation = trace.operation(event.operation)
    kind, key = (operation.kind.value, operation.key) if operation is not None else ("", "")
    return (event.kind.value, kind, key)


def _parting(failing: Trace, other: Trace) -> int | None:
    """How many endings both runs have in common, or None where one run only goes on where the other stops."""
    count = 0
    for mine, theirs in zip(_endings(failing), _endings(other), strict=False):
        if _signature(failing, mine) != _signature(other, theirs):
            break
        count += 1
    return count


def _parting_row(mine: Sequence[Row], theirs: Sequence[Row]) -> int | None:
    for n, (one, other) in enumerate(zip(mine, theirs, strict=False)):
        same = one.kind is other.kind and one.number == other.number and one.folded == other.folded
        label = (one.event.operation, one.event.kind) if one.event is not None else None
        label_other = (other.event.operation, other.event.kind) if other.event is not None else None
        if not same or label != label_other:
            return n
    return None


def _run(
    trace: Trace,
    witness: Witness,
    keys: tuple[Lane, ...],
    parting: int | None,
    title: str,
    names: Names,
    most_operations: int,
    most_lanes: int,
) -> Run:
    chosen = _chosen(trace, witness, most_operations)
    lanes = _lanes(trace, chosen, keys, names, most_lanes)
    kept = _kept(lanes, {item.id for item in chosen})
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


def took_effect(event: Event) -> bool:
    """Whether a write reached the store: completed, or acknowledged or committed in spite of its fault."""
    if event.kind is EventKind.COMPLETE:
        return True
    return event.kind is EventKind.FAULT and event.text in (
        FAULT_TEXT["late"],
        FAULT_TEXT["timeout-committed"],
    )
