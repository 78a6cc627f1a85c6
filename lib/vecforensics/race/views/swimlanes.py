"""The picture of a witness: who did what to which record, the failing run beside a passing one, and the edge that is missing.

One inline SVG without script, style or outside address (`views/svg.py`), 900 units wide. A bar is an operation under way; where it
ends an arrow goes to the key that it writes or comes from the key that it reads. A key's line is dotted while nothing stands
under the key. Vermilion and dashed: the order that nothing in the program ensures. No meaning rests on colour alone: what is
wrong also has a cross, another stroke or another shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from vecforensics.findings import Kind
from vecforensics.race.model import Event, EventKind, Operation, OperationKind, Trace, Witness
from vecforensics.race.views.brush import (
    BLUE,
    BLUE_FILL,
    DOTS,
    FAINT,
    GREY,
    INK,
    RED,
    RED_FILL,
    RED_TEXT,
    RED_TINT,
    Brush,
    Curve,
)
from vecforensics.race.views.edges import RETURN, MissingEdge
from vecforensics.race.views.layout import LINE, Panel, Sizes, place, under_verb
from vecforensics.race.views.prose import explain
from vecforensics.race.views.story import Row, RowKind, Run, Span, Story, named_operations, tell
from vecforensics.race.views.svg import Box, fit, text_width
from vecforensics.race.views.words import place_text
from vecforensics.race.world import FAULT_TEXT

__all__ = ["Drawing", "draw", "swimlanes"]


@dataclass(frozen=True, slots=True)
class Drawing:
    """The SVG, the boxes of its texts, and the arrows as (name of the operation, meaning, x1, y1, x2, y2)."""

    svg: str
    boxes: tuple[Box, ...]
    arrows: tuple[tuple[str, str, float, float, float, float], ...]
    height: float


def swimlanes(witness: Witness, *, beside: Trace | None = None, beside_title: str = "") -> str:
    """The SVG text. `beside`: a run of the corrected program to show instead of the witness's own passing run."""
    return draw(witness, beside=beside, beside_title=beside_title).svg


def draw(
    witness: Witness, *, beside: Trace | None = None, beside_title: str = "", sizes: Sizes | None = None
) -> Drawing:
    """The picture with what a test wants to know of it."""
    sizes = sizes or Sizes()
    alone = beside is None and witness.passing is None
    story = tell(witness, beside=beside, beside_title=beside_title, most_lanes=9 if alone else 6)
    return _Painter(story, witness, sizes).paint()


