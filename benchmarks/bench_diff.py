"""How fast, how lean and how thorough is the diff, beside what people use instead?

For each size: plant faults (diff_plant.py), collect once, then run every contestant (diff_contestants.py) in turn, A B A B, each
as a whole process on files that lie in the page cache; medians of the repeats. Whoever takes over a minute runs once. The limit
L is reading all bytes of both sides of the evidence; times are given as multiples of it too, since seconds are this machine's.
Then the aims of the project stand beside what was measured, whether met or not.

    make bench-diff                                    make bench-diff ARGS="--rows 100000 --repeats 1 --only ours polars"
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from diff_aims import aims
from diff_contestants import CASE, CONTESTANTS
from diff_measure import Run, Score, run_process, score, warm
from diff_plant import HARMLESS, plant
from diff_tables import found_table, speed_table

HERE = Path(__file__).resolve().parent
PEERS_PYTHON = HERE.parent / ".cache" / "peers" / "bin" / "python"
NEEDS = {"duckdb-hash": "duckdb", "duckdb-exact": "duckdb", "polars": "polars", "datacompy": "datacompy"}
READS_EVIDENCE = frozenset({"limit", "mapped", "ours", "ours-1", "ours-twice", "ours-impact"})
SAYS_NOTHING = frozenset({"limit", "mapped", "decode", "freeze", "ours-twice"})
ONCE_BEYOND_S = 60.0
# Two sides, as evidence, as Parquet, and the evidence of the run from Parquet; ids and the rest come to a tenth.
COPIES = 2 * 3 * 1.1


def main() -> int:
    arguments = _arguments()
    sizes = [*arguments.rows, *([3_000_000] if arguments.with_3m else [])]
    place = arguments.work or Path(tempfile.gettempdir())
    needed = max(sizes) * arguments.dimension * 4 * COPIES
    free = shutil.disk_usage(place).free
    print(f"{needed / 1e9:.1f} GB are needed in {place}; {free / 1e9:.1f} GB are free", file=sys.stderr)
    if needed > 0.95 * free:
        print("bench_diff: not enough room; give fewer --rows, or another folder by --work", file=sys.stderr)
        return 2
    contestants = _at_hand([name for name in CONTESTANTS if name != "prepare"], arguments.only)
    machine = {
        "date": time.strftime("%Y-%m-%d"), "cpus": len(os.sched_getaffinity(0)), "processor": _processor(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30), "python": platform.python_version(),
    }  # fmt: skip
    results: dict[int, dict[str, Any]] = {}
    for rows in sizes:
        with tempfile.TemporaryDirectory(prefix="bench-diff-", dir=place) as folder:
            results[rows] = _one_size(Path(folder), rows, contestants, arguments)
        kept = "" if arguments.stored == "float32" else f", stored as {arguments.stored}"
        print(f"\n## {rows:,} records × {arguments.dimension}{kept}\n\n{speed_table(results[rows])}\n")
        print(f"{found_table(results[rows], HARMLESS)}\n", flush=True)
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        whole = {
            "machine": machine,
            "dimension": arguments.dimension,
            "stored": arguments.stored,
            "sizes": results,
        }
        arguments.json.write_text(json.dumps(whole, indent=2, default=asdict) + "\n", encoding="utf-8")
    print(f"## Aims\n\n{aims(results, arguments.dimension)}\n\nIn numbers: {arguments.json}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--with-3m", action="store_true", help="3,000,000 rows too (30 GB)")
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument(
        "--stored",
        choices=("float32", "float16"),
        default="float32",
        help="what the store keeps of a component",
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=sorted(CONTESTANTS), default=None)
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds after which a run is stopped")
    parser.add_argument("--work", type=Path, default=None, help="where the data lies meanwhile")
    parser.add_argument("--json", type=Path, default=HERE.parent / "reports" / "bench" / "diff.json")
    return parser.parse_args()


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _python(name: str) -> str:
    return str(PEERS_PYTHON) if name in NEEDS and PEERS_PYTHON.exists() else sys.executable


def _at_hand(names: list[str], only: list[str] | None) -> list[str]:
    """The contestants that can start. Without L nothing can be set in proportion."""
    there = []
    for name in names:
        if only is not None and name not in only and name != "limit":
            continue
        package = NEEDS.get(name)
        command = [_python(name), "-c", f"import {package or 'sys'}"]
        if package and subprocess.run(command, capture_output=True, check=False).returncode:
            print(f"{name} is left out: {package} is not installed; the extra [bench] brings it", file=sys.stderr)  # fmt: skip
            continue
        there.append(name)
    return there


def _one_size(folder: Path, rows: int, names: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    print(f"planting {rows:,} rows", file=sys.stderr, flush=True)
    planted = plant(folder, rows, dimension=arguments.dimension, stored=arguments.stored)
    (folder / "case.yaml").write_text(CASE, encoding="utf-8")
    _run("prepare", folder, arguments.timeout)
    runs: dict[str, list[Run]] = {name: [] for name in names}
    scores: dict[str, Score] = {}
    for repeat in range(arguments.repeats):
        for name in names:
            done = runs[name]
            if done and (done[0].stopped or done[0].wall_s > ONCE_BEYOND_S):
                continue
            done.append(_run(name, folder, arguments.timeout))
            print(f"{rows:>9,} {name:<13} {repeat + 1}: {done[-1].wall_s:7.2f} s", file=sys.stderr, flush=True)  # fmt: skip
            if repeat == 0 and name not in SAYS_NOTHING and not done[-1].stopped:
                scores[name] = score(folder / f"{name}.out", folder / "truth.parquet", list(HARMLESS))
    return {"rows": rows, "planted": planted, "runs": runs, "scores": scores}


def _run(name: str, folder: Path, timeout_s: float) -> Run:
    evidence = (folder / "run" / "evidence").rglob("*.arrow")
    warm(sorted(evidence if name in READS_EVIDENCE else folder.glob("*.parquet")))
    script = str(HERE / "diff_contestants.py")
    return run_process([_python(name), script, name, str(folder), str(folder / f"{name}.out")], timeout_s=timeout_s)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
