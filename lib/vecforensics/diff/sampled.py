"""`--sample N`: ids stay exact, contents are looked at in a sample, and the rate of wrong ones comes with an interval.

Two passes over the buckets: the first compares ids alone and shows where missing and stray ids gather; the second reads the
contents of the rows that were drawn, stratified by collection and by what the first pass has shown to be a hot spot
(`sampling.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vecforensics.diff.hotspots import find_hot_spots
from vecforensics.diff.hotspots_dimensions import lay_out
from vecforensics.diff.rows import CORRUPT_MASK, KIND_BIT, RowDimensions
from vecforensics.diff.sampling import (
    SamplePlan,
    draw_sample,
    estimate_rate,
    plan_sample,
    sample_keys,
    stratify,
)
from vecforensics.diff.sides import Index, Sides
from vecforensics.findings import Kind

__all__ = ["Draw", "draw_contents", "estimate"]

_NOT_CONTENT: Final = np.uint32(
    sum(
        1 << KIND_BIT[kind]
        for kind in (
            Kind.MISSING,
            Kind.DUPLICATE,
            Kind.METADATA_DRIFT,
            Kind.DANGLING,
            Kind.PREMATURE,
            Kind.MANGLED_ID,
        )
    )
)


@dataclass(frozen=True, slots=True)
class Draw:
    """Which records' contents are looked at. `rows`: by collection, running source rows; `strata` int32 and `drawn` bool over
    all records, collections end to end in source order."""

    plan: SamplePlan
    rows: Mapping[str, Index]
    strata: npt.NDArray[np.int32]
    drawn: npt.NDArray[np.bool_]


def draw_contents(
    dimensions: Sequence[RowDimensions],
    sides: Mapping[str, Sides],
    orders: Mapping[str, Index],
    requested: int,
    seed: int,
) -> Draw:
    """Draw `requested` records that have a vector in the target. `dimensions`: what the ids alone have shown."""
    population = lay_out(dimensions)
    strata, names = stratify(population, find_hot_spots(dimensions))
    kinds = np.concatenate([one.kinds for one in dimensions])
    strata = np.where(kinds & np.uint32(1 << KIND_BIT[Kind.MISSING]), np.int32(-1), strata)
    present = [number for number in range(len(names)) if (strata == number).any()]
    renumbered = np.full(len(names) + 1, -1, np.int32)
    renumbered[present] = np.arange(len(present))
    strata = renumbered[strata]
    sizes = {names[number]: int((strata == new).sum()) for new, number in enumerate(present)}
    plan = plan_sample(sizes, requested)
    ids = [
        pa.array(sides[one.collection].source.text("id", orders[one.collection]), pa.string())
        for one in dimensions
    ]
    chosen = draw_sample(sample_keys(pa.chunked_array(ids), seed), strata, plan)
    drawn = np.zeros(len(strata), np.bool_)
    drawn[chosen] = True
    rows, start = {}, 0
    for one in dimensions:
        order = orders[one.collection]
        rows[one.collection] = np.sort(order[drawn[start : start + len(order)]])
        start += len(order)
    return Draw(plan, rows, strata, drawn)


def estimate(draw: Draw, dimensions: Sequence[RowDimensions]) -> dict[str, Any]:
    """The estimated share of wrong contents, from the findings about the rows that were drawn."""
    kinds = np.concatenate([one.kinds for one in dimensions])
    wrong = (kinds & CORRUPT_MASK & ~_NOT_CONTENT) != 0
    found = {
        stratum.name: int((wrong & draw.drawn & (draw.strata == number)).sum())
        for number, stratum in enumerate(draw.plan.strata)
    }
    rate = estimate_rate(draw.plan, found)
    return {**rate.as_dict(), "sentence": str(rate)}
