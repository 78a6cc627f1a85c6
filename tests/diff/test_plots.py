"""The figures draw what they are given, the same bytes each time, whatever strangers call their records."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hotspot_rows import rows
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from vecforensics.diff.hotspots import find_hot_spots, rows_of
from vecforensics.diff.hotspots.lines import lay_out
from vecforensics.diff.impact.results import HurtQuery, Impact
from vecforensics.diff.plots import (
    plot_along_source,
    plot_impact,
    plot_kinds,
)
from vecforensics.findings import Kind

HOSTILE = "$\\frac{x}{0$ \x1b[31m 名前 <b> \\$ _^"


def texts(figure: object) -> str:
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in figure.findobj(Text))  # type: ignore[attr-defined]


def impact(lost: tuple[int, ...]) -> Impact:
    asked = sum(lost)
    return Impact(
        HOSTILE, "cosine", 10, 500, 490, 0, asked, 500, 0.97, 0.95, 0.99, 12, 0.12, 0.1, 0.2, lost,
        (HurtQuery(HOSTILE, 0.1, (), ()),), 0, 0.95, "by hand",
    )  # fmt: skip


def patches(figure: Figure, kind: type[Artist]) -> list[Artist]:
    return figure.findobj(kind)


def test_every_kind_is_named_in_the_chart_those_without_a_finding_in_one_sentence() -> None:
    figure = plot_kinds({"missing": 1200, "normalised": 5})
    said = " ".join(texts(figure).split())
    assert all(kind.value.replace("_", " ") in said for kind in Kind)
    assert "None of these: orphan, mangled id, duplicate," in said
    assert {"1,200", "5", "corrupt", "benign"} <= set(texts(figure).splitlines())
    assert "unknown" not in said
    assert "1,200 corrupt findings of 1 kind" in said
    assert "No corrupt finding" in texts(plot_kinds({"noise": 3}))
    assert "None of these: missing," in texts(plot_kinds({}))


def test_sixty_findings_make_a_bar_three_times_as_long_as_twenty() -> None:
    from matplotlib.patches import Rectangle

    figure = plot_kinds({"missing": 60, "swapped": 40, "mangled_id": 20, "zero": 1})
    [axes] = figure.axes
    bars = [patch for patch in patches(axes, Rectangle) if patch is not axes.patch]
    left, right = (axes.transData.transform((at, 0))[0] for at in (0, 20))
    ends = [axes.transData.transform((bar.get_width(), 0))[0] for bar in bars]
    assert [round((end - left) / (right - left), 6) for end in ends] == [3, 1, 2, 0.05]


def test_hot_spots_are_marked_and_head_the_panel_of_their_kind() -> None:
    hurt = np.arange(1000, 1100)
    source = rows(4000, {Kind.MISSING: hurt}, {"worker": np.arange(4000) % 3})
    spots, population = find_hot_spots([source]), lay_out([source])
    figure = plot_along_source(
        {"missing": hurt, "zero": np.asarray([7])},
        4000,
        [(spot.kind, spot.sentence, rows_of(spot, population)) for spot in spots],
    )
    assert figure.get_suptitle() == "101 of 4,000 rows are damaged"
    assert [axes.get_title("left") for axes in figure.axes] == [
        "missing: rows 1,001–1,100 hold all 100 missing rows (2.5 % of all rows)",
        "zero: 1 row",
    ]
    from matplotlib.colors import to_hex
    from matplotlib.patches import StepPatch

    colours = [to_hex(patch.get_facecolor()) for patch in patches(figure, StepPatch)]
    assert colours == ["#d55e00", "#202020", "#d55e00"]
    assert {"corrupt", "hot spot: far more gathers there than chance would put"} <= set(
        texts(figure).splitlines()
    )


def test_a_place_whose_rows_do_not_stand_on_end_is_said_and_not_marked() -> None:
    figure = plot_along_source({"zero": np.arange(0, 900, 10)}, 900, [("zero", "every 10th row", None)])
    assert "zero: every 10th row" in texts(figure)
    assert "hot spot" not in texts(figure)


def test_damage_in_which_no_place_was_found_claims_no_more_than_that() -> None:
    assert plot_along_source({"zero": np.asarray([5, 900])}, 1000).get_suptitle() == (
        "2 of 1,000 rows are damaged; no place stands out beyond chance"
    )
    assert "Nothing is damaged" in texts(plot_along_source({}, 0))


def test_impact_says_what_it_costs() -> None:
    one = replace(impact((80, 15, 5)), collection="products")
    said = "products: recall@10 is 0.970; asked with their own vectors, 12.0 % of the records lost at least one of their right 10"
    assert said in " ".join(texts(plot_impact(one)).split())


@pytest.mark.parametrize("form", ["png", "svg"])
def test_hostile_labels_are_drawn_as_text_and_the_bytes_repeat(form: str) -> None:
    import io

    def drawn() -> list[bytes]:
        figures = (
            plot_kinds({"missing": 3}, title=HOSTILE),
            plot_along_source({HOSTILE: np.arange(10)}, 100, [(HOSTILE, HOSTILE, np.arange(100) < 10)]),
            plot_impact(impact((90, 10)), title=HOSTILE),
        )
        out = []
        for figure in figures:
            buffer = io.BytesIO()
            figure.savefig(
                buffer, format=form, metadata={"Date": None} if form == "svg" else {"Software": None}
            )
            out.append(buffer.getvalue())
            assert "\x1b" not in texts(figure)
        return out

    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "test"}):
        assert drawn() == drawn()


def test_a_notebook_shows_a_figure_without_pyplot() -> None:
    assert plot_kinds({})._repr_png_()[:4] == b"\x89PNG"  # type: ignore[attr-defined]


def test_matplotlib_is_imported_only_to_draw() -> None:
    code = (
        "import sys, vecforensics.diff.plots; sys.exit('matplotlib' in sys.modules or 'scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
