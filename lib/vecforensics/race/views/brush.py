"""The marks of the swim lanes: cross and tick, diamond and ring, the bolt of a fault, the lettered disc, the bowed edge.

The pair of colours is vermilion and blue of Okabe and Ito's palette, which people with any common colour blindness tell apart
and which differ in brightness too; every mark has a shape of its own besides, so a black-and-white print loses nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from vecforensics.race.views.svg import Box, Sheet, text_box

__all__ = [
    "BLUE",
    "BLUE_FILL",
    "DOTS",
    "FAINT",
    "GREY",
    "INK",
    "RED",
    "RED_FILL",
    "RED_TEXT",
    "RED_TINT",
    "Arrow",
    "Brush",
    "Curve",
]

INK: Final = "#1f2933"
GREY: Final = "#5b6672"
DOTS: Final = "#8a949e"
FAINT: Final = "#d5dbe1"
BLUE: Final = "#0072b2"
BLUE_FILL: Final = "#d9eaf5"
RED: Final = "#d55e00"
RED_TEXT: Final = "#b04a00"  # the vermilion of the pair, dark enough for small text on white
RED_FILL: Final = "#fbe0cf"
RED_TINT: Final = "#fdf3ec"


@dataclass(frozen=True, slots=True)
class Curve:
    """A quadratic curve from (x1, y1) to (x2, y2) that bulges by `bulge` to its left."""

    x1: float
    y1: float
    x2: float
    y2: float
    bulge: float

    @classmethod
    def between(cls, x1: float, y1: float, x2: float, y2: float) -> Curve:
        """From node to node, with room for the nodes at both ends; along one lane it swings out to the left of the line."""
        if abs(x1 - x2) < 4:
            up = 1 if y1 > y2 else -1
            return cls(x1 - 6, y1 - 5 * up, x2 - 6, y2 + 5 * up, 30 * up)
        length = math.hypot(x2 - x1, y2 - y1)
        a, b = (x2 - x1) / length * 9, (y2 - y1) / length * 9
        return cls(x1 + a, y1 + b, x2 - a, y2 - b, 0.12 * length if x2 > x1 else -0.12 * length)

    @property
    def control(self) -> tuple[float, float]:
        length = math.hypot(self.x2 - self.x1, self.y2 - self.y1) or 1.0
        return (
            (self.x1 + self.x2) / 2 + (self.y2 - self.y1) / length * self.bulge,
            (self.y1 + self.y2) / 2 - (self.x2 - self.x1) / length * self.bulge,
        )

    def at(self, t: float) -> tuple[float, float]:
        """The point at `t` between 0 (start) and 1 (end)."""
        cx, cy = self.control
        a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t**2
        return a * self.x1 + b * cx + c * self.x2, a * self.y1 + b * cy + c * self.y2

    @property
    def angle(self) -> float:
        cx, cy = self.control
        return math.atan2(self.y2 - cy, self.x2 - cx)

    @property
    def d(self) -> str:
        cx, cy = self.control
        return f"M{self.x1:.1f},{self.y1:.1f} Q{cx:.1f},{cy:.1f} {self.x2:.1f},{self.y2:.1f}"


@dataclass(frozen=True, slots=True)
class Arrow:
    """An arrow that was drawn. `name`: an operation, or "from>to" of two; `meaning`: write, read, read-from or missing."""

    name: str
    meaning: str
    x1: float
    y1: float
    x2: float
    y2: float


class Brush(Sheet):
    """A sheet that knows the marks, remembers its arrows, and keeps texts back until `render`, so that no line crosses them."""

    def __init__(self, width: float) -> None:
        super().__init__(width)
        self.arrows: list[Arrow] = []
        self._late: list[tuple[float, float, str, dict[str, Any]]] = []

    def say(self, x: float, y: float, text: str, **how: Any) -> None:
        """`Sheet.text`, but on top of everything."""
        self._late.append((x, y, text, how))

    def is_free(self, box: Box) -> bool:
        """Whether no text that was said so far touches `box`."""
        measures = ("size", "bold", "mono", "anchor")
        taken = (
            text_box(x, y, text, **{name: how[name] for name in measures if name in how})
            for x, y, text, how in self._late
        )
        return not any(box.overlaps(other) for other in taken)

    def render(self, height: float, title: str, description: str) -> str:
        for x, y, text, how in self._late:
            self.text(x, y, text, **how)
        self._late.clear()
        return super().render(height, title, description)

    def arrow_of(
        self, name: str, meaning: str, x1: float, y1: float, x2: float, y2: float, colour: str
    ) -> None:
        self.arrow(x1, y1, x2, y2, colour)
        self.arrows.append(Arrow(name, meaning, x1, y1, x2, y2))

    def path(self, d: str, stroke: str, width: float, dash: str = "") -> None:
        self.element(
            "path", d=d, fill="none", stroke=stroke, stroke_width=width, stroke_dasharray=dash or None
        )

    def circle(
        self, x: float, y: float, radius: float, fill: str, stroke: str | None = None, width: float = 1
    ) -> None:
        self.element(
            "circle", cx=x, cy=y, r=radius, fill=fill, stroke=stroke, stroke_width=width if stroke else None
        )

    def shape(
        self, x: float, y: float, corners: tuple[tuple[float, float], ...], fill: str, **how: Any
    ) -> None:
        points = " ".join(f"{x + a:.1f},{y + b:.1f}" for a, b in corners)
        self.element("polygon", points=points, fill=fill, **how)

    def diamond(self, x: float, y: float, half: float, colour: str) -> None:
        self.shape(x, y, ((-half, 0), (0, -half), (half, 0), (0, half)), colour)

    def cross(self, x: float, y: float, half: float, colour: str) -> None:
        left, right, top, bottom = x - half, x + half, y - half, y + half
        d = f"M{left:.1f},{top:.1f} L{right:.1f},{bottom:.1f} M{left:.1f},{bottom:.1f} L{right:.1f},{top:.1f}"
        self.element("path", d=d, stroke=colour, stroke_width=2.2, stroke_linecap="round", fill="none")

    def tick(self, x: float, y: float, colour: str) -> None:
        d = f"M{x - 4.5:.1f},{y + 0.5:.1f} L{x - 1.2:.1f},{y + 4:.1f} L{x + 4.8:.1f},{y - 4:.1f}"
        self.element(
            "path",
            d=d,
            stroke=colour,
            stroke_width=2.2,
            stroke_linecap="round",
            stroke_linejoin="round",
            fill="none",
        )

    def bolt(self, x: float, y: float) -> None:
        corners = ((1, -9), (-5, 2), (-0.5, 2), (-2, 9), (5, -2.5), (0.5, -2.5))
        self.shape(x, y, corners, "#f0b400", stroke=INK, stroke_width=0.8)

    def pill(self, x: float, top: float, bottom: float, *, hot: bool, broken: bool) -> None:
        """An operation under way, 9 wide around `x`; dashed where it was given up or never answered."""
        self.element(
            "rect",
            x=x - 4.5,
            y=top,
            width=9,
            height=max(bottom - top, 6.0),
            rx=4.5,
            fill=RED_FILL if hot else BLUE_FILL,
            stroke=RED if hot else BLUE,
            stroke_width=1.6 if hot else 1.2,
            stroke_dasharray="3 2.5" if broken else None,
        )

    def disc(self, x: float, y: float) -> None:
        self.circle(x, y, 8, RED_TEXT, "#ffffff", 1.5)
