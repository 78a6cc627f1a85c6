"""Several processes for one search: the schedules of a strategy that draws lots, played in ranges of their numbers.

Such a schedule depends on nothing but the seed and its number (`Seeded`), so it does not matter who plays it. The workers are
copies of this process, made before the search begins: same suspect, same records, same hashes of texts. This process hands out
ranges and takes the results in the order of the numbers; what comes out is what one process would have found, to the byte.

A worker that dies, fails or falls silent is given up. What it owes is played here, and raises here whatever it raises.

A process is copied only while Python runs a single thread in it (not in a notebook, then), and only on Linux, where a copy is
safe. Threads that libraries keep for themselves (numpy's for linear algebra) are not copied, and not needed.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Final

from vecforensics.race.driver import Program
from vecforensics.race.own_thread import in_own_thread
from vecforensics.race.play import Run
from vecforensics.race.strategies.lab import Lab, Seeded
from vecforensics.race.strategies.pct import Pct
from vecforensics.race.strategies.uniform import Uniform
from vecforensics.race.watchdog import PATIENCE_S
from vecforensics.race.world import Ground

__all__ = ["SEEDED", "Crew", "Played", "usable_cores"]

SEEDED: Final[dict[str, type[Seeded]]] = {"pct": Pct, "random": Uniform}
_COLLECT_EVERY: Final = 256  # schedules; as in a search by one process
_RANGE: Final = 24  # schedules handed out at a time, two ranges to each worker
_TELL_S: Final = 0.02
_SILENCE_S: Final = PATIENCE_S + 15.0  # a worker's own watchdog speaks up before that


@dataclass(frozen=True, slots=True)
class Played:
    """What a search needs of one schedule. `kinds`, `choices`: of one that fails."""

    length: int
    cut: bool
    tasks: int
    kinds: tuple[str, ...] = ()
    choices: tuple[int, ...] = ()

    @classmethod
    def of(cls, run: Run, tasks: int = 1) -> Played:
        kinds = run.outcome.kinds
        return cls(len(run.choices), run.cut, tasks, kinds, tuple(run.choices) if kinds else ())


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class _Worker:
    process: BaseProcess
    line: Connection
    owes: deque[range] = field(default_factory=deque)
    heard_s: float = 0.0


class Crew:
    """To be closed. Holds for one program on one ground."""

    def __init__(self, program: Program, ground: Ground, workers: int) -> None:
        self.program, self.ground = program, ground
        self._job = 0
        self._workers: list[_Worker] = []
        fork = multiprocessing.get_context("fork")
        gc.freeze()  # what the copies share they leave alone, or the collector would copy it page by page
        try:
            for _ in range(workers):
                here, there = fork.Pipe()
                inherited = [*(worker.line for worker in self._workers), here]
                process = fork.Process(target=_work, args=(there, inherited, program, ground), daemon=True)
                process.start()
                there.close()
                self._workers.append(_Worker(process, here))
        finally:
            gc.unfreeze()

    @classmethod
    def muster(cls, program: Program, ground: Ground, workers: int) -> Crew | None:
        """None where one process is all there is to be had."""
        if workers < 2 or sys.platform != "linux" or threading.active_count() > 1:
            return None
        with warnings.catch_warnings():
            # What Python 3.12 says of any thread, also of those that libraries keep for themselves.
            warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
            return cls(program, ground, workers)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in list(self._workers):
            self._give_up(worker)

    @property
    def pids(self) -> list[int]:
        """Of the workers that are still at work."""
        return [worker.process.pid or 0 for worker in self._workers]

    def serves(self, lab: Lab) -> bool:
        """Whether schedules of `lab` can be played here."""
        return bool(self._workers) and lab.program is self.program and lab.ground is self.ground

    def play(self, strategy: Seeded, lab: Lab, count: int) -> Iterator[Played]:
        """The next `count` schedules of `strategy`, in order. One may leave early: what was played in advance is forgotten,
        and `strategy` stands where the last one taken has left it."""
        self._job += 1
        job = self._job
        if strategy.number == 0 and count:
            yield Played.of(strategy.step(lab), strategy.tasks)
            count -= 1
        begin, end = strategy.number, strategy.number + count
        ahead = begin  # the first number that nobody has been asked for
        order = {
            "job": job, "strategy": strategy.name, "seed": strategy.seed, "length": strategy.length, "plan": dict(lab.plan),
            "fine": lab.fine,
        }  # fmt: skip
        known: dict[int, Played] = {}
        for worker in self._workers:
            worker.owes.clear()
        for number in range(begin, end):
            while number not in known:
                ahead = self._hand_out(ahead, end, order)
                if not any(number in one for worker in self._workers for one in worker.owes):
                    run = strategy.play(lab, number)
                    known[number] = Played.of(run, strategy.tasks)
                    break
                self._listen(job, known)
            strategy.number = number + 1
            played = known.pop(number)
            strategy.tasks = max(strategy.tasks, played.tasks)
            yield played

    def _hand_out(self, ahead: int, end: int, order: dict[str, Any]) -> int:
        """Keep two ranges with every worker. Gives the first number of those that are left."""
        for already in (
            0,
            1,
        ):  # the first range of each, then the second, so that the results come in about their order
            for worker in list(self._workers):
                if ahead == end or len(worker.owes) != already:
                    continue
                one = range(ahead, min(ahead + _RANGE, end))
                try:
                    worker.line.send_bytes(
                        json.dumps({**order, "begin": one.start, "end": one.stop}).encode()
                    )
                except OSError:
                    self._give_up(worker)
                    continue
                if not worker.owes:
                    worker.heard_s = time.monotonic()
                worker.owes.append(one)
                ahead = one.stop
        return ahead

    def _listen(self, job: int, known: dict[int, Played]) -> None:
        """Take what the workers tell, and give up those that have died or fallen silent."""
        told = set(wait([worker.line for worker in self._workers], timeout=1.0))
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.line in told:
                try:
                    of, number, entries = json.loads(worker.line.recv_bytes())
                except (EOFError, OSError, ValueError):
                    self._give_up(worker)
                    continue
                worker.heard_s = now
                if of != job:
                    continue  # of a search that was left early
                for length, cut, tasks, kinds, choices in entries:
                    known[number] = Played(length, cut, tasks, tuple(kinds), tuple(choices))
                    number += 1
                while worker.owes and number >= worker.owes[0].stop:
                    worker.owes.popleft()
            elif worker.owes and now - worker.heard_s > _SILENCE_S:
                self._give_up(worker)

    def _give_up(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.line.close()
        worker.process.kill()
        worker.process.join()


# --- the worker's side -------------------------------------------------------------------------------------------------------


def _work(line: Connection, inherited: Sequence[Connection], program: Program, ground: Ground) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who waits
    for other in inherited:
        other.close()
    # Whatever goes wrong is played again, and raised, by the one who is told that this worker has gone.
    with suppress(BaseException):
        in_own_thread(partial(_serve, line, program, ground))
    line.close()


def _serve(line: Connection, program: Program, ground: Ground) -> None:
    while True:
        order = json.loads(line.recv_bytes())
        lab = Lab(program, ground, order["plan"], order["fine"])
        strategy = SEEDED[order["strategy"]](order["seed"])
        strategy.length = order["length"]
        entries: list[Any] = []
        number, told_s = order["begin"], time.monotonic()
        for place in range(order["begin"], order["end"]):
            played = Played.of(strategy.play(lab, place), strategy.tasks)
            entries.append([played.length, played.cut, played.tasks, played.kinds, played.choices])
            if place + 1 == order["end"] or time.monotonic() - told_s > _TELL_S:
                line.send_bytes(json.dumps([order["job"], number, entries]).encode())
                entries, number, told_s = [], place + 1, time.monotonic()
            if place % _COLLECT_EVERY == 0:
                gc.collect()
