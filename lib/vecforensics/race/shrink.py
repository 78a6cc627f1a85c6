"""From a schedule that fails to the few records and the few ordering constraints that make it fail.

A list of choice indices cannot be read and does not shrink. So first the records go: the damage names its victims, and their
dependency closure is tried before anything else; the order of the failing schedule is carried over to fewer records by what the
operations do (`Ranked`), and where that no longer fails a small search on the small set is made. Then the order goes: a
schedule is first in, first out except for inversions, pairs of which the younger completed while the older was kept waiting.
Inversions are dropped until each that is left is needed; what is left are the constraints.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from vecforensics.race.play import Run
from vecforensics.race.records import closure
from vecforensics.race.strategies.lab import FirstInFirstOut, Lab, Strategy
from vecforensics.race.strategies.pct import Pct
from vecforensics.race.strategies.replay import Choices, Label, Ranked, labels
from vecforensics.race.strategies.together import Together
from vecforensics.race.strategies.withhold import Withhold
from vecforensics.race.world import Op
from vecforensics.records import Record

__all__ = ["Ordered", "Shrunk", "shrink"]

Pair = tuple[str, str]


class Ordered(FirstInFirstOut):
    """First in, first out, except that the second of each pair waits for the first to complete.

    A pair binds only as long as something else can happen: it delays, it never blocks.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._waits: dict[str, set[str]] = {}
        for first, then in pairs:
            self._waits.setdefault(then, set()).add(first)
        self._done: set[str] = set()

    def choose(self, enabled: Sequence[Op]) -> int:
        chosen = 0
        for index, op in enumerate(enabled):
            waits = self._waits.get(op.id)
            if waits is None or waits <= self._done:
                chosen = index
                break
        self._done.add(enabled[chosen].id)
        return chosen


@dataclass(frozen=True)
class Shrunk:
    """What is left: the lab with fewer records, the failing run on it, and its constraints as pairs of operation ids."""

    lab: Lab
    run: Run
    pairs: tuple[Pair, ...]
    schedules: int


class _Budget(Exception):
    """The schedules set aside for shrinking are used up."""


class _Shrinker:
    def __init__(self, wanted: frozenset[str], budget: int) -> None:
        self.wanted, self.left, self.used = wanted, budget, 0

    def fails(self, play: Callable[[], Run | None]) -> Run | None:
        """The run, where it fails in the wanted way."""
        if self.left <= 0:
            raise _Budget
        self.left -= 1
        self.used += 1
        run = play()
        return run if run is not None and self.wanted & set(run.outcome.kinds) else None


def shrink(lab: Lab, run: Run, wanted: str, budget: int = 50, *, as_it_is: bool = False) -> Shrunk:
    """`wanted`: the kind that must stay. `budget`: schedules to spend, all in all. `as_it_is`: the run stays, and only its
    constraints are looked for."""
    shrinker = _Shrinker(frozenset({wanted}), budget)
    with contextlib.suppress(_Budget):
        if lab.fine and not as_it_is:
            lab, run = _without_meetings(shrinker, lab, run)
        if not as_it_is:
            lab, run = (_fewer_records_together if lab.fine else _fewer_records)(shrinker, lab, run)
    pairs: tuple[Pair, ...] = ()
    if not lab.fine:
        fewest, pairs = _fewer_constraints(shrinker, lab, run)
        run = run if as_it_is else fewest
    return Shrunk(lab, run, pairs, shrinker.used)


# --- records -----------------------------------------------------------------------------------------------------------


