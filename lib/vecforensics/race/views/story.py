"""The plan that picture and text share: lanes, rows, operations from row to row, two runs side by side.

`views/telling.py` makes it. Here are its nouns, plain and frozen; nothing in them knows of pixels or columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vecforensics.race.model import (
    Event,
    EventKind,
    Operation,
    Trace,
)
from vecforensics.race.views.edges import MissingEdge
from vecforensics.race.views.words import Names
from vecforensics.race.world import FAULT_TEXT

__all__ = ["Lane", "Row", "RowKind", "Run", "Span", "Story", "took_effect"]


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
    """Both runs. `parting` is the first row in which they differ (None: there is but one run, or they never differ).

    `met`: pairs of operations that have to be answered in one round of the event loop, where that is what makes it fail.
    """

    names: Names
    failing: Run
    beside: Run | None
    parting: int | None
    missing: tuple[MissingEdge, ...]
    left_out: int
    met: tuple[tuple[str, str], ...] = ()

    def edge_text(self, edge: MissingEdge) -> str:
        """ "4 upsert(user 10001) before 2 upsert(post p-10001-1)"; the numbers are those of the failing run's completions."""
        return f"{self._numbered(edge.before)} before {self._numbered(edge.after)}"

    def meeting_text(self, met: tuple[str, str]) -> str:
        """ "1 embed(user 10001) and 2 embed(user 10002)"."""
        return " and ".join(map(self._numbered, met))

    def _numbered(self, name: str) -> str:
        """An operation with its number among the completions of the failing run."""
        operation = self.failing.trace.operation(name)
        rows = (row.number for row in self.failing.rows if row.event and row.event.operation == name)
        number = next(rows, 0)
        label = self.names.label(operation) if operation is not None else "the return"
        return f"{number} {label}" if number else label


def took_effect(event: Event) -> bool:
    """Whether a write reached the store: completed, or acknowledged or committed in spite of its fault."""
    if event.kind is EventKind.COMPLETE:
        return True
    return event.kind is EventKind.FAULT and event.text in (
        FAULT_TEXT["late"],
        FAULT_TEXT["timeout-committed"],
    )
