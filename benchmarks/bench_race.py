"""How many schedules a second, and how few until the failure, beside fast-check and beside what Python allows at all?

One program (race_programs.py, and the same in race_programs.js): embed, fetch and upsert of each record, parents before children.
1. Schedules a second, every contestant in turn, A B A B, each warm; each must make the same number of choices, or the benchmark
   stops. Ours also with a process a core, as the command line does it; fast-check has one. A ratio is one within a turn, whose
   contestants come seconds apart, and the median of the turns is given: so a machine that slows down for a while spoils nothing.
2. Schedules until the first failure where one write of n is not waited for, by strategy.
3. The program that waits for everything, proved. 4. The witness at the largest n.
5. Every broken form of the catalogue and of the tests, with the default strategies.
6. How the time of one schedule grows with its records, in both languages.
Then the aims of the project stand beside what was measured, whether met or not.

    make bench-race                       make bench-race ARGS="--seconds-per-contestant 5 --n 10 100 --search-seconds 5"
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import race_programs
from race_contestants import FAST_CHECK, Node, crews, lab_of, players, searchers
from race_tables import aims, tables

from vecforensics.race import catalogue, explore, generate_records
from vecforensics.race.crew import usable_cores
from vecforensics.race.own_thread import in_own_thread

HERE = Path(__file__).resolve().parent
RECORDS = 100
WARM_UP_S = 1.0  # Node: after it fast-check is some tenth quicker; Python needs a few schedules
COLLECT_EVERY = 256  # as explore does: the collector is off in between
CAPS = {10: 5_000, 100: 5_000}
CAP_BEYOND = 2_000
SEEDED = frozenset({"random", "pct"})
CATALOGUE_RECORDS, CATALOGUE_CAP = 12, 5_000
GROWTH_TURNS = 5

Turn = tuple[float, float, int, int]
"""Schedules a second of the wall's clock and of processor time, fewest and most choices of a schedule."""


def main() -> int:
    arguments = _arguments()
    node = Node.at_hand()
    try:
        results = {
            "machine": _machine(),
            "speed": _speed(arguments, node),
            "search": _search(arguments, node),
            "proof": _proof(),
            "witness": _witness(max(arguments.n)),
            "catalogue": _catalogue(),
            "growth": _growth(arguments.growth),
        }
    finally:
        if node is not None:
            node.close()
    print(f"{tables(results)}\n\n## Aims\n\n{aims(results)}\n")
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"In numbers: {arguments.json}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds-per-contestant", type=float, default=9.0, metavar="S")
    parser.add_argument("--rounds", type=int, default=9, help="turns into which those seconds are divided")
    parser.add_argument("--n", type=int, nargs="+", default=[10, 100, 1_000])
    parser.add_argument("--search-seconds", type=float, default=10.0, help="after which one search gives up")
    parser.add_argument("--seeds", type=int, default=3, help="searches by each strategy that draws lots")
    parser.add_argument(
        "--growth", type=int, nargs="+", default=[1_000, 7_000], help="records of one schedule"
    )
    parser.add_argument("--json", type=Path, default=HERE.parent / "reports" / "bench" / "race.json")
    return parser.parse_args()


def _machine() -> dict[str, Any]:
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpus": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "fast_check": FAST_CHECK,
    }


# --- 1: schedules a second -----------------------------------------------------------------------------------------------


