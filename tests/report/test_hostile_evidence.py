"""Somebody else wrote the ids, the log lines, the notes. Nothing of it runs, loads, links or breaks the page."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from report_builder import (
    CASE,
    EXAMPLES,
    HOT_SPOTS,
    add_evidence,
    add_findings,
    add_race,
    begin,
    exploration,
    full_run,
)

from vecforensics.race.exchange import to_plain
from vecforensics.report import write_report
from vecforensics.report.markdown import code_span, escaped
from vecforensics.report.summary import MAX_BYTES
from vecforensics.run_folder import write_json

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "'\"><svg onload=alert(1)>",
    "a|b`c``d\\|e",
    "[click](javascript:alert(1))",
    "![x](https://evil.example/x.png)",
    "https://evil.example/ www.evil.example @octocat",
    "\u202eevitisop eslaf\u202c",
    "zero\u200bwidth\ufeff",
    "\x00\x1b[31mred\x07\x9b",
    "line\nbreak\r\n# heading",
    "{{ 7*7 }}{% raw %}",
    "]]>&amp;&#x3c;",
    "\ud800 lone surrogate",
    "\ufffe\uffff not XML",
    "x" * 10_000,
    "=cmd|' /C calc'!A0",
    "</style><style>*{display:none}</style>",
    "-->",
    "",
]
OUTSIDE = re.compile(r"(?:https?:)?//|^(?:javascript|vbscript|file|ftp|mailto):", re.IGNORECASE)


def example(text: str) -> dict[str, Any]:
    return {
        "collection": "users",
        "kind": "missing",
        "severity": "corrupt",
        "source_id": text,
        "target_id": text,
        "partner_id": text,
        "detail": json.dumps({text[:50]: text}),
    }


def hostile_run(tmp_path: Path, texts: list[str]) -> Path:
    """A run in which every text that a stranger can choose is one of `texts`. The report's folder is given."""
    case, run = begin(tmp_path)
    log = tuple(
        {"level": "error", "message": text, "time": "2026-11-20T09:00:00Z", "line_number": 1, "vector_id": text,
         "stack": [{"function": text, "file": text, "line": 1, "column": 2}]}
        for text in texts
    )  # fmt: skip
    add_evidence(case, run, log)
    found = [example(text) for text in texts]
    spots = [{**HOT_SPOTS[0], "sentence": text} for text in texts]
    hurt = [{"id": text, "recall": 0.0, "lost": [text], "instead": [text]} for text in texts]
    add_findings(
        run,
        examples=found,
        hot_spots=spots,
        limits=texts,
        impact={
            texts[0]: {
                "k": 10,
                "queries": 1,
                "population": 1,
                "recall": 0.5,
                "changed_share": 1.0,
                "hurt": hurt,
                "method": texts[0],
            }
        },
    )
    add_race(run)
    plain = to_plain(exploration(True, "migration.js"))
    for text in texts:
        plain["witness"]["constraints"].append(
            {"first": text, "then": "main/1#2", "text": text, "fault": text}
        )
    plain["witness"]["replay"] = texts[0]
    plain["suspect"] = texts[0]
    plain["leaks"] = texts
    write_json(run.witness_json, json.loads(json.dumps(plain).encode("utf-8", "surrogatepass")))
    (run.race / "witness.md").write_text("\n\n".join(texts), encoding="utf-8", errors="surrogatepass")
    run.notes_md.write_text("\n\n".join(texts), encoding="utf-8", errors="surrogatepass")
    (run.evidence / "suspect.js").write_text("\n".join(texts), encoding="utf-8", errors="surrogatepass")
    return write_report(case, run).html.parent


def assert_harmless(soup: BeautifulSoup) -> None:
    """No script, no handler, no outside address, one style sheet, only anchors of this page."""
    assert (
        soup.find_all(
            ["script", "iframe", "object", "embed", "link", "base", "form", "foreignobject", "use", "image"]
        )
        == []
    )
    assert len(soup.find_all("style")) == 1
    for element in soup.find_all(True):
        for name, value in element.attrs.items():
            text = " ".join(value) if isinstance(value, list) else value
            assert not name.startswith("on"), (element.name, name)
            assert name != "style"
            assert name not in ("href", "src", "xlink:href", "srcset", "action") or text.startswith(
                ("#", "data:image/")
            )


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    writable = [text for text in HOSTILE if "\ud800" not in text]
    return hostile_run(tmp_path_factory.mktemp("hostile"), writable)


def test_page_holds_no_script_no_handler_and_no_outside_address(hostile: Path) -> None:
    source = (hostile / "incident-report.html").read_text(encoding="utf-8")
    soup = BeautifulSoup(source, "html.parser")
    assert_harmless(soup)
    assert "alert(1)" in soup.get_text()


def test_no_attribute_and_no_style_leads_outside(hostile: Path) -> None:
    soup = BeautifulSoup((hostile / "incident-report.html").read_text(encoding="utf-8"), "html.parser")
    for element in soup.find_all(True):
        for name in ("href", "src", "content", "cite", "background", "poster", "data", "fill", "stroke"):
            assert not OUTSIDE.search(str(element.get(name, "")))
    style = soup.find("style")
    assert style is not None
    assert not re.search(r"url\(|@import|//", style.get_text())


