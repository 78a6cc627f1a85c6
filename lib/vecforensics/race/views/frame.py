"""The ground of one run on the sheet: its frame and title, the headings of its lanes, and the lines of tasks and keys."""

from __future__ import annotations

from vecforensics.race.model import OperationKind
from vecforensics.race.views.brush import (
    BLUE,
    DOTS,
    FAINT,
    GREY,
    INK,
    RED,
    RED_TEXT,
    RED_TINT,
    Brush,
)
from vecforensics.race.views.layout import Panel
from vecforensics.race.views.story import Story, took_effect
from vecforensics.race.views.svg import fit, text_width

__all__ = ["Frame"]


class Frame:
    """One panel. `named`: operations that the missing edges and the constraints speak of."""

    def __init__(self, sheet: Brush, story: Story, panel: Panel, named: set[str]) -> None:
        self.sheet, self.story, self.panel, self.named = sheet, story, panel, named
        self.run = panel.run

    def ground(self, top: float, floor: float) -> None:
        sheet, failing = self.sheet, self.run.failing
        colour = RED if failing else BLUE
        sheet.element(
            "rect", x=self.panel.left, y=top, width=self.panel.right - self.panel.left, height=floor - top, rx=6,
            fill="#ffffff", stroke=FAINT,
        )  # fmt: skip
        back = self.run.return_row
        if failing and back is not None and back < len(self.run.rows) - 2:
            sheet.element(
                "rect", x=self.panel.left + 1, y=self.panel.ys[back], width=self.panel.right - self.panel.left - 2,
                height=floor - 1 - self.panel.ys[back], fill=RED_TINT,
            )  # fmt: skip
        sheet.element(
            "rect",
            x=self.panel.left,
            y=top,
            width=self.panel.right - self.panel.left,
            height=4,
            rx=2,
            fill=colour,
        )
        if failing:
            self.sheet.cross(self.panel.left + 16, top + 21, 5, RED)
        else:
            self.sheet.tick(self.panel.left + 16, top + 21, BLUE)
        room = self.panel.right - self.panel.left - 36
        title = fit(self.run.title, room, 13, bold=True)
        self.sheet.say(
            self.panel.left + 28, top + 25.5, title, size=13, bold=True, fill=RED_TEXT if failing else BLUE
        )
        kinds = self.run.trace.outcome.kinds
        said = ", ".join(kinds).replace("_", " ") if failing else "nothing missing, nothing wrong"
        used = text_width(title, 13, bold=True) + 10
        if room - used > 60 and text_width(said, 11) <= room - used:
            self.sheet.say(self.panel.right - 10, top + 25.5, said, size=11, fill=GREY, anchor="end")

    def lanes(self) -> None:
        top, bottom = self.panel.top, self.panel.ys[-1]
        tasks = sum(lane.is_task for lane in self.run.lanes)
        width = self.panel.lane_width
        groups = ((0, tasks, "TASKS"), (tasks, len(self.run.lanes), "STORE"))
        for first, last, caption in groups:
            if first == last:
                continue
            left, right = self.panel.lane_left[first] + 4, self.panel.lane_left[last - 1] + width - 6
            self.sheet.line(left, top - 36, right, top - 36, FAINT, 1)
            self.sheet.say(left, top - 40, caption, size=8.5, fill=GREY, bold=True)
        for n, lane in enumerate(self.run.lanes):
            x = self.panel.lane_left[n] + 4
            room = width - 8
            self.sheet.open_group(f"{'task' if lane.is_task else lane.title} {lane.key}")
            size = next((s for s in (11, 10, 9.5) if text_width(lane.title, s, bold=True) <= room), 9.5)
            self.sheet.say(x, top - 22, fit(lane.title, room, size, bold=True), size=size, bold=True)
            self.sheet.say(x, top - 9, fit(lane.subtitle, room, 10, mono=True), size=10, mono=True, fill=GREY)
            if lane.is_task:
                self.sheet.line(
                    self.panel.lane_left[n] + 12, top, self.panel.lane_left[n] + 12, bottom - 14, FAINT, 1
                )
            else:
                self.key_line(lane.key, top, bottom)
            self.sheet.close_group()

    def key_line(self, key: str, top: float, bottom: float) -> None:
        """Dotted while nothing stands under the key, solid from a write on."""
        x = self.panel.line_x(key)
        assert x is not None
        last, there = top, False
        for y, present in [*self.changes(key), (bottom - 9, False)]:
            if there:
                self.sheet.line(x, last, x, y, INK, 2.4)
            else:
                self.sheet.line(x, last, x, y, DOTS, 1.2, "1.5 4")
            last, there = y, present

    def changes(self, key: str) -> list[tuple[float, bool]]:
        """Where something is put under `key` (True) or taken away, shown or folded."""
        found = []
        for n, row in enumerate(self.run.rows):
            for event in (row.event, *row.hidden):
                operation = self.run.trace.operation(event.operation) if event is not None else None
                if event is None or operation is None or operation.key != key or not took_effect(event):
                    continue
                if operation.kind in (OperationKind.UPSERT, OperationKind.DELETE):
                    found.append((self.panel.ys[n], operation.kind is OperationKind.UPSERT))
        return found
