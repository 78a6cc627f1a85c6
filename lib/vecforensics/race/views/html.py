"""An exploration in a notebook: verdict, prose with the lines of code, swim lanes, constraints, certificate, replay string.

A notebook that is not trusted drops `<svg>` but keeps its texts, which would leave a heap of words; so the picture comes as an
image with a data address, which JupyterLab shows in either case, and which exported HTML keeps. The text form lies beneath it,
folded. Everything that came from a stranger is escaped by markupsafe; ids and code stand in elements of their own, isolated from
the direction of the text around them.
"""

from __future__ import annotations

import base64

from markupsafe import Markup

from vecforensics.errors import printable
from vecforensics.race.model import Exploration, Source, Trace, Verdict, Witness
from vecforensics.race.views.brush import BLUE, GREY, RED_TEXT
from vecforensics.race.views.certificate import conflicts_text, pass_rows, probability, replay_command
from vecforensics.race.views.prose import explain, explain_verdict
from vecforensics.race.views.swimlanes import draw
from vecforensics.race.views.text import lanes_text
from vecforensics.race.views.words import place_text

__all__ = ["exploration_html"]

_VERDICT = {
    Verdict.FAILING: ("✗ Failing", RED_TEXT),
    Verdict.PROVED: ("✓ Proved", BLUE),
    Verdict.SAMPLED: ("○ No failure found (sampled)", GREY),
}
_QUESTION = {
    "trigger": "What set it off",
    "mechanism": "Why it could happen",
    "unnoticed": "Does it hide?",
    "consequence": "What is wrong now",
}
_CODE = Markup(
    'style="margin:2px 0 6px 0;padding:4px 8px;background:#f3f5f7;font-size:12px;white-space:pre-wrap"'
)


def exploration_html(exploration: Exploration, *, corrected: Trace | None = None) -> str:
    """The whole display. `corrected`: a run of the corrected program to show beside the failing one."""
    word, colour = _VERDICT[exploration.verdict]
    parts = [
        Markup(
            '<p style="margin:0 0 4px 0"><b style="color:{};font-size:16px">{}</b> &nbsp; <code>{}</code></p>'
        ).format(colour, word, printable(exploration.suspect)),
        Markup("<p>{}</p>").format(explain_verdict(exploration)),
    ]
    witness = exploration.witness
    if witness is not None:
        parts += [_kinds(exploration), _prose(witness), _picture(witness, corrected), _constraints(witness)]
    parts.append(_certificate(exploration))
    if exploration.leaks:
        parts.append(_list("Leaks (they can make two runs of one schedule differ)", exploration.leaks))
    if witness is not None:
        parts.append(_replay(exploration))
    return str(
        Markup('<div style="max-width:920px;line-height:1.4">{}</div>').format(Markup("\n").join(parts))
    )


def _kinds(exploration: Exploration) -> Markup:
    counts = [
        Markup("{} ({:,} failing schedules)").format(kind, number)
        if number > 1
        else Markup("{}").format(kind)
        for kind, number in sorted(exploration.failures.items(), key=lambda item: (-item[1], item[0]))
    ]
    return Markup("<p><b>Kinds:</b> {}</p>").format(Markup(", ").join(counts)) if counts else Markup("")


def _prose(witness: Witness) -> Markup:
    rows = []
    for sentence in explain(witness).sentences:
        code = Markup("").join(_code(place) for place in sentence.places)
        rows.append(
            Markup(
                '<tr><th style="text-align:left;vertical-align:top;white-space:nowrap;padding-right:12px">{}</th>'
                '<td style="text-align:left">{}{}</td></tr>'
            ).format(_QUESTION[sentence.role], sentence.text, code)
        )
    return Markup("<table>{}</table>").format(Markup("").join(rows))


def _code(place: Source) -> Markup:
    return Markup("<pre dir='ltr' {}><b>{}</b>  {}</pre>").format(
        _CODE, place_text(place), printable(place.text)
    )


def _picture(witness: Witness, corrected: Trace | None) -> Markup:
    drawing = draw(witness, beside=corrected)
    data = base64.b64encode(drawing.svg.encode()).decode()
    return Markup(
        '<p><img width="900" alt="Swim lanes: {}" src="data:image/svg+xml;base64,{}"></p>'
        "<details><summary>The same as text</summary><pre dir='ltr' {}>{}</pre></details>"
    ).format(explain(witness).headline, data, _CODE, lanes_text(witness, 120, beside=corrected))


def _constraints(witness: Witness) -> Markup:
    if not witness.constraints:
        return Markup("")
    return _list("All that the failure needs", [item.text for item in witness.constraints])


def _list(title: str, items: list[str] | tuple[str, ...]) -> Markup:
    lines = Markup("").join(Markup("<li><code>{}</code></li>").format(printable(item)) for item in items)
    return Markup("<p><b>{}</b></p><ul>{}</ul>").format(title, lines)


def _certificate(exploration: Exploration) -> Markup:
    certificate = exploration.certificate
    head = Markup("").join(
        Markup('<th style="text-align:left">{}</th>').format(name)
        for name in ("strategy", "granularity", "schedules", "failing", "extent")
    )
    rows = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(Markup('<td style="text-align:left">{}</td>').format(cell) for cell in row)
        )
        for row in pass_rows(certificate)
    )
    facts = [
        ("records", f"{certificate.records}"),
        ("seed", f"{certificate.seed}"),
        ("driver", certificate.driver),
        ("conflicts considered", conflicts_text(certificate)),
        ("faults considered", "; ".join(certificate.faults) or "none"),
        *(
            (f"PCT, depth {depth}", f"hit by one schedule with probability {probability(bound)}")
            for depth, bound in sorted(certificate.pct_bound.items())
        ),
        ("not seen", "; ".join(certificate.not_seen) or "–"),
    ]
    more = Markup("").join(
        Markup("<li>{}: {}</li>").format(name, printable(value, 600)) for name, value in facts
    )
    return Markup(
        "<details><summary>Certificate: {:,} schedules, {}</summary><table><tr>{}</tr>{}</table><ul>{}</ul></details>"
    ).format(
        certificate.schedules, "exhaustive" if certificate.exhaustive else "not exhaustive", head, rows, more
    )


def _replay(exploration: Exploration) -> Markup:
    command = printable(replay_command(exploration), 6000)
    return Markup("<p><b>Replay:</b></p><pre dir='ltr' {}>{}</pre>").format(_CODE, command)
