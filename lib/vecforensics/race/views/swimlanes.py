"""The picture of a witness: who did what to which record, the failing run beside a passing one, and the edge that is missing.

One inline SVG without script, style or outside address (`views/svg.py`), 900 units wide. A bar is an operation under way; where
it ends an arrow goes to the key that it writes or comes from the key that it reads. A key's line is dotted while nothing stands
under the key. Vermilion and dashed: the order that nothing in the program ensures. No meaning rests on colour alone: what is
wrong also has a cross, another stroke or another shape.
"""

from __future__ import annotations

from dataclasses import dataclass

from vecforensics.race.model import OperationKind, Trace, Witness
from vecforensics.race.views.brush import DOTS, GREY, INK, RED, RED_TEXT, Arrow, Brush, Curve
from vecforensics.race.views.edges import RETURN, MissingEdge
from vecforensics.race.views.layout import Panel, Sizes, place
from vecforensics.race.views.panel import PanelPainter, badges_fit
from vecforensics.race.views.prose import explain
from vecforensics.race.views.selection import named_operations
from vecforensics.race.views.story import Story
from vecforensics.race.views.svg import Box, fit, text_width, wrap
from vecforensics.race.views.telling import tell

__all__ = ["Drawing", "draw", "swimlanes"]


@dataclass(frozen=True, slots=True)
class Drawing:
    """The SVG, the boxes of its texts, and its arrows."""

    svg: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
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

    def paint(self) -> Drawing:
        sizes = self.sizes
        prose = explain(self.witness)
        y = 30.0
        for line in wrap(prose.headline, sizes.width - 2 * sizes.margin, 16, 3, bold=True):
            self.sheet.say(sizes.margin, y, line, size=16, bold=True)
            y += 21
        # Where no order and no fault is to blame the headline is the result already; then the mechanism says more.
        plain = not self.story.missing and not self.story.met and not self.witness.faults
        result = prose.sentences[1 if plain else -1].text
        for line in wrap(result, sizes.width - 2 * sizes.margin, 12, 2):
            self.sheet.say(sizes.margin, y - 1, line, size=12, fill=GREY)
            y += 17
        y += 2
        panels, parting, foot = place(self.story, y + 82, sizes)
        floor = foot + (18 if all(badges_fit(panel) for panel in panels) else 29)
        painters = [
            PanelPainter(self.sheet, self.story, panel, named_operations(self.witness)) for panel in panels
        ]
        for painter in painters:
            painter.ground(y - 4, floor)
        for painter in painters:
            painter.lanes()
        if parting is not None:
            self.parting(panels, parting)
        for painter in painters:
            painter.events()
        for edge in self.story.missing:
            self.missing(panels[0], edge)
        bottom = self.foot(floor + 21)
        svg = self.sheet.render(bottom, f"Swim lanes: {prose.headline}", prose.plain())
        return Drawing(svg, tuple(self.sheet.boxes), tuple(self.sheet.arrows), bottom)

    def parting(self, panels: tuple[Panel, ...], y: float) -> None:
        for panel in panels:
            self.sheet.line(panel.left + 6, y, panel.right - 6, y, DOTS, 1, "2 3")
        self.sheet.line(panels[0].right - 6, y, panels[-1].left + 6, y, DOTS, 1, "2 3")
        self.sheet.say(
            panels[0].right - 8, y - 4, "here the runs part", size=10, fill=GREY, anchor="end", halo=True
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
        if operation is None:
            return name == RETURN
        at_key = (OperationKind.UPSERT, OperationKind.FETCH, OperationKind.DELETE)
        return operation.kind in at_key or operation.label.startswith("visibility")

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
        self.sheet.arrows.append(
            Arrow(f"{edge.before}>{edge.after}", "missing", path.x1, path.y1, path.x2, path.y2)
        )
        points = [path.at(t) for t in (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8)]
        free = (point for point in points if self.sheet.is_free(_around(*point)))
        self.disc(*next(free, points[0]), edge.letter)

    def disc(self, x: float, y: float, letter: str) -> None:
        self.sheet.disc(x, y)
        self.sheet.say(x, y + 3.8, letter, size=10.5, bold=True, fill="#ffffff", anchor="middle")

    # --- below the panels -------------------------------------------------------------------------------------------

    def foot(self, y: float) -> float:
        left = self.sizes.margin
        room = self.sizes.width - 2 * left - 60
        for edge in self.story.missing:
            self.sheet.line(left, y, left + 30, y, RED, 2.2, "6 4")
            self.disc(left + 42, y, edge.letter)
            said = f"Missing: {self.story.edge_text(edge)}. Nothing in the code makes it so."
            self.sheet.say(
                left + 58, y + 4, fit(said, room, 12, bold=True), size=12, bold=True, fill=RED_TEXT
            )
            y += 22
        for met in self.story.met:
            said = f"Together: {self.story.meeting_text(met)}, in the same round of the event loop."
            self.sheet.say(left, y + 4, fit(said, room, 12, bold=True), size=12, bold=True, fill=RED_TEXT)
            y += 22
        y += 4
        x = left
        items = (
            ("bar", "operation under way"), ("diamond", "write"), ("ring", "read"), ("dots", "nothing under the key"),
            ("line", "a row under the key"), ("1", "n-th completion"), ("+2", "completions not drawn"),
        )  # fmt: skip
        for mark, said in items:
            self.mark(mark, x + 8, y)
            self.sheet.say(x + 20, y + 3.5, said, size=10, fill=GREY)
            x += 20 + text_width(said, 10) + 16
        if self.story.left_out > 0:
            many = "operations of the run are" if self.story.left_out > 1 else "operation of the run is"
            self.sheet.say(left, y + 22, f"{self.story.left_out} {many} not drawn.", size=10, fill=GREY)
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
                self.sheet.say(x + 6, y + 3.5, mark, anchor="end", size=10, fill=GREY)


def _around(x: float, y: float) -> Box:
    """The ground that a lettered disc covers."""
    return Box(x - 9, y - 9, x + 9, y + 9, "")
