"""Which faults are injected where: a plan names operations and what happens to each; it is explored like a program of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vecforensics.race.strategies.fifo import Fifo
from vecforensics.race.strategies.lab import Lab
from vecforensics.race.world import DELETE, EXECUTOR, FAULTS, TIMER, UPSERT, VISIBLE

__all__ = ["fault_plans"]


def fault_plans(lab: Lab, families: Sequence[str], most: int) -> Iterator[Lab]:
    """The lab without faults, then one for every way to inject at most `most` of them.

    Operations are those of the first-in-first-out run without faults; what only comes into being after a fault is reached
    by the plans of a higher budget, drawn from the runs of the lower one.
    """
    yield lab
    if not families:
        return
    variants = [variant for family in families for variant in FAULTS[family]]
    generation: list[Mapping[str, str]] = [{}]
    for _ in range(most):
        following: list[Mapping[str, str]] = []
        for plan in generation:
            base = Fifo().step(lab.with_plan(plan))
            assert base is not None
            following.extend(
                {**plan, op.id: variant}
                for op in base.schedule
                for variant in variants
                if op.id not in plan and _applies(variant, op.kind) and (not plan or op.id > max(plan))
            )
        yield from (lab.with_plan(plan) for plan in following)
        generation = following


def _applies(variant: str, kind: int) -> bool:
    if variant in ("late", "timeout-committed", "timeout-lost"):
        return kind in (UPSERT, DELETE)
    if variant == "collected":
        return kind not in (TIMER, VISIBLE)
    return kind not in (EXECUTOR, TIMER, VISIBLE)
