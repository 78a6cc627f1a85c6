"""Markdown that others wrote (the analyst's notes, the race stage's story) as blocks of the report.

CommonMark without HTML, parsed by markdown-it-py. What it may bring along is text: paragraphs, lists, quotes, code, headings
(made subheadings). A link becomes its words followed by its address as text, an image its description: the report has no
address to click on, and `javascript:` is just a word in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from vecforensics.report.blocks import Block, Bullets, Code, Inline, Listing, Paragraph, Strong, Subheading

if TYPE_CHECKING:
    from markdown_it.token import Token

__all__ = ["blocks_of_markdown", "inline_of_markdown"]

# No sentence is longer; what is, is no prose, and would fill the page.
_LONGEST: Final = 2_000


def blocks_of_markdown(text: str) -> Iterator[Block]:
    """The blocks of a Markdown text, in order; nested lists are flattened. Tables stay as they were typed."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark", {"html": False, "maxNesting": 20}).disable("html_block").parse(text)
    items: list[tuple[Inline, ...]] = []
    depth, ordered, heading = 0, False, False
    for token in tokens:
        match token.type:
            case "bullet_list_open" | "ordered_list_open":
                depth += 1
                ordered = token.type.startswith("ordered") if depth == 1 else ordered
            case "bullet_list_close" | "ordered_list_close":
                depth -= 1
                if depth == 0:
                    yield Bullets(tuple(items), ordered)
                    items = []
            case "heading_open":
                heading = True
            case "heading_close":
                heading = False
            case "fence" | "code_block":
                yield Listing(token.content.rstrip("\n"), language=token.info.strip()[:20])
            case "inline":
                parts = tuple(_inline(token.children or ()))
                if heading:
                    yield Subheading("".join(part if isinstance(part, str) else part.text for part in parts))
                elif depth:
                    items.append(parts)
                elif parts:
                    yield Paragraph(parts)


def inline_of_markdown(text: str) -> tuple[Inline, ...]:
    """One line of Markdown as inline text, for sentences of other stages that name things in `code`."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark", {"html": False}).parseInline(text)
    return tuple(part for token in tokens for part in _inline(token.children or ()))


def _inline(tokens: Sequence[Token]) -> Iterator[Inline]:
    strong, href = 0, ""
    for token in tokens:
        match token.type:
            case "text" | "text_special" | "html_inline":
                text = token.content if len(token.content) <= _LONGEST else f"{token.content[:_LONGEST]}…"
                if text:
                    yield Strong(text) if strong else text
            case "code_inline":
                yield Code(token.content, 400)
            case "softbreak" | "hardbreak":
                yield " "
            case "strong_open":
                strong += 1
            case "strong_close":
                strong -= 1
            case "link_open":
                href = str(token.attrs.get("href", ""))
            case "link_close":
                if href:
                    yield " ("
                    yield Code(href, 200)
                    yield ")"
                href = ""
            case "image":
                yield f"[image: {token.content}]"
