"""The corrected program under the same slow answers as the witness: what it does instead.

The two programs make the same operations in another order, so the witness's schedule is carried over by what an operation does
(kind, key, how often): of those that are pending, the one that the witness completed first completes first.
"""

from __future__ import annotations

from collections import Counter

from vecforensics.race.driver import Program
from vecforensics.race.model import Trace, Witness
from vecforensics.race.narrate import narrate
from vecforensics.race.own_thread import in_own_thread
from vecforensics.race.strategies.lab import Lab
from vecforensics.race.strategies.replay import Label, Ranked
from vecforensics.race.world import KIND_NAMES, Ground

__all__ = ["counterpart"]


def counterpart(program: Program, witness: Witness) -> Trace:
    """One detailed run of `program` on the witness's records, in the witness's order as far as `program` lets it."""
    operations = {item.id: (KIND_NAMES.index(item.kind.value), item.key) for item in witness.trace.operations}
    met: Counter[tuple[int, str]] = Counter()
    ranks: dict[Label, int] = {}
    for rank, name in enumerate(witness.schedule):
        if name in operations:
            kind, key = operations[name]
            ranks[kind, key, met[kind, key]] = rank
            met[kind, key] += 1

    def played() -> Trace:
        return narrate(Lab(program, Ground(witness.records)).play(Ranked(ranks), detail=True))

    trace: Trace = in_own_thread(played)
    return trace
