"""The terminal's text and the notebook's display: in bounds, escaped, complete."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import view_scenes as scenes

from vecforensics.race.catalogue import NAMES
from vecforensics.race.model import Verdict
from vecforensics.race.views.html import exploration_html
from vecforensics.race.views.text import exploration_text, lanes_text

# What JupyterLab's sanitizer lets through in a notebook that is not trusted, of what is used here.
ALLOWED = {"div", "p", "b", "code", "table", "tr", "th", "td", "pre", "ul", "li", "details", "summary", "img"}


class Page(HTMLParser):
    """Collects tags and checks that they nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.mark.parametrize("width", [60, 80, 120, 160])
@pytest.mark.parametrize("name", NAMES)
def test_lanes_of_a_catalogue_entry_fit_the_terminal(name: str, width: int) -> None:
    witness = scenes.witness_of(name)
    text = lanes_text(witness, width)
    assert text.isascii()
    assert all(len(line) <= width for line in text.splitlines()), max(text.splitlines(), key=len)
    for kind in ("upsert", "fetch", "delete"):
        drawn = (witness.trace, witness.passing) if witness.passing is not None else (witness.trace,)
        named = any(item.kind == kind for trace in drawn for item in trace.operations)
        assert named or f"o {kind}" not in text
    assert ("~A~ missing: " in text) == ("~A~" in text)


def test_lanes_show_reads_writes_return_and_end() -> None:
    text = lanes_text(scenes.lookup_too_early(), 150)
    left = [line[:73] for line in text.splitlines()]
    assert any("empty" in line and "<--" in line for line in left)
    assert any("=p-10001-1" in line and "==>" in line for line in left)
    assert any("X missing" in line for line in left)
    assert sum("the migration returns" in line for line in left) == 1
    assert text.splitlines()[-1].startswith("~A~ missing: 5 upsert(10001) before 2 fetch(10001)")


def test_narrow_terminal_puts_the_runs_one_below_the_other() -> None:
    text = lanes_text(scenes.lookup_too_early(), 60)
    assert text.index("This order fails") < text.index("another order: passes")
    assert " | ok " not in text


@pytest.mark.parametrize("bad", ["\x1b[2J", "\u202eabc", "a\nb\r", "é" * 40, "\ud800", "x" * 500])
def test_hostile_id_cannot_touch_the_terminal(bad: str) -> None:
    text = exploration_text(scenes.exploration(scenes.lookup_too_early(user=bad)), 100)
    assert text.isascii()
    assert all(ch.isprintable() or ch == "\n" for ch in text)


def test_text_holds_verdict_kinds_constraint_certificate_and_replay() -> None:
    text = exploration_text(scenes.exploration(scenes.lookup_too_early()), 100)
    for part in (
        "FAILING",
        "kinds: missing",
        "constraint: upsert(",
        "certificate: 2 records",
        "replay: vecforensics race migration.py:migrate --replay 'vf1:2:0:all",
    ):
        assert part in text
    assert "not seen: sockets" in text
    proved = exploration_text(scenes.exploration(None, Verdict.PROVED), 100)
    assert proved.startswith("PROVED")
    assert "--replay" not in proved


@pytest.mark.parametrize("name", ["children_before_parents", "blind_retry", "fire_and_forget"])
def test_display_is_what_an_untrusted_notebook_shows(name: str) -> None:
    page = Page(scenes.explored(name)._repr_html_())
    assert not page.open
    assert {tag for tag, _ in page.tags} <= ALLOWED
    for tag, attributes in page.tags:
        assert not any(key.startswith("on") for key in attributes)
        if tag == "img":
            source = attributes["src"] or ""
            head, _, data = source.partition(",")
            assert head == "data:image/svg+xml;base64"
            assert ET.fromstring(base64.b64decode(data)).tag.endswith("svg")
            assert attributes["alt"]
    words = "".join(page.words)
    witness = scenes.witness_of(name)
    assert witness.replay in words
    for constraint in witness.constraints:
        assert constraint.text in words
    for question in ("What set it off", "Why it could happen", "Does it hide?", "What is wrong now"):
        assert question in words


def test_display_escapes_whatever_a_stranger_wrote() -> None:
    bad = "<img src=x onerror=alert(1)>"
    witness = scenes.lookup_too_early(user=bad, post="</pre><script>x</script>", file="<b>.py")
    html = exploration_html(scenes.exploration(replace(witness, replay=bad), suspect=bad))
    page = Page(html)
    assert not page.open
    assert {tag for tag, _ in page.tags} <= ALLOWED
    assert not re.search(r"<script|<img src=x", html)


def test_display_without_a_witness_shows_the_certificate() -> None:
    words = "".join(Page(exploration_html(scenes.exploration(None, Verdict.PROVED))).words)
    assert "✓ Proved" in words
    assert "12 schedules, exhaustive" in words
    assert "hit by one schedule with probability 0.25 or more" in words


def test_corrected_run_stands_beside_the_failing_one() -> None:
    html = exploration_html(scenes.explored("fire_and_forget"), corrected=scenes.corrected("fire_and_forget"))
    data = re.search(r"base64,([^\"]+)", html)
    assert data is not None
    assert "The corrected code: passes" in base64.b64decode(data[1]).decode()
