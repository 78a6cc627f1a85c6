"""Where everything of a `Story` stands on the sheet: columns for lanes, lines for rows, one grid for both runs.

Time flows downwards. Both panels share the heights of their rows, so that what is the same stands on the same line. Task lanes
are on the left and keys of the store on the right: a write is an arrow to the right, a read one to the left.
"""

from __future__ import annotations

from dataclasses import dataclass

from vecforensics.findings import Kind
from vecforensics.race.model import OperationKind
from vecforensics.race.views.edges import RETURN
from vecforensics.race.views.story import Lane, Row, RowKind, Run, Span, Story

__all__ = ["LINE", "Panel", "Sizes", "label_lines", "place", "under_verb"]

LINE = 13.0  # from one line of small text to the next
_NUMBERS = 28.0  # the column in which completions are counted
_SLOT = 13.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sheet's measures, in user units (CSS pixels)."""

    width: float = 900
    margin: float = 18
    gap: float = 30
    widest_lane: float = 170


@dataclass(frozen=True, slots=True)
class Panel:
    """One run's part of the sheet. `ys`: the line of each row; `bottom`: the line of the badges."""

    run: Run
    left: float
    right: float
    top: float
    lane_left: tuple[float, ...]
    lane_width: float
    slots: tuple[int, ...]
    ys: tuple[float, ...]

    def lane_index(self, key: str, *, is_task: bool) -> int | None:
        return next(
            (n for n, lane in enumerate(self.run.lanes) if lane.key == key and lane.is_task is is_task), None
        )

    def line_x(self, key: str) -> float | None:
        """The line of a key's lane."""
        n = self.lane_index(key, is_task=False)
        return None if n is None else self.lane_left[n] + 13

    def pill_x(self, span: Span) -> float:
        n = self.lane_index(span.operation.task, is_task=True)
        assert n is not None  # an operation is shown only where its task has a lane
        return self.lane_left[n] + 12 + span.slot * _SLOT

    def label_x(self, span: Span) -> float:
        n = self.lane_index(span.operation.task, is_task=True)
        assert n is not None
        return self.lane_left[n] + 12 + (self.slots[n] - 1) * _SLOT + 9

    def label_width(self, span: Span) -> float:
        n = self.lane_index(span.operation.task, is_task=True)
        assert n is not None
        return self.lane_left[n] + self.lane_width - 2 - self.label_x(span)

    def begin_y(self, span: Span) -> float:
        """Below its row, one line further for each operation that began there before in the same lane."""
        before = 0
        for name in self.run.rows[span.begin].begins:
            if name == span.operation.id:
                break
            other = self.run.span(name)
            if other is not None and other.operation.task == span.operation.task:
                before += label_lines(other, self.run)
        below = 24 if self.run.rows[span.begin].kind is RowKind.FAULT else 9
        return self.ys[span.begin] + below + before * LINE

    def end_y(self, span: Span) -> float:
        return self.ys[span.end] if span.end is not None else self.ys[-1] - 12


def label_lines(span: Span, run: Run) -> int:
    """Lines that the label of an operation takes: two where the record is named under the verb."""
    return 2 if under_verb(span, run) else 1


def under_verb(span: Span, run: Run) -> str:
    """The second line of a label: the delay of a timer; the record that is embedded, where the lane's heading does not say it."""
    operation = span.operation
    if operation.kind is OperationKind.TIMER:
        return operation.key if operation.label.startswith("visibility") else f"{operation.key} s"
    lane = next((lane for lane in run.lanes if lane.is_task and lane.key == operation.task), None)
    if operation.kind is not OperationKind.EMBED or (lane is not None and lane.subtitle == operation.key):
        return ""
    return operation.key


def _row_height(run: Run, index: int, early: set[str]) -> float:
    """From the line of a row to that of the next."""
    row: Row = run.rows[index]
    lines: dict[str, int] = {}
    for name in row.begins:
        span = run.span(name)
        if span is not None:
            lines[span.operation.task] = lines.get(span.operation.task, 0) + label_lines(span, run)
    below = (
        max(lines.values(), default=0) * LINE
        + (16 if lines else 0)
        + (15 if row.kind is RowKind.FAULT else 0)
    )
    base = {
        RowKind.START: 14.0,
        RowKind.FOLD: 22.0,
        RowKind.RETURN: 32.0,
        RowKind.ERROR: 30.0,
        RowKind.FAULT: 44.0,
        RowKind.CANCEL: 30.0,
    }.get(row.kind, 32.0)
    if _looks_up_parent(run, row, early):
        base = max(base, 54.0)
    if index + 1 < len(run.rows) and run.rows[index + 1].kind is RowKind.RETURN:
        below += 16  # the words about the return stand above its line
    return max(base, below + 6)


def _looks_up_parent(run: Run, row: Row, early: set[str]) -> bool:
    """Whether the row shows, below the write of a child, if its parent was there. `early`: children that were ever premature."""
    operation = run.trace.operation(row.event.operation) if row.event is not None else None
    return operation is not None and operation.kind is OperationKind.UPSERT and operation.key in early


def _slots_of(run: Run, lane: Lane) -> int:
    return max(
        (span.slot + 1 for span in run.spans if lane.is_task and span.operation.task == lane.key), default=1
    )


def place(story: Story, top: float, sizes: Sizes) -> tuple[tuple[Panel, ...], float | None, float]:
    """The panels with their rows from `top` on, the height at which the runs part, and the lower end."""
    runs = [story.failing] if story.beside is None else [story.failing, story.beside]
    count = len(runs)
    width = (sizes.width - 2 * sizes.margin - (count - 1) * sizes.gap) / count
    rows = max(len(run.rows) for run in runs)
    damage = story.failing.trace.outcome.damage
    early = {item.record_id for item in damage if item.kind is Kind.PREMATURE and item.record_id is not None}
    line = top
    lines: list[float] = []
    parting_y: float | None = None
    for n in range(rows):
        if story.parting is not None and n == story.parting:
            parting_y = line - 2
            line += 24
        lines.append(line)
        if n == story.failing.return_row and any(edge.after == RETURN for edge in story.missing):
            line += 24  # room for the edge that ends at the return
        line += max((_row_height(run, n, early) for run in runs if n < len(run.rows)), default=32.0)
    foot = lines[-1]
    panels = []
    for n, run in enumerate(runs):
        left = sizes.margin + n * (width + sizes.gap)
        lanes = max(len(run.lanes), 1)
        lane = min((width - _NUMBERS) / lanes, sizes.widest_lane)
        panels.append(
            Panel(
                run=run,
                left=left,
                right=left + width,
                top=top,
                lane_left=tuple(left + _NUMBERS + k * lane for k in range(lanes)),
                lane_width=lane,
                slots=tuple(_slots_of(run, lane_) for lane_ in run.lanes),
                # the badges of both runs stand on one line, however long each of them is
                ys=(*lines[: len(run.rows) - 1], foot),
            )
        )
    return tuple(panels), parting_y, foot
