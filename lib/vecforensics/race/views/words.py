"""How things are called in front of people: "user 10001", "the write of user 10001", "looked up".

Ids come from strangers. Whatever is shown has its control and format characters made visible (`errors.printable`), is cut in
the middle when it is long (the ends are what tells ids apart), and where a renderer mixes it with text of ours it is isolated,
so that an id written from right to left cannot turn the sentence around.
"""

from __future__ import annotations

from collections.abc import Sequence

from vecforensics.errors import printable
from vecforensics.race.model import Operation, OperationKind, Source, Trace
from vecforensics.race.records import noun
from vecforensics.records import Record

__all__ = ["Names", "clip", "listed", "place_text", "task_function"]

_LONGEST_ID = 28


def clip(text: object, limit: int) -> str:
    """`text` printable and at most `limit` characters long, cut in the middle."""
    shown = printable(text, 4000)
    if len(shown) <= limit:
        return shown
    if limit < 3:
        return shown[: max(limit, 0)]
    head = (limit - 1 + 1) // 2
    return f"{shown[:head]}…{shown[len(shown) - (limit - 1 - head) :]}"


def listed(items: Sequence[str], most: int = 3) -> str:
    """ "a", "a and b", "a, b and c", "a, b, c and 4 more"."""
    shown = list(items[:most])
    if len(items) > most:
        shown.append(f"{len(items) - most} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else ""


def place_text(source: Source, *, short: bool = True) -> str:
    """ "migration.js:45"; with the whole path where `short` is false."""
    file = source.file.replace("\\", "/").rsplit("/", 1)[-1] if short else source.file
    return f"{printable(file)}:{source.lineno}"


def task_function(trace: Trace, task: str) -> str:
    """The function of the person's code that `task` was seen in, or "" where it was never seen."""
    for operation in trace.operations:
        if operation.task == task and operation.source is not None:
            # "fixed.<listcomp>" is known as "fixed", and JavaScript's "(anonymous)" not at all
            parts = [part for part in operation.source.function.split(".") if part and part[0] not in "<("]
            if parts:
                return printable(parts[-1])
    return ""


class Names:
    """The nouns of one witness: what each id stands for."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._nouns = {record.id: noun(record) for record in records}
        self.parents = {record.id: record.depends_on for record in records}

    def noun(self, key: str) -> str:
        """ "user", or "id" for a key that belongs to no record of the witness."""
        return self._nouns.get(key, "id")

    def thing(self, key: str, limit: int = _LONGEST_ID) -> str:
        """ "user 10001", or 'the id "undefined"' for a key that is no record's."""
        shown = clip(key, limit)
        return f"{self._nouns[key]} {shown}" if key in self._nouns else f'the id "{shown}"'

    def label(self, operation: Operation) -> str:
        """ "upsert(user 10001)", as the constraints have it."""
        return clip(operation.label, 60)

    def the_act(self, operation: Operation) -> str:
        """A noun phrase: "the write of user 10001"."""
        what = self.thing(operation.key)
        match operation.kind:
            case OperationKind.EMBED:
                return f"the embedding of {what}"
            case OperationKind.UPSERT:
                return f"the write of {what}"
            case OperationKind.FETCH:
                return f"the look-up of {what}"
            case OperationKind.DELETE:
                return f"the deletion of {what}"
            case OperationKind.EXECUTOR:
                return f"the call {clip(operation.key, _LONGEST_ID)}()"
            case OperationKind.TIMER if operation.label.startswith("visibility"):
                return f"the moment when {what} becomes visible"
            case OperationKind.TIMER:
                return f"the timer of {clip(operation.key, 12)} s"

    def happened(self, operation: Operation) -> str:
        """A clause in the past tense: "user 10001 was written"."""
        what = self.thing(operation.key)
        match operation.kind:
            case OperationKind.EMBED:
                return f"the vector of {what} arrived"
            case OperationKind.UPSERT:
                return f"{what} was written"
            case OperationKind.FETCH:
                return f"{what} was looked up"
            case OperationKind.DELETE:
                return f"{what} was deleted"
            case OperationKind.EXECUTOR:
                return f"the call {clip(operation.key, _LONGEST_ID)}() ended"
            case OperationKind.TIMER if operation.label.startswith("visibility"):
                return f"{what} became visible"
            case OperationKind.TIMER:
                return f"the timer of {clip(operation.key, 12)} s ran out"
