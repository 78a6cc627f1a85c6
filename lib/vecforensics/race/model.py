"""What an exploration says, as plain data: operations, events, traces, witnesses, certificates.

A *schedule* is an order in which the external operations of a migration (embed, upsert, fetch, delete, executor calls, timers)
complete. Everything between two completions is the program's own code and follows from the order. So one schedule gives one
*trace* with one *outcome*; a schedule whose outcome fails is shrunk into a *witness*: few records, few ordering
*constraints*. Where nothing fails, the *certificate* says what was looked at, and whether that was everything.

All of it is frozen, made of text and numbers, and has one stable JSON form (`to_json`, `from_json` in `race/exchange.py`).
Analysis ends here; pictures and prose are drawn from these objects by `race/views/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from vecforensics.findings import Kind
from vecforensics.records import Record

__all__ = [
    "Certificate",
    "Constraint",
    "Damage",
    "Event",
    "EventKind",
    "Exploration",
    "LostError",
    "Moment",
    "Operation",
    "OperationKind",
    "Outcome",
    "Pass",
    "Source",
    "Trace",
    "Trouble",
    "Verdict",
    "Waiting",
    "Witness",
]


class OperationKind(StrEnum):
    """What a choice can complete."""

    EMBED = "embed"
    UPSERT = "upsert"
    FETCH = "fetch"
    DELETE = "delete"
    EXECUTOR = "executor"
    TIMER = "timer"


class EventKind(StrEnum):
    """What a trace records. `begin` and `complete` belong to an operation, the rest to a task or to the whole run."""

    BEGIN = "begin"
    COMPLETE = "complete"
    FAULT = "fault"
    CANCEL = "cancel"
    TASK_START = "task-start"
    TASK_END = "task-end"
    ERROR = "error"
    RETURN = "return"
    QUIESCENT = "quiescent"


class Moment(StrEnum):
    """When a check was made."""

    WRITE = "write"
    RETURN = "return"
    QUIESCENCE = "quiescence"


class Trouble(StrEnum):
    """What can go wrong with a run besides damage to the target; stands beside `findings.Kind` in `Outcome.kinds`."""

    LOST_ERROR = "lost_error"
    LEFT_BEHIND = "task_left_behind"
    NEVER_AWAITED = "never_awaited"
    DEADLOCK = "deadlock"
    CRASH = "crash"


class Verdict(StrEnum):
    """What may be said of a suspect: a schedule fails; none exists at this size; none was found among those tried."""

    FAILING = "failing"
    PROVED = "proved"
    SAMPLED = "sampled"


@dataclass(frozen=True, slots=True)
class Source:
    """A place in the person's own code. `text` is the line, stripped."""

    file: str
    lineno: int
    function: str
    text: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One call that leaves the program. `id` is the creation path (task and count within it): the same in every schedule.

    `key` is the id that the store sees (for `embed`, the record's; for a timer, its delay in seconds as text). `record_id` is
    the record whose vector an upsert carries, where the vector is one of ours. `label` reads "upsert(user 10001)".
    """

    id: str
    kind: OperationKind
    key: str
    task: str
    label: str
    record_id: str | None = None
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `time_s` is virtual. `operation` is an `Operation.id` or "".

    `read_from`: for a completed fetch the id of the upsert or delete whose effect it saw, "" where it saw the empty store;
    None for every other event. `source`: where the task that acted stood (errors, task starts).
    """

    seq: int
    time_s: float
    kind: EventKind
    operation: str
    task: str
    text: str = ""
    read_from: str | None = None
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing wrong with the target. `moment`: while it was written, when `migrate` returned, or when all was quiet."""

    kind: Kind
    record_id: str | None
    target_id: str | None
    partner_id: str | None
    detail: str
    moment: Moment


@dataclass(frozen=True, slots=True)
class LostError:
    """An exception that reached nobody: `task` ended with it and was never asked, or the value was thrown away."""

    task: str
    error: str
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A task that waits for ever, and the line of the person's code at which it does."""

    task: str
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one schedule did. `crashed` is the text of the exception that left `migrate`, or "".

    `tolerated` is true where that exception is the honest answer to an injected fault or to a time-out: the caller was told.
    `left_behind` names the tasks that had not ended when `migrate` returned; `stuck` those that wait for ever.
    `waits` says where, in a run that was played in detail.
    """

    damage: tuple[Damage, ...] = ()
    lost: tuple[LostError, ...] = ()
    left_behind: tuple[str, ...] = ()
    never_awaited: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()
    deadlock: bool = False
    crashed: str = ""
    tolerated: bool = False
    waits: tuple[Waiting, ...] = ()

    @property
    def failing(self) -> bool:
        return bool(self.kinds)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of all that went wrong: finding kinds in their fixed order, then troubles."""
        found = {item.kind for item in self.damage}
        names = [kind.value for kind in Kind if kind in found]
        troubles = {
            Trouble.LOST_ERROR: self.lost,
            Trouble.LEFT_BEHIND: self.left_behind,
            Trouble.NEVER_AWAITED: self.never_awaited,
            Trouble.DEADLOCK: self.deadlock,
            Trouble.CRASH: self.crashed and not self.tolerated,
        }
        return (*names, *(trouble.value for trouble, seen in troubles.items() if seen))


@dataclass(frozen=True, slots=True)
class Trace:
    """One run, event by event. `digest` is a SHA-256 over events and outcome; two runs of one schedule must agree on it."""

    operations: tuple[Operation, ...]
    events: tuple[Event, ...]
    outcome: Outcome
    digest: str = ""

    def operation(self, operation_id: str) -> Operation | None:
        return next((item for item in self.operations if item.id == operation_id), None)


@dataclass(frozen=True, slots=True)
class Constraint:
    """One thing about the order that the failure needs: `first` completes before `then`.

    `text` reads "upsert(user 10001) after fetch(user 10001)". `first` may be "return" where the failure is that `then`
    had not completed when `migrate` returned, and `fault` is set where the constraint is an injected fault on `then`.
    """

    first: str
    then: str
    text: str
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Witness:
    """The smallest failing run that was found, ready to be read and replayed.

    `schedule` holds operation ids in the order of completion; `passing` is a run of the same records that does not fail
    (constraints dropped), or None where every order fails. `replay` is the argument of `--replay`. `latencies_s` gives each
    operation the time it must take so that stock asyncio does the same.
    """

    records: tuple[Record, ...]
    constraints: tuple[Constraint, ...]
    schedule: tuple[str, ...]
    replay: str
    trace: Trace
    kinds: tuple[str, ...]
    passing: Trace | None = None
    faults: tuple[str, ...] = ()
    granularity: str = "quiet"
    found_by: str = ""
    found_at: int = 0
    original_records: int = 0
    original_choices: int = 0
    shrink_schedules: int = 0
    latencies_s: Mapping[str, float] = field(default_factory=dict)
    leaks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pass:
    """One strategy's share of the work. `exhaustive`: it ran to its end, nothing of its space was left out."""

    strategy: str
    granularity: str
    schedules: int
    failures: int
    exhaustive: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was looked at. `pct_bound`: a bug of depth d is hit by one PCT schedule with at least this probability, per d."""

    records: int
    schedules: int
    seed: int
    driver: str
    passes: tuple[Pass, ...] = ()
    conflicts: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    exhaustive: bool = False
    choices: int = 0
    pct_bound: Mapping[int, float] = field(default_factory=dict)
    not_seen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Exploration:
    """The answer for one suspect.

    `failures` counts failing schedules by kind, over all schedules tried. `schedules_to_first_failure` is None where none
    failed. `leaks` names what made two runs of one schedule differ (wall clock, random, …); a witness with leaks is weaker.
    `replayed_from`: what `vecforensics race` is given to replay the witness where that is not the suspect: a run folder.
    """

    suspect: str
    verdict: Verdict
    witness: Witness | None
    certificate: Certificate
    schedules_to_first_failure: int | None
    failures: Mapping[str, int]
    leaks: tuple[str, ...] = ()
    replayed_from: str = ""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of all that went wrong in any schedule: finding kinds in their fixed order, then troubles."""
        return tuple(name for name in (*Kind, *Trouble) if name in self.failures)

    def to_json(self) -> str:
        """Canonical JSON, one text for one exploration; the content of `race/witness.json`."""
        from vecforensics.race.exchange import exploration_to_json

        return exploration_to_json(self)

    def __str__(self) -> str:
        from vecforensics.race.views.text import exploration_text

        return exploration_text(self)

    def _repr_html_(self) -> str:
        from vecforensics.race.views.html import exploration_html

        return exploration_html(self)
