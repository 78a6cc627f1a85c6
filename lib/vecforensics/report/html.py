"""The report as one HTML file: Jinja2 with autoescape, one style sheet, no script, no outside address.

The Content-Security-Policy allows exactly the style sheet (by its SHA-256) and images that lie in the file itself; should a
piece of evidence ever get past the escaping, the browser still runs and loads nothing. Strings pass through `visible` on their
way out, so that a control character or a change of writing direction in an id is seen instead of obeyed.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from typing import Any, Final

from markupsafe import Markup, escape

from vecforensics.report.blocks import (
    Bar,
    Cell,
    Code,
    Inline,
    Picture,
    Section,
    Signal,
    State,
    Strong,
    visible,
)
from vecforensics.report.masthead import Masthead
from vecforensics.report.plots import bar_svg, measure_svg

__all__ = ["render_html"]

_SHORT: Final = 24
# The space between a number and its unit: no line may break there.
_UNIT: Final = re.compile(r"(?<=\d) (?=(?:%|ms|s|min)\b|%)")
# Shape before colour: what a mark means can be read in black and white.
_SHAPES: Final = {State.GOOD: "●", State.BAD: "▲", State.UNKNOWN: "◇", State.PLAIN: "·"}


def render_html(masthead: Masthead, sections: tuple[Section, ...]) -> str:
    """The whole page. The same input gives the same bytes."""
    template, style = _template()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    return str(template.render(masthead=masthead, sections=sections, style=Markup(style), policy=policy))  # noqa: S704


@lru_cache(maxsize=1)
def _template() -> tuple[Any, str]:
    """The compiled template and the style sheet; both come with the package."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("vecforensics.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "text": _text,
        "cell": _cell,
        "lines": _lines,
        "data_uri": _data_uri,
        "measure": measure_svg,
        "drawn": Markup,  # a Drawing's svg was built by `clean_svg`
        "kind": lambda block: type(block).__name__,
        "visible": visible,
    }
    environment.globals["shape"] = lambda state: _SHAPES[state]
    assert environment.loader is not None
    style, _, _ = environment.loader.get_source(environment, "report.css")
    # A browser hashes the text between the tags after turning every line end into \n.
    return environment.get_template("report.html.j2"), "\n" + style.strip() + "\n"


def _text(value: Inline | tuple[Inline, ...]) -> Markup:
    """Inline text as markup."""
    return Markup("").join(_inline(part) for part in (value if isinstance(value, tuple) else (value,)))


def _inline(part: Inline) -> Markup:
    match part:
        case Code(text, limit):
            full = visible(text)
            shown = visible(text, limit)
            tip = Markup(' title="{}"').format(full[:1000]) if shown != full else ""
            return Markup("<code{}>{}</code>").format(tip, shown)
        case Strong(text):
            return Markup("<strong>{}</strong>").format(visible(text))
        case Signal(text, state):
            # A word or two stay on one line with their shape; a sentence may break.
            width = " long" if len(text) > _SHORT else ""
            return Markup('<span class="signal {}{}"><span aria-hidden="true">{}</span> {}</span>').format(
                state.value, width, _SHAPES[state], visible(text)
            )
        case _:
            return escape(_UNIT.sub("\u00a0", visible(part)))


def _cell(cell: Cell) -> Markup:
    return bar_svg(cell) if isinstance(cell, Bar) else _text(cell)


def _lines(block: Any) -> list[tuple[str, str, str]]:
    """(number, state, text) of each line of a listing."""
    marks = dict(block.marks)
    return [
        (
            str(number) if block.first else "",
            marks[number].value if number in marks else "",
            visible(line, 2_000, keep="\t"),
        )
        for number, line in enumerate(block.text.split("\n"), block.first)
    ]


def _data_uri(picture: Picture) -> str:
    return f"data:{picture.media_type};base64,{base64.b64encode(picture.data).decode()}"
