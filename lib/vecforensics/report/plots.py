"""The two pictures that the report draws itself, as SVG that takes its colours from the page's style sheet."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from vecforensics.report.blocks import Bar, Interval, Measure

__all__ = ["bar_svg", "measure_svg"]

_WIDTH: Final = 300
_LEFT: Final = 52
_RIGHT: Final = 74
_ROW: Final = 30
_TOP: Final = 8


def bar_svg(bar: Bar) -> Markup:
    """A share as a bar of 100 units; an empty one where the share is nought."""
    width = f"{max(0.0, min(1.0, bar.share)) * 100:.1f}"
    return Markup(
        '<svg class="bar {state}" viewBox="0 0 100 8" width="100" height="8" aria-hidden="true" '
        'preserveAspectRatio="none"><rect class="track" width="100" height="8"/>'
        '<rect class="fill" width="{width}" height="8"/></svg>'
    ).format(state=bar.state.value, width=width)


def measure_svg(measure: Measure) -> Markup:
    """Two bars on one scale from nought, each with its interval as a whisker and its value at the end."""
    sides = (("before", measure.before), ("after", measure.after))
    most = max((max(side.value, side.high or 0.0) for _, side in sides), default=0.0) or 1.0
    span = _WIDTH - _LEFT - _RIGHT
    label = f"{measure.label}: before {measure.before.text}, after {measure.after.text}"
    parts = [
        Markup('<svg class="measure" viewBox="0 0 {w} {h}" role="img" aria-label="{label}">').format(
            w=_WIDTH, h=_TOP + 2 * _ROW, label=label
        )
    ]
    for number, (name, side) in enumerate(sides):
        parts.append(_row(name, side, _TOP + number * _ROW, span / most))
    return Markup("").join([*parts, Markup("</svg>")])


def _row(name: str, side: Interval, y: int, scale: float) -> Markup:
    end = _LEFT + side.value * scale
    middle = y + 9
    whisker = Markup("")
    reach = end
    if side.low is not None and side.high is not None:
        low, high = _LEFT + max(side.low, 0.0) * scale, _LEFT + max(side.high, 0.0) * scale
        reach = max(end, high)
        if high - low >= 1:
            whisker = Markup(
                '<path class="whisker" d="M{a:.1f} {m}H{b:.1f}M{a:.1f} {t}V{u}M{b:.1f} {t}V{u}"/>'
            ).format(a=low, b=high, m=middle, t=middle - 4, u=middle + 4)
    return Markup(
        '<text class="side" x="{tx}" y="{ty}" text-anchor="end">{name}</text>'
        '<rect class="{name}" x="{x}" y="{y}" width="{w:.1f}" height="18"/>{whisker}'
        '<text class="value" x="{vx:.1f}" y="{ty}">{value}</text>'
    ).format(
        tx=_LEFT - 8, ty=middle + 4, name=name, x=_LEFT, y=y, w=max(end - _LEFT, 1.0), whisker=whisker,
        vx=reach + 6, value=side.text,
    )  # fmt: skip
