"""The measurements as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from statistics import median
from typing import Any

from diff_measure import Run, Score

LABELS = {
    "limit": "**L**: reading both evidence files",
    "mapped": "touching them through a memory map",
    "ours": "**vecforensics**, evidence: kinds, hot spots",
    "ours-1": "the same on one core",
    "ours-twice": "two of these at once, a core each",
    "ours-impact": "the same, and what the damage costs",
    "ours-parquet": "**vecforensics**, Parquet (collect + diff)",
    "decode": "only decoding the Parquet lists",
    "freeze": "decoding, writing, SHA-256 of both, no more",
    "duckdb-hash": "DuckDB, join on ids, hash of the vector",
    "duckdb-exact": "DuckDB, join on ids, vectors",
    "polars": "Polars, streaming join",
    "pandas": "pandas, row by row",
    "datacompy": "datacompy",
}
# What these find is what "ours" finds.
_SAME_ANSWER = frozenset({"ours-1", "ours-impact"})


def middle(runs: Sequence[Run], name: str) -> float:
    """The median of one figure over the runs."""
    return median(float(getattr(run, name)) for run in runs)


def in_turn(
    runs: Sequence[Run], beside: Sequence[Run], of: Callable[[Run], float] = lambda run: run.work_s
) -> list[float]:
    """How many times as long as `beside` each run took in the same turn, in order of size: a machine whose speed drifts from one
    minute to the next is the same machine within a turn."""
    return sorted(of(one) / other.work_s for one, other in zip(runs, beside, strict=False))


def spread(ratios: Sequence[float], digits: int, unit: str) -> str:
    """The median of ratios, and where they differ their range."""
    shown = f"{median(ratios):.{digits}f} {unit}"
    return shown if len(ratios) == 1 else f"{shown} ({ratios[0]:.{digits}f} to {ratios[-1]:.{digits}f})"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def speed_table(result: dict[str, Any]) -> str:
    """Time and memory, medians; `work` leaves the start of Python and the imports out, and is set against L turn by turn."""
    runs: dict[str, list[Run]] = result["runs"]
    rows = []
    for name, done in runs.items():
        if done[0].stopped:
            rows.append([LABELS[name], done[0].stopped, *["–"] * 5])
            continue
        rows.append(
            [
                LABELS[name], f"{middle(done, 'wall_s'):.2f}", f"{middle(done, 'work_s'):.2f}",
                f"{median(in_turn(done, runs['limit'])):.1f}",
                f"{max(run.rss_mb for run in done):,.0f}", f"{max(run.anonymous_mb for run in done):,.0f}", str(len(done)),
            ]
        )  # fmt: skip
    head = ("", "process s", "work s", "work / L", "peak RSS MB", "peak anonymous MB", "runs")
    return markdown(head, rows)


def found_table(result: dict[str, Any], harmless: Collection[str]) -> str:
    """What each found of what was planted: ours by the right name, the others as unequal at all; then the false alarms."""
    scores: dict[str, Score] = {
        name: one for name, one in result["scores"].items() if name not in _SAME_ANSWER
    }
    rows = []
    for kind, planted in result["planted"].items():
        if kind in harmless:
            continue
        cells = [(one.flagged if one.named is None else one.named)[kind] for one in scores.values()]
        rows.append([f"`{kind}`", f"{planted:,}", *(f"{cell:,}" for cell in cells)])
    alarms = ", ".join(f"{result['planted'][kind]:,} {kind}" for kind in sorted(harmless))
    of = sum(result["planted"][kind] for kind in harmless)
    rows.append(
        [f"false alarms on harmless rows ({alarms})", f"{of:,}", *(f"{one.false_harmless:,}" for one in scores.values())]
    )  # fmt: skip
    rows.append(["false alarms on untouched rows", "", *(f"{one.false_clean:,}" for one in scores.values())])
    named = ["named" if one.named is not None else "only flagged" for one in scores.values()]
    heads = [f"{name} ({how})" for name, how in zip(scores, named, strict=True)]
    return markdown(("kind", "planted", *heads), rows)
