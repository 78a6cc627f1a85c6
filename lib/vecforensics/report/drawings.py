"""SVG from the run folder, made safe to stand inside the report.

The run folder is evidence: somebody may have put another `swimlanes.svg` there. Nothing of the file is copied; a new tree is
built from the elements and attributes on a list, so whatever is not known to be harmless does not exist afterwards. No style,
no script, no outside reference; `url(#name)` and ids are renamed so that they cannot reach into the page around them.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Final

from vecforensics.report.blocks import visible

__all__ = ["clean_svg"]

# A witness drawing has some hundred elements. What is larger is no drawing to be read.
MAX_BYTES: Final = 2_000_000
MAX_ELEMENTS: Final = 20_000
_PREFIX: Final = "drawing-"
_NAMESPACE: Final = "{http://www.w3.org/2000/svg}"

_ELEMENTS: Final = frozenset(
    re.findall(
        r"\w+",
        "svg g defs title desc path rect circle ellipse line polyline polygon text tspan marker pattern "
        "linearGradient stop clipPath",
    )
)
_ATTRIBUTES: Final = frozenset(
    re.findall(
        r"\S+",
        "viewBox width height x y x1 y1 x2 y2 cx cy r rx ry dx dy d points transform opacity offset pathLength fill fill-opacity "
        "fill-rule stroke stroke-width stroke-opacity stroke-dasharray stroke-dashoffset stroke-linecap stroke-linejoin "
        "stop-color stop-opacity color font-size font-weight font-style font-family text-anchor dominant-baseline "
        "alignment-baseline letter-spacing text-decoration visibility clip-path clip-rule vector-effect paint-order "
        "preserveAspectRatio marker-start marker-mid marker-end markerWidth markerHeight markerUnits refX refY orient "
        "gradientUnits patternUnits id role aria-label aria-hidden lang direction",
    )
)
_LOCAL: Final = re.compile(r"url\(\s*['\"]?#([A-Za-z_][\w.-]{0,63})['\"]?\s*\)")
_NAME: Final = re.compile(r"[A-Za-z_][\w.-]{0,63}")
_STYLE: Final = re.compile(r"\s*([a-z-]{2,30})\s*:\s*([^;]{1,200})")


def clean_svg(data: bytes, prefix: str = _PREFIX) -> str | None:
    """The drawing, rebuilt from what the allow-list knows, or None where it is no SVG that can be shown.

    `prefix` goes before every id. The text begins with `<svg` and has a `viewBox`, so that it scales to the column.
    """
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    if len(data) > MAX_BYTES:
        return None
    try:
        root = fromstring(data, forbid_dtd=True)
    except (ET.ParseError, DefusedXmlException, ValueError, RecursionError, LookupError):
        return None
    if root.tag not in ("svg", f"{_NAMESPACE}svg"):
        return None
    budget = [MAX_ELEMENTS]
    clean = _rebuilt(root, prefix, budget, depth=0)
    if clean is None or budget[0] < 0:
        return None
    width, height = _pixels(clean.attrib.pop("width", "")), _pixels(clean.attrib.pop("height", ""))
    box = re.findall(r"[^\s,]+", clean.get("viewBox", ""))
    if len(box) != 4:
        if not width or not height:
            return None
        box = ["0", "0", width, height]
        clean.set("viewBox", " ".join(box))
    width = width or _pixels(box[2])
    if width:
        clean.set("width", width)
    clean.set("role", "img")
    return ET.tostring(clean, encoding="unicode", short_empty_elements=True)


def _pixels(text: str) -> str:
    found = re.fullmatch(r"\s*(\d{1,5}(?:\.\d{1,4})?)(?:px|pt)?\s*", text)
    return found.group(1) if found else ""


def _rebuilt(element: ET.Element, prefix: str, budget: list[int], depth: int) -> ET.Element | None:
    name = element.tag.removeprefix(_NAMESPACE) if isinstance(element.tag, str) else ""
    budget[0] -= 1
    if name not in _ELEMENTS or budget[0] < 0 or depth > 64:
        return None
    clean = ET.Element(name)
    for key, value in (*_styles(element), *element.attrib.items()):
        kept = _attribute(key, value, prefix)
        if kept is not None:
            clean.set(key, kept)
    clean.text = _characters(element.text)
    for child in element:
        copy = _rebuilt(child, prefix, budget, depth + 1)
        if copy is not None:
            copy.tail = _characters(child.tail)
            clean.append(copy)
    return clean


def _styles(element: ET.Element) -> list[tuple[str, str]]:
    """A `style` attribute as presentation attributes: the page's policy would drop it."""
    return [(key, value.strip()) for key, value in _STYLE.findall(element.get("style", ""))]


def _attribute(key: str, value: str, prefix: str) -> str | None:
    if key not in _ATTRIBUTES:
        return None
    if key == "id":
        return prefix + value if _NAME.fullmatch(value) else None
    if key == "aria-label":
        return visible(value, 400)
    if "url" in value.lower():
        local = _LOCAL.fullmatch(value.strip())
        return f"url(#{prefix}{local.group(1)})" if local else None
    # A backslash could spell "url" in CSS; no number, colour or path has one.
    return None if "\\" in value else value


def _characters(text: str | None) -> str | None:
    return None if text is None else visible(text, keep="\n\t")
