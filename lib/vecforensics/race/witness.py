"""A failing schedule, shrunk, played again in detail, and made into something a person can read and replay.

Every witness is played twice in detail. If the two traces differ the program listens to something that no schedule controls (a
clock, a random number, the order of a set); the differences are named as leaks, and the witness is the weaker for them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vecforensics.findings import Kind
from vecforensics.race.driver import Program
from vecforensics.race.exchange import ReplayString
from vecforensics.race.latencies import latencies
from vecforensics.race.leaks import watch_leaks
from vecforensics.race.model import Constraint, Moment, Trace, Witness
from vecforensics.race.narrate import narrate
from vecforensics.race.play import Run
from vecforensics.race.shrink import Pair, Shrunk, shrink
from vecforensics.race.strategies.lab import FirstInFirstOut, Lab
from vecforensics.race.strategies.replay import Choices
from vecforensics.race.strategies.withhold import Withhold
from vecforensics.race.world import FAULT_TEXT
from vecforensics.records import Record

__all__ = ["Found", "tell"]


@dataclass(frozen=True)
class Found:
    """A failing schedule as the search met it. `score`: how many of the preferred kinds it shows."""

    lab: Lab
    choices: tuple[int, ...]
    kinds: tuple[str, ...]
    strategy: str
    number: int
    score: int
    length: int


def leaks_of(lab: Lab) -> tuple[str, ...]:
    """What the suspect reads, first in, first out, that no schedule decides: two runs of one order may differ by it."""
    with watch_leaks(lab.program.files) as leaks:
        lab.play(FirstInFirstOut(), detail=True)
    return tuple(leaks)


def tell(
    found: Found,
    program: Program,
    records: Sequence[Record],
    origin: str,
    seed: int,
    prefer: Sequence[str],
    as_it_is: bool = False,
) -> Witness:
    """The witness of `found`, shrunk unless it is to stay `as_it_is`."""
    run = found.lab.play(Choices(found.choices))
    wanted = _focus(run.outcome.kinds or found.kinds, prefer)
    shrunk = (
        shrink(found.lab, run, wanted, as_it_is=as_it_is) if run.failing else Shrunk(found.lab, run, (), 0)
    )
    lab, choices = shrunk.lab, tuple(shrunk.run.choices)
    with watch_leaks(program.files) as leaks:
        trace = narrate(lab.play(Choices(choices), detail=True))
        again = narrate(lab.play(Choices(choices), detail=True))
    leaking = tuple(leaks) if trace.digest != again.digest or not trace.outcome.failing else ()
    if trace.digest != again.digest and not leaking:
        leaking = ("two runs of this schedule differ, and nothing that was watched explains it",)
    keep = tuple(
        place for place, record in enumerate(records) if any(record is item for item in lab.ground.records)
    )
    replay = ReplayString(
        origin,
        seed,
        None if len(keep) == len(records) else keep,
        "fine" if lab.fine else "quiet",
        lab.plan,
        choices,
    )
    return Witness(
        records=lab.ground.records,
        constraints=_constraints(shrunk.pairs, trace, lab),
        schedule=tuple(op.id for op in shrunk.run.schedule),
        replay=str(replay),
        trace=trace,
        kinds=trace.outcome.kinds,
        passing=_passing(lab),
        faults=tuple(f"{operation}={variant}" for operation, variant in sorted(lab.plan.items())),
        granularity="fine" if lab.fine else "quiet",
        found_by=found.strategy,
        found_at=found.number,
        original_records=len(records),
        original_choices=found.length,
        shrink_schedules=shrunk.schedules,
        latencies_s=latencies(trace),
        leaks=leaking,
    )


def _focus(kinds: Sequence[str], prefer: Sequence[str]) -> str:
    """The kind to keep while shrinking: a preferred one, else damage to the target, else the first trouble."""
    for kind in (*prefer, *(item.value for item in Kind)):
        if kind in kinds:
            return kind
    return kinds[0] if kinds else ""


def _constraints(pairs: Sequence[Pair], trace: Trace, lab: Lab) -> tuple[Constraint, ...]:
    names = {item.id: item.label for item in trace.operations}
    found = [
        Constraint(first, then, f"{names.get(then, then)} after {names.get(first, first)}")
        for first, then in pairs
    ]
    if lab.fine:
        found.extend(_meetings(trace, names))
    late = {item.record_id for item in trace.outcome.damage if item.moment is Moment.RETURN}
    written = [item for item in trace.operations if item.kind == "upsert" and item.key in late]
    found.extend(Constraint("return", item.id, f"{item.label} after migrate returned") for item in written)
    for operation, variant in sorted(lab.plan.items()):
        name = names.get(operation, operation)
        found.append(Constraint("", operation, f"{name}: {FAULT_TEXT[variant]}", fault=variant))
    return tuple(found)


def _meetings(trace: Trace, names: Mapping[str, str]) -> Iterator[Constraint]:
    """Completions that fall into one round of the loop; only a fine schedule has any."""
    done = [event for event in trace.events if event.kind == "complete"]
    for one, two in itertools.pairwise(done):
        if one.time_s == two.time_s:
            yield Constraint(
                one.operation,
                two.operation,
                f"{names[two.operation]} in the same round of the loop as {names[one.operation]}",
            )


def _passing(lab: Lab) -> Trace | None:
    """A run of the same records that does not fail: first in, first out, else the first of a withhold sweep that passes."""
    calm = Lab(lab.program, lab.ground)
    choices: Sequence[int] = ()
    run: Run | None = calm.play(FirstInFirstOut())
    sweep = Withhold(24)
    while run is not None and run.failing:
        run = sweep.step(calm)
    if run is None:
        return None
    choices = run.choices
    return narrate(calm.play(Choices(choices), detail=True))