class _Painter:
    """Paints in layers: grounds, lanes, edges, bars, nodes; texts go last so that no line crosses them."""

    def __init__(self, story: Story, witness: Witness, sizes: Sizes) -> None:
        self.story, self.witness, self.sizes = story, witness, sizes
        self.sheet = Brush(sizes.width)
        self.arrows: list[tuple[str, str, float, float, float, float]] = []
        self.late: list[tuple[float, float, str, dict[str, object]]] = []
        self.beside: dict[int, bool] = {}
        self.named = named_operations(witness)

    def say(self, x: float, y: float, text: str, **how: object) -> None:
        self.late.append((x, y, text, how))

    def paint(self) -> Drawing:
        sizes = self.sizes
        prose = explain(self.witness)
        y = 30.0
        for line in _wrapped(prose.headline, sizes.width - 2 * sizes.margin, 16, 3):
            self.say(sizes.margin, y, line, size=16, bold=True)
            y += 21
        panels, parting, foot = place(self.story, y + 82, sizes)
        self.beside = {id(panel): _badges_fit(panel) for panel in panels}
        floor = foot + (18 if all(self.beside.values()) else 29)
        for panel in panels:
            self.ground(panel, y - 4, floor)
        for panel in panels:
            self.lanes(panel)
        if parting is not None:
            self.parting(panels, parting)
        for panel in panels:
            self.run(panel)
        bottom = self.foot(floor + 21)
        for x, y, text, how in self.late:
            self.sheet.text(x, y, text, **how)  # type: ignore[arg-type]
        return Drawing(
            self.sheet.render(bottom, f"Swim lanes: {prose.headline}", prose.plain()),
            tuple(self.sheet.boxes),
            tuple(self.arrows),
            bottom,
        )

    # --- the frame ------------------------------------------------------------------------------------------------

    def ground(self, panel: Panel, top: float, floor: float) -> None:
        sheet, failing = self.sheet, panel.run.failing
        colour = RED if failing else BLUE
        sheet.element(
            "rect", x=panel.left, y=top, width=panel.right - panel.left, height=floor - top, rx=6,
            fill="#ffffff", stroke=FAINT,
        )  # fmt: skip
        back = panel.run.return_row
        if failing and back is not None and back < len(panel.run.rows) - 2:
            sheet.element(
                "rect", x=panel.left + 1, y=panel.ys[back], width=panel.right - panel.left - 2,
                height=floor - 1 - panel.ys[back], fill=RED_TINT,
            )  # fmt: skip
        sheet.element(
            "rect", x=panel.left, y=top, width=panel.right - panel.left, height=4, rx=2, fill=colour
        )
        if failing:
            self.sheet.cross(panel.left + 16, top + 21, 5, RED)
        else:
            self.sheet.tick(panel.left + 16, top + 21, BLUE)
        room = panel.right - panel.left - 36
        title = fit(panel.run.title, room, 13, bold=True)
        self.say(panel.left + 28, top + 25.5, title, size=13, bold=True, fill=RED_TEXT if failing else BLUE)
        kinds = panel.run.trace.outcome.kinds
        said = ", ".join(kinds).replace("_", " ") if failing else "nothing missing, nothing wrong"
        used = text_width(title, 13, bold=True) + 10
        if room - used > 60 and text_width(said, 11) <= room - used:
            self.say(panel.right - 10, top + 25.5, said, size=11, fill=GREY, anchor="end")

    def lanes(self, panel: Panel) -> None:
        top, bottom = panel.top, panel.ys[-1]
        tasks = sum(lane.is_task for lane in panel.run.lanes)
        width = panel.lane_width
        groups = ((0, tasks, "TASKS"), (tasks, len(panel.run.lanes), "STORE"))
        for first, last, caption in groups:
            if first == last:
                continue
            left, right = panel.lane_left[first] + 4, panel.lane_left[last - 1] + width - 6
            self.sheet.line(left, top - 36, right, top - 36, FAINT, 1)
            self.say(left, top - 40, caption, size=8.5, fill=GREY, bold=True)
        for n, lane in enumerate(panel.run.lanes):
            x = panel.lane_left[n] + 4
            room = width - 8
            self.sheet.open_group(f"{'task' if lane.is_task else lane.title} {lane.key}")
            size = next((s for s in (11, 10, 9.5) if text_width(lane.title, s, bold=True) <= room), 9.5)
            self.say(x, top - 22, fit(lane.title, room, size, bold=True), size=size, bold=True)
            self.say(x, top - 9, fit(lane.subtitle, room, 10, mono=True), size=10, mono=True, fill=GREY)
            if lane.is_task:
                self.sheet.line(panel.lane_left[n] + 12, top, panel.lane_left[n] + 12, bottom - 14, FAINT, 1)
            else:
                self.key_line(panel, lane.key, top, bottom)
            self.sheet.close_group()

    def key_line(self, panel: Panel, key: str, top: float, bottom: float) -> None:
        """Dotted while nothing stands under the key, solid from a write on."""
        x = panel.line_x(key)
        assert x is not None
        last, there = top, False
        for y, present in [*self.changes(panel, key), (bottom - 9, False)]:
            if there:
                self.sheet.line(x, last, x, y, INK, 2.4)
            else:
                self.sheet.line(x, last, x, y, DOTS, 1.2, "1.5 4")
            last, there = y, present

    def changes(self, panel: Panel, key: str) -> list[tuple[float, bool]]:
        """Where something is put under `key` (True) or taken away, shown or folded."""
        found = []
        for n, row in enumerate(panel.run.rows):
            for event in (row.event, *row.hidden):
                operation = panel.run.trace.operation(event.operation) if event is not None else None
                if event is None or operation is None or operation.key != key or not _took_effect(event):
                    continue
                if operation.kind in (OperationKind.UPSERT, OperationKind.DELETE):
                    found.append((panel.ys[n], operation.kind is OperationKind.UPSERT))
        return found

    def parting(self, panels: tuple[Panel, ...], y: float) -> None:
        for panel in panels:
            self.sheet.line(panel.left + 6, y, panel.right - 6, y, DOTS, 1, "2 3")
        self.sheet.line(panels[0].right - 6, y, panels[-1].left + 6, y, DOTS, 1, "2 3")
        self.say(
            panels[0].right - 8, y - 4, "here the runs part", size=10, fill=GREY, anchor="end", halo=True
        )

    # --- one run --------------------------------------------------------------------------------------------------

    def operation(self, run: Run, row: Row) -> Operation | None:
        return run.trace.operation(row.event.operation) if row.event is not None else None

    def run(self, panel: Panel) -> None:
        for n, row in enumerate(panel.run.rows):
            match row.kind:
                case RowKind.RETURN:
                    self.returned(panel, n)
                case RowKind.FOLD:
                    self.fold(panel, n, row)
                case RowKind.ERROR:
                    self.error(panel, n, row)
        for span in panel.run.spans:
            self.bar(panel, span)
        for n, row in enumerate(panel.run.rows):
            if row.kind in (RowKind.DONE, RowKind.FAULT, RowKind.CANCEL):
                self.ending(panel, n, row)
        if panel.run is self.story.failing:
            for edge in self.story.missing:
                self.missing(panel, edge)
        self.badges(panel)

    def hot(self, panel: Panel, operation: Operation) -> bool:
        return panel.run is self.story.failing and operation.id in self.named

    def bar(self, panel: Panel, span: Span) -> None:
        x, y1, y2 = panel.pill_x(span), panel.begin_y(span), panel.end_y(span)
        hot = self.hot(panel, span.operation)
        broken = span.fate in (None, RowKind.CANCEL)
        operation = span.operation
        where = f", {place_text(operation.source)}: {operation.source.text}" if operation.source else ""
        self.sheet.open_group(f"{operation.label}{where}")
        self.sheet.pill(x, y1, y2, hot=hot, broken=broken)
        self.sheet.close_group()
        verb = _verb(operation)
        room = panel.label_width(span)
        size = 11 if text_width(verb, 11, bold=hot) <= room else 10
        fill = RED_TEXT if hot else INK
        self.say(
            panel.label_x(span),
            y1 + 9,
            fit(verb, room, size, bold=hot),
            size=size,
            bold=hot,
            halo=True,
            fill=fill,
        )
        below = under_verb(span, panel.run)
        if below:
            self.say(
                panel.label_x(span), y1 + 9 + LINE - 1, fit(below, room, 9.5, mono=True), size=9.5,
                mono=True, fill=GREY, halo=True,
            )  # fmt: skip

    def ending(self, panel: Panel, n: int, row: Row) -> None:
        operation = self.operation(panel.run, row)
        span = panel.run.span(operation.id) if operation is not None else None
        if operation is None or span is None:
            return
        y, x = panel.ys[n], panel.pill_x(span)
        hot = self.hot(panel, operation)
        if row.number:
            self.say(
                panel.left + 23, y + 3.5, str(row.number), size=10, anchor="end",
                fill=RED_TEXT if hot else GREY, bold=hot,
            )  # fmt: skip
        key_x = panel.line_x(operation.key)
        colour = RED if hot else BLUE
        if (
            operation.kind in (OperationKind.UPSERT, OperationKind.FETCH, OperationKind.DELETE)
            and key_x is not None
        ):
            if operation.kind is OperationKind.FETCH and row.kind is RowKind.DONE:
                self.arrow(operation, "read", key_x - 5, y, x + 4.5, y, colour)
                self.reading(panel, row, operation, key_x, y, hot)
            elif row.event is not None and _took_effect(row.event):
                self.arrow(operation, "write", x + 4.5, y, key_x - 6, y, colour)
                self.writing(panel, operation, key_x, y, hot)
            elif row.kind is RowKind.FAULT:
                stop = (x + key_x) / 2 if key_x > x else x + 20
                self.sheet.line(x + 4.5, y, stop, y, RED, 1.6, "4 3")
                self.sheet.cross(stop, y, 4, RED)
        elif row.kind is RowKind.DONE:
            self.sheet.circle(x, y, 3, colour)
        if row.kind is RowKind.CANCEL:
            self.sheet.cross(x, y, 3.5, GREY)
            self.say(
                x + 10, y + 3.5, fit("cancelled", panel.label_width(span), 9), size=9, fill=GREY, halo=True
            )
        if row.kind is RowKind.FAULT:
            self.sheet.bolt(x, y)
            self.say(
                x + 12, y + 15, fit(row.text, panel.right - x - 18, 10.5), size=10.5, fill=RED_TEXT, halo=True
            )

    def reading(self, panel: Panel, row: Row, operation: Operation, x: float, y: float, hot: bool) -> None:
        assert row.event is not None
        self.sheet.circle(x, y, 5, "#ffffff", RED if hot else INK, 1.8)
        empty = not row.event.read_from
        room = panel.lane_width - 24
        self.say(
            x + 9, y + 3.5, fit("empty" if empty else "found", room, 10), size=10, halo=True,
            fill=RED_TEXT if hot else INK,
        )  # fmt: skip
        writer = panel.run.span(row.event.read_from) if row.event.read_from else None
        if writer is not None and writer.end is not None and panel.ys[writer.end] < y:
            self.read_from(writer, x, panel.ys[writer.end], y, operation)

    def read_from(self, writer: Span, x: float, y1: float, y2: float, reader: Operation) -> None:
        """The arrow from the write to the read that saw it, beside the key's line."""
        bow = x - 14
        d = f"M{x - 4:.1f},{y1 + 4:.1f} C{bow:.1f},{y1 + 14:.1f} {bow:.1f},{y2 - 14:.1f} {x - 5:.1f},{y2 - 4:.1f}"
        self.sheet.path(d, BLUE, 1.4)
        self.sheet.arrowhead(x - 4, y2 - 3.5, math.pi / 4, BLUE, 6)
        self.arrows.append((f"{writer.operation.id}>{reader.id}", "read-from", x, y1, x, y2))

    def writing(self, panel: Panel, operation: Operation, x: float, y: float, hot: bool) -> None:
        deleted = operation.kind is OperationKind.DELETE
        if deleted:
            self.sheet.circle(x, y, 6, "#ffffff", INK, 1.2)
            self.sheet.cross(x, y, 3, INK)
        else:
            self.sheet.diamond(x, y, 6, RED if hot else INK)
        foreign = operation.record_id not in (None, operation.key)
        said = "deleted" if deleted else "holds" if foreign else "written"
        fill = RED_TEXT if hot or foreign else INK
        room = panel.lane_width - 24
        self.say(x + 9, y + 3.5, fit(said, room, 10), size=10, fill=fill, halo=True)
        if foreign:
            whose = fit(operation.record_id or "", room, 9.5, mono=True)
            self.say(x + 9, y + 14.5, whose, size=9.5, mono=True, fill=fill, halo=True)
        self.parents(panel, operation, x, y)

    def parents(self, panel: Panel, operation: Operation, x: float, y: float) -> None:
        """For a child whose early write is the damage: what stood under its parent's key at that moment."""
        early = {
            item.partner_id
            for item in self.story.failing.trace.outcome.damage
            if item.kind is Kind.PREMATURE and item.record_id == operation.key
        }
        for parent in sorted(name for name in early if name is not None):
            at = panel.line_x(parent)
            if at is None:
                continue
            there = False
            for when, present in self.changes(panel, parent):
                if when < y:
                    there = present
            down = y + 20
            d = f"M{x:.1f},{y + 6:.1f} V{down:.1f} H{at + (7 if at < x else -7):.1f}"
            self.sheet.path(d, BLUE if there else RED, 1.2, "2 2.5")
            if there:
                self.sheet.tick(at, down, BLUE)
            else:
                self.sheet.cross(at, down, 4, RED)
            self.say(
                at + 9, down - 3, fit("there" if there else "not there", panel.lane_width - 18, 10), size=10, halo=True,
                fill=BLUE if there else RED_TEXT,
            )  # fmt: skip

    def returned(self, panel: Panel, n: int) -> None:
        y = panel.ys[n]
        self.sheet.line(panel.left + 6, y, panel.right - 6, y, INK, 1.6)
        late = sum(1 for span in panel.run.spans if span.begin < n and (span.end is None or span.end > n))
        said = f"migrate returns, {late} still under way" if late else "migrate returns"
        width = text_width(said, 10) + 14
        self.sheet.element("rect", x=panel.right - 6 - width, y=y - 8, width=width, height=16, rx=3, fill=INK)
        self.say(panel.right - 6 - width / 2, y + 3.5, said, size=10, fill="#ffffff", anchor="middle")

    def fold(self, panel: Panel, n: int, row: Row) -> None:
        y = panel.ys[n]
        self.say(panel.left + 23, y + 3.5, f"+{row.folded}", size=10, fill=GREY, anchor="end")
        self.sheet.line(panel.left + 28, y, panel.right - 10, y, "#b9c1c9", 1, "1 5")
        for event in row.hidden:
            operation = panel.run.trace.operation(event.operation)
            x = panel.line_x(operation.key) if operation is not None else None
            if (
                operation is not None
                and x is not None
                and operation.kind is OperationKind.UPSERT
                and _took_effect(event)
            ):
                self.sheet.diamond(x, y, 4, INK)

    def error(self, panel: Panel, n: int, row: Row) -> None:
        assert row.event is not None
        y = panel.ys[n]
        lane = panel.lane_index(row.event.task, is_task=True)
        x = panel.lane_left[lane] + 12 if lane is not None else panel.left + 34
        self.sheet.cross(x, y, 5, RED)
        self.say(
            x + 10, y + 3.5, fit(row.text, panel.right - x - 16, 10.5), size=10.5, fill=RED_TEXT, halo=True
        )

    def badges(self, panel: Panel) -> None:
        y = panel.ys[-1]
        for key, said, right in panel.run.ends:
            x = panel.line_x(key)
            if x is None:
                continue
            self.sheet.circle(x, y, 8, BLUE_FILL if right else RED_FILL)
            if right:
                self.sheet.tick(x, y, BLUE)
            else:
                self.sheet.cross(x, y, 3.6, RED)
            fill = BLUE if right else RED_TEXT
            if self.beside[id(panel)]:
                self.say(x + 11, y + 4, said, size=11, bold=True, fill=fill)
            else:
                self.say(
                    x - 8,
                    y + 20,
                    fit(said, panel.lane_width - 6, 10, bold=True),
                    size=10,
                    bold=True,
                    fill=fill,
                )

    # --- the missing edge -------------------------------------------------------------------------------------------

    def anchor(self, panel: Panel, name: str, *, on_key: bool) -> tuple[float, float] | None:
        """Where an edge touches an operation: at the key that it reads or writes, else at the end of its bar."""
        span = panel.run.span(name)
        if span is None:
            return None
        key_x = panel.line_x(span.operation.key) if on_key else None
        return (key_x if key_x is not None else panel.pill_x(span), panel.end_y(span))

    def at_store(self, name: str) -> bool:
        operation = self.witness.trace.operation(name)
        return name == RETURN or (
            operation is not None
            and operation.kind in (OperationKind.UPSERT, OperationKind.FETCH, OperationKind.DELETE)
        )

    def missing(self, panel: Panel, edge: MissingEdge) -> None:
        on_key = all(self.at_store(name) for name in (edge.before, edge.after))
        start = self.anchor(panel, edge.before, on_key=on_key)
        if start is None:
            return
        x1, y1 = start
        if edge.after == RETURN:
            back = panel.run.return_row
            if back is None:
                return
            x1 += -9 if on_key else 9
            path = Curve(x1, y1 - 7, x1, panel.ys[back] + 2, 0)
        else:
            goal = self.anchor(panel, edge.after, on_key=on_key)
            if goal is None:
                return
            path = Curve.between(x1, y1, *goal)
        self.sheet.path(path.d, "#ffffff", 5)
        self.sheet.path(path.d, RED, 2.2, "6 4")
        self.sheet.arrowhead(path.x2, path.y2, path.angle, RED, 9)
        self.arrows.append((f"{edge.before}>{edge.after}", "missing", path.x1, path.y1, path.x2, path.y2))
        self.disc(*path.middle, edge.letter)

    def disc(self, x: float, y: float, letter: str) -> None:
        self.sheet.disc(x, y)
        self.say(x, y + 3.8, letter, size=10.5, bold=True, fill="#ffffff", anchor="middle")

    def edge_text(self, edge: MissingEdge) -> str:
        trace, names = self.witness.trace, self.story.names
        said = []
        for name in (edge.before, edge.after):
            operation = trace.operation(name)
            number = next(
                (row.number for row in self.story.failing.rows if row.event and row.event.operation == name),
                0,
            )
            label = names.label(operation) if operation is not None else "migrate returns"
            said.append(f"{number} {label}" if number else label)
        return " before ".join(said)

    # --- below the panels -------------------------------------------------------------------------------------------

    def foot(self, y: float) -> float:
        left = self.sizes.margin
        room = self.sizes.width - 2 * left - 60
        for edge in self.story.missing:
            self.sheet.line(left, y, left + 30, y, RED, 2.2, "6 4")
            self.disc(left + 42, y, edge.letter)
            said = f"Missing: {self.edge_text(edge)}. Nothing in the code makes it so."
            self.say(left + 58, y + 4, fit(said, room, 12, bold=True), size=12, bold=True, fill=RED_TEXT)
            y += 22
        y += 4
        x = left
        items = (
            ("bar", "operation under way"), ("diamond", "write"), ("ring", "read"), ("dots", "nothing under the key"),
            ("line", "a row under the key"), ("1", "n-th completion"), ("+2", "completions not drawn"),
        )  # fmt: skip
        for mark, said in items:
            self.mark(mark, x + 8, y)
            self.say(x + 20, y + 3.5, said, size=10, fill=GREY)
            x += 20 + text_width(said, 10) + 16
        if self.story.left_out > 0:
            many = "operations of the run are" if self.story.left_out > 1 else "operation of the run is"
            self.say(left, y + 22, f"{self.story.left_out} {many} not drawn.", size=10, fill=GREY)
            y += 18
        return y + 16

    def mark(self, mark: str, x: float, y: float) -> None:
        sheet = self.sheet
        match mark:
            case "bar":
                sheet.pill(x, y - 7, y + 7, hot=False, broken=False)
            case "diamond":
                sheet.diamond(x, y, 6, INK)
            case "ring":
                sheet.circle(x, y, 5, "#ffffff", INK, 1.8)
            case "dots":
                sheet.line(x, y - 8, x, y + 8, DOTS, 1.2, "1.5 4")
            case "line":
                sheet.line(x, y - 8, x, y + 8, INK, 2.4)
            case _:
                self.say(x + 6, y + 3.5, mark, anchor="end", size=10, fill=GREY)

    def arrow(
        self, operation: Operation, meaning: str, x1: float, y1: float, x2: float, y2: float, colour: str
    ) -> None:
        self.sheet.arrow(x1, y1, x2, y2, colour)
        self.arrows.append((operation.id, meaning, x1, y1, x2, y2))


def _took_effect(event: Event) -> bool:
    """Whether a write reached the store: completed, or acknowledged or committed in spite of its fault."""
    if event.kind is EventKind.COMPLETE:
        return True
    return event.kind is EventKind.FAULT and event.text in (
        FAULT_TEXT["late"],
        FAULT_TEXT["timeout-committed"],
    )


def _badges_fit(panel: Panel) -> bool:
    """Whether the words at the foot of the key lanes have room beside their marks."""
    return all(text_width(said, 11, bold=True) <= panel.lane_width - 25 for _, said, _ in panel.run.ends)


def _verb(operation: Operation) -> str:
    if operation.kind is OperationKind.EXECUTOR:
        return operation.key
    if operation.kind is OperationKind.TIMER:
        return "shows" if operation.label.startswith("visibility") else "wait"
    return operation.kind.value


def _wrapped(text: str, width: float, size: float, most: int) -> list[str]:
    lines = [""]
    for word in fit(text, width * most * 0.9, size, bold=True).split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, size, bold=True) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
