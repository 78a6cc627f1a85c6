"""The question put to a suspect: is there an order of events in which it loses, mixes up or forgets something?

Strategies take turns within one budget of schedules: first in, first out; a taste of DPOR, which often proves or finds within a
handful (that is why it comes before the longer sweeps); a sweep of the second granularity, in which two completions land in one
round of the event loop; one operation withheld at a time; DPOR to its end if it has one; PCT; random. Faults, where they are
switched on, are a further layer: each plan injects them into chosen operations and is explored like a program of its own.

The first schedule that fails is shrunk and told (`witness`); some more are played after it, so that the answer names every kind
of damage that occurs and not just the first. Nothing here reads a clock: the same question has the same answer.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from vecforensics.errors import SuspectError
from vecforensics.race.driver import Program
from vecforensics.race.exchange import ReplayString, digest_of_records, parse_replay
from vecforensics.race.fault_plans import fault_plans
from vecforensics.race.leaks import SET_ORDER
from vecforensics.race.model import Certificate, Exploration, Pass, Verdict
from vecforensics.race.own_thread import in_own_thread
from vecforensics.race.play import Run
from vecforensics.race.records import generate_records
from vecforensics.race.second_process import hash_leaks, not_compared
from vecforensics.race.strategies.dpor import Dpor
from vecforensics.race.strategies.exhaustive import Exhaustive
from vecforensics.race.strategies.fifo import Fifo
from vecforensics.race.strategies.lab import Lab, Strategy
from vecforensics.race.strategies.pct import Pct, pct_bound
from vecforensics.race.strategies.replay import Replay
from vecforensics.race.strategies.together import Together
from vecforensics.race.strategies.uniform import Uniform
from vecforensics.race.strategies.withhold import Withhold
from vecforensics.race.suspect import load_suspect
from vecforensics.race.witness import Found, leaks_of, tell
from vecforensics.race.world import FAULTS, Ground
from vecforensics.records import Record

__all__ = ["DEFAULT_RECORDS", "DEFAULT_SCHEDULES", "STRATEGIES", "explore"]

DEFAULT_RECORDS: Final = 12
DEFAULT_SCHEDULES: Final = 2_000
STRATEGIES: Final = ("fifo", "withhold", "dpor", "exhaustive", "pct", "random")

_TASTE = 16
_COLLECT_EVERY = 256  # schedules; in between the collector is off, since a schedule is freed when it is over
_TRACKED_CHOICES = 15_000
_SURVEY = 200

_NOT_SEEN = (
    "work that the operating system does for the program: sockets, files, processes",
    "records beyond the number explored",
)
_NOT_TRACKED = (
    "state inside objects of libraries that are not part of asyncio (DPOR takes it for unshared)",
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
) -> Exploration:
    """Explore `suspect`, a reference such as "migration.py:migrate" or a function, on generated or given records.

    `schedules`: budget. `strategy`: one of `STRATEGIES` alone. `faults`: families of `world.FAULTS`, at most `fault_budget` at
    once. `prove`: the whole budget goes to DPOR, nothing to sampling. `prefer`: kinds of damage that the witness should show.
    `versions`: generated records hold earlier versions too. `survey`: schedules played after the first failure to see which kinds
    occur. `replay`: play this one schedule. `folder`: where relative references start.

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
            seed,
            schedules=_checked_budget(schedules),
            strategy=_checked(strategy, STRATEGIES, "strategy"),
            faults=tuple(_checked(fault, tuple(FAULTS), "fault") or "" for fault in faults),
            fault_budget=fault_budget,
            prove=prove,
            prefer=tuple(prefer),
            survey=survey,
            reference=_reference(suspect, folder),
        )
    found: Exploration = in_own_thread(lambda: _answer(question))
    return found


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
    seed: int
    schedules: int = DEFAULT_SCHEDULES
    strategy: str | None = None
    faults: tuple[str, ...] = ()
    fault_budget: int = 1
    prove: bool = False
    prefer: tuple[str, ...] = ()
    survey: int = _SURVEY
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
        said.seed,
        schedules=1,
        survey=0,
        replay=said,
        keep=said.keep,
        reference=_reference(suspect, folder),
    )


# --- the search ----------------------------------------------------------------------------------------------------------


@dataclass
class _Search:
    """The state of one exploration: what was spent, what was found."""

    budget: int
    survey: int
    prefer: frozenset[str]
    spent: int = 0
    first: int | None = None
    found: Found | None = None
    failures: Counter[str] = field(default_factory=Counter)
    passes: list[Pass] = field(default_factory=list)
    choices: int = 0
    tasks: int = 1
    cut: bool = False

    @property
    def over(self) -> bool:
        return self.spent >= self.budget or (
            self.first is not None and self.spent >= self.first + self.survey
        )

    def turn(self, strategy: Strategy, lab: Lab, share: int) -> int:
        """Let `strategy` play up to `share` schedules. How many it played."""
        begun, failures, note = self.spent, 0, ""
        end = min(self.budget, self.spent + share)
        while self.spent < end and not self.over:
            run = strategy.step(lab)
            if run is None:
                break
            self.spent += 1
            self.choices = max(self.choices, len(run.choices))
            self.cut = self.cut or run.cut
            if self.spent % _COLLECT_EVERY == 0:
                gc.collect()
            if run.failing:
                failures += 1
                self._fail(run, lab, strategy.name)
        played = self.spent - begun
        if strategy.complete:
            note = "every order that can matter was played"
        if played or strategy.complete:
            self._add(
                Pass(
                    strategy.name, "fine" if lab.fine else "quiet", played, failures, strategy.complete, note
                )
            )
        return played

    def _add(self, this: Pass) -> None:
        """Two turns of one strategy are one pass."""
        for place, other in enumerate(self.passes):
            if (other.strategy, other.granularity) == (this.strategy, this.granularity):
                self.passes[place] = Pass(
                    this.strategy,
                    this.granularity,
                    other.schedules + this.schedules,
                    other.failures + this.failures,
                    this.exhaustive,
                    this.note,
                )
                return
        self.passes.append(this)

    def _fail(self, run: Run, lab: Lab, strategy: str) -> None:
        kinds = run.outcome.kinds
        self.failures.update(kinds)
        if self.first is None:
            self.first = self.spent
        score = len(self.prefer & set(kinds))
        if self.found is None or score > self.found.score:
            self.found = Found(lab, tuple(run.choices), kinds, strategy, self.spent, score, len(run.choices))


