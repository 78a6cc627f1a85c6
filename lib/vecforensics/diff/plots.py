"""Figures of a diff: what is wrong, where it stands, and what it costs.

Each function takes plain results and returns a matplotlib Figure that no global state knows of; matplotlib is imported when
the first one is drawn. The title is the finding. A colour means the same in all figures: vermilion is corrupt, blue is right or
benign, grey is unknown; a hot spot is a dark strip beneath. Labels come from strangers: they are made printable, a dollar sign
starts no formula, and what the font cannot draw is a box.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.impact.results import Impact
from vecforensics.errors import printable
from vecforensics.findings import SEVERITY, Kind, Severity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "plot_along_source",
    "plot_impact",
    "plot_kinds",
]

RIGHT: Final = "#0072B2"
WRONG: Final = "#D55E00"
QUIET: Final = "#8A8A8A"
INK: Final = "#202020"
SOFT: Final = "#606060"
_STYLE: Final = Path(__file__).parent.parent / "vecforensics.mplstyle"
_COLOURS: Final = {Severity.CORRUPT: WRONG, Severity.BENIGN: RIGHT, Severity.UNKNOWN: QUIET}
_BINS: Final = 240
_MOST_ROWS: Final = 8


@cache
def _drawable() -> frozenset[int]:
    """The code points that the font can draw."""
    from matplotlib import font_manager

    return frozenset(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())


def _text(text: object, limit: int = 200) -> str:
    shown = "".join(char if ord(char) in _drawable() else "▯" for char in printable(text, limit))
    return shown.replace("$", r"\$")


def _title(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(_text(text, 300), width))


def _style() -> AbstractContextManager[None]:
    from matplotlib import style

    context: AbstractContextManager[None] = style.context(str(_STYLE))
    return context


@cache
def _figure_class() -> Any:
    from matplotlib.figure import Figure

    class ShownFigure(Figure):
        """A figure that a notebook shows without pyplot."""

        def _repr_png_(self) -> bytes:
            out = io.BytesIO()
            with _style():
                self.savefig(out, format="png", metadata={"Software": None})
            return out.getvalue()

    return ShownFigure


def _figure(width: float, height: float) -> Any:
    return _figure_class()(figsize=(width, height), layout="constrained")


def _count(number: float, _: object = None) -> str:
    return f"{number:,.0f}"


def _legend(figure: Any, entries: Sequence[tuple[str, str]]) -> None:
    """What the colours mean, on one line beneath the drawing at the right."""
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, label=label) for colour, label in entries]
    figure.legend(handles=handles, loc="outside lower right", ncols=max(len(handles), 1), fontsize=8)


def plot_kinds(counts: Mapping[str, int], *, title: str = "") -> Figure:
    """Findings of each kind as bars, and which kinds have none in one sentence beneath. `counts`: by kind name; kinds that are
    not named count as 0."""
    found = {kind: counts[kind.value] for kind in Kind if counts.get(kind.value)}
    none = [kind.value.replace("_", " ") for kind in Kind if kind not in found]
    corrupt = {kind: count for kind, count in found.items() if SEVERITY[kind] is Severity.CORRUPT}
    if not title:
        several = f"{len(corrupt)} kind{'s' if len(corrupt) != 1 else ''}"
        total = sum(corrupt.values())
        title = (
            f"{total:,} corrupt finding{'s' if total != 1 else ''} of {several}"
            if corrupt
            else "No corrupt finding"
        )
    shown = [one for one in Severity if one in {SEVERITY[kind] for kind in found}]
    # The legend stands at the right of these lines.
    zeros = textwrap.wrap(f"None of these: {', '.join(none)}", 118 - 15 * len(shown)) if none else []
    with _style():
        figure = _figure(7.2, 0.85 + 0.32 * max(len(found), 1) + 0.17 * len(zeros))
        axes = figure.add_subplot()
        places = np.arange(len(found))
        axes.barh(
            places, list(found.values()), height=0.66, color=[_COLOURS[SEVERITY[kind]] for kind in found]
        )
        axes.set_xlim(0, 1.12 * max([*found.values(), 1]))
        for place, count in zip(places, found.values(), strict=True):
            axes.annotate(
                f"{count:,}", (count, place), (4, 0), textcoords="offset points", va="center", color=INK
            )
        axes.set_yticks(places, [kind.value.replace("_", " ") for kind in found])
        axes.set_ylim(max(len(found), 1) - 0.5, -0.5)
        axes.xaxis.set_visible(False)
        axes.spines["bottom"].set_visible(False)
        axes.spines["left"].set_visible(bool(found))
        axes.set_title(_title(title, 70))
        _legend(figure, [(_COLOURS[one], one.value) for one in shown])
        if zeros:
            figure.supxlabel("\n".join(zeros), x=0.01, ha="left", size=8, color=SOFT)
    return figure  # type: ignore[no-any-return]


def plot_along_source(
    damaged: Mapping[str, npt.NDArray[Any]],
    rows: int,
    spots: Sequence[tuple[str, str, npt.NDArray[np.bool_] | None]] = (),
    *,
    title: str = "",
    counted: str = "row of the source",
) -> Figure:
    """The share of damaged rows along the source, a panel for each corrupt kind, hot spots marked beneath.

    `damaged`: row numbers of each kind, from 0; `counted`: what has these numbers; `spots`: (kind, sentence, which rows it
    covers), as from `hotspots.rows_of`, without rows where the sentence alone is to be shown. A panel is headed by the
    sentences of its own kind. The kinds with the most rows are drawn, at most eight.
    """
    shown = sorted((kind for kind in damaged if len(damaged[kind])), key=lambda kind: -len(damaged[kind]))[
        :_MOST_ROWS
    ]
    bins = min(_BINS, max(rows, 1))
    edges = np.linspace(0, max(rows, 1), bins + 1)
    held = np.histogram(np.arange(rows), edges)[0] if rows < 1_000_000 else np.diff(np.floor(edges))
    hurt = len(np.unique(np.concatenate([np.empty(0, np.int64), *(damaged[kind] for kind in damaged)])))
    if not title:
        title = f"{hurt:,} of {rows:,} rows are damaged" if hurt else "Nothing is damaged"
        title += "; no place stands out beyond chance" if hurt and not spots else ""
    heads = {kind: _title(_head(kind, len(damaged[kind]), spots), 94) for kind in shown}
    marked = False
    with _style():
        lines = sum(head.count("\n") for head in heads.values())
        figure = _figure(7.2, 1.15 + 1.2 * max(len(shown), 0.3) + 0.15 * lines)
        all_axes = np.atleast_1d(figure.subplots(max(len(shown), 1), 1, sharex=True))
        for axes, kind in zip(all_axes, shown, strict=False):
            share = 100 * np.histogram(damaged[kind], edges)[0] / np.maximum(held, 1)
            top = max(float(share.max()), 1e-9)
            axes.stairs(share, edges + 1, fill=True, color=WRONG)
            for mask in (mask for of, _, mask in spots if of == kind and mask is not None):
                covered = np.histogram(np.flatnonzero(mask), edges)[0] > 0
                band = np.where(covered, -0.06 * top, -0.16 * top)
                axes.stairs(band, edges + 1, baseline=-0.16 * top, fill=True, color=INK)
                marked = True
            axes.set_ylim(-0.18 * top, 1.12 * top)
            axes.set_yticks([0, top], ["0", f"{top:.3g} %"])
            axes.set_title(heads[kind], fontsize=9, weight="normal", pad=3)
            axes.margins(x=0)
        all_axes[-1].set_xlabel(_text(f"{counted} (height: share of the rows there)"))
        all_axes[-1].xaxis.set_major_formatter(_count)
        all_axes[-1].xaxis.get_major_locator().set_params(integer=True)
        if shown:
            strip = [(INK, "hot spot: far more gathers there than chance would put")] if marked else []
            _legend(figure, [(WRONG, "corrupt"), *strip])
        else:
            all_axes[-1].set_yticks([])
            all_axes[-1].spines["left"].set_visible(False)
            all_axes[-1].set_xlim(1, max(rows, 1) + 1)
        figure.suptitle(_title(title, 66), x=0.01, ha="left", size=11, weight="bold")
    return figure  # type: ignore[no-any-return]


def _head(kind: str, count: int, spots: Sequence[tuple[str, str, object]]) -> str:
    """What one panel says: its kind, and the first place of that kind."""
    said = [sentence for of, sentence, _ in spots if of == kind]
    more = f"; and {len(said) - 1} more place{'s' if len(said) > 2 else ''}" if len(said) > 1 else ""
    name = printable(kind.replace("_", " "), 24)
    return f"{name}: {said[0]}{more}" if said else f"{name}: {count:,} row{'s' if count != 1 else ''}"


def plot_impact(impact: Impact, *, title: str = "") -> Figure:
    """How many of its right neighbours each query lost."""
    counts, places = np.asarray(impact.lost_counts), np.arange(len(impact.lost_counts))
    if not title:
        title = (
            f"{impact.collection}: recall@{impact.k} is {impact.recall:.3f}; asked with their own vectors, "
            f"{100 * impact.changed_share:.1f} % of the records lost at least one of their right {impact.k}"
        )
    with _style():
        figure = _figure(7.2, 3.6)
        axes = figure.add_subplot()
        axes.bar(
            places, 100 * counts / impact.queries, width=0.78, color=[RIGHT, *[WRONG] * (len(counts) - 1)]
        )
        for place, count in zip(places, counts, strict=True):
            axes.annotate(
                f"{count:,}", (place, 100 * count / impact.queries), (0, 3), textcoords="offset points", ha="center",
                color=INK if count else "#B0B0B0",
            )  # fmt: skip
        axes.set_xticks(places)
        axes.set_xlabel(f"right neighbours lost to a search with the right vector, out of {impact.k}")
        axes.set_ylabel(f"% of {impact.queries:,} queries")
        axes.set_ylim(0, 112 * float(counts.max()) / impact.queries)
        axes.set_title(_title(title, 70))
    return figure  # type: ignore[no-any-return]
