"""A program of its own that replays a witness, to be attached to an issue or a report, without a line of this package.

It fixes no schedule: it gives each operation the latency that the witness needs (`Witness.latencies_s`) and lets the stock event
loop do the rest. Operations are told apart by kind, key and how often that was asked before, which holds for a corrected
version of the code too; so the same file says 0 once the code is right. What the program takes for wrong is what the
laboratory takes for wrong.

    coroutines   `repro.py`, asyncio's own event loop; its clock jumps over the waiting unless `--real` is given
    threads      `repro.py`, real threads that really wait; a schedule that turns on locks alone cannot be forced by latencies,
                 and then the file says so
    JavaScript   `repro.js` for plain Node.js (`race/javascript`), and a `repro.py` that starts it
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from pprint import pformat
from typing import Any, Final

from vecforensics.errors import SuspectError
from vecforensics.race.model import EventKind, Exploration, OperationKind, Witness
from vecforensics.race.views.prose import explain
from vecforensics.race.views.text import ascii_only
from vecforensics.records import Record

__all__ = ["repro_files"]

_FORM: Final[Mapping[str, str]] = {
    "asyncio": "Runs on asyncio's own event loop. Each operation of the store and the embedder is given a latency, nothing\n"
    "else: the order in which they are answered is what breaks the code.",
    "threads": "Runs on real threads, with real waiting. Each operation of the store and the embedder is given a latency,\n"
    "nothing else. Where a failure turns on who gets a lock first and not on an answer, latencies cannot force it.",
}
_ASKED: Final = (
    OperationKind.EMBED,
    OperationKind.UPSERT,
    OperationKind.FETCH,
    OperationKind.DELETE,
    OperationKind.EXECUTOR,
)

_FOR_EVER_S: Final = 10_000.0
_NUMBER: Final = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?")

Name = tuple[str, str, int]


def repro_files(exploration: Exploration, folder: Path | None = None) -> dict[str, str]:
    """File name to text: "repro.py", and "repro.js" beside it where the suspect is JavaScript.

    `folder`: where the suspect's relative path starts, else the working folder. Raises SuspectError where there is no witness to
    replay, or where it needs a fault that no client can provoke.
    """
    witness = exploration.witness
    if witness is None:
        raise SuspectError(
            "there is no failing schedule to replay", where=exploration.suspect, hint="Explore first"
        )
    if any(item.fault == "collected" for item in witness.constraints):
        raise SuspectError(
            "the garbage collector cannot be told by latencies when to take a task",
            where=exploration.suspect,
            hint=f"Replay it with --replay {witness.replay}",
        )
    headline = ascii_only(explain(witness).headline).replace("\\", "\\\\").replace('"', "'")
    driver = exploration.certificate.driver
    if driver == "javascript":
        from vecforensics.race.javascript import JavaScriptProgram, node_repro
        from vecforensics.race.suspect import load_suspect

        program = load_suspect(exploration.suspect, folder)
        assert isinstance(program, JavaScriptProgram)  # the driver says so
        return {"repro.js": node_repro(witness, program), "repro.py": _filled(_LAUNCHER, HEADLINE=headline)}
    names = _names(witness)
    # What the program gave up waiting for, no completion has a time for: it takes longer than any patience.
    latencies = {name: witness.latencies_s.get(key, _FOR_EVER_S) for key, name in names.items()}
    faults = {
        names[item.then]: item.fault for item in witness.constraints if item.fault and item.then in names
    }
    place, function = _place(exploration.suspect, folder)
    template = files(__package__).joinpath("templates/repro_python.txt").read_text(encoding="utf-8")
    text = _filled(
        template,
        HEADLINE=headline,
        FORM=_FORM[driver],
        SUSPECT=ascii(f"{place}:{function}" if place else ""),
        RECORDS=_python([_record(item) for item in witness.records]),
        LATENCIES=_python(latencies),
        FAULTS=_python(faults),
        FOREVER=str(_FOR_EVER_S),
        PATIENCE=f"{_patience_s(witness):g}",
    )
    return {"repro.py": text}


def _patience_s(witness: Witness) -> float:
    """How long a run may take beside its operations. One that is known to end in a deadlock is not waited for long."""
    timers = [item.key for item in witness.trace.operations if item.kind is OperationKind.TIMER]
    slept = sum(float(key) for key in timers if _NUMBER.fullmatch(key))
    return (5.0 if witness.trace.outcome.deadlock else 60.0) + min(slept, 3_600.0)


def _names(witness: Witness) -> dict[str, Name]:
    """For each operation its kind, its key, and how many of that kind and key were begun up to it."""
    counts: Counter[tuple[str, str]] = Counter()
    kinds = {item.id: (item.kind, item.key) for item in witness.trace.operations}
    found: dict[str, Name] = {}
    for event in witness.trace.events:
        if event.kind is EventKind.BEGIN and event.operation in kinds and event.operation not in found:
            kind, key = kinds[event.operation]
            if kind in _ASKED:
                counts[kind, key] += 1
                found[event.operation] = (kind.value, key, counts[kind, key])
    return found


def _record(record: Record) -> dict[str, Any]:
    return {
        "id": record.id,
        "text": record.text,
        "metadata": dict(record.metadata),
        "depends_on": list(record.depends_on),
        "version": record.version,
        "collection": record.collection,
    }


def _place(suspect: str, folder: Path | None) -> tuple[str, str]:
    """The file or module of the suspect and its function; ("", "") where it has no place outside this process."""
    place, colon, function = suspect.rpartition(":")
    if not colon or not function.isidentifier():
        place, function = suspect, "migrate"
    if place.endswith(".py"):
        return str(((folder or Path.cwd()) / place).resolve()), function
    return ("", "") if place in ("", "__main__") else (place, function)


def _python(value: Any) -> str:
    """A literal of Python in ASCII, one entry a line where it is long."""
    return ascii_only(pformat(value, width=110, sort_dicts=False))


def _filled(template: str, **values: str) -> str:
    """`template` with each @NAME@ replaced, in one pass, so that nothing inside a value is taken for a name."""
    return re.sub(r"@([A-Z]+)@", lambda found: values.get(found[1], found[0]), template)


_LAUNCHER: Final = '''#!/usr/bin/env python3
"""Replays a race: @HEADLINE@

The suspect is JavaScript, so the program that replays it is repro.js beside this file, for plain Node.js; this only starts it.
Exit 1 while the code has the race, 0 once it has not.
"""

import shutil
import subprocess
import sys
from pathlib import Path

node = shutil.which("node")
if node is None:
    print("Node.js is not installed: it is what runs repro.js")
    sys.exit(2)
command = [node, str(Path(__file__).with_name("repro.js")), *sys.argv[1:]]
try:
    sys.exit(subprocess.run(command, timeout=600).returncode)
except subprocess.TimeoutExpired:
    print("FAILED: it never ends")
    sys.exit(1)
'''
