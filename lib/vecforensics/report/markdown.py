r"""The report as Markdown (GitHub's dialect), from the same blocks as the HTML, with nothing in it that evidence could start.

Text is escaped so that it is read and never acts: backslashes before what Markdown would take for a mark, entities for `<`,
`>`, `&`, and `:\//` so that no address becomes a link by itself. Ids stand in code spans, where nothing acts and nobody is
mentioned; the few that a code span inside a table cannot hold safely (with a pipe or a backslash) are escaped text instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import quote

from vecforensics.report.blocks import (
    Align,
    Bar,
    Block,
    Bullets,
    Cell,
    Code,
    Drawing,
    Gallery,
    Inline,
    Listing,
    Measures,
    Note,
    Paragraph,
    Picture,
    Section,
    Signal,
    State,
    Strong,
    Subheading,
    Table,
    Tiles,
    Timeline,
    visible,
)  # fmt: skip
from vecforensics.report.masthead import Masthead

__all__ = ["code_span", "escaped", "inline", "render_markdown", "table"]

_SHAPES: Final = {State.GOOD: "●", State.BAD: "▲", State.UNKNOWN: "◇", State.PLAIN: ""}
_MARKS: Final = re.compile(r"([\\`*_\[\]|~!])")
# What would begin a heading, a list or a rule; a number's full stop is taken care of by `_NUMBERED`.
_AT_START: Final = re.compile(r"^(\s*)([#+=-])")
_NUMBERED: Final = re.compile(r"^(\s*\d{1,9})([.)])(?=\s|$)")
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}


def render_markdown(masthead: Masthead, sections: tuple[Section, ...]) -> str:
    """The whole document. The same input gives the same bytes."""
    began = f", begun {escaped(masthead.began)} UTC" if masthead.began else ""
    parts = [
        f"# {escaped(masthead.title)}",
        f"Incident report · case {code_span(masthead.case)} · run {code_span(masthead.run)}{began}",
        f"**{_SHAPES[masthead.state]} {escaped(masthead.verdict).upper()}** (target as found)",
        f"**{escaped(masthead.headline)}**",
    ]
    for number, section in enumerate(sections, 1):
        parts.append(f"## {number}. {escaped(section.title)}")
        parts += [text for block in section.blocks for text in _block(block)]
    parts.append(f"Written by vecforensics {escaped(masthead.version)} from the files of the run.")
    return "\n\n".join(parts) + "\n"


def escaped(text: str, limit: int | None = None) -> str:
    """Text as text."""
    shown = visible(text, limit)
    shown = "".join(_ENTITIES.get(ch, ch) for ch in shown)
    shown = _MARKS.sub(r"\\\1", shown)
    shown = shown.replace("://", r":\//").replace("www.", r"www\.")
    shown = _AT_START.sub(r"\1\\\2", shown)
    return _NUMBERED.sub(r"\1\\\2", shown)


def code_span(text: str, limit: int = 96) -> str:
    """Text in a code span, fenced by more backticks than it holds."""
    shown = visible(text, limit).replace("\n", " ") or " "
    if "|" in shown or "\\" in shown:
        return escaped(text, limit)
    fence = "`" * (max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def inline(parts: Inline | Sequence[Inline]) -> str:
    """Inline text."""
    return "".join(
        _inline(part) for part in ([parts] if isinstance(parts, str | Code | Strong | Signal) else parts)
    )


def _inline(part: Inline) -> str:
    match part:
        case Code(text, limit):
            return code_span(text, limit)
        case Strong(text):
            return f"**{escaped(text).strip()}**" if text.strip() else ""
        case Signal(text, state):
            return f"{_SHAPES[state]} {escaped(text)}".strip()
        case _:
            return escaped(part)


def _block(block: Block) -> Iterator[str]:
    match block:
        case Paragraph(parts):
            yield inline(parts)
        case Subheading(text):
            yield f"### {escaped(text, 200)}"
        case Bullets(items, ordered):
            if items:
                yield "\n".join(
                    f"{f'{number}.' if ordered else '-'} {inline(item)}"
                    for number, item in enumerate(items, 1)
                )
        case Note(parts, state):
            yield f"> {_SHAPES[state]} {inline(parts)}".replace(">  ", "> ")
        case Tiles(tiles):
            yield "\n".join(
                f"- {escaped(tile.label)}: **{f'{_SHAPES[tile.state]} ' if _SHAPES[tile.state] else ''}{escaped(tile.value)}** "
                f"({escaped(tile.detail)})"
                for tile in tiles
            )
        case Table():
            yield from table(block)
        case Listing():
            yield from _listing(block)
        case Picture(path, _, _, alt, caption):
            yield f"![{escaped(alt, 300)}]({_target(path)})"
            yield f"*{escaped(caption, 1000)}*" if caption else ""
        case Gallery(pictures):
            for picture in pictures:
                yield from _block(picture)
        case Drawing(path, _, alt, caption):
            yield f"![{escaped(alt, 300)}]({_target(path)})"
            yield f"*{escaped(caption, 1000)}*"
        case Measures():
            return  # the table beside it says the same
        case Timeline(_, moments):
            yield "\n".join(
                f"- {escaped(moment.time) or 'no time'} · {escaped(moment.source)} · "
                f"{f'{_SHAPES[moment.state]} ' if _SHAPES[moment.state] else ''}{inline(moment.parts)}"
                for moment in moments
            )


def _target(path: str) -> str:
    """A path below the run folder as a link target that nothing in it can end or turn into an address."""
    return "./" + quote(path, safe="/")


def _cell(cell: Cell) -> str:
    return ("▪" * round(cell.share * 10)) if isinstance(cell, Bar) else inline(cell)


def table(block: Table) -> Iterator[str]:
    """The caption in italics, then a pipe table."""
    yield f"*{escaped(block.caption)}*"
    head = "| " + " | ".join(escaped(column.title) for column in block.columns) + " |"
    rule = "|" + "|".join("---:" if column.align is Align.RIGHT else "---" for column in block.columns) + "|"
    yield "\n".join(
        [head, rule, *("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in block.rows)]
    )


def _listing(block: Listing) -> Iterator[str]:
    marks = dict(block.marks)
    if block.title:
        yield f"{code_span(block.title, 200)}:"
    lines = [visible(line, 2_000, keep="\t") for line in block.text.split("\n")]
    if block.first:
        width = len(str(block.first + len(lines)))
        lines = [
            f"{number:>{width}} {_SHAPES[marks[number]] if number in marks else ' '} {line}".rstrip()
            for number, line in enumerate(lines, block.first)
        ]
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    language = block.language if re.fullmatch(r"[a-z]{1,12}", block.language) else ""
    yield "\n".join([f"{fence}{language}", *lines, fence])
