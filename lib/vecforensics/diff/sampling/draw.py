"""`--sample N`: ids stay exact, contents are looked at in a sample, and the rate of wrong ones comes with an interval.

Two passes over the buckets: the first compares ids alone and shows where missing and stray ids gather; the second reads the
contents of the rows that were drawn (`smallest_keys.py`), stratified by collection and by what the first pass has shown to be a
hot spot. What they say of all contents is in `estimate.py`. Where `collect` had only a sample embedded, the draw was made then
and lies in the evidence, `sample.arrow`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.arrow_columns import as_numpy, numbers, text, texts, whole
from vecforensics.diff.collected import KINDS
from vecforensics.diff.hotspots import HotSpots, find_hot_spots
from vecforensics.diff.hotspots.lines import Population
from vecforensics.diff.hotspots.parts import covered_by_all
from vecforensics.diff.passes import Part, Passed
from vecforensics.diff.sampling.estimate import estimate_rate
from vecforensics.diff.sampling.plan import SamplePlan, Stratum, plan_sample
from vecforensics.diff.sampling.smallest_keys import Keys, draw_smallest, sample_keys
from vecforensics.diff.sides import Index, Side, Sides
from vecforensics.errors import EvidenceError, InputError
from vecforensics.evidence import SAMPLE, Evidence
from vecforensics.findings import SEVERITY, Kind, Severity
from vecforensics.records import canonical_json

__all__ = [
    "Draw",
    "draw_contents",
    "estimate",
    "frozen_draw",
    "in_a_hot_spot",
]

_PLAN: Final = b"plan"
_ASIDE: Final = 4

# What makes a content wrong; the other kinds speak of ids, metadata and dependencies, which were all looked at.
_CONTENT: Final = frozenset(kind for kind in Kind if SEVERITY[kind] is Severity.CORRUPT) - {
    Kind.MISSING,
    Kind.ORPHAN,
    Kind.DUPLICATE,
    Kind.METADATA_DRIFT,
    Kind.DANGLING,
    Kind.PREMATURE,
    Kind.MANGLED_ID,
}
# Of a drawn record that is gone at a second look nobody knows the content.
_NOT_THERE: Final = frozenset({Kind.MISSING, Kind.UNCHECKED})
_UNSEEN: Final = _CONTENT | {Kind.MISSING}

Codes = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Draw:
    """Which records' contents are looked at, by collection: running source `rows`, ascending, and of each its position in the
    source and its stratum in the plan. A collection without expected vectors is not in it.

    The missing records that are embedded aside from the sample are among them, with the stratum -1.
    """

    plan: SamplePlan
    seed: int
    rows: Mapping[str, Index]
    positions: Mapping[str, Index]
    strata: Mapping[str, Codes]

    def left_out(self, collection: str) -> int:
        """How many records of a collection stand in the target and were not drawn."""
        own = np.unique(self.strata[collection]) if collection in self.strata else np.empty(0, np.int32)
        return sum(self.plan.strata[at].size - self.plan.strata[at].drawn for at in own[own >= 0].tolist())

    def frozen(self) -> bytes:
        """The draw as an Arrow IPC file: collection, position and stratum of each drawn record, the plan in its schema."""
        plan = {
            "requested": self.plan.requested,
            "seed": self.seed,
            "collections": list(self.rows),
            "strata": [asdict(stratum) for stratum in self.plan.strata],
        }
        # In the order of the source, so that the buckets leave no trace.
        orders = {name: np.argsort(positions) for name, positions in self.positions.items()}
        owners = np.repeat(np.arange(len(self.rows), dtype=np.int32), [len(one) for one in orders.values()])
        columns = {
            "collection": texts(self.rows).take(numbers(owners)),
            "position": numbers(_joined(self.positions, orders, np.int64)),
            "stratum": numbers(_joined(self.strata, orders, np.int32)),
        }
        table = pa.Table.from_arrays(list(columns.values()), list(columns)).replace_schema_metadata(
            {_PLAN: canonical_json(plan)}
        )
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as file:
            file.write_table(table)
        return bytes(sink.getvalue())


def _joined(columns: Mapping[str, npt.NDArray[Any]], orders: Mapping[str, Any], kind: type) -> Any:
    return np.concatenate([np.empty(0, kind), *(columns[name][order] for name, order in orders.items())])


def frozen_draw(evidence: Evidence, sides: Mapping[str, Sides], requested: int | None) -> Draw:
    """The draw that was made when the evidence was frozen.

    Raises InputError where `requested` is another number: there are no other expected vectors. EvidenceError: it is damaged.
    """
    path = evidence.path / SAMPLE
    try:
        with pa.memory_map(str(path)) as mapped:
            table = pa.ipc.open_file(mapped).read_all()
        held = json.loads(table.schema.metadata[_PLAN])
        plan = SamplePlan(tuple(Stratum(**one) for one in held["strata"]), held["requested"])
        drawn = {
            name: table.filter(pc.equal(table["collection"], text(name))) for name in held["collections"]
        }
        positions = {name: as_numpy(whole(some["position"])) for name, some in drawn.items()}
        strata = {name: as_numpy(whole(some["stratum"])) for name, some in drawn.items()}
        rows = {name: _rows_at(sides[name].source, places) for name, places in positions.items()}
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise EvidenceError(f"cannot be read ({error})", where=str(path), hint="Collect again") from None
    if requested is not None and requested != plan.requested:
        raise InputError(
            f"the evidence holds expected vectors for a sample of {plan.requested:,}, not of {requested:,}",
            where=str(evidence.path),
            hint="Leave --sample out, or begin a new run from the case file",
        )
    by_row = {name: np.argsort(some) for name, some in rows.items()}
    return Draw(
        plan,
        held["seed"],
        {name: rows[name][order] for name, order in by_row.items()},
        {name: positions[name][order] for name, order in by_row.items()},
        {name: strata[name][order] for name, order in by_row.items()},
    )


def _rows_at(source: Side, positions: Index) -> Index:
    """The running rows of records by their positions in the source. Raises ValueError where there is none."""
    rows = np.full(len(positions), -1, np.int64)
    for bucket in range(source.buckets):
        # Ascending in each bucket.
        held = source.column("position", bucket)
        place = np.searchsorted(held, positions)
        here = np.flatnonzero(place < len(held))
        here = here[held[place[here]] == positions[here]]
        rows[here] = source.number(bucket, place[here])
    if (rows < 0).any():
        raise ValueError("a record that the source does not have")
    return rows


def in_a_hot_spot(population: Population, spots: HotSpots) -> npt.NDArray[np.bool_]:
    """Which rows of the population (in its order) lie in one of `spots`, bool (n,); of every k-th row of a stretch all of that
    stretch, since of rows that were lost there is nothing to draw but what stands beside them."""
    hot = np.zeros(population.rows, np.bool_)
    for spot in spots:
        stretch = [part for part in spot.parts if part.form != "every"]
        hot |= covered_by_all(stretch or spot.parts, population)
    return hot


def _aside(parts: Sequence[Part], requested: int) -> Mapping[str, Index]:
    """By collection, the missing records that are embedded too: all of them where every record is, else those that might tell
    whose an orphan is, where they are few beside the sample."""
    if sum(part.sides.source.rows for part in parts) <= requested:
        return {part.name: part.resolved.missing for part in parts}
    some = {part.name: part.resolved.missing for part in parts if len(part.resolved.orphans)}
    return some if sum(len(rows) for rows in some.values()) <= requested // _ASIDE else {}


def draw_contents(by_id: Passed, requested: int, seed: int, *, embedding: bool = False) -> Draw:
    """Draw `requested` records of those that stand in the target and of which a vector is expected.

    `by_id`: what the ids alone have shown. `embedding`: only what is drawn will have an expected vector, so that some of the
    missing records are drawn aside, out of `requested` as well. A row costs two bytes for the time of the draw, beside what the
    search for hot spots takes.
    """
    comparable = [part for part in by_id.parts if part.sides.frozen.expected is not None]
    aside = _aside(comparable, requested) if embedding else {}
    beside = sum(len(rows) for rows in aside.values())
    population = by_id.layout.population
    hot = in_a_hot_spot(population, find_hot_spots(by_id.dimensions(), population=population))
    starts = dict(zip(population.collections, population.starts.tolist(), strict=True))
    split: dict[str, npt.NDArray[np.int8]] = {}
    sizes: dict[str, int] = {}
    for part in comparable:
        name, order = part.name, by_id.layout.orders[part.name]
        # 0 outside the hot spots, 1 inside, -1 where there is nothing to look at, by running rows.
        split[name] = halves = np.empty(part.sides.source.rows, np.int8)
        halves[order] = hot[starts.get(name, 0) :][: len(order)]
        halves[part.resolved.missing] = -1
        for half, label in enumerate(_labels(name, starts)):
            sizes[label] = int(np.count_nonzero(halves == half))
    # Where all of them are missing there is nothing left to draw from.
    plan = replace(plan_sample(sizes, requested - beside or requested), requested=requested)
    planned = {stratum.name: (number, stratum.drawn) for number, stratum in enumerate(plan.strata)}
    rows, positions, strata = {}, {}, {}
    for part in comparable:
        name, source = part.name, part.sides.source
        codes, counts = zip(*(planned.get(label, (-1, 0)) for label in _labels(name, starts)), strict=True)
        drawn = draw_smallest(_keys_and_halves(source, name, seed, split.pop(name)), counts)
        groups = [*drawn, aside.get(name, np.empty(0, np.int64))]
        chosen = np.concatenate(groups)
        by_row = np.argsort(chosen)
        rows[name] = chosen[by_row]
        positions[name] = source.integers("position", rows[name])
        strata[name] = np.repeat(np.array([*codes, -1], np.int32), [len(group) for group in groups])[by_row]
    return Draw(plan, seed, rows, positions, strata)


def _labels(collection: str, collections: Collection[str]) -> tuple[str, str]:
    """What its strata are called: what lies in no hot spot, and what does. None is called like another one of `collections`."""
    hot = f"{collection}, in a hot spot"
    while hot in collections:
        hot += " of its own"
    return collection, hot


def _keys_and_halves(
    source: Side, name: str, seed: int, halves: npt.NDArray[np.int8]
) -> Iterator[tuple[Keys, npt.NDArray[np.int8]]]:
    for bucket in range(source.buckets):
        keys = sample_keys(source.column("id_hash", bucket), name, seed)
        yield keys, halves[source.offsets[bucket] : source.offsets[bucket + 1]]


def estimate(draw: Draw, passed: Passed) -> dict[str, Any]:
    """The estimated share of wrong contents, from what was found of the rows that were drawn."""
    counts = np.zeros((3, len(draw.plan.strata)), np.int64)
    for part in passed.parts:
        if part.name in draw.rows:
            counts += _judged(draw.rows[part.name], draw.strata[part.name], part, counts.shape[1])
    names = [stratum.name for stratum in draw.plan.strata]
    found, young, bare = (dict(zip(names, row, strict=True)) for row in counts.tolist())
    rate = estimate_rate(draw.plan, found, young=young, bare=bare)
    return {**rate.as_dict(), "sentence": str(rate)}


def _judged(rows: Index, strata: Codes, part: Part, count: int) -> npt.NDArray[np.int64]:
    """Of each stratum how many of its drawn rows are wrong, are too young to be judged, and had nothing to be compared with."""
    columns = part.found.columns()
    source, kinds = columns.source, columns.kind
    waiting = [
        found.source
        for found in part.found.rows
        if found.kind is Kind.PENDING and not _UNSEEN.isdisjoint(found.detail["seems"].split(", "))
    ]
    wrong = np.isin(rows, source[np.isin(kinds, _codes(_CONTENT))])
    young = np.isin(rows, waiting) & ~wrong
    # The digest is 0 where a vector is absent or not finite.
    bare = np.isin(rows, source[np.isin(kinds, _codes(_NOT_THERE))])
    bare |= part.sides.source.integers("digest", rows) == 0
    bare &= ~wrong & ~young
    drawn = strata >= 0
    return np.array([np.bincount(strata[some & drawn], minlength=count) for some in (wrong, young, bare)])


def _codes(kinds: Iterable[Kind]) -> list[int]:
    return [KINDS.index(kind) for kind in kinds]
