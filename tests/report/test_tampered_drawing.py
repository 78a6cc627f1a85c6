"""The drawing in the run folder may be another one than the race laboratory's. Only what is on the list gets onto the page."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from report_builder import add_race, begin, full_run

from vecforensics.report import write_report
from vecforensics.report.drawings import clean_svg
from vecforensics.run_folder import write_json

SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 10 10">{}</svg>'


@pytest.mark.parametrize(
    "inner",
    [
        "<script>alert(1)</script>",
        '<rect onclick="alert(1)" width="1" height="1"/>',
        '<a href="https://evil.example"><text>t</text></a>',
        '<image href="https://evil.example/x.png"/>',
        '<use xlink:href="https://evil.example/#a"/>',
        "<style>@import url(https://evil.example)</style>",
        '<rect style="fill:url(https://evil.example/#a)" fill="url(https://evil.example/#b)"/>',
        '<rect fill="\\75rl(https://evil.example)"/>',
        '<foreignObject><iframe xmlns="http://www.w3.org/1999/xhtml" src="//evil.example"/></foreignObject>',
        '<animate attributeName="href" to="javascript:alert(1)"/>',
        '<set attributeName="onmouseover" to="alert(1)"/>',
        '<rect filter="url(//evil.example#f)"/>',
        '<h:script xmlns:h="http://www.w3.org/1999/xhtml">alert(1)</h:script>',
    ],
)
def test_tampered_drawing_loses_what_could_act(inner: str) -> None:
    clean = clean_svg(SVG.format(inner).encode())
    assert clean is not None
    assert "evil" not in clean
    assert "alert" not in clean
    assert_harmless_svg(clean)


def assert_harmless_svg(clean: str) -> None:
    for element in ET.fromstring(clean).iter():
        assert element.tag not in ("script", "style", "a", "image", "use", "foreignObject", "animate", "set")
        assert not any(name.startswith("on") or "href" in name for name in element.attrib)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no xml",
        b"<html><script>alert(1)</script></html>",
        b'<!DOCTYPE svg [<!ENTITY a "b">]><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1">&a;</svg>',
        b'<!DOCTYPE svg SYSTEM "file:///etc/passwd"><svg viewBox="0 0 1 1"/>',
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b"<svg viewBox='0 0 1 1'>" + b"<g/>" * 30_000 + b"</svg>",
        b"<svg viewBox='0 0 1 1'>" + b" " * 3_000_000 + b"</svg>",
    ],
)
def test_what_is_no_drawing_is_not_shown(data: bytes) -> None:
    assert clean_svg(data) is None


def test_harmless_drawing_keeps_its_marks_and_local_references() -> None:
    inner = (
        '<defs><marker id="head"><path d="M0 0L4 2L0 4Z"/></marker></defs>'
        '<path d="M0 0H9" style="stroke: #0072B2" marker-end="url(#head)"/>'
    )
    clean = clean_svg(SVG.format(inner).encode())
    assert clean is not None
    assert 'id="drawing-head"' in clean
    assert 'marker-end="url(#drawing-head)"' in clean
    assert 'stroke="#0072B2"' in clean


def test_pictures_that_are_none_and_names_that_lead_elsewhere_are_left_out(tmp_path: Path) -> None:
    case, run = full_run(tmp_path)
    (run.figures / "fake.png").write_bytes(b"<script>alert(1)</script>")
    (run.figures / "link.png").symlink_to("/etc/hostname")
    (run.figures / "bad.svg").write_text(SVG.format("<script>alert(1)</script><text>kept</text>"))
    names = ["fake.png", "link.png", "bad.svg", "../../../etc/passwd", "absent.png"]
    write_json(run.figures / "captions.json", {name: {"caption": name, "stage": "diff"} for name in names})
    soup = BeautifulSoup(write_report(case, run).html.read_text(encoding="utf-8"), "html.parser")
    shown = [image["src"] for image in soup.find_all("img")]
    assert len(shown) == 1
    svg = base64.b64decode(shown[0].partition(",")[2]).decode()
    assert "kept" in svg
    assert "script" not in svg


def test_a_tampered_drawing_on_the_page_has_neither_script_nor_handler(tmp_path: Path) -> None:
    case, run = begin(tmp_path)
    add_race(run, SVG.format('<script>alert(1)</script><text onload="alert(2)">lanes</text>'))
    source = write_report(case, run).html.read_text(encoding="utf-8")
    drawing = BeautifulSoup(source, "html.parser").select_one("#trace figure.drawing svg")
    assert drawing is not None
    assert drawing.get_text() == "lanes"
    assert "alert" not in str(drawing)
