"""A sheet of SVG that is safe to inline anywhere, and that knows where its texts are.

Only presentation attributes, no style, no script, no id, no reference: so it passes a strict Content-Security-Policy and several
sheets can stand on one page. Every text is made printable and escaped on the way in. The font is whatever the reader has, so
widths are reckoned with those of DejaVu Sans, the widest of the usual ones: what fits here fits everywhere. Every text leaves
a `Box`, and the tests ask that no two of them overlap.
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from html import escape

from vecforensics.errors import printable

__all__ = ["MONO", "SANS", "Box", "Sheet", "fit", "text_box", "text_width", "wrap"]

SANS = "Inter, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
MONO = "'SF Mono', Menlo, Consolas, 'Liberation Mono', 'DejaVu Sans Mono', monospace"

# Advance widths of U+0020 to U+007E in DejaVu Sans 2.37, in hundredths of an em.
_ADVANCE = (
    32, 40, 46, 84, 64, 95, 78, 27, 39, 39, 50, 84, 32, 36, 32, 34, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 34, 34, 84, 84, 84, 53, 100, 68, 69, 70, 77, 63, 58, 77, 75, 29, 29, 66, 56, 86, 75, 79,
    60, 79, 69, 63, 61, 73, 68, 99, 69, 61, 69, 39, 34, 39, 84, 50, 50, 61, 63, 55, 63, 62, 35, 63,
    63, 28, 28, 58, 28, 97, 63, 61, 63, 63, 41, 52, 39, 63, 59, 82, 59, 59, 52, 64, 34, 64, 84,
)  # fmt: skip
_MONO_ADVANCE = 0.61
_BOLD = 1.1


@dataclass(frozen=True, slots=True)
class Box:
    """Where a text stands, in user units."""

    left: float
    top: float
    right: float
    bottom: float
    text: str

    def overlaps(self, other: Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


def text_width(text: str, size: float, *, mono: bool = False, bold: bool = False) -> float:
    """An upper estimate of the width of `text` at `size`, in user units."""
    ems = 0.0
    for ch in text:
        if unicodedata.east_asian_width(ch) in "WF":
            ems += 1.05
        elif mono:
            ems += _MONO_ADVANCE
        elif " " <= ch <= "~":
            ems += _ADVANCE[ord(ch) - 32] / 100
        else:
            ems += 0.0 if unicodedata.combining(ch) else 0.9
    return ems * size * (_BOLD if bold and not mono else 1.0)


def text_box(
    x: float,
    y: float,
    text: str,
    *,
    size: float = 11,
    bold: bool = False,
    mono: bool = False,
    anchor: str = "start",
) -> Box:
    """Where one line of text stands whose baseline is at `y`. `anchor` as in SVG."""
    shown = printable(text, 4000)
    width = text_width(shown, size, mono=mono, bold=bold)
    left = x if anchor == "start" else x - width if anchor == "end" else x - width / 2
    return Box(left, y - 0.78 * size, left + width, y + 0.22 * size, shown)


def fit(text: str, width: float, size: float, *, mono: bool = False, bold: bool = False) -> str:
    """`text` printable, and cut in the middle until it is at most `width` wide."""
    shown = printable(text, 4000)
    if text_width(shown, size, mono=mono, bold=bold) <= width:
        return shown
    low, high = 0, len(shown) - 1  # how many characters may stay
    while low < high:
        keep = (low + high + 1) // 2
        if text_width(_cut(shown, keep), size, mono=mono, bold=bold) <= width:
            low = keep
        else:
            high = keep - 1
    return _cut(shown, low)


def _cut(text: str, keep: int) -> str:
    head = (keep + 1) // 2
    return f"{text[:head]}…{text[len(text) - (keep - head) :] if keep > head else ''}"


def wrap(text: str, width: float, size: float, most: int, *, bold: bool = False) -> list[str]:
    """`text` in at most `most` lines of `width`, cut in the middle where it is longer."""
    lines = [""]
    for word in fit(text, width * most * 0.9, size, bold=bold).split(" "):
        word = fit(word, width, size, bold=bold)
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, size, bold=bold) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _number(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


class Sheet:
    """SVG elements in the order of painting."""

    def __init__(self, width: float) -> None:
        self.width = width
        self.parts: list[str] = []
        self.boxes: list[Box] = []

    def element(self, name: str, /, content: str = "", **attributes: object) -> None:
        """An element; attribute names with `_` for `-`, a trailing `_` dropped. `content` is markup."""
        pairs = "".join(
            f' {key.rstrip("_").replace("_", "-")}="{_number(value) if isinstance(value, float) else escape(str(value))}"'
            for key, value in attributes.items()
            if value is not None
        )
        self.parts.append(f"<{name}{pairs}>{content}</{name}>" if content else f"<{name}{pairs}/>")

    def open_group(self, tip: str = "") -> None:
        self.parts.append(f"<g><title>{escape(printable(tip, 2000))}</title>" if tip else "<g>")

    def close_group(self) -> None:
        self.parts.append("</g>")

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 11,
        fill: str = "#1f2933",
        bold: bool = False,
        mono: bool = False,
        anchor: str = "start",
        halo: bool = False,
        tip: str = "",
    ) -> None:
        """One line of text with its baseline at `y`; recorded as a box. `halo` paints a white edge, for texts on lines."""
        box = text_box(x, y, text, size=size, bold=bold, mono=mono, anchor=anchor)
        shown = box.text
        self.boxes.append(box)
        self.element(
            "text",
            (f"<title>{escape(printable(tip, 2000))}</title>" if tip else "") + escape(shown),
            x=float(x),
            y=float(y),
            font_family=MONO if mono else SANS,
            font_size=float(size),
            font_weight=600 if bold else None,
            fill=fill,
            text_anchor=anchor if anchor != "start" else None,
            direction="ltr",
            unicode_bidi="isolate",
            stroke="#ffffff" if halo else None,
            stroke_width=3 if halo else None,
            stroke_linejoin="round" if halo else None,
            paint_order="stroke" if halo else None,
        )

    def line(
        self, x1: float, y1: float, x2: float, y2: float, stroke: str, width: float = 1, dash: str = ""
    ) -> None:
        self.element(
            "line",
            x1=float(x1),
            y1=float(y1),
            x2=float(x2),
            y2=float(y2),
            stroke=stroke,
            stroke_width=float(width),
            stroke_dasharray=dash or None,
        )

    def arrowhead(self, x: float, y: float, angle: float, fill: str, size: float = 7) -> None:
        """A filled head whose point is at (x, y) and that looks along `angle` (radians)."""
        corners = [(x, y)]
        for side in (-1, 1):
            turned = angle + math.pi + side * 0.42
            corners.append((x + size * math.cos(turned), y + size * math.sin(turned)))
        self.element("polygon", points=" ".join(f"{_number(a)},{_number(b)}" for a, b in corners), fill=fill)

    def arrow(
        self, x1: float, y1: float, x2: float, y2: float, stroke: str, width: float = 1.6, dash: str = ""
    ) -> None:
        angle = math.atan2(y2 - y1, x2 - x1)
        self.line(x1, y1, x2 - 5 * math.cos(angle), y2 - 5 * math.sin(angle), stroke, width, dash)
        self.arrowhead(x2, y2, angle, stroke)

    def render(self, height: float, title: str, description: str) -> str:
        """The whole sheet as one `<svg>` element."""
        size = f'width="{_number(self.width)}" height="{_number(height)}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {_number(self.width)} {_number(height)}"'
            f' role="img" aria-label="{escape(printable(title, 600))}">'
            f"<title>{escape(printable(title, 600))}</title><desc>{escape(printable(description, 6000))}</desc>"
            f'<rect width="{_number(self.width)}" height="{_number(height)}" fill="#ffffff"/>'
            + "".join(self.parts)
            + "</svg>"
        )
