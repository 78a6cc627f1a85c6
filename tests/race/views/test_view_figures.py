"""Figures: the finding is the title, the numbers are those of the data, and the same data give the same bytes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from vecforensics.race.rehearsal import Curve, CurvePoint, Metric, Physics, Rehearsal, Share
from vecforensics.race.views.figures import before_after_figure, failure_figure, search_figure


def curve(*values: float) -> Curve:
    points = tuple(
        CurvePoint(
            2**n, Share(value, max(0, value - 0.1), min(1, value + 0.1), 40), Share(value / 2, 0, value, 40)
        )
        for n, value in enumerate(values)
    )
    return Curve("migration.py:migrate", points, Physics(), 7)


def rehearsal() -> Rehearsal:
    metrics = (
        Metric("error_rate", "share", Share(0.34, 0.31, 0.37, 50), Share(0, 0, 0, 50), "simulated"),
        Metric("latency_ms", "ms", Share(200, 190, 210, 50), Share(120, 117, 123, 50), "simulated"),
        Metric("crashes", "count", Share(5, 1.6, 11, 50), Share(0, 0, 3.5, 50), "simulated"),
    )
    return Rehearsal((), (), metrics, Physics(), Physics(), 7, "before.js", "after.js")


def test_title_of_the_curve_is_its_finding() -> None:
    axes = failure_figure(curve(0, 0.2, 0.9), observed=0.34).axes[0]
    assert axes.get_title(loc="left") == "90 % of simulated runs fail at concurrency 4, none at 1"
    assert list(axes.lines[0].get_ydata()) == [0, 0.2, 0.9]
    assert failure_figure(curve(0, 0)).axes[0].get_title(loc="left").startswith("No run failed")


def test_search_figure_names_the_best_and_says_what_was_not_found() -> None:
    figure = search_figure(
        {"dpor": {10: 2, 100: 2}, "random": {10: 80, 100: None}}, "One forgotten await in n"
    )
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "One forgotten await in n: dpor finds it in 2 schedules at n = 100"
    texts = [text.get_text() for text in axes.texts]
    assert any("not found (n = 100)" in text for text in texts)
    assert any("80" in text for text in texts)
    nowhere = search_figure({"random": {10: None}}, "x").axes[0].get_title(loc="left")
    assert nowhere == "x: no strategy found it at n = 10"


def test_before_and_after_stand_side_by_side_with_their_numbers() -> None:
    figure = before_after_figure(rehearsal())
    assert figure._suptitle is not None
    assert (
        figure._suptitle.get_text()
        == "error rate 34 % → 0 %; latency 200 ms → 120 ms; crashes 5 of 50 → 0 of 50"
    )
    heights = [[bar.get_height() for bar in axes.patches] for axes in figure.axes]
    assert heights == [[0.34, 0], [200, 120], [5, 0]]


@pytest.mark.parametrize("kind", ["curve", "search", "pair"])
def test_same_data_same_bytes(kind: str, tmp_path: Path) -> None:
    def png() -> bytes:
        made = {
            "curve": lambda: failure_figure(curve(0, 0.5)),
            "search": lambda: search_figure({"fifo": {3: 1}}, "x"),
            "pair": lambda: before_after_figure(rehearsal()),
        }[kind]()
        buffer = io.BytesIO()
        made.savefig(buffer, format="png", metadata={"Software": None})
        return buffer.getvalue()

    assert png() == png()
