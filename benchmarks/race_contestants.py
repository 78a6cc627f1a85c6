"""Who plays schedules in bench_race.py, each as something that is called for one schedule and says how many choices it made."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import race_programs
from race_floors import AsyncioFloor, BareStepper

from vecforensics.race.coroutines import AsyncioProgram
from vecforensics.race.crew import SEEDED, Crew
from vecforensics.race.own_thread import in_own_thread
from vecforensics.race.strategies.dpor import Dpor
from vecforensics.race.strategies.fifo import Fifo
from vecforensics.race.strategies.lab import Lab, Strategy
from vecforensics.race.strategies.pct import Pct
from vecforensics.race.strategies.uniform import Uniform
from vecforensics.race.strategies.withhold import Withhold
from vecforensics.race.world import Ground
from vecforensics.records import Record

__all__ = ["FAST_CHECK", "Node", "crews", "lab_of", "players", "searchers"]

HERE = Path(__file__).resolve().parent
FAST_CHECK = "4.10.2"
_WARM_UP = 256  # schedules, until all processes are under way


def lab_of(function: Callable[..., Any], records: Sequence[Record]) -> Lab:
    return Lab(AsyncioProgram(function, function.__name__, (race_programs.__file__,)), Ground(records))


def _each(lab: Lab, strategy: Callable[[], Strategy], fresh: bool = False) -> Callable[[], int]:
    """`fresh`: a strategy that ends after a few schedules is begun anew for each."""
    one = strategy()

    def play() -> int:
        run = (strategy() if fresh else one).step(lab)
        assert run is not None
        assert not run.failing, "the barrier does not hold"
        return len(run.choices)

    return play


def players(records: Sequence[Record], seed: int) -> dict[str, Callable[[], int]]:
    """The contestants in Python, on the program that waits for everything."""
    lab = lab_of(race_programs.barrier, records)
    found = {
        "random": _each(lab, lambda: Uniform(seed)),
        "pct": _each(lab, lambda: Pct(seed)),
        "dpor": _each(lab, Dpor, fresh=True),
        "fifo": _each(lab, Fifo, fresh=True),
        "asyncio-floor": AsyncioFloor(records, seed),
        "stepper": BareStepper(records, seed),
    }
    if importlib.util.find_spec("quickjs") is None:
        print(
            "javascript is left out: quickjs-ng is not installed; the extra [js] brings it", file=sys.stderr
        )
        return found
    from vecforensics.race.javascript import JavaScriptProgram

    script = Lab(JavaScriptProgram.load(HERE / "race_programs.js"), Ground(records))
    return {"javascript": _each(script, lambda: Uniform(seed)), **found}


def crews(
    records: Sequence[Record], seed: int, processes: int
) -> dict[str, Callable[[float, int], tuple[float, float, int, int]]]:
    """The sampling strategies in several processes. Each is called with the seconds that it has and the choices that a schedule
    must make, and gives schedules a second of the wall's clock and of all processes' processor time, fewest and most choices."""
    if processes < 2:
        return {}
    lab = lab_of(race_programs.barrier, records)

    def turn(name: str, seconds: float, expected: int) -> tuple[float, float, int, int]:
        with Crew(lab.program, lab.ground, processes) as crew:
            turned: tuple[float, float, int, int] = in_own_thread(
                lambda: sampled(crew, name, seconds, expected)
            )
        return turned

    def sampled(crew: Crew, name: str, seconds: float, expected: int) -> tuple[float, float, int, int]:
        least, most, cpu, began = expected, expected, 0.0, 0.0
        for number, played in enumerate(crew.play(SEEDED[name](seed), lab, 10**9), -_WARM_UP):
            assert not played.kinds, "the barrier does not hold"
            now = time.perf_counter()
            if number == 0:
                began, cpu = now, _processor_time(crew)
            least, most = min(least, played.length), max(most, played.length)
            if number > 0 and now - began >= seconds:
                return number / (now - began), number / (_processor_time(crew) - cpu), least, most
        raise AssertionError("schedules have no end")

    return {f"{name} x {processes}": partial(turn, name) for name in SEEDED}


def _processor_time(crew: Crew) -> float:
    """Of this process and of its crew, in seconds."""
    times = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13] for pid in crew.pids]
    return time.process_time() + sum(int(ticks) for both in times for ticks in both) / os.sysconf(
        "SC_CLK_TCK"
    )


def searchers(seed: int) -> dict[str, Callable[[], Strategy]]:
    return {
        "fifo": Fifo,
        "withhold": Withhold,
        "dpor": Dpor,
        "pct": lambda: Pct(seed),
        "random": lambda: Uniform(seed),
    }


class Node:
    """fast-check in a process of its own, installed by npm into a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def at_hand(cls) -> Node | None:
        """None, with the reason on stderr, where it cannot be had."""
        npm = shutil.which("npm")
        if npm is None or shutil.which("node") is None:
            print("fast-check is left out: node and npm are not installed", file=sys.stderr)
            return None
        folder = Path(tempfile.mkdtemp(prefix="bench-race-"))
        command = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts"]
        done = None
        with suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                [*command, f"fast-check@{FAST_CHECK}"],
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
        if done is None or done.returncode:
            reason = (
                (done.stderr.strip().splitlines() or ["no reason given"])[-1]
                if done
                else "no answer in 120 s"
            )
            print(f"fast-check is left out: npm could not install it ({reason})", file=sys.stderr)
            shutil.rmtree(folder, ignore_errors=True)
            return None
        return cls(folder)

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def ask(self, records: Sequence[Record], what: str, wait: str, **question: Any) -> dict[str, Any]:
        users = [
            {"id": item.id, "text": item.text, "metadata": item.metadata, "dependsOn": item.depends_on}
            for item in records
        ]
        whole = {
            "fast_check": str(self._folder), "program": str(HERE / "race_programs.js"), "users": users,
            "what": what, "wait": wait, **question,
        }  # fmt: skip
        place = self._folder / "question.json"
        place.write_text(json.dumps(whole), encoding="utf-8")
        done = subprocess.run(
            ["node", str(HERE / "race_node.mjs"), str(place)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"bench_race: node ended with {done.returncode}\n{done.stderr.strip()}")
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer
