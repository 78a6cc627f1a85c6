"""Strategies take turns within one budget of schedules, and what they find is kept.

First in, first out; a taste of DPOR, which often proves or finds within a handful (that is why it comes before the longer
sweeps); a sweep of the second granularity, in which two completions land in one round of the event loop; one operation withheld
at a time; DPOR to its end if it has one; PCT; random. Faults, where they are switched on, are a further layer: each plan injects
them into chosen operations and is explored like a program of its own.

Where there is a crew (`race/crew.py`), it plays what the strategies that draw lots ask for.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from vecforensics.race.crew import Crew, Played
from vecforensics.race.fault_plans import fault_plans
from vecforensics.race.model import Pass
from vecforensics.race.strategies.dpor import Dpor
from vecforensics.race.strategies.exhaustive import Exhaustive
from vecforensics.race.strategies.fifo import Fifo
from vecforensics.race.strategies.lab import Lab, Seeded, Strategy
from vecforensics.race.strategies.pct import Pct
from vecforensics.race.strategies.together import Together
from vecforensics.race.strategies.uniform import Uniform
from vecforensics.race.strategies.withhold import Withhold
from vecforensics.race.witness import Found

__all__ = ["STRATEGIES", "Search", "Wish"]

_TASTE = 16
_COLLECT_EVERY = 256  # schedules; in between the collector is off, since a schedule is freed when it is over
_TRACKED_CHOICES = 15_000
_WORTH_A_CREW = 128  # schedules; fewer are played sooner than handed out

STRATEGIES: Mapping[str, Callable[[int], Strategy]] = {
    "fifo": lambda seed: Fifo(),
    "withhold": lambda seed: Withhold(),
    "dpor": lambda seed: Dpor(),
    "exhaustive": lambda seed: Exhaustive(),
    "pct": Pct,
    "random": Uniform,
}


@dataclass(frozen=True)
class Wish:
    """What is to be searched for how long. `survey`: schedules after the first failure. `prefer`: kinds that the witness should
    show."""

    seed: int
    budget: int
    survey: int
    strategy: str | None = None
    faults: tuple[str, ...] = ()
    fault_budget: int = 1
    prove: bool = False
    prefer: tuple[str, ...] = ()


@dataclass
class Search:
    """The state of one exploration: what was spent, what was found."""

    wish: Wish
    crew: Crew | None = None
    spent: int = 0
    first: int | None = None
    found: Found | None = None
    failures: Counter[str] = field(default_factory=Counter)
    passes: list[Pass] = field(default_factory=list)
    choices: int = 0
    tasks: int = 1

    def run(self, lab: Lab) -> bool:
        """Search as wished. Whether no schedule is left that could have another outcome."""
        return self._in_turns(lab) if self.wish.strategy is None else self._alone(self.wish.strategy, lab)

    @property
    def over(self) -> bool:
        return self.spent >= self.wish.budget or (
            self.first is not None and self.spent >= self.first + self.wish.survey
        )

    # --- one turn ----------------------------------------------------------------------------------------------------

    def turn(self, strategy: Strategy, lab: Lab, share: int) -> None:
        """Let `strategy` play up to `share` schedules."""
        begun, failures, note = self.spent, 0, ""
        end = min(self.wish.budget, self.spent + share)
        if self.spent < end and not self.over:
            with closing(self._schedules(strategy, lab, end - self.spent)) as schedules:
                for played in schedules:
                    self.spent += 1
                    self.choices = max(self.choices, played.length)
                    self.tasks = max(self.tasks, played.tasks)
                    if played.kinds:
                        failures += 1
                        self._fail(played, lab, strategy.name)
                    if self.over:
                        break
        if strategy.complete:
            note = "every order that can matter was played"
        if self.spent > begun or strategy.complete:
            granularity = "fine" if lab.fine else "quiet"
            self._add(Pass(strategy.name, granularity, self.spent - begun, failures, strategy.complete, note))

    def _schedules(self, strategy: Strategy, lab: Lab, count: int) -> Generator[Played, None, None]:
        seeded = strategy if isinstance(strategy, Seeded) else None
        if seeded and self.crew and count >= _WORTH_A_CREW and self.crew.serves(lab):
            yield from self.crew.play(seeded, lab, count)
            return
        for _ in range(count):
            run = strategy.step(lab)
            if run is None:
                return
            if (self.spent + 1) % _COLLECT_EVERY == 0:
                gc.collect()
            yield Played.of(run, seeded.tasks if seeded else 1)

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

    def _fail(self, played: Played, lab: Lab, strategy: str) -> None:
        self.failures.update(played.kinds)
        if self.first is None:
            self.first = self.spent
        score = len(set(self.wish.prefer) & set(played.kinds))
        if self.found is None or score > self.found.score:
            self.found = Found(
                lab, played.choices, played.kinds, strategy, self.spent, score, len(played.choices)
            )

    # --- whose turn it is --------------------------------------------------------------------------------------------

    def _alone(self, name: str, lab: Lab) -> bool:
        """One strategy only; with faults on, every plan gets an equal part of the budget."""
        wish, exhaustive = self.wish, True
        plans = list(fault_plans(lab, wish.faults, wish.fault_budget))
        for place, planned in enumerate(plans):
            strategy = STRATEGIES[name](wish.seed)
            self.turn(strategy, planned, -(-(wish.budget - self.spent) // (len(plans) - place)))
            exhaustive = exhaustive and strategy.complete
            if self.over:
                return exhaustive and place == len(plans) - 1 and self.first is None
        return exhaustive

    def _in_turns(self, lab: Lab) -> bool:
        """All strategies within the budget; with faults on, the fault-free program gets half of it and the plans the rest."""
        wish = self.wish
        exhaustive = self._one_plan(lab, max(1, wish.budget // 2) if wish.faults else wish.budget)
        if wish.faults and not self.over:
            plans = list(fault_plans(lab, wish.faults, wish.fault_budget))[1:]
            for place, planned in enumerate(plans):
                share = max(1, (wish.budget - self.spent) // (len(plans) - place))
                exhaustive = self._one_plan(planned, share) and exhaustive
                if self.over:
                    return False
        return exhaustive

    def _one_plan(self, lab: Lab, share: int) -> bool:
        end = self.spent + share
        seed, prove = self.wish.seed, self.wish.prove

        def turn(strategy: Strategy, most: int, where: Lab = lab) -> None:
            self.turn(strategy, where, max(0, min(most, end - self.spent)))

        fifo = Fifo()
        turn(fifo, 1)
        if fifo.complete:
            return True
        # Without a driver that tells what depends on what, every order counts as different from every other.
        proof: Strategy = Dpor() if lab.program.tracked else Exhaustive()
        turn(proof, end if prove else _TASTE)
        # A proof goes over the orders of answers, in none of which two share a round: what only they bring about it does not see.
        fine = Lab(lab.program, lab.ground, lab.plan, fine=True) if lab.program.fine else None
        if fine is not None:
            turn(Together(80), 80, fine)
        if prove:
            return proof.complete
        if not proof.complete:
            left = end - self.spent
            turn(Withhold(max(64, left // 4)), max(64, left // 4))
            turn(proof, min(left * 2 // 5, self._most(proof)))
            if not proof.complete:
                turn(Pct(seed), left // 6)
                turn(Uniform(seed), (end - self.spent) * 4 // 5)
        if fine is not None:
            turn(Uniform(seed), 50, fine)
            turn(Pct(seed), 20, fine)
        return proof.complete

    def _most(self, proof: Strategy) -> int:
        """A schedule under DPOR's eyes costs about ten others; its share is bounded by choices made, not by schedules begun."""
        dpor = isinstance(proof, Dpor)
        return max(_TASTE, _TRACKED_CHOICES // max(1, self.choices)) if dpor else self.wish.budget
