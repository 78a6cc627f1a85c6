"""`--sample N`: ids stay exact, contents are looked at in a sample, and the rate of wrong ones comes with an interval.

Two passes over the buckets: the first compares ids alone and shows where missing and stray ids gather; the second reads the
contents of the rows that were drawn, stratified by collection and by what the first pass has shown to be a hot spot
(`estimate.py`). Where `collect` had only a sample embedded, the draw was made then and lies in the evidence, `sample.arrow`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vecforensics.diff.hotspots import find_hot_spots
from vecforensics.diff.hotspots.lines import lay_out
from vecforensics.diff.rows import CORRUPT_MASK, KIND_BIT, RowDimensions
from vecforensics.diff.sampling.estimate import (
    SamplePlan,
    Stratum,
    draw_sample,
    estimate_rate,
    plan_sample,
    sample_keys,
    stratify,
)
from vecforensics.diff.sides import Index, Sides
from vecforensics.errors import EvidenceError, InputError
from vecforensics.evidence import Evidence
from vecforensics.findings import Kind
from vecforensics.records import canonical_json

__all__ = ["Draw", "draw_contents", "estimate", "frozen_draw", "was_sampled"]

_FILE: Final = "sample.arrow"
_PLAN: Final = b"plan"
_ASIDE: Final = 4

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
    all records, collections end to end in source order (a draw that was frozen knows the strata of the drawn ones only).
    `positions`: by collection the drawn records' positions in the source. A collection without expected vectors is not in it.

    `rows` and `positions` also hold the missing records that are embedded aside from the sample; they are not `drawn`."""

    plan: SamplePlan
    seed: int
    rows: Mapping[str, Index]
    positions: Mapping[str, Index]
    strata_of: Mapping[str, npt.NDArray[np.int32]]
    strata: npt.NDArray[np.int32]
    drawn: npt.NDArray[np.bool_]

    def frozen(self) -> bytes:
        """The draw as an Arrow IPC file: collection, position and stratum of each drawn record, the plan in its schema."""
        names = [name for name, rows in self.rows.items() for _ in range(len(rows))]
        plan = {
            "requested": self.plan.requested,
            "seed": self.seed,
            "collections": list(self.rows),
            "strata": [asdict(stratum) for stratum in self.plan.strata],
        }
        positions = [np.empty(0, np.int64), *self.positions.values()]
        strata = [np.empty(0, np.int32), *self.strata_of.values()]
        table = pa.table(
            {
                "collection": pa.array(names, pa.string()),
                "position": pa.array(np.concatenate(positions)),
                "stratum": pa.array(np.concatenate(strata)),
            }
        ).replace_schema_metadata({_PLAN: canonical_json(plan)})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as file:
            file.write_table(table)
        return bytes(sink.getvalue())


def was_sampled(evidence: Evidence) -> bool:
    """Whether only a sample of the expected vectors was made when the evidence was frozen."""
    return _FILE in evidence.files


def frozen_draw(
    evidence: Evidence, sides: Mapping[str, Sides], orders: Mapping[str, Index], requested: int | None
) -> Draw:
    """The draw that was made when the evidence was frozen.

    Raises InputError where `requested` is another number: there are no other expected vectors. EvidenceError: it is damaged.
    """
    path = evidence.path / _FILE
    try:
        with pa.memory_map(str(path)) as mapped:
            table = pa.ipc.open_file(mapped).read_all()
        held = json.loads(table.schema.metadata[_PLAN])
        plan = SamplePlan(tuple(Stratum(**one) for one in held["strata"]), held["requested"])
    except (OSError, pa.ArrowInvalid, ValueError, KeyError, TypeError) as error:
        raise EvidenceError(f"cannot be read ({error})", where=str(path), hint="Collect again") from None
    if requested is not None and requested != plan.requested:
        raise InputError(
            f"the evidence holds expected vectors for a sample of {plan.requested:,}, not of {requested:,}",
            where=str(evidence.path),
            hint="Leave --sample out, or begin a new run from the case file",
        )
    total = sum(len(orders[name]) for name in sides)
    drawn, strata = np.zeros(total, np.bool_), np.full(total, -1, np.int32)
    names, position, stratum = (table[name].to_numpy() for name in table.schema.names)
    rows, positions, strata_of, start = {}, {}, {}, 0
    for name in sides:
        order = orders[name]
        mine = np.flatnonzero(names == name)
        ranks = np.searchsorted(sides[name].source.integers("position")[order], position[mine])
        if name in held["collections"]:
            rows[name], positions[name], strata_of[name] = (
                np.sort(order[ranks]).astype(np.int64),
                position[mine],
                stratum[mine],
            )
        drawn[start + ranks] = stratum[mine] >= 0
        strata[start + ranks] = stratum[mine]
        start += len(order)
    return Draw(plan, held["seed"], rows, positions, strata_of, strata, drawn)


def draw_contents(
    dimensions: Sequence[RowDimensions],
    sides: Mapping[str, Sides],
    orders: Mapping[str, Index],
    requested: int,
    seed: int,
    aside: Mapping[str, Index] | None = None,
) -> Draw:
    """Draw `requested` records that have a vector in the target and an expected one, if any collection has some.

    `dimensions`: what the ids alone have shown. `aside`: by collection, missing records whose expected vectors might tell whose
    an orphan is; where they are at most a quarter of `requested` they are taken from it.
    """
    aside = aside or {}
    beside = sum(len(rows) for rows in aside.values())
    if beside > requested // _ASIDE:
        aside, beside = {}, 0
    population = lay_out(dimensions)
    strata, names = stratify(population, find_hot_spots(dimensions))
    kinds = np.concatenate([one.kinds for one in dimensions])
    comparable = np.concatenate(
        [
            np.full(len(one.kinds), sides[one.collection].frozen.expected is not None, np.bool_)
            for one in dimensions
        ]
    )
    missing = (kinds & np.uint32(1 << KIND_BIT[Kind.MISSING])) != 0
    strata = np.where(missing | ~comparable, np.int32(-1), strata)
    present = [number for number in range(len(names)) if (strata == number).any()]
    renumbered = np.full(len(names) + 1, -1, np.int32)
    renumbered[present] = np.arange(len(present))
    strata = renumbered[strata]
    sizes = {names[number]: int((strata == new).sum()) for new, number in enumerate(present)}
    plan = replace(plan_sample(sizes, requested - beside), requested=requested)
    ids = [
        pa.array(sides[one.collection].source.text("id", orders[one.collection]), pa.string())
        for one in dimensions
    ]
    chosen = draw_sample(sample_keys(pa.chunked_array(ids), seed), strata, plan)
    drawn = np.zeros(len(strata), np.bool_)
    drawn[chosen] = True
    rows, positions, strata_of, start = {}, {}, {}, 0
    for one in dimensions:
        name, order = one.collection, orders[one.collection]
        if sides[name].frozen.expected is not None:
            mine = drawn[start : start + len(order)] | np.isin(order, aside.get(name, ()))
            rows[name] = np.sort(order[mine]).astype(np.int64)
            positions[name] = np.sort(sides[name].source.integers("position", rows[name]))
            strata_of[name] = strata[start : start + len(order)][mine]
        start += len(order)
    return Draw(plan, seed, rows, positions, strata_of, strata, drawn)


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
