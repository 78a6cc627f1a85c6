"""The same schedule in other processes: does the suspect turn on how this process happens to hash text?

The order of a set of texts, and `hash` of one, are the same all through one process and differ in the next (PYTHONHASHSEED). Two
runs in this process cannot show it. So where the person's files make sets or ask for hashes, the schedule is played in a few
further processes, each with a hash seed of its own, and what they saw is compared. Fixed seeds: the same question has the
same answer. A function that was handed over (from a notebook cell, say) cannot be begun again elsewhere.

`python -m vecforensics.race.second_process` plays one schedule, described on its standard input, and prints its digest.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final

from vecforensics.errors import VecforensicsError
from vecforensics.race.driver import Program
from vecforensics.race.exchange import ReplayString, parse_replay, records_from_plain, to_plain
from vecforensics.race.leaks import SET_ORDER, hashing_lines, unreadable
from vecforensics.race.model import Witness
from vecforensics.race.places import is_own_code
from vecforensics.records import Record

__all__ = ["HASHES", "hash_leaks", "not_compared", "own_files"]

HASHES: Final = f"{SET_ORDER} or the hash of a text (PYTHONHASHSEED)"
_SEEDS: Final = ("1", "2", "3")
_FIFO: Final = str(ReplayString("0", 0, None, "quiet", {}, ()))
_LIMIT_S: Final = 120.0
_NAMED: Final = 3
_FAILED: Final = "failed"


def own_files(program: Program) -> tuple[str, ...]:
    """The files of the program, and those beside and below them from which it imports functions, classes or modules."""
    found = dict.fromkeys(program.files)
    home = str(Path(program.files[0]).parent) if program.files else ""
    spaces = [getattr(getattr(program, "migrate", None), "__globals__", {})]
    while spaces:
        for value in list(spaces.pop().values()):
            if isinstance(value, FunctionType | type):
                value = sys.modules.get(value.__module__ or "")
            if not isinstance(value, ModuleType):
                continue
            file = getattr(value, "__file__", None) or ""
            if file.endswith(".py") and file.startswith(home) and file not in found and is_own_code(file):
                found[file] = None
                spaces.append(vars(value))
    return tuple(found)


def hash_leaks(
    program: Program, reference: tuple[str, Path] | None, records: Sequence[Record], witness: Witness | None
) -> tuple[str, ...]:
    """What other processes do differently, as lines for `Exploration.leaks`; empty where they do the same. Played are all records
    first in, first out (the more records, the less can an order agree by chance), and the witness.

    `reference`: the suspect as it was named, and the folder where relative paths start; None for a function that was handed over.
    """
    lines = hashing_lines(own_files(program)) if reference is not None else []
    if not lines or reference is None:
        return ()
    more = f" and {len(lines) - _NAMED} more lines" if len(lines) > _NAMED else ""
    where = f"{', '.join(lines[:_NAMED])}{more}"
    schedules = [(records, _FIFO)]
    if witness is not None:
        schedules.append((witness.records, witness.replay))
    task = json.dumps(
        {
            "suspect": reference[0],
            "folder": str(reference[1]),
            "schedules": [([to_plain(record) for record in some], replay) for some, replay in schedules],
            "path": sys.path,
        }
    )
    processes = [_begin(seed) for seed in _SEEDS]
    digests = {_answer(process, task) for process in processes}
    if len(digests) == 1:
        return ()
    return (f"{HASHES}, {where}: other processes play the same schedule differently",)


def not_compared(program: Program, reference: tuple[str, Path] | None) -> tuple[str, ...]:
    """For a certificate: that other processes could not be asked, where that might matter."""
    files = own_files(program)
    if reference is not None or (not unreadable(files) and not hashing_lines(files)):
        return ()
    return (f"{HASHES}: a function that was handed over cannot be begun again in another process",)


def _begin(seed: str) -> subprocess.Popen[str]:
    library = str(Path(__file__).parents[2])
    return subprocess.Popen(  # noqa: S603  (this interpreter, this module)
        [sys.executable, "-m", __spec__.name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": library, "PYTHONUTF8": "1"},
    )


def _answer(process: subprocess.Popen[str], task: str) -> str:
    try:
        said, _ = process.communicate(task, timeout=_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return _FAILED
    return said.strip() if process.returncode == 0 else _FAILED


def played_digests(task: dict[str, Any]) -> list[str]:
    """The digest of the trace of each schedule, played in this process."""
    from vecforensics.race.narrate import narrate
    from vecforensics.race.own_thread import in_own_thread
    from vecforensics.race.strategies.lab import Lab
    from vecforensics.race.strategies.replay import Choices
    from vecforensics.race.suspect import load_suspect
    from vecforensics.race.world import Ground

    sys.path[:] = task["path"]
    program = load_suspect(task["suspect"], Path(task["folder"]))
    found = []
    for records, text in task["schedules"]:
        replay = parse_replay(text)
        lab = Lab(program, Ground(records_from_plain(records)), replay.plan, replay.granularity == "fine")
        found.append(narrate(in_own_thread(partial(lab.play, Choices(replay.choices), detail=True))).digest)
    return found


def main() -> int:
    """The second process. Its answer is the last thing it prints; 1 where the schedule cannot be played."""
    answer, sys.stdout = sys.stdout, sys.stderr
    try:
        digests = played_digests(json.load(sys.stdin))
    except VecforensicsError:
        return 1
    answer.write(" ".join(digests))
    answer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
