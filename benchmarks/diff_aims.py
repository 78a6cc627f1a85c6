"""The aims that the project set itself, and what was measured: side by side, met or not. Ratios are taken turn by turn. Below two
of them stands the floor (diff_floors.py) that any program would meet on this machine."""

from __future__ import annotations

from statistics import median
from typing import Any

from diff_measure import Run
from diff_tables import in_turn, markdown, middle, spread

PEERS = ("duckdb-hash", "duckdb-exact", "polars", "pandas", "datacompy")
# Anonymous memory that a diff may take.
BASE_MB, BYTES_A_ROW = 250, 32

Line = tuple[str, str, str, bool | None]
"""What, the aim, what was measured, and whether it was met; None for a floor, which is no aim."""


def aims(results: dict[int, dict[str, Any]], dimension: int) -> str:
    """One line an aim and size; an aim whose contestants did not run is left out."""
    lines: list[Line] = []
    for rows, result in results.items():
        runs = {name: done for name, done in result["runs"].items() if done and not done[0].stopped}
        lines += _of_one_size(f"{rows:,}", rows, runs, dimension)
    sizes = [rows for rows in sorted(results) if results[rows]["runs"].get("ours")]
    if len(sizes) > 1:
        first, last = (
            middle(results[rows]["runs"]["ours"], "work_s") / rows for rows in (sizes[0], sizes[-1])
        )
        lines.append(
            (f"time a row at {sizes[-1]:,} against {sizes[0]:,}", "at most 1.3 ×", f"{last / first:.2f} ×", last <= 1.3 * first)
        )  # fmt: skip
    head = ("aim", "set", "measured", "met")
    said = {True: "yes", False: "**no**", None: ""}
    return markdown(head, [(what, aim, got, said[met]) for what, aim, got, met in lines])


def _of_one_size(size: str, rows: int, runs: dict[str, list[Run]], dimension: int) -> list[Line]:
    lines: list[Line] = []

    def work(name: str) -> float:
        return middle(runs[name], "work_s")

    if "ours" not in runs:
        return lines
    ours = work("ours")
    ratios = in_turn(runs["ours"], runs["limit"])
    lines.append(
        (f"{size}: the diff of evidence", "at most 2.0 L", spread(ratios, 2, "L"), median(ratios) <= 2)
    )
    anonymous = max(run.anonymous_mb for run in runs["ours"])
    most = BASE_MB + BYTES_A_ROW * rows / 2**20
    lines.append(
        (f"{size}: anonymous memory", f"at most {most:.0f} MB", f"{anonymous:.0f} MB", anonymous <= most)
    )
    if dimension == 384:
        lines.append(
            (f"{size}: 200,000 rows in a second", f"at most {rows / 200_000:.1f} s", f"{ours:.2f} s", ours <= rows / 200_000)
        )  # fmt: skip
    if "ours-1" in runs:
        gains = in_turn(runs["ours-1"], runs["ours"])
        lines.append(
            (f"{size}: two cores over one", "at least 1.6 ×", spread(gains, 2, "×"), median(gains) >= 1.6)
        )
    if "ours-1" in runs and "ours-twice" in runs:
        gains = [2 * ratio for ratio in in_turn(runs["ours-1"], runs["ours-twice"])]
        lines.append((f"{size}: … two diffs that share nothing, over one", "", spread(gains, 2, "×"), None))
    if "pandas" in runs:
        faster = in_turn(runs["pandas"], runs["ours"])
        leaner = max(run.anonymous_mb for run in runs["pandas"]) / anonymous
        lines += [
            (
                f"{size}: faster than pandas row by row",
                "at least 10 ×",
                spread(faster, 1, "×"),
                median(faster) >= 10,
            ),
            (f"{size}: leaner than pandas row by row", "at least 10 ×", f"{leaner:.1f} ×", leaner >= 10),
        ]
    peers = {name: work(name) for name in PEERS if name in runs}
    if peers:
        best = min(peers, key=lambda name: peers[name])
        lines.append(
            (f"{size}: ahead of every other tool", f"below {peers[best]:.2f} s ({best})", f"{ours:.2f} s", ours < peers[best])
        )  # fmt: skip
    if "ours-parquet" in runs and "decode" in runs:
        ratios = in_turn(runs["ours-parquet"], runs["decode"], _collect_s)
        lines.append(
            (f"{size}: collect against only decoding", "at most 1.3 ×", spread(ratios, 2, "×"), median(ratios) <= 1.3)
        )  # fmt: skip
    if "freeze" in runs and "decode" in runs:
        ratios = in_turn(runs["freeze"], runs["decode"])
        lines.append((f"{size}: … writing and SHA-256 alone, against it", "", spread(ratios, 2, "×"), None))
    if "ours-parquet" in runs and "freeze" in runs:
        ratios = in_turn(runs["ours-parquet"], runs["freeze"], _collect_s)
        lines.append((f"{size}: … collect against these", "", spread(ratios, 2, "×"), None))
    return lines


def _collect_s(run: Run) -> float:
    return float(run.said["collect_s"])
