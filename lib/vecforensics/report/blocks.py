"""What a report is made of, before it is HTML or Markdown: sections of blocks, blocks of inline text.

Sections say *what* is shown, in these words; the two renderers say *how*. So the Markdown twin cannot drift from the HTML, and
escaping happens in exactly two places. A plain `str` is always text, never markup, wherever it came from.

`State` carries the meaning of a colour: renderers show it as a word and a shape as well.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "Align",
    "Bar",
    "Block",
    "Bullets",
    "Cell",
    "Code",
    "Column",
    "Drawing",
    "Gallery",
    "Inline",
    "Interval",
    "Listing",
    "Measure",
    "Measures",
    "Moment",
    "Note",
    "Paragraph",
    "Picture",
    "Section",
    "Signal",
    "State",
    "Strong",
    "Subheading",
    "Table",
    "Tile",
    "Tiles",
    "Timeline",
    "joined",
    "visible",
]


class State(StrEnum):
    """What a mark means."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"
    PLAIN = "plain"


class Align(StrEnum):
    """How a table column is set."""

    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True, slots=True)
class Code:
    """Text from the evidence or for the machine: ids, names, commands. Longer than `limit` characters it is cut with "…"."""

    text: str
    limit: int = 96


@dataclass(frozen=True, slots=True)
class Strong:
    """Words that carry the sentence."""

    text: str


@dataclass(frozen=True, slots=True)
class Signal:
    """A word with its shape and colour: "▲ corrupt"."""

    text: str
    state: State


@dataclass(frozen=True, slots=True)
class Bar:
    """A share between 0 and 1 as a small bar; the number itself stands in the neighbouring cell."""

    share: float
    state: State


Inline = str | Code | Strong | Signal
Text = Inline | tuple[Inline, ...]
Cell = Text | Bar


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text."""

    parts: tuple[Inline, ...]

    @classmethod
    def of(cls, *parts: Inline) -> Paragraph:
        return cls(parts)


@dataclass(frozen=True, slots=True)
class Subheading:
    """A heading within a section."""

    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list; `ordered` where the order matters."""

    items: tuple[Text, ...]
    ordered: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    title: str
    align: Align = Align.LEFT


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under column titles. `faint`: numbers of the rows that say nothing happened; `strong`: of the rows that sum up.

    The first column heads its row.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    faint: frozenset[int] = frozenset()
    strong: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Listing:
    """Lines as they stand in a file. `first`: number of the first line, 0 for none; `marks`: line number -> state."""

    text: str
    title: str = ""
    language: str = ""
    first: int = 0
    marks: tuple[tuple[int, State], ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of the run folder. `path` is relative to it; `data` and `media_type` are what was read there."""

    path: str
    data: bytes
    media_type: str
    alt: str
    caption: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures that are looked at together."""

    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """An SVG that passed the allow-list (`drawings.clean_svg`). `path` is where the original lies, relative to the run folder."""

    path: str
    svg: str
    alt: str
    caption: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something that must not be overlooked."""

    parts: tuple[Inline, ...]
    state: State


@dataclass(frozen=True, slots=True)
class Tile:
    """One key figure."""

    label: str
    value: str
    detail: str
    state: State


@dataclass(frozen=True, slots=True)
class Tiles:
    """The key figures, side by side."""

    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured value with what it may as well have been; `low`, `high` are None where no interval was computed."""

    value: float
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Measure:
    """One quantity before and after, on its own scale, which begins at nought."""

    label: str
    before: Interval
    after: Interval


@dataclass(frozen=True, slots=True)
class Measures:
    """Before and after as small multiples. The same figures stand in a table beside it, so Markdown leaves it out."""

    caption: str
    measures: tuple[Measure, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """One entry of a time line. `time` is UTC text, or "" where the evidence gives none."""

    time: str
    source: str
    parts: tuple[Inline, ...]
    state: State = State.PLAIN


@dataclass(frozen=True, slots=True)
class Timeline:
    """What happened when."""

    caption: str
    moments: tuple[Moment, ...]


Block = (
    Paragraph
    | Subheading
    | Bullets
    | Table
    | Listing
    | Picture
    | Gallery
    | Drawing
    | Note
    | Tiles
    | Measures
    | Timeline
)


@dataclass(frozen=True, slots=True)
class Section:
    """A chapter. `anchor` is its fixed name, lower case with dashes."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


def visible(text: str, limit: int | None = None, *, keep: str = "") -> str:
    r"""`text` with what would act on the page instead of being read made visible: `\x1b`, `\u202e`, lone surrogates.

    Control and format characters (bidirectional overrides, zero widths, tags) and line separators become escapes, except
    those in `keep`; unassigned and private characters stay. Longer than `limit`, it is cut with "…".
    """
    cut = text if limit is None or len(text) <= limit else text[: limit - 1] + "…"
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(
        ch.encode("unicode_escape", "surrogatepass").decode()
        if ch not in keep and unicodedata.category(ch) in _ACTING
        else ch
        for ch in cut
    )


_ACTING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def joined(parts: Sequence[Inline], between: str = ", ") -> tuple[Inline, ...]:
    """The parts with `between` in between."""
    return tuple(item for part in parts for item in (between, part))[1:]