def _answer(question: _Question) -> Exploration:
    search = _Search(question.schedules, question.survey, frozenset(question.prefer))
    ground = Ground(question.records)
    lab = Lab(question.program, ground)
    exhaustive = False
    if question.replay is not None:
        said = question.replay
        replay = Replay(said.choices)
        search.turn(replay, Lab(question.program, ground, said.plan, said.granularity == "fine"), 1)
        if replay.diverged:
            raise SuspectError(
                "the suspect no longer offers the choices of this schedule",
                where=str(said),
                hint="It has been changed, or it turns on chance, a clock or the order of a set (PYTHONHASHSEED)",
            )
    elif question.strategy is not None:
        exhaustive = _alone(question, search, lab)
    else:
        exhaustive = _in_turns(question, search, lab)
    witness = None
    if search.found is not None:
        witness = tell(
            search.found, question.program, question.records, question.origin, question.seed, question.prefer
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
            seed=question.seed,
            driver=question.program.driver,
            passes=tuple(search.passes),
            conflicts=question.program.conflicts,
            faults=question.faults,
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
        *(_NOT_INJECTED if question.faults else ()),
        *not_compared(program, question.reference),
        *getattr(program, "not_seen", ()),
    )


def _alone(question: _Question, search: _Search, lab: Lab) -> bool:
    """One strategy only; with faults on, every plan gets an equal part of the budget."""
    exhaustive = True
    plans = list(fault_plans(lab, question.faults, question.fault_budget))
    for place, planned in enumerate(plans):
        strategy = _make(question.strategy or "", question.seed)
        share = -(-(search.budget - search.spent) // (len(plans) - place))
        search.turn(strategy, planned, share)
        exhaustive = exhaustive and strategy.complete
        if search.over:
            return exhaustive and place == len(plans) - 1 and search.first is None
    return exhaustive


def _make(name: str, seed: int) -> Strategy:
    makers: Mapping[str, Callable[[], Strategy]] = {
        "fifo": Fifo,
        "withhold": Withhold,
        "dpor": Dpor,
        "exhaustive": Exhaustive,
        "pct": lambda: Pct(seed),
        "random": lambda: Uniform(seed),
    }
    return makers[name]()


def _in_turns(question: _Question, search: _Search, lab: Lab) -> bool:
    """All strategies within the budget; with faults on, the fault-free program gets half of it and the plans the rest."""
    shares = search.budget if not question.faults else max(1, search.budget // 2)
    exhaustive = _one_plan(question, search, lab, shares)
    if question.faults and not search.over:
        plans = list(fault_plans(lab, question.faults, question.fault_budget))[1:]
        for place, planned in enumerate(plans):
            share = max(1, (search.budget - search.spent) // (len(plans) - place))
            exhaustive = _one_plan(question, search, planned, share) and exhaustive
            if search.over:
                exhaustive = False
                break
    return exhaustive


def _one_plan(question: _Question, search: _Search, lab: Lab, share: int) -> bool:
    end = search.spent + share
    seed = question.seed

    def turn(strategy: Strategy, most: int, where: Lab = lab) -> None:
        search.turn(strategy, where, max(0, min(most, end - search.spent)))

    fifo = Fifo()
    turn(fifo, 1)
    if fifo.complete:
        return True
    # Without a driver that tells what depends on what, every order counts as different from every other.
    proof: Strategy = Dpor() if lab.program.tracked else Exhaustive()
    turn(proof, end if question.prove else _TASTE)
    fine = (
        Lab(lab.program, lab.ground, lab.plan, fine=True) if lab.program.fine and not question.prove else None
    )
    if fine is not None:
        turn(Together(80), 80, fine)
    if not proof.complete and not question.prove:
        left = end - search.spent
        turn(Withhold(max(64, left // 4)), max(64, left // 4))
        turn(proof, min(left * 2 // 5, _most(proof, search)))
        if not proof.complete:
            turn(Pct(seed), left // 6)
            turn(Uniform(seed), (end - search.spent) * 4 // 5)
    if fine is not None:
        turn(Uniform(seed), 50, fine)
        turn(Pct(seed), 20, fine)
    return proof.complete


def _most(proof: Strategy, search: _Search) -> int:
    """A schedule under DPOR's eyes costs about ten others; its share is bounded by choices made, not by schedules begun."""
    return (
        max(_TASTE, _TRACKED_CHOICES // max(1, search.choices)) if isinstance(proof, Dpor) else search.budget
    )
