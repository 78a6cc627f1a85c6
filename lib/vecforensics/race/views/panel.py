"""One run on the sheet: everything that happened in its lanes.

Painted on the frame (`views/frame.py`): bars, then nodes; texts wait on the brush until all lines are drawn.
"""

from __future__ import annotations

import math

from vecforensics.findings import Kind
from vecforensics.race.model import Operation, OperationKind
from vecforensics.race.views.brush import (
    BLUE,
    BLUE_FILL,
    GREY,
    INK,
    RED,
    RED_FILL,
    RED_TEXT,
    Arrow,
)
from vecforensics.race.views.frame import Frame
from vecforensics.race.views.layout import LINE, Panel, under_verb
from vecforensics.race.views.story import Row, RowKind, Span, took_effect
from vecforensics.race.views.svg import fit, text_width
from vecforensics.race.views.words import place_text

__all__ = ["PanelPainter", "badges_fit"]


class PanelPainter(Frame):
    """Bars, arrows, nodes, the return and the badges."""

    def operation(self, row: Row) -> Operation | None:
        return self.run.trace.operation(row.event.operation) if row.event is not None else None

    def events(self) -> None:
        """Everything that happened, in its row."""
        for n, row in enumerate(self.run.rows):
            match row.kind:
                case RowKind.RETURN:
                    self.returned(n)
                case RowKind.FOLD:
                    self.fold(n, row)
                case RowKind.ERROR:
                    self.error(n, row)
        for span in self.run.spans:
            self.bar(span)
        for n, row in enumerate(self.run.rows):
            if row.kind in (RowKind.DONE, RowKind.FAULT, RowKind.CANCEL):
                self.ending(n, row)
        self.badges()

    def hot(self, operation: Operation) -> bool:
        return self.run is self.story.failing and operation.id in self.named

    def bar(self, span: Span) -> None:
        x, y1, y2 = self.panel.pill_x(span), self.panel.begin_y(span), self.panel.end_y(span)
        hot = self.hot(span.operation)
        broken = span.fate in (None, RowKind.CANCEL)
        operation = span.operation
        where = f", {place_text(operation.source)}: {operation.source.text}" if operation.source else ""
        self.sheet.open_group(f"{operation.label}{where}")
        self.sheet.pill(x, y1, y2, hot=hot, broken=broken)
        self.sheet.close_group()
        verb = _verb(operation)
        room = self.panel.label_width(span)
        size = 11 if text_width(verb, 11, bold=hot) <= room else 10
        fill = RED_TEXT if hot else INK
        self.sheet.say(
            self.panel.label_x(span),
            y1 + 9,
            fit(verb, room, size, bold=hot),
            size=size,
            bold=hot,
            halo=True,
            fill=fill,
        )
        below = under_verb(span, self.run)
        if below:
            self.sheet.say(
                self.panel.label_x(span), y1 + 9 + LINE - 1, fit(below, room, 9.5, mono=True), size=9.5,
                mono=True, fill=GREY, halo=True,
            )  # fmt: skip

    def ending(self, n: int, row: Row) -> None:
        operation = self.operation(row)
        span = self.run.span(operation.id) if operation is not None else None
        if operation is None or span is None:
            return
        y, x = self.panel.ys[n], self.panel.pill_x(span)
        hot = self.hot(operation)
        if row.number:
            self.sheet.say(
                self.panel.left + 23, y + 3.5, str(row.number), size=10, anchor="end",
                fill=RED_TEXT if hot else GREY, bold=hot,
            )  # fmt: skip
        key_x = self.panel.line_x(operation.key)
        colour = RED if hot else BLUE
        if (
            operation.kind in (OperationKind.UPSERT, OperationKind.FETCH, OperationKind.DELETE)
            and key_x is not None
        ):
            if operation.kind is OperationKind.FETCH and row.kind is RowKind.DONE:
                self.sheet.arrow_of(operation.id, "read", key_x - 5, y, x + 4.5, y, colour)
                self.reading(row, operation, key_x, y, hot)
            elif row.event is not None and took_effect(row.event):
                self.sheet.arrow_of(operation.id, "write", x + 4.5, y, key_x - 6, y, colour)
                self.writing(operation, key_x, y, hot)
            elif row.kind is RowKind.FAULT:
                stop = (x + key_x) / 2 if key_x > x else x + 20
                self.sheet.line(x + 4.5, y, stop, y, RED, 1.6, "4 3")
                self.sheet.cross(stop, y, 4, RED)
        elif operation.label.startswith("visibility") and key_x is not None:
            self.sheet.arrow_of(operation.id, "shows", x + 4.5, y, key_x - 5, y, colour)
            room = self.panel.lane_width - 24
            self.sheet.say(
                key_x + 9,
                y + 3.5,
                fit("visible", room, 10),
                size=10,
                fill=RED_TEXT if hot else INK,
                halo=True,
            )
        elif row.kind is RowKind.DONE:
            self.sheet.circle(x, y, 3, colour)
        if row.kind is RowKind.CANCEL:
            self.sheet.cross(x, y, 3.5, GREY)
            self.sheet.say(
                x + 10,
                y + 3.5,
                fit("cancelled", self.panel.label_width(span), 9),
                size=9,
                fill=GREY,
                halo=True,
            )
        if row.kind is RowKind.FAULT:
            self.sheet.bolt(x, y)
            self.sheet.say(
                x + 12,
                y + 15,
                fit(row.text, self.panel.right - x - 18, 10.5),
                size=10.5,
                fill=RED_TEXT,
                halo=True,
            )

    def reading(self, row: Row, operation: Operation, x: float, y: float, hot: bool) -> None:
        assert row.event is not None
        self.sheet.circle(x, y, 5, "#ffffff", RED if hot else INK, 1.8)
        empty = not row.event.read_from
        room = self.panel.lane_width - 24
        self.sheet.say(
            x + 9, y + 3.5, fit("empty" if empty else "found", room, 10), size=10, halo=True,
            fill=RED_TEXT if hot else INK,
        )  # fmt: skip
        writer = self.run.span(row.event.read_from) if row.event.read_from else None
        if writer is not None and writer.end is not None and self.panel.ys[writer.end] < y:
            self.read_from(writer, x, self.panel.ys[writer.end], y, operation)

    def read_from(self, writer: Span, x: float, y1: float, y2: float, reader: Operation) -> None:
        """The arrow from the write to the read that saw it, beside the key's line."""
        bow = x - 14
        d = f"M{x - 4:.1f},{y1 + 4:.1f} C{bow:.1f},{y1 + 14:.1f} {bow:.1f},{y2 - 14:.1f} {x - 5:.1f},{y2 - 4:.1f}"
        self.sheet.path(d, BLUE, 1.4)
        self.sheet.arrowhead(x - 4, y2 - 3.5, math.pi / 4, BLUE, 6)
        self.sheet.arrows.append(Arrow(f"{writer.operation.id}>{reader.id}", "read-from", x, y1, x, y2))

    def writing(self, operation: Operation, x: float, y: float, hot: bool) -> None:
        deleted = operation.kind is OperationKind.DELETE
        if deleted:
            self.sheet.circle(x, y, 6, "#ffffff", INK, 1.2)
            self.sheet.cross(x, y, 3, INK)
        else:
            self.sheet.diamond(x, y, 6, RED if hot else INK)
        foreign = operation.record_id not in (None, operation.key)
        said = "deleted" if deleted else "holds" if foreign else "written"
        fill = RED_TEXT if hot or foreign else INK
        room = self.panel.lane_width - 24
        self.sheet.say(x + 9, y + 3.5, fit(said, room, 10), size=10, fill=fill, halo=True)
        if foreign:
            whose = fit(operation.record_id or "", room, 9.5, mono=True)
            self.sheet.say(x + 9, y + 14.5, whose, size=9.5, mono=True, fill=fill, halo=True)
        self.parents(operation, x, y)

    def parents(self, operation: Operation, x: float, y: float) -> None:
        """For a child whose early write is the damage: what stood under its parent's key at that moment."""
        early = {
            item.partner_id
            for item in self.story.failing.trace.outcome.damage
            if item.kind is Kind.PREMATURE and item.record_id == operation.key
        }
        for parent in sorted(name for name in early if name is not None):
            at = self.panel.line_x(parent)
            if at is None:
                continue
            there = False
            for when, present in self.changes(parent):
                if when < y:
                    there = present
            down = y + 20
            d = f"M{x:.1f},{y + 6:.1f} V{down:.1f} H{at + (7 if at < x else -7):.1f}"
            self.sheet.path(d, BLUE if there else RED, 1.2, "2 2.5")
            if there:
                self.sheet.tick(at, down, BLUE)
            else:
                self.sheet.cross(at, down, 4, RED)
            self.sheet.say(
                at + 9, down - 3, fit("there" if there else "not there", self.panel.lane_width - 18, 10), size=10, halo=True,
                fill=BLUE if there else RED_TEXT,
            )  # fmt: skip

    def returned(self, n: int) -> None:
        y = self.panel.ys[n]
        self.sheet.line(self.panel.left + 6, y, self.panel.right - 6, y, INK, 1.6)
        late = sum(1 for span in self.run.spans if span.begin < n and (span.end is None or span.end > n))
        said = f"the migration returns, {late} still under way" if late else "the migration returns"
        width = text_width(said, 10) + 14
        left = self.panel.right - 6 - width
        self.sheet.element("rect", x=left, y=y - 17, width=width, height=17, rx=3, fill=INK)
        self.sheet.say(left + width / 2, y - 5, said, size=10, fill="#ffffff", anchor="middle")

    def fold(self, n: int, row: Row) -> None:
        y = self.panel.ys[n]
        self.sheet.say(self.panel.left + 23, y + 3.5, f"+{row.folded}", size=10, fill=GREY, anchor="end")
        self.sheet.line(self.panel.left + 28, y, self.panel.right - 10, y, "#b9c1c9", 1, "1 5")
        for event in row.hidden:
            operation = self.run.trace.operation(event.operation)
            x = self.panel.line_x(operation.key) if operation is not None else None
            if (
                operation is not None
                and x is not None
                and operation.kind is OperationKind.UPSERT
                and took_effect(event)
            ):
                self.sheet.diamond(x, y, 4, INK)

    def error(self, n: int, row: Row) -> None:
        assert row.event is not None
        y = self.panel.ys[n]
        lane = self.panel.lane_index(row.event.task, is_task=True)
        x = self.panel.lane_left[lane] + 12 if lane is not None else self.panel.left + 34
        self.sheet.cross(x, y, 5, RED)
        self.sheet.say(
            x + 10,
            y + 3.5,
            fit(row.text, self.panel.right - x - 16, 10.5),
            size=10.5,
            fill=RED_TEXT,
            halo=True,
        )

    def badges(self) -> None:
        """At the foot of each key what stands under it, at the foot of a stuck task that it waits."""
        y, beside = self.panel.ys[-1], badges_fit(self.panel)
        for n, lane in enumerate(self.run.lanes):
            if lane.is_task and lane.key in self.run.trace.outcome.stuck:
                left = self.panel.lane_left[n] + 12
                self.sheet.cross(left, y, 3.6, RED)
                words = fit("waits", self.panel.lane_width - 23, 11)
                self.sheet.say(left + 9, y + 4, words, size=11, fill=RED_TEXT)
        for key, said, right in self.run.ends:
            x = self.panel.line_x(key)
            if x is None:
                continue
            self.sheet.circle(x, y, 8, BLUE_FILL if right else RED_FILL)
            if right:
                self.sheet.tick(x, y, BLUE)
            else:
                self.sheet.cross(x, y, 3.6, RED)
            fill = BLUE if right else RED_TEXT
            if beside:
                self.sheet.say(x + 11, y + 4, said, size=11, bold=True, fill=fill)
            else:
                self.sheet.say(
                    x - 8,
                    y + 20,
                    fit(said, self.panel.lane_width - 6, 10, bold=True),
                    size=10,
                    bold=True,
                    fill=fill,
                )


def badges_fit(panel: Panel) -> bool:
    """Whether the words at the foot of the key lanes have room beside their marks."""
    return all(text_width(said, 11, bold=True) <= panel.lane_width - 25 for _, said, _ in panel.run.ends)


def _verb(operation: Operation) -> str:
    if operation.kind is OperationKind.EXECUTOR:
        return operation.key
    if operation.kind is OperationKind.TIMER:
        return "shows" if operation.label.startswith("visibility") else "wait"
    return operation.kind.value