def _speed(arguments: argparse.Namespace, node: Node | None) -> dict[str, Any]:
    records, seconds = generate_records(RECORDS), arguments.seconds_per_contestant / arguments.rounds
    expected = race_programs.OPERATIONS * RECORDS
    contestants: dict[str, Callable[[int], Turn]] = {
        name: lambda _, play=play: in_own_thread(lambda: _played(play, seconds))  # type: ignore[misc]
        for name, play in players(records, seed=1).items()
    }
    contestants |= {
        name: lambda _, crew=crew: crew(seconds, expected)  # type: ignore[misc]
        for name, crew in crews(records, seed=1, processes=usable_cores()).items()
    }
    if node is not None:
        for wait in ("waitFor", "waitIdle"):
            contestants[f"fast-check {wait}"] = lambda turn, wait=wait: _by_node(
                node, records, wait, seconds, turn
            )  # type: ignore[misc]
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    cpu_rates: dict[str, list[float]] = {name: [] for name in contestants}
    choices: dict[str, tuple[int, int]] = {}
    names = list(contestants)
    for turn in range(arguments.rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:  # nobody is always the first
            rate, by_cpu, least, most = contestants[name](turn)
            assert least == most == expected, f"{name} made {least} to {most} choices instead of {expected}"
            rates[name].append(round(rate, 1))
            cpu_rates[name].append(round(by_cpu, 1))
            choices[name] = (least, most)
    early = (
        node.ask(records, "speed", "waitAll", seconds=0.2, warm_up=0.0, seed=1)["choices"]
        if node is not None
        else None
    )
    return {
        "records": RECORDS, "expected": expected, "seconds": seconds, "rounds": arguments.rounds,
        "rates": rates, "cpu_rates": cpu_rates, "choices": choices, "waitAll_choices": early,
    }  # fmt: skip


def _played(play: Callable[[], int], seconds: float) -> Turn:
    for _ in range(8):
        play()
    least, most, count = math.inf, 0, 0
    began, cpu = time.perf_counter(), time.process_time()
    while (passed := time.perf_counter() - began) < seconds:
        made = play()
        least, most, count = min(least, made), max(most, made), count + 1
        if count % COLLECT_EVERY == 0:
            gc.collect()
    return count / passed, count / (time.process_time() - cpu), int(least), most


def _by_node(node: Node, records: Any, wait: str, seconds: float, turn: int) -> Turn:
    answer = node.ask(records, "speed", wait, seconds=seconds, warm_up=WARM_UP_S, seed=57 + 10_000 * turn)
    least, most = answer["choices"]
    count = answer["schedules"]
    return count / answer["seconds"], count / answer["cpu_s"], least, most


# --- 2: schedules until the first failure -----------------------------------------------------------------------------------


def _search(arguments: argparse.Namespace, node: Node | None) -> list[dict[str, Any]]:
    rows = []
    seeds = list(range(1, arguments.seeds + 1))
    for n in arguments.n:
        records, cap = generate_records(n), CAPS.get(n, CAP_BEYOND)
        forgotten = race_programs.middle_childless(records)
        for name in searchers(0):
            tries = [
                in_own_thread(lambda name=name, seed=seed, cap=cap: _sought(name, seed, records, cap, arguments.search_seconds))  # noqa: B023
                for seed in (seeds if name in SEEDED else seeds[:1])
            ]  # fmt: skip
            rows.append({"n": n, "strategy": name, "cap": cap, "tries": tries})
        if node is not None and n <= 100:
            answer = node.ask(
                records,
                "find",
                "waitFor",
                cap=cap,
                seconds=arguments.search_seconds,
                seeds=seeds,
                forgotten=forgotten,
            )
            tries = [
                {
                    "found": found,
                    "played": played,
                    "seconds": None,
                    "ended": "time" if played < cap else "cap",
                }
                for found, played in zip(answer["found"], answer["played"], strict=True)
            ]
            rows.append({"n": n, "strategy": "fast-check waitFor", "cap": cap, "tries": tries})
    return rows


def forgetting(records: Any) -> Callable[..., Any]:
    return race_programs.forgetting(race_programs.middle_childless(records))


def _sought(name: str, seed: int, records: Any, cap: int, seconds: float) -> dict[str, Any]:
    """`ended`: why a search without a find ended; "everything" where the strategy had no further schedule."""
    lab, strategy = lab_of(forgetting(records), records), searchers(seed)[name]()
    played, found, ended = 0, None, "cap"
    began = time.perf_counter()
    while played < cap:
        if time.perf_counter() - began > seconds:
            ended = "time"
            break
        run = strategy.step(lab)
        if run is None:
            ended = "everything"
            break
        played += 1
        if run.failing:
            found, ended = played, ""
            break
        if played % COLLECT_EVERY == 0:
            gc.collect()
    passed = round(time.perf_counter() - began, 3)
    return {"found": found, "played": played, "seconds": passed, "ended": ended}


# --- 3 to 6: proof, witness, catalogue, growth --------------------------------------------------------------------------------


def _timed(question: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    answer = question()
    return answer, round(time.perf_counter() - began, 3)


def _proof() -> dict[str, Any]:
    times = []
    for _ in range(5):
        found, passed = _timed(lambda: explore(race_programs.barrier, records=RECORDS, prove=True))
        times.append(passed)
    certificate = found.certificate
    return {
        "records": certificate.records, "verdict": str(found.verdict), "exhaustive": certificate.exhaustive,
        "schedules": sum(item.schedules for item in certificate.passes if item.exhaustive),
        "all_schedules": certificate.schedules, "choices": certificate.choices,
        "seconds": median(times), "all_seconds": times,
    }  # fmt: skip


def _witness(n: int) -> dict[str, Any]:
    migrate = forgetting(generate_records(n))
    found, passed = _timed(lambda: explore(migrate, records=n, strategy="dpor", survey=0))
    witness = found.witness
    assert witness is not None
    return {
        "n": n, "found_at": found.schedules_to_first_failure, "records": [item.id for item in witness.records],
        "constraints": [item.text for item in witness.constraints], "shrink_schedules": witness.shrink_schedules,
        "kinds": witness.kinds, "seconds": passed, "leaks": witness.leaks,
    }  # fmt: skip


def _catalogue() -> dict[str, Any]:
    rows = []
    for name in catalogue.NAMES:
        facts = catalogue.entry(name).pattern
        rows.append(_broken(name, catalogue.entry(name).broken, facts.faults, facts.versions))
    rows += [_broken(function.__name__, function) for function in _broken_of_the_tests()]
    return {"records": CATALOGUE_RECORDS, "cap": CATALOGUE_CAP, "rows": rows}


def _broken(
    name: str, function: Callable[..., Any], faults: tuple[str, ...] = (), versions: bool = False
) -> dict[str, Any]:
    found, passed = _timed(
        lambda: explore(
            function,
            records=CATALOGUE_RECORDS,
            schedules=CATALOGUE_CAP,
            survey=0,
            faults=faults,
            versions=versions,
        )
    )
    return {
        "name": name, "schedules": found.schedules_to_first_failure, "seconds": passed,
        "strategy": found.witness.found_by if found.witness is not None else None,
        "kinds": found.kinds, "faults": faults, "driver": found.certificate.driver,
    }  # fmt: skip


def _broken_of_the_tests() -> list[Callable[..., Any]]:
    folder = HERE.parent / "tests" / "race"
    if not (folder / "broken_migrations.py").is_file():
        return []
    sys.path.append(str(folder))
    return [function for function, _ in importlib.import_module("broken_migrations").ALL]


def _growth(sizes: list[int]) -> list[dict[str, Any]]:
    """Processor time, with the collector off as in an exploration; the sizes take turns."""
    programs = {n: players(generate_records(n), seed=1) for n in sizes}
    rows = []
    for name in ("random", "javascript"):
        if name in programs[sizes[0]]:
            turns = [{n: _cpu_s(programs[n][name]) for n in sizes} for _ in range(GROWTH_TURNS + 1)][1:]
            rows.append({"strategy": name, "seconds": {n: [turn[n] for turn in turns] for n in sizes}})
    return rows


def _cpu_s(play: Callable[[], int]) -> float:
    def timed() -> float:
        gc.collect()
        gc.disable()
        began = time.process_time()
        play()
        passed = time.process_time() - began
        gc.enable()
        return passed

    return in_own_thread(timed)


if __name__ == "__main__":
    raise SystemExit(main())
