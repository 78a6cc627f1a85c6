"""The aims that the project set itself, and what was measured: side by side, met or not."""

from __future__ import annotations

from typing import Any

from diff_measure import Run
from diff_tables import markdown, middle

PEERS = ("duckdb-hash", "duckdb-exact", "polars", "pandas", "datacompy")
# Anonymous memory that a diff may take.
BASE_MB, BYTES_A_ROW = 250, 32


def aims(results: dict[int, dict[str, Any]], dimension: int) -> str:
    """One line an aim and size; an aim whose contestants did not run is left out."""
    lines: list[tuple[str, str, str, bool]] = []
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
    return markdown(head, [(what, aim, got, "yes" if met else "**no**") for what, aim, got, met in lines])


def _of_one_size(
    size: str, rows: int, runs: dict[str, list[Run]], dimension: int
) -> list[tuple[str, str, str, bool]]:
    lines: list[tuple[str, str, str, bool]] = []

    def work(name: str) -> float:
        return middle(runs[name], "work_s")

    if "ours" not in runs:
        return lines
    ours, unit = work("ours"), work("limit")
    lines.append((f"{size}: the diff of evidence", "at most 2.0 L", f"{ours / unit:.1f} L", ours <= 2 * unit))
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
        gain = work("ours-1") / ours
        lines.append((f"{size}: two cores over one", "at least 1.6 ×", f"{gain:.2f} ×", gain >= 1.6))
    if "pandas" in runs:
        faster = work("pandas") / ours
        leaner = max(run.anonymous_mb for run in runs["pandas"]) / anonymous
        lines += [
            (f"{size}: faster than pandas row by row", "at least 10 ×", f"{faster:.1f} ×", faster >= 10),
            (f"{size}: leaner than pandas row by row", "at least 10 ×", f"{leaner:.1f} ×", leaner >= 10),
        ]
    peers = {name: work(name) for name in PEERS if name in runs}
    if peers:
        best = min(peers, key=lambda name: peers[name])
        lines.append(
            (f"{size}: ahead of every other tool", f"below {peers[best]:.2f} s ({best})", f"{ours:.2f} s", ours < peers[best])
        )  # fmt: skip
    if "ours-parquet" in runs and "decode" in runs:
        collect = sorted(run.said["collect_s"] for run in runs["ours-parquet"])
        ratio = collect[len(collect) // 2] / work("decode")
        lines.append(
            (f"{size}: collect against only decoding", "at most 1.3 ×", f"{ratio:.2f} ×", ratio <= 1.3)
        )
    return lines