def test_policy_allows_exactly_the_style_sheet_that_stands_there(hostile: Path) -> None:
    source = (hostile / "incident-report.html").read_text(encoding="utf-8")
    style = re.search(r"<style>(.*?)</style>", source, re.DOTALL)
    policy = BeautifulSoup(source, "html.parser").find(
        "meta", attrs={"http-equiv": "Content-Security-Policy"}
    )
    assert style is not None
    assert policy is not None
    digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
    assert policy["content"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert source.index("Content-Security-Policy") < source.index("<style>")


def test_control_and_direction_characters_are_seen_instead_of_obeyed(hostile: Path) -> None:
    for name in ("incident-report.html", "incident-report.md", "junit.xml", "summary.md"):
        text = (hostile / name).read_text(encoding="utf-8")
        assert not re.search(
            "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ufeff]", text
        ), name
    assert "\\u202e" in (hostile / "incident-report.html").read_text(encoding="utf-8")


def test_an_id_of_ten_thousand_characters_is_cut(hostile: Path) -> None:
    soup = BeautifulSoup((hostile / "incident-report.html").read_text(encoding="utf-8"), "html.parser")
    for cell in soup.select("#damage td"):
        assert len(cell.get_text()) < 1_000


def test_markdown_twin_renders_without_html_links_or_images_of_strangers(hostile: Path) -> None:
    source = (hostile / "incident-report.md").read_text(encoding="utf-8")
    parser = MarkdownIt("gfm-like", {"html": True, "linkify": False})
    tokens = parser.parse(source)
    assert not [token for token in tokens if token.type == "html_block"]
    inline = [child for token in tokens for child in token.children or ()]
    assert not [child for child in inline if child.type == "html_inline"]
    assert {str(child.attrs["href"]) for child in inline if child.type == "link_open"} == set()
    assert all(str(child.attrs["src"]).startswith("./") for child in inline if child.type == "image")


def test_markdown_tables_keep_their_columns_whatever_stands_in_a_cell(hostile: Path) -> None:
    soup = BeautifulSoup(
        MarkdownIt("gfm-like", {"html": False, "linkify": False}).render(
            (hostile / "incident-report.md").read_text(encoding="utf-8")
        ),
        "html.parser",
    )
    tables = soup.find_all("table")
    assert len(tables) > 8
    for table in tables:
        width = len(table.thead.find_all("th"))
        assert all(len(row.find_all("td")) == width for row in table.tbody.find_all("tr"))
    damage = next(table for table in tables if "Source id" in table.thead.get_text())
    shown = {row.find_all("td")[2].get_text() for row in damage.tbody.find_all("tr")}
    assert "</script><script>alert(1)</script>" in shown
    assert "a|b`c``d\\|e" in shown


def test_junit_is_well_formed_and_holds_the_ids(hostile: Path) -> None:
    root = ET.parse(hostile / "junit.xml").getroot()
    text = " ".join(root.itertext())
    assert "<script>alert(1)</script>" in text
    assert root.get("failures") not in (None, "0")


def test_summary_stays_under_sixty_kilobytes(tmp_path: Path) -> None:
    long = ["\u20ac" * 100_000, "b" * 100_000]
    folder = hostile_run(tmp_path, long)
    assert (folder / "summary.md").stat().st_size < MAX_BYTES
    many = "\n".join(
        f'  c{n}: {{source: {{uri: users.jsonl, id: user_id}}, target: {{uri: "lancedb:target", collection: c{n}}}}}'
        for n in range(400)
    )
    case, run = begin(tmp_path / "many", CASE.replace("collections:\n", f"collections:\n{many}\n"))
    one = {
        "source_rows": 10,
        "target_rows": 9,
        "checked": 10,
        "of": 10,
        "rows_corrupt": 1,
        "records_corrupt": 1,
        "counts": {"missing": 1},
    }
    add_findings(run, collections={f"c{n}": one for n in range(400)}, verdict="corrupt")
    report = write_report(case, run)
    assert report.summary.stat().st_size < MAX_BYTES
    assert "340 more in the full report" in report.summary.read_text(encoding="utf-8")


ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=60)


@settings(max_examples=300, deadline=None)
@given(ANY_TEXT)
def test_any_text_comes_back_from_markdown_as_text(text: str) -> None:
    parser = MarkdownIt("gfm-like", {"html": True, "linkify": False})
    for source in (f"before {escaped(text)} after", f"before {code_span(text)} after"):
        tokens = parser.parse(source)
        children = [child for token in tokens for child in token.children or ()]
        assert {child.type for child in children} <= {"text", "code_inline", "text_special", "softbreak"}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=12,
)
KNOWN = st.sampled_from(
    re.findall(
        r"\w+",
        "verdict collections counts users hot_spots examples impact estimate witness certificate trace events operations passes "
        "metrics physics constraints before after detail kind stages status",
    )
)
TAMPERED = st.dictionaries(
    KNOWN,
    JSON
    | st.dictionaries(KNOWN, JSON, max_size=4)
    | st.lists(st.dictionaries(KNOWN, JSON, max_size=3), max_size=2),
    max_size=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TAMPERED, min_size=6, max_size=6))
def test_report_comes_out_whatever_the_files_hold(
    tmp_path_factory: pytest.TempPathFactory, files: list[dict[str, Any]]
) -> None:
    case, run = begin(tmp_path_factory.mktemp("tampered"))
    places = (
        run.findings_json,
        run.witness_json,
        run.corrected_json,
        run.rehearsal_json,
        run.plan_json,
        run.verification_json,
    )
    for place, content in zip(places, files, strict=True):
        write_json(place, content)
    report = write_report(case, run)
    assert_harmless(BeautifulSoup(report.html.read_text(encoding="utf-8"), "html.parser"))
    ET.parse(report.junit)


def test_examples_of_the_fixture_are_those_of_the_report(tmp_path: Path) -> None:
    text = write_report(*full_run(tmp_path)).markdown.read_text(encoding="utf-8")
    assert all(f"`{item['source_id']}`" in text for item in EXAMPLES)
