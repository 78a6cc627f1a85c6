"""A report as its reader has it: the page, and the text of a chapter."""

from __future__ import annotations

from pathlib import Path

from bs4 import BeautifulSoup


def page(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def chapter(soup: BeautifulSoup, anchor: str) -> str:
    section = soup.find("section", id=anchor)
    assert section is not None
    return " ".join(section.get_text(" ").split())
