"""Nothing of the page is cut off without a sign of it: long lines of code, wide tables, long words on paper."""

from __future__ import annotations

import re

import pytest
from bs4 import BeautifulSoup
from report_builder import full_run
from report_pages import page

from vecforensics.report import write_report


@pytest.fixture(scope="module")
def soup(tmp_path_factory: pytest.TempPathFactory) -> BeautifulSoup:
    return page(write_report(*full_run(tmp_path_factory.mktemp("report"))).html)


def declared(css: str, selector: str) -> dict[str, str]:
    """What a style sheet says of one selector, later declarations over earlier ones."""
    blocks = re.findall(rf"^\s*{re.escape(selector)} \{{([^}}]*)\}}", css, re.MULTILINE)
    pairs = (one.split(":", 1) for block in blocks for one in block.split(";") if ":" in one)
    return {name.strip(): value.strip() for name, value in pairs}


def test_a_long_line_of_code_goes_on_in_the_next_line(soup: BeautifulSoup) -> None:
    screen, _, paper = str(soup.style.string).partition("@media print {")
    assert declared(screen, "pre")["white-space"] == "pre-wrap"
    assert declared(screen, "pre")["overflow-wrap"] == "anywhere"
    assert "overflow-x" not in declared(screen, "pre")
    assert "white-space" not in declared(paper, "pre")
    # A negative indent of the first line alone: what follows stands further in.
    for line in (".line", ".numbered .line"):
        assert declared(screen, line)["text-indent"].startswith(("-", "calc(-1 *"))
    assert not [one for one in soup.select("pre") if one.has_attr("tabindex")]


def test_a_table_that_is_wider_than_the_screen_has_a_shadow_at_its_edge(soup: BeautifulSoup) -> None:
    screen, _, paper = str(soup.style.string).partition("@media print {")
    assert declared(screen, ".scroll")["overflow-x"] == "auto"
    assert re.findall(r"no-repeat (\w+)", declared(screen, ".scroll")["background"]) == [
        *("local", "local"),
        *("scroll", "scroll"),
    ]
    assert declared(paper, ".scroll") == {"overflow": "visible", "background": "none"}


def test_on_paper_the_head_of_a_table_does_not_stand_alone(soup: BeautifulSoup) -> None:
    _, _, paper = str(soup.style.string).partition("@media print {")
    assert declared(paper, "tbody tr:first-child") == {"break-before": "avoid"}


def test_on_paper_no_tile_is_narrower_than_its_longest_word(soup: BeautifulSoup) -> None:
    _, _, paper = str(soup.style.string).partition("@media print {")
    assert declared(paper, ".tiles")["display"] == "flex"
    tile = declared(paper, ".tile")
    assert (tile["min-width"], tile["overflow-wrap"]) == ("min-content", "normal")
