"""The question put to a suspect: is there an order of events in which it loses, mixes up or forgets something?

Strategies take turns within one budget of schedules (`race/search.py`), in one process or in several (`race/crew.py`). The first
schedule that fails is shrunk and told (`witness`); some more are played after it, so that the answer names every kind
of damage that occurs and not just the first. Nothing here reads a clock: the same question has the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vecforensics.errors import SuspectError
from vecforensics.race.crew import SEEDED, Crew, usable_cores
from vecforensics.race.driver import Program
from vecforensics.race.exchange import ReplayString, digest_of_records, parse_replay
from vecforensics.race.guard import audible
from vecforensics.race.leaks import SET_ORDER
from vecforensics.race.model import Certificate, Exploration, Verdict
from vecforensics.race.own_thread import in_own_thread
from vecforensics.race.records import generate_records
from vecforensics.race.search import STRATEGIES, Search, Wish
from vecforensics.race.second_process import hash_leaks, not_compared
from vecforensics.race.strategies.lab import Lab
from vecforensics.race.strategies.pct import pct_bound
from vecforensics.race.strategies.replay import Replay
from vecforensics.race.suspect import load_suspect
from vecforensics.race.witness import leaks_of, tell
from vecforensics.race.world import FAULTS, Ground
from vecforensics.records import Record

__all__ = ["DEFAULT_RECORDS", "DEFAULT_SCHEDULES", "explore"]

DEFAULT_RECORDS: Final = 12
DEFAULT_SCHEDULES: Final = 2_000

_SURVEY = 200
_WORTH_PROCESSES = 512  # schedules

_NOT_SEEN = (
    "work that the operating system does for the program: sockets, files, processes",
    "records beyond the number explored",
)
_NOT_TRACKED = (
    "state inside objects of libraries that are not part of asyncio (DPOR takes it for unshared)",
)
_NOT_ALL_ROUNDS = (
    "most of the ways in which two answers arrive in one round of the event loop (tried, not exhausted)",
)
_NOT_INJECTED = ("faults in operations that begin only in other orders than first in, first out",)


def explore(
    suspect: str | Callable[..., Any] | Program,
    *,
    records: int | Sequence[Record] = DEFAULT_RECORDS,
    schedules: int = DEFAULT_SCHEDULES,
    seed: int = 0,
    strategy: str | None = None,
    faults: Sequence[str] = (),
    fault_budget: int = 1,
    prove: bool = False,
    prefer: Sequence[str] = (),
    versions: bool = False,
    survey: int = _SURVEY,
    replay: str | None = None,
    folder: Path | None = None,
    workers: int | None = 1,
) -> Exploration:
    """Explore `suspect`, a reference such as "migration.py:migrate" or a function, on generated or given records.

    `schedules`: budget. `strategy`: one of `STRATEGIES` alone. `faults`: families of `world.FAULTS`, at most `fault_budget` at
    once. `prove`: the whole budget goes to DPOR, nothing to sampling. `prefer`: kinds of damage that the witness should show.
    `versions`: generated records hold earlier versions too. `survey`: schedules played after the first failure to see which kinds
    occur. `replay`: play this one schedule. `folder`: where relative references start. `workers`: processes that share what is
    sampled, None for as many as there are cores; the answer is the same, to the byte. Where this process has other threads, as
    in a notebook, it stays one.

    Raises SuspectError for a suspect that cannot be loaded or controlled. Works inside a running event loop: everything happens
    in a thread of its own.
    """
    if replay is not None:
        said = parse_replay(replay)
        question = _replayed(suspect, said, records, folder)
    else:
        question = _Question(
            _program(suspect, folder),
            tuple(generate_records(records, seed, versions) if isinstance(records, int) else records),
            _origin(records, versions),
            Wish(
                seed,
                _checked_budget(schedules),
                survey,
                strategy=_checked(strategy, tuple(STRATEGIES), "strategy"),
                faults=tuple(_checked(fault, tuple(FAULTS), "fault") or "" for fault in faults),
                fault_budget=fault_budget,
                prove=prove,
                prefer=tuple(prefer),
            ),
            reference=_reference(suspect, folder),
        )
    ground = Ground(question.records)
    with _crew(question, ground, workers) or nullcontext() as crew:
        found: Exploration = in_own_thread(lambda: _answer(question, ground, crew))
    return found


def _crew(question: _Question, ground: Ground, workers: int | None) -> Crew | None:
    """Processes for what is sampled, where enough is to be: making one costs as much as some hundred small schedules."""
    wish = question.wish
    if question.replay is not None or wish.prove or wish.budget < _WORTH_PROCESSES:
        return None
    if wish.strategy is not None and wish.strategy not in SEEDED:
        return None
    return Crew.muster(question.program, ground, workers if workers is not None else usable_cores())


def _program(suspect: str | Callable[..., Any] | Program, folder: Path | None) -> Program:
    if isinstance(suspect, str) or (callable(suspect) and not hasattr(suspect, "start")):
        return load_suspect(suspect, folder)
    return suspect  # type: ignore[return-value]


def _reference(suspect: object, folder: Path | None) -> tuple[str, Path] | None:
    return (suspect, folder if folder is not None else Path.cwd()) if isinstance(suspect, str) else None


def _origin(records: int | Sequence[Record], versions: bool) -> str:
    if isinstance(records, int):
        return f"{records}v" if versions else str(records)
    return f"g{digest_of_records(records)}"


def _checked(name: str | None, known: Sequence[str], what: str) -> str | None:
    if name is not None and name not in known:
        raise SuspectError(f"there is no {what} {name!r}", hint=f"Known: {', '.join(known)}")
    return name


def _checked_budget(schedules: int) -> int:
    if schedules < 1:
        raise SuspectError(f"--schedules {schedules} explores nothing", hint="Give at least one schedule")
    return schedules


@dataclass(frozen=True)
class _Question:
    program: Program
    records: tuple[Record, ...]
    origin: str
    wish: Wish
    replay: ReplayString | None = None
    keep: tuple[int, ...] | None = None
    reference: tuple[str, Path] | None = None


def _replayed(
    suspect: str | Callable[..., Any] | Program,
    said: ReplayString,
    records: int | Sequence[Record],
    folder: Path | None,
) -> _Question:
    generated = said.generated
    if generated is not None:
        every: Sequence[Record] = generate_records(generated[0], said.seed, generated[1])
    elif isinstance(records, int) or f"g{digest_of_records(records)}" != said.origin:
        raise SuspectError(
            "this schedule was found on other records than the ones at hand",
            where=str(said),
            hint="Replay it with the case that it comes from",
        )
    else:
        every = records
    if said.keep is not None and any(not 0 <= place < len(every) for place in said.keep):
        raise SuspectError(
            "the replay string names records that do not exist", where=str(said), hint="Copy it whole"
        )
    used = tuple(every) if said.keep is None else tuple(every[place] for place in said.keep)
    return _Question(
        _program(suspect, folder),
        used,
        said.origin,
        Wish(said.seed, budget=1, survey=0),
        replay=said,
        keep=said.keep,
        reference=_reference(suspect, folder),
    )


def _answer(question: _Question, ground: Ground, crew: Crew | None) -> Exploration:
    wish = question.wish
    search = Search(wish, crew)
    lab = Lab(question.program, ground)
    exhaustive = False
    if question.replay is not None:
        said = question.replay
        replay = Replay(said.choices)
        with audible():
            search.turn(replay, Lab(question.program, ground, said.plan, said.granularity == "fine"), 1)
        if replay.diverged:
            raise SuspectError(
                "the suspect no longer offers the choices of this schedule",
                where=str(said),
                hint="It has been changed, or it turns on chance, a clock or the order of a set (PYTHONHASHSEED)",
            )
    else:
        exhaustive = search.run(lab)
    witness = None
    if search.found is not None:
        witness = tell(
            search.found,
            question.program,
            question.records,
            question.origin,
            wish.seed,
            wish.prefer,
            as_it_is=question.replay is not None,
        )
    leaks = witness.leaks if witness is not None else leaks_of(lab)
    # What reads a clock or throws a coin can do something else next time; a loop over a set only where other processes do.
    exhaustive = exhaustive and all(leak.startswith(SET_ORDER) for leak in leaks)
    elsewhere = hash_leaks(question.program, question.reference, question.records, witness)
    leaks, exhaustive = (*leaks, *elsewhere), exhaustive and not elsewhere
    verdict = Verdict.FAILING if witness is not None else Verdict.PROVED if exhaustive else Verdict.SAMPLED
    sampled = [item for item in search.passes if item.strategy == "pct"]
    return Exploration(
        suspect=question.program.name,
        verdict=verdict,
        witness=witness,
        certificate=Certificate(
            records=len(question.records),
            schedules=search.spent,
            seed=wish.seed,
            driver=question.program.driver,
            passes=tuple(search.passes),
            conflicts=question.program.conflicts,
            faults=wish.faults,
            exhaustive=exhaustive,
            choices=search.choices,
            pct_bound={depth: pct_bound(depth, search.tasks, search.choices) for depth in (1, 2, 3)}
            if sampled
            else {},
            not_seen=_not_seen(question),
        ),
        schedules_to_first_failure=search.first,
        failures=dict(sorted(search.failures.items())),
        leaks=leaks,
    )


def _not_seen(question: _Question) -> tuple[str, ...]:
    """What lies outside of what was explored, the driver's own limits included."""
    program = question.program
    return (
        *_NOT_SEEN,
        *(_NOT_TRACKED if program.tracked else ()),
        *(_NOT_ALL_ROUNDS if program.fine else ()),
        *(_NOT_INJECTED if question.wish.faults else ()),
        *not_compared(program, question.reference),
        *getattr(program, "not_seen", ()),
    )