def _fewer_records(shrinker: _Shrinker, lab: Lab, run: Run) -> tuple[Lab, Run]:
    names = labels(run.schedule)
    ranks = {name: place for place, name in enumerate(names)}
    faults = {
        name: lab.plan[op.id] for op, name in zip(run.schedule, names, strict=True) if op.id in lab.plan
    }
    records = lab.ground.records
    best = (lab, run)
    tried: set[tuple[int, ...]] = {tuple(range(len(records)))}

    def attempt(subset: Sequence[Record], search: bool) -> bool:
        nonlocal best, ranks
        key = tuple(place for place, record in enumerate(records) if any(record is item for item in subset))
        if not key or key in tried or len(key) >= len(best[0].ground.records):
            return False
        tried.add(key)
        smaller = lab.with_records(subset)
        if faults:
            plan = _carried(shrinker, smaller.with_plan({}), faults, ranks)
            if plan is None:
                return False
            smaller = smaller.with_plan(plan)
        found = _fails_on(shrinker, smaller, ranks, search)
        if found is None:
            return False
        best = (smaller, found)
        ranks = {name: place for place, name in enumerate(labels(found.schedule))}
        return True

    for victims in _victims(run, shrinker.wanted):
        if attempt(closure(records, victims), search=len(victims) <= 2):
            break
    # Halving with the failing order carried over, coarse to fine; then one record after the other.
    size = len(best[0].ground.records)
    step = (size + 1) // 2
    while step >= 1 and size > 1:
        current = best[0].ground.records
        for begin in range(0, len(current), step):
            kept = current[:begin] + current[begin + step :]
            if kept and attempt(closure(records, {record.id for record in kept}), search=False):
                break
        else:
            step = step // 2
            continue
        size = len(best[0].ground.records)
        step = min(step, (size + 1) // 2)
    return best


def _carried(
    shrinker: _Shrinker, lab: Lab, faults: Mapping[Label, str], ranks: dict[Label, int]
) -> dict[str, str] | None:
    """The fault plan for fewer records: operations have other ids there, and are recognised by what they do. None where one
    of them no longer happens."""
    shrinker.used += 1
    run = lab.play(Ranked(ranks))
    ids = {name: op.id for op, name in zip(run.schedule, labels(run.schedule), strict=True)}
    return {ids[name]: fault for name, fault in faults.items()} if faults.keys() <= ids.keys() else None


def _fails_on(shrinker: _Shrinker, lab: Lab, ranks: dict[Label, int], search: bool) -> Run | None:
    found = shrinker.fails(lambda: lab.play(Ranked(ranks)))
    if found is not None or not search:
        return found
    strategies: tuple[tuple[Strategy, int], ...] = ((Withhold(), 9), (Pct(0), 3))
    for strategy, tries in strategies:
        for _ in range(tries):
            found = shrinker.fails(lambda: strategy.step(lab))  # noqa: B023  (called at once)
            if found is not None:
                return found
    return None


def _victims(run: Run, wanted: frozenset[str]) -> Iterator[set[str]]:
    """Sets of record ids that the damage points at, the smallest first."""
    items = [item for item in run.outcome.damage if item.kind.value in wanted] or list(run.outcome.damage)
    seen: list[set[str]] = []
    for item in items[:3]:
        alone = {item.record_id or item.target_id or ""}
        pair = alone | ({item.partner_id} if item.partner_id else set())
        seen.extend(group for group in (alone, pair) if group not in seen)
    yield from sorted(seen, key=len)
    everyone = {name for item in items[:20] for name in (item.record_id, item.partner_id) if name}
    if len(everyone) > 2:
        yield everyone


def _without_meetings(shrinker: _Shrinker, lab: Lab, run: Run) -> tuple[Lab, Run]:
    """The same order with the program quiet between completions, where that fails too: the coarser granularity reads better."""
    calm = replace(lab, fine=False)
    ranks = {name: place for place, name in enumerate(labels(run.schedule))}
    found = shrinker.fails(lambda: calm.play(Ranked(ranks)))
    return (calm, found) if found is not None else (lab, run)


def _fewer_records_together(shrinker: _Shrinker, lab: Lab, run: Run) -> tuple[Lab, Run]:
    """A fine schedule does not carry over; the victims alone are searched for two completions that must not meet."""
    if not lab.plan:
        for victims in _victims(run, shrinker.wanted):
            subset = closure(lab.ground.records, victims)
            if len(subset) >= len(lab.ground.records):
                continue
            smaller, sweep = lab.with_records(subset), Together(16)
            for _ in range(16):
                found = shrinker.fails(lambda: sweep.step(smaller))  # noqa: B023  (called at once)
                if found is not None:
                    return smaller, found
    return lab, run


# --- order -------------------------------------------------------------------------------------------------------------


def _fewer_constraints(shrinker: _Shrinker, lab: Lab, run: Run) -> tuple[Run, tuple[Pair, ...]]:
    """A run under as few constraints as fail. Where nothing simpler fails the schedule itself stays, with all its inversions."""
    inversions = _inversions(lab, run)
    best: tuple[Run, list[Pair]] | None = None
    try:
        plain = shrinker.fails(lambda: lab.play(FirstInFirstOut()))
        if plain is not None:
            return plain, ()
        for pair in inversions[:20] if len(inversions) > 1 else []:
            found = shrinker.fails(lambda: lab.play(Ordered([pair])))  # noqa: B023  (called at once)
            if found is not None:
                return found, (pair,)
        whole = shrinker.fails(lambda: lab.play(Ordered(inversions)))
        if whole is None:
            return run, tuple(inversions)
        best = (whole, inversions)
        step = (len(inversions) + 1) // 2
        while step >= 1 and len(best[1]) > 1:
            for begin in range(0, len(best[1]), step):
                kept = best[1][:begin] + best[1][begin + step :]
                found = shrinker.fails(lambda: lab.play(Ordered(kept)))  # noqa: B023  (called at once)
                if found is not None:
                    best = (found, kept)
                    break
            else:
                step //= 2
        return best[0], tuple(best[1])
    except _Budget:
        return (best[0], tuple(best[1])) if best is not None else (run, tuple(inversions))


def _inversions(lab: Lab, run: Run) -> list[Pair]:
    """Pairs (first, then): `first` completed although `then` was older and pending. For each `then` only the last that
    overtook it, since waiting for that one means waiting for the others that came before it."""
    waited: dict[int, tuple[Op, Op]] = {}

    class Watch(Choices):
        def choose(self, enabled: Sequence[Op]) -> int:
            index = super().choose(enabled)
            for older in enabled[:index]:
                waited[id(older)] = (enabled[index], older)
            return index

    again = lab.play(Watch(run.choices))
    keep_alive = again.schedule  # ids of operations are compared while they live
    pairs = [(first.id, then.id) for first, then in waited.values()]
    del keep_alive
    return pairs
