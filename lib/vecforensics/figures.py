"""The figures of a run: drawn once from what the stages found, kept as PNG in the run folder, shown in notebooks and the report.

`figures/captions.json` names each with its title, what it says to somebody who cannot see it, and the stage that it belongs to.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from vecforensics.errors import printable
from vecforensics.evidence import Evidence, directory_name
from vecforensics.findings import SEVERITY, Kind, Severity
from vecforensics.run_folder import RunFolder, write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from vecforensics.diff import Diff
    from vecforensics.race import Curve, Rehearsal

__all__ = ["Figures", "draw_curve", "draw_diff", "draw_rehearsal", "figures_of"]

_CAPTIONS: Final = "captions.json"
_DPI: Final = 144


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one stage, in the order in which they were drawn; shows itself in a notebook."""

    run: RunFolder
    captions: Mapping[str, Mapping[str, str]]

    def __str__(self) -> str:
        return "\n".join(
            f"{printable(self.run.figures / name)}: {printable(one['title'])}"
            for name, one in self.captions.items()
        )

    def _repr_html_(self) -> str:
        def shown() -> Iterator[Markup]:
            for name, one in self.captions.items():
                data = (self.run.figures / name).read_bytes()
                # So many inches at 100 dots each that letters are of one size in all of them.
                width = int.from_bytes(data[16:20]) * 100 // _DPI
                yield Markup(
                    '<p><img src="data:image/png;base64,{}" alt="{}" style="width:{}px;max-width:100%"></p>'
                ).format(base64.b64encode(data).decode(), one["alt"], width)

        return Markup("").join(shown()) or "<p>No figures.</p>"


def figures_of(run: RunFolder, stage: str) -> Figures:
    """The figures that a stage left behind; none where it has not run."""
    return Figures(run, {name: one for name, one in _captions(run).items() if one.get("stage") == stage})


def draw_diff(run: RunFolder, diff: Diff) -> Figures:
    """Kinds over all; for each damaged collection where the damage lies along the source, and what it costs."""
    from vecforensics.diff.plots import plot_along_source, plot_impact, plot_kinds

    drawn = {"kinds.png": (plot_kinds(diff.counts), "Findings of each kind; those with none are named")}
    evidence = Evidence.open(run.evidence)
    for name, one in diff.collections.items():
        damaged = _damaged_rows(diff, evidence, name) if one.rows_corrupt else {}
        if damaged:
            spots = list(_spots(diff, name))
            title = f"{name}: {one.records_corrupt:,} of {one.source_rows:,} records are damaged"
            if not diff.hot_spots:
                title += "; no place stands out beyond chance"
            earlier = evidence.collection(name).rows["earlier"]
            counted = (
                "row of the source, the newest version of each record" if earlier else "row of the source"
            )
            figure = plot_along_source(damaged, one.source_rows, spots, title=title, counted=counted)
            drawn[f"along-source-{directory_name(name)}.png"] = (
                figure,
                f"Where the damage lies along the source of {name}",
            )
        cost = (diff.impact or {}).get(name)
        if cost and one.rows_corrupt:
            figure = plot_impact(cast(Any, SimpleNamespace(**cost)))
            drawn[f"impact-{directory_name(name)}.png"] = (
                figure,
                f"What the damage costs the neighbours of {name}",
            )
    return _keep(run, "diff", drawn, instead=True)


def draw_curve(run: RunFolder, curve: Curve) -> Figures:
    """The share of failing runs over concurrency."""
    from vecforensics.race.views.figures import failure_figure

    caption = "How likely a run of the suspect fails with so many connections to the provider, simulated"
    return _keep(run, "reproduce", {"failure-curve.png": (failure_figure(curve), caption)})


def draw_rehearsal(run: RunFolder, rehearsal: Rehearsal) -> Figures:
    """Before and after, with intervals."""
    from vecforensics.race.views.figures import before_after_figure

    figure = before_after_figure(rehearsal)
    return _keep(
        run,
        "reproduce",
        {"before-after.png": (figure, "Error rate, insert latency and crashes before and after, simulated")},
    )


def _damaged_rows(diff: Diff, evidence: Evidence, name: str) -> dict[str, npt.NDArray[Any]]:
    """Row numbers of each corrupt kind that has any, ascending: places among the newest versions, as the hot spots count."""
    import pyarrow as pa
    import pyarrow.compute as pc

    frozen = evidence.collection(name)
    places = pa.concat_tables(
        evidence.table(name, "source", n).select(["id", "position"]) for n in range(frozen.buckets)
    )
    order = np.sort(places["position"].to_numpy()) if frozen.rows["earlier"] else None
    found = {}
    for kind in Kind:
        if SEVERITY[kind] is Severity.CORRUPT:
            rows = diff.of_kind(kind)
            ids = rows.filter(pc.equal(rows["collection"], name))["source_id"].drop_null()
            if len(ids):
                held = places.filter(pc.is_in(places["id"], value_set=ids.combine_chunks()))
                rows_of = np.sort(held["position"].to_numpy())
                found[kind.value] = rows_of if order is None else np.searchsorted(order, rows_of)
    return found


def _spots(diff: Diff, name: str) -> Iterator[tuple[str, str, npt.NDArray[np.bool_] | None]]:
    """The hot spots as this collection sees them, where more of its damage stands than of its rows: kind, sentence, and the rows
    covered where they are a run of its source."""
    rows = diff.collections[name].source_rows
    for spot in diff.hot_spots:
        here = spot["within"].get(name)
        # Of a whole collection there is nothing to be seen in its own figure.
        if spot["side"] != "source" or not here or here["of"] == rows:
            continue
        if here["rows"] * rows > here["of"] * here["found"]:
            mask = None
            if here["run"]:
                mask = np.zeros(rows, bool)
                mask[here["run"][0] : here["run"][1] + 1] = True
            yield spot["kind"], here["sentence"], mask


def _captions(run: RunFolder) -> dict[str, dict[str, str]]:
    file = run.figures / _CAPTIONS
    return cast("dict[str, dict[str, str]]", run.read_json(file, made_by="diff")) if file.is_file() else {}


def _keep(
    run: RunFolder, stage: str, drawn: Mapping[str, tuple[Figure, str]], *, instead: bool = False
) -> Figures:
    """Save figures and their captions. `instead`: they take the place of all that the stage drew before."""
    with run.locked():
        captions = {
            name: one for name, one in _captions(run).items() if not instead or one.get("stage") != stage
        }
        for name, (figure, caption) in drawn.items():
            buffer = io.BytesIO()
            # The date and the version of matplotlib would make two runs over the same evidence differ.
            figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
            write_whole(run.figures / name, buffer.getvalue())
            title = _title(figure)
            captions[name] = {
                "title": title,
                "caption": caption,
                "alt": ". ".join([caption, *dict.fromkeys([title, *_headings(figure)])]),
                "stage": stage,
            }
        # Within a stage the figures stay in the order in which they were drawn.
        ordered = dict(sorted(captions.items(), key=lambda item: item[1].get("stage", "")))
        write_whole(run.figures / _CAPTIONS, json.dumps(ordered, indent=2, ensure_ascii=False) + "\n")
    return figures_of(run, stage)


def _title(figure: Figure) -> str:
    """The finding that the figure carries: its own title, or that of its first axes."""
    return next(iter(_headings(figure)), "")


def _headings(figure: Figure) -> list[str]:
    """All that stands over the figure and its panels."""
    titles = [
        figure.get_suptitle(),
        *(axes.get_title(place) for axes in figure.axes for place in ("left", "center")),
    ]
    return [" ".join(title.split()) for title in titles if title]
