"""Which operations of a run are worth looking at, and the lanes that they need.

Operations rank by what they have to do with the failure: those that the missing edges, the constraints and the faults name; those
on records that are damaged; what else the same tasks did; the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from vecforensics.race.model import (
    Damage,
    EventKind,
    Operation,
    OperationKind,
    Trace,
    Witness,
)
from vecforensics.race.views.edges import missing_edges
from vecforensics.race.views.story import Lane
from vecforensics.race.views.words import Names, task_function

__all__ = ["AT_STORE", "chosen_operations", "is_kept", "key_lanes", "named_operations", "run_lanes"]

AT_STORE = (OperationKind.UPSERT, OperationKind.FETCH, OperationKind.DELETE)
_SHORT = 10  # operations; a run of no more is shown whole


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


def chosen_operations(trace: Trace, witness: Witness, most: int) -> list[Operation]:
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


def key_lanes(witness: Witness, names: Names, most_operations: int, most_lanes: int) -> tuple[Lane, ...]:
    """The keys of both runs, in the order of the records."""
    chosen = chosen_operations(witness.trace, witness, most_operations)
    touched = [item.key for item in chosen if item.kind in AT_STORE]
    keys = list(dict.fromkeys([*_damaged_keys(witness.trace.outcome.damage), *touched]))
    tasks = len({item.task for item in chosen})
    kept = keys[: max(most_lanes // 2, most_lanes - tasks)]
    order = {record.id: n for n, record in enumerate(witness.records)}
    kept.sort(key=lambda name: (order.get(name, len(order)), name))
    return tuple(Lane(key, names.noun(key), key, is_task=False) for key in kept)


def run_lanes(
    trace: Trace, chosen: Sequence[Operation], keys: tuple[Lane, ...], names: Names, most_lanes: int
) -> tuple[Lane, ...]:
    room = {lane.key for lane in keys}
    tasks = dict.fromkeys(item.task for item in chosen if item.kind not in AT_STORE or item.key in room)
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


def is_kept(lanes: Sequence[Lane], shown: set[str]) -> Callable[[Operation], bool]:
    tasks = {lane.key for lane in lanes if lane.is_task}
    keys = {lane.key for lane in lanes if not lane.is_task}

    def kept(operation: Operation) -> bool:
        return (
            operation.id in shown
            and operation.task in tasks
            and (operation.kind not in AT_STORE or operation.key in keys)
        )

    return kept
