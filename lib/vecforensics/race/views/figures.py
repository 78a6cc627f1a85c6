"""Figures of the laboratory: a probability, a search, a before and after. The finding is the title.

Drawn on a `Figure` of its own, never through pyplot: no window, no global state, no warning about open figures, and the same
bytes for the same data. The look comes from `vecforensics.mplstyle`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import vecforensics
from vecforensics.errors import printable
from vecforensics.race.rehearsal import Curve, Metric, Rehearsal, Share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["before_after_figure", "failure_figure", "search_figure"]

STYLE: Final = Path(vecforensics.__file__).parent / "vecforensics.mplstyle"
_BLUE, _RED, _GREY = "#0072b2", "#d55e00", "#5b6672"


@contextmanager
def _styled() -> Iterator[Any]:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(fname=STYLE):
        yield Figure


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %" if value >= 0.1 or value == 0 else f"{100 * value:.1f} %"


def failure_figure(curve: Curve, observed: float | None = None) -> Figure:
    """Share of failing runs over concurrency, with its interval. `observed`: an error rate to draw as a line (0.34)."""
    points = curve.points
    worst = max(points, key=lambda point: point.failing.value)
    safe = [point.concurrency for point in points if point.failing.value == 0]
    if worst.failing.value == 1 and min(point.failing.value for point in points) == 1:
        rates = [_percent(point.error_rate.value) for point in (points[0], points[-1])]
        title = f"Every simulated run fails; records wrong: {rates[0]} to {rates[1]}"
    elif worst.failing.value == 0:
        title = f"No run failed at any concurrency ({worst.failing.n} simulated runs each)"
    else:
        title = f"{_percent(worst.failing.value)} of simulated runs fail at concurrency {worst.concurrency}"
        title += f", none at {max(safe)}" if safe and max(safe) < worst.concurrency else ""
    with _styled() as new:
        figure: Figure = new(figsize=(7, 3.6), layout="constrained")
        axes = figure.subplots()
        at = [point.concurrency for point in points]
        for name, colour, marker, pick in (
            ("runs that fail", _RED, "o", attrgetter("failing")),
            ("records wrong (mean)", _GREY, "s", attrgetter("error_rate")),
        ):
            shares: list[Share] = [pick(point) for point in points]
            axes.plot(
                at, [share.value for share in shares], marker=marker, color=colour, markersize=4, label=name
            )
            axes.fill_between(
                at,
                [share.low for share in shares],
                [share.high for share in shares],
                color=colour,
                alpha=0.15,
                lw=0,
            )
        if observed is not None:
            axes.axhline(observed, color=_BLUE, lw=1, ls="--")
            axes.annotate(
                f"the incident's {_percent(observed)}",
                (at[0], observed),
                xytext=(2, 3),
                textcoords="offset points",
                color=_BLUE,
            )
        _percent_axis(axes, upto=1.02)
        axes.set_xscale("log", base=2)
        axes.set_xticks(at, [str(value) for value in at])
        axes.set_xlabel("connections to the embedding provider")
        axes.set_title(title)
        axes.legend(loc="best")
        _note(
            figure,
            f"Simulated, {points[0].failing.n} runs a point, seed {curve.seed}, 95 % intervals. {curve.program}",
        )
        return figure


def search_figure(schedules: Mapping[str, Mapping[int, int | None]], what: str) -> Figure:
    """Schedules until the first failure for each strategy. `schedules`: strategy → number of records → schedules, None where none
    was found. `what`: the suspect in a few words ("one forgotten await in n")."""
    sizes = sorted({size for by_size in schedules.values() for size in by_size})
    largest = sizes[-1]
    found = {
        name: by_size[largest] for name, by_size in schedules.items() if by_size.get(largest) is not None
    }
    ranked = sorted(found.items(), key=lambda item: (item[1] or 0, item[0]))
    title = f"{what}: no strategy found it at n = {largest}"
    if ranked:
        name, count = ranked[0]
        title = f"{what}: {name} finds it in {count:,} schedule{'s' if count != 1 else ''} at n = {largest:,}"
    with _styled() as new:
        figure: Figure = new(
            figsize=(7, 0.9 + 0.36 * len(schedules) * max(1, len(sizes) / 2)), layout="constrained"
        )
        axes = figure.subplots()
        height = 0.8 / len(sizes)
        shades = [0.35 + 0.65 * n / max(1, len(sizes) - 1) for n in range(len(sizes))]
        names = list(schedules)
        for n, size in enumerate(sizes):
            for row, name in enumerate(names):
                count = schedules[name].get(size)
                y = row - 0.4 + (n + 0.5) * height
                if count is None:
                    axes.text(1, y, f" not found (n = {size:,})", va="center", color=_RED, fontsize=8)
                    continue
                axes.barh(y, count, height * 0.85, color=_BLUE, alpha=shades[n])
                axes.text(count, y, f" {count:,}  (n = {size:,})", va="center", fontsize=8, color=_GREY)
        axes.set_xscale("log")
        axes.set_xlim(left=0.8)
        axes.margins(x=0.25)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel("schedules until the first failure (logarithmic)")
        axes.set_title(title)
        return figure


def before_after_figure(rehearsal: Rehearsal) -> Figure:
    """One small panel for each metric: the suspect's figure and the corrected migration's, with 95 % intervals."""
    metrics = rehearsal.metrics
    with _styled() as new:
        figure: Figure = new(figsize=(2.6 * len(metrics), 3.0), layout="constrained")
        every = figure.subplots(1, len(metrics), squeeze=False)[0]
        for axes, metric in zip(every, metrics, strict=True):
            _pair(axes, metric)
        figure.suptitle(_headline(metrics), x=0.01, ha="left", fontsize=11, fontweight="bold")
        _note(
            figure,
            f"Simulated, {len(rehearsal.before)} runs each, seed {rehearsal.seed}, 95 % intervals. "
            f"{rehearsal.before_name} against {rehearsal.after_name}",
        )
        return figure


def _headline(metrics: Sequence[Metric]) -> str:
    said = [
        f"{_name(one)} {_figure(one.before, one.unit)} → {_figure(one.after, one.unit)}" for one in metrics
    ]
    return "; ".join(said)


def _name(metric: Metric) -> str:
    """ "latency_ms" as "latency": the unit stands with the figure."""
    return metric.name.removesuffix(f"_{metric.unit}").replace("_", " ")


def _figure(share: Share, unit: str) -> str:
    if unit == "share":
        return _percent(share.value)
    number = (
        f"{share.value:.0f}"
        if share.value >= 10 or share.value == round(share.value)
        else f"{share.value:.3g}"
    )
    return f"{number} of {share.n}" if unit == "count" else f"{number} {unit}"


def _pair(axes: Axes, metric: Metric) -> None:
    for x, share, colour, hatch in ((0, metric.before, _RED, "//"), (1, metric.after, _BLUE, "")):
        axes.bar(x, share.value, 0.6, color=colour, alpha=0.85, hatch=hatch, edgecolor="white")
        below, above = max(0.0, share.value - share.low), max(0.0, share.high - share.value)
        axes.errorbar(x, share.value, [[below], [above]], color="#1f2933", capsize=4, lw=1)
        axes.annotate(
            _figure(share, metric.unit),
            (x, max(share.high, share.value)),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
        )
    axes.set_xticks([0, 1], ["before", "after"])
    axes.set_title(_name(metric), fontsize=9, fontweight="normal")
    axes.set_ylim(bottom=0)
    axes.margins(y=0.18)
    if metric.unit == "share":
        _percent_axis(axes)
    elif metric.unit == "count":
        axes.set_ylim(0, 1.12 * max(metric.before.n, metric.after.n, 1))
        axes.set_ylabel("runs")
    else:
        axes.set_ylabel(metric.unit)


def _percent_axis(axes: Axes, upto: float | None = None) -> None:
    from matplotlib.ticker import PercentFormatter

    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(axis="y")
    axes.set_ylim(bottom=0, top=upto)


def _note(figure: Figure, text: str) -> None:
    figure.supxlabel(printable(text, 160), x=0.01, ha="left", fontsize=7.5, color=_GREY)
