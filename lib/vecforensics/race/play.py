"""One schedule, from the start of the program to the last quiet moment.

The loop is short: let the session run until it is quiet; ask the strategy which of the enabled operations completes next; let
the world complete it; again. Enabled are all pending operations and, of the timers, the earliest. Operations take as long as
the strategy likes, so an operation may outlast any timer, but no timer overtakes an earlier one.

Three bounds keep every schedule finite. A program that is never quiet (polling with `sleep(0)`) is offered a completion after
`ROUNDS` rounds all the same. One that asks for ever more (polling with `fetch`) is continued fairly, oldest operation first,
once it has used its choices. And where nothing but timers and idle rounds happen for `IDLE` choices, it will never end.

A schedule is played bare or recorded. Bare, nothing is named or kept but the choices, and the outcome says whether it fails;
that is all that sampling needs of nearly every schedule. What fails is played again, recorded, from its choices.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Final, Protocol

from vecforensics.errors import SuspectError
from vecforensics.race.check import damage, judge, right
from vecforensics.race.driver import Program, Session
from vecforensics.race.guard import controlled
from vecforensics.race.model import Damage, Moment, Outcome
from vecforensics.race.world import EXECUTOR, TIMER, Ground, Op, World

__all__ = ["PAUSE", "ROUNDS", "TICK_S", "Chooser", "Run", "play"]

ROUNDS = 64
IDLE = 200
CHOICES_BASE, CHOICES_PER_RECORD = 400, 60

TICK_S = 1e-6

PAUSE = -1
"""What a chooser answers in the fine granularity to let the program run one round."""


class Chooser(Protocol):
    """What one schedule needs of a strategy.

    A bare schedule asks two things more, which a chooser may have or not. `lots`: a draw from [0, 1); then `choose` is nothing
    but `int(lots() * len(enabled))`. `steady`: for so many choices the task that was chosen last stays the favourite; then an
    operation that it begins, as long as it is the only new one, completes next, and who sees that need not ask but counts it off.

    Where an operation completes for the sake of fairness nobody is asked, but it is a choice of the schedule all the same. A
    chooser that goes along a schedule has `forced`, and is told of the operation.
    """

    def choose(self, enabled: Sequence[Op]) -> int:
        """The index of the operation that completes next. `enabled` is in the order of creation, a timer last."""

    def choose_busy(self, enabled: Sequence[Op]) -> int:
        """The same in the fine granularity while callbacks wait: an index, or `PAUSE` to let them run one round first."""


_GOOD = Outcome()


class Run:
    """What one schedule left: the choices (indices into what was enabled), the operations completed (hardly any is kept of a bare
    schedule), and the outcome.

    `cut`: it was continued fairly, having used up its choices or kept an operation back for ever: beyond that place other orders
    exist, and were not offered. `single`: there was never more than one thing to choose from.
    """

    __slots__ = ("choices", "cut", "outcome", "schedule", "session", "single", "world")

    def __init__(self, world: World, session: Session) -> None:
        self.world, self.session = world, session
        self.choices: list[int] = []
        self.schedule: list[Op] = []
        self.outcome: Outcome = _GOOD
        self.cut = False
        self.single = True

    @property
    def failing(self) -> bool:
        return self.outcome.failing


def play(
    program: Program,
    ground: Ground,
    chooser: Chooser,
    *,
    plan: Mapping[str, str] | None = None,
    fine: bool = False,
    detail: bool = False,
    bare: bool = False,
    sink: Callable[[Op], None] | None = None,
    start: Callable[[World], Session] | None = None,
) -> Run:
    """Run one schedule. `plan`: fault variants by operation id. `bare`: only the outcome counts; not with faults, and not fine.
    `start`: another way to begin (the tracking loop).

    The session is closed when this returns. Raises SuspectError where the program asked for what cannot be controlled.
    """
    world = World(ground, plan=plan, detail=detail, sink=sink, bare=bare)
    with controlled(world.refuse, world.sleep), _never_awaited(world) if detail else nullcontext():
        session = start(world) if start is not None else program.start(world, ground.records)
        run = Run(world, session)
        try:
            _drive(run, chooser, fine)
        finally:
            session.close()
            ground.restore()
    if world.never_awaited:
        run.outcome = replace(run.outcome, never_awaited=tuple(world.never_awaited))
    if world.refused is not None:
        raise world.refused
    return run


@contextmanager
def _never_awaited(world: World) -> Iterator[None]:
    """Collect coroutines that were called and thrown away, with the line that called them."""
    depth = sys.get_coroutine_origin_tracking_depth()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sys.set_coroutine_origin_tracking_depth(1)
        try:
            yield
        finally:
            sys.set_coroutine_origin_tracking_depth(depth)
    for warning in caught:
        found = _DROPPED.search(str(warning.message))
        if found is not None:
            name = (
                found["name"]
                .replace("AsyncStore.embed", "embed")
                .replace("AsyncStore", "store")
                .replace(".<locals>", "")
            )
            world.never_awaited.append(f"{name}, {found['file']}:{found['line']}" if found["file"] else name)


_DROPPED: Final = re.compile(
    r"coroutine '(?P<name>[^']+)' was never awaited(?:.*File \"(?P<file>[^\"]+)\", line (?P<line>\d+))?",
    re.DOTALL,
)


def stretch(run: Run, chooser: Chooser, choices: list[int], limit: int, returned: bool) -> bool:
    """`SwiftSession.swiftly` for a driver that has no way of its own, and for a recorded schedule without faults or log."""
    world, session, choose = run.world, run.session, chooser.choose
    pending, timers, advance, done = world.pending, world.timers, session.advance, session.done
    effects, completed, single, quiet = world.effects(), run.schedule.append, run.single, True
    while pending and quiet and not timers and len(choices) < limit and (returned or not done()):
        if session.unhandled is not None:
            break
        if single and len(pending) > 1:
            single = False
        index = choose(pending)
        try:
            op = pending.pop(index)
        except IndexError:
            raise _changed() from None
        choices.append(index)
        completed(op)
        world.completed += 1
        world.now += TICK_S
        if op.kind < EXECUTOR:
            op.settle(effects[op.kind](op))
        else:
            world.complete(op)
        quiet = advance(ROUNDS)
    run.single = single
    return quiet


def _drive(run: Run, chooser: Chooser, fine: bool) -> None:
    world, session = run.world, run.session
    pending, timers = world.pending, world.timers
    choose, told = chooser.choose, getattr(chooser, "forced", None)
    advance, done, complete = session.advance, session.done, world.complete
    choices, schedule = run.choices, run.schedule
    limit = CHOICES_BASE + CHOICES_PER_RECORD * len(world.ground.records)
    rounds = 1 if fine else ROUNDS
    returned = False
    at_return: list[Damage] = []
    left: tuple[str, ...] = ()
    idle, begun, verified = 0, 0, -1
    quiet = advance(rounds)
    swift = not fine and world.plain
    swiftly = getattr(session, "swiftly", partial(stretch, run))
    apart = True
    while True:
        if swift and quiet:
            before = len(choices)
            quiet = swiftly(chooser, choices, limit, returned)
            if len(choices) > before:
                idle, begun = 0, world.begun
        if not returned and done():
            returned = True
            verified = world.completed
            if not right(world):
                at_return = damage(world, Moment.RETURN)
            if world.log is not None:
                world.note("return")
            quiet = advance(ROUNDS)
            left = tuple(info.path for info in session.left_behind())
        if session.unhandled is not None:
            break
        if timers:
            enabled: Sequence[Op] = [*pending, timers[0]]
        elif pending:
            enabled = pending
        elif quiet:
            break
        else:
            idle += 1
            if idle > IDLE:
                break
            quiet, apart = advance(rounds), True
            continue
        if len(choices) >= limit:
            run.cut = True
            if len(choices) >= 2 * limit:
                break
            index = 0
            if told is not None:
                told(enabled[0])
        elif idle > IDLE:
            # Nothing but timers and idle rounds so far: be fair to the oldest operation, or give up where there is none.
            if not pending:
                break
            index = idle = 0
            run.cut = True
            if told is not None:
                told(enabled[0])
        elif fine and not quiet:
            index = chooser.choose_busy(enabled)
        else:
            index = choose(enabled)
        choices.append(index)
        if len(enabled) > 1:
            run.single = False
        if index == PAUSE:
            quiet = advance(1)
            idle += 1
            apart = True
            continue
        try:
            op = enabled[index]
        except IndexError:
            raise _changed() from None
        if op.kind == TIMER:
            timers.pop(0)
            # A time-out is the schedule's doing where something was under way, and the program's own where nothing was.
            if pending or not quiet:
                world.timers_ahead += 1
            world.now = max(world.now, op.when)
            idle += 1
        else:
            del pending[index]
            if apart:
                world.now = world.now + TICK_S if not timers else min(world.now + TICK_S, timers[0].when)
            idle = 0
            apart = not fine  # two completions in one round happen at one time
            world.completed += 1
        schedule.append(op)
        complete(op)
        quiet = advance(0 if fine else ROUNDS)
        apart = apart or quiet
        if world.begun != begun:
            idle, begun = 0, world.begun
    if world.log is not None:
        world.note("quiescent")
    ended = quiet and not pending and not timers
    finished = session.done() or session.unhandled is not None
    clean = finished and not (at_return or left or world.premature or session.error or session.unhandled)
    if clean and (verified == world.completed or right(world)) and not session.lost_errors():
        run.outcome = _GOOD
    else:
        run.outcome = judge(world, session, at_return, left, deadlock=not finished, ended=ended)


def _changed() -> SuspectError:
    return SuspectError(
        "two runs of one schedule offered other choices",
        hint="The suspect turns on a clock, on chance or on what an earlier run left behind; hand such things to it",
    )
