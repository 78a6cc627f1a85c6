"""Traces made by hand through the real data model, and the explorations of the catalogue, each made once."""

from __future__ import annotations

from functools import cache

from vecforensics.findings import Kind
from vecforensics.race.catalogue import entry
from vecforensics.race.explore import explore
from vecforensics.race.model import (
    Certificate,
    Constraint,
    Damage,
    Event,
    EventKind,
    Exploration,
    Moment,
    Operation,
    OperationKind,
    Outcome,
    Pass,
    Source,
    Trace,
    Verdict,
    Witness,
)
from vecforensics.race.narrate import narrate
from vecforensics.race.strategies.lab import FirstInFirstOut, Lab
from vecforensics.race.suspect import load_suspect
from vecforensics.race.world import Ground
from vecforensics.records import Record

RECORDS = 8


@cache
def explored(name: str) -> Exploration:
    """The broken form of a catalogue entry, explored on few records."""
    pattern = entry(name).pattern
    return explore(
        f"vecforensics.race.catalogue.{name}:broken",
        records=RECORDS,
        faults=pattern.faults,
        versions=pattern.versions,
        schedules=300,
        survey=20,
    )


def witness_of(name: str) -> Witness:
    witness = explored(name).witness
    assert witness is not None
    return witness


@cache
def corrected(name: str) -> Trace:
    """The fixed form on the witness's records, with the same faults, first in, first out."""
    witness = witness_of(name)
    plan = dict(item.split("=", 1) for item in witness.faults)
    lab = Lab(load_suspect(f"vecforensics.race.catalogue.{name}:fixed"), Ground(witness.records), plan)
    return narrate(lab.play(FirstInFirstOut(), detail=True))


class Script:
    """Writes a trace event by event: `begin`, `done`, `returned`, `trace`."""

    def __init__(self, records: tuple[Record, ...], *, file: str = "migration.py") -> None:
        self.records, self.file = records, file
        self.operations: list[Operation] = []
        self.events: list[Event] = []

    def _add(
        self, kind: EventKind, operation: str, task: str, text: str = "", read_from: str | None = None
    ) -> None:
        self.events.append(Event(len(self.events), 0.0, kind, operation, task, text, read_from))

    def begin(
        self, name: str, kind: OperationKind, key: str, task: str, line: int, record: str | None = None
    ) -> None:
        source = Source(self.file, line, "migrate.one", f"await {kind.value}({key!r})")
        self.operations.append(Operation(name, kind, key, task, f"{kind.value}({key})", record, source))
        self._add(EventKind.BEGIN, name, task)

    def done(self, name: str, read_from: str | None = None) -> None:
        task = next(item.task for item in self.operations if item.id == name)
        self._add(EventKind.COMPLETE, name, task, read_from=read_from)

    def event(self, kind: EventKind, task: str = "main", text: str = "", operation: str = "") -> None:
        self._add(kind, operation, task, text)

    def trace(self, *damage: Damage, **outcome: object) -> Trace:
        return Trace(tuple(self.operations), tuple(self.events), Outcome(damage=damage, **outcome))  # type: ignore[arg-type]


def lookup_too_early(user: str = "10001", post: str = "p-10001-1", file: str = "migration.py") -> Witness:
    """The post looks its user up; in the failing run before the user is written, in the passing one after it."""
    records = (
        Record(user, "a voice", collection="users"),
        Record(post, "a text", depends_on=(user,), collection="posts"),
    )
    runs = []
    for late in (True, False):
        script = Script(records, file=file)
        script.begin("main.1#1", OperationKind.EMBED, user, "main.1", 12)
        script.begin("main.2#1", OperationKind.EMBED, post, "main.2", 20)
        if late:
            script.done("main.2#1")
            script.begin("main.2#2", OperationKind.FETCH, user, "main.2", 21)
            script.done("main.2#2", read_from="")
            script.begin("main.2#3", OperationKind.UPSERT, "NaN", "main.2", 24, record=post)
            script.done("main.1#1")
            script.begin("main.1#2", OperationKind.UPSERT, user, "main.1", 13, record=user)
            script.done("main.2#3")
            script.done("main.1#2")
        else:
            script.done("main.1#1")
            script.begin("main.1#2", OperationKind.UPSERT, user, "main.1", 13, record=user)
            script.done("main.2#1")
            script.done("main.1#2")
            script.begin("main.2#2", OperationKind.FETCH, user, "main.2", 21)
            script.done("main.2#2", read_from="main.1#2")
            script.begin("main.2#3", OperationKind.UPSERT, post, "main.2", 24, record=post)
            script.done("main.2#3")
        script.event(EventKind.RETURN)
        script.event(EventKind.QUIESCENT)
        damage = (Damage(Kind.MISSING, post, None, None, "never written", Moment.QUIESCENCE),) if late else ()
        runs.append(script.trace(*damage))
    return Witness(
        records=records,
        constraints=(Constraint("main.2#2", "main.1#2", f"upsert(user {user}) after fetch(user {user})"),),
        schedule=("main.2#1", "main.2#2", "main.1#1", "main.2#3", "main.1#2"),
        replay="vf1:2:0:all:quiet:-:1*2",
        trace=runs[0],
        kinds=runs[0].outcome.kinds,
        passing=runs[1],
    )


def crowd(tasks: int, *, damaged: int = 0) -> Witness:
    """Many tasks that embed and write side by side; the record of task `damaged` is too late."""
    records = tuple(Record(f"{10000 + n}", f"text {n}", collection="users") for n in range(tasks))
    script = Script(records)
    for n, record in enumerate(records):
        script.begin(f"main.{n + 1}#1", OperationKind.EMBED, record.id, f"main.{n + 1}", 7)
    for n, record in enumerate(records):
        script.done(f"main.{n + 1}#1")
        script.begin(f"main.{n + 1}#2", OperationKind.UPSERT, record.id, f"main.{n + 1}", 8, record=record.id)
    late = f"main.{damaged + 1}#2"
    for n in range(tasks):
        if n != damaged:
            script.done(f"main.{n + 1}#2")
    script.event(EventKind.RETURN)
    script.done(late)
    script.event(EventKind.QUIESCENT)
    missing = Damage(Kind.MISSING, records[damaged].id, None, None, "not there", Moment.RETURN)
    trace = script.trace(missing, left_behind=(f"main.{damaged + 1}",))
    constraint = Constraint("return", late, f"upsert({records[damaged].id}) after migrate returned")
    return Witness(records, (constraint,), (), "vf1", trace, trace.outcome.kinds)


def exploration(
    witness: Witness | None, verdict: Verdict = Verdict.FAILING, suspect: str = "migration.py:migrate"
) -> Exploration:
    certificate = Certificate(
        records=2, schedules=12, seed=0, driver="asyncio", passes=(Pass("fifo", "quiet", 1, 0, True, "first"),),
        exhaustive=verdict is Verdict.PROVED, pct_bound={1: 0.25}, not_seen=("sockets",),
    )  # fmt: skip
    failures = dict.fromkeys(witness.kinds, 3) if witness is not None else {}
    return Exploration(suspect, verdict, witness, certificate, 2 if witness is not None else None, failures)
