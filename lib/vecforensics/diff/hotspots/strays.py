"""Where rows gather that belong to no record: the target looked at as a population of its own.

An orphan has no row in the source, so no position, no metadata of the source and no batch of a record. It has an id, what its
own metadata say, and the log may have named it. Against all other rows of the target that is enough to ask "which ids, which
batch, which worker, when?" The order in which a store lists its rows means nothing and is not asked for.

A question of this kind needs no more than some controls beside the cases (Breslow and Day 1980, on case-control studies): beyond
100,000 rows the orphans are set against as many others, drawn by the hash of their ids, and the hot spots say so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.arrow_columns import encoded, flags, numbers, whole
from vecforensics.diff.compare.json_columns import metadata_columns
from vecforensics.diff.dimensions import joined_field
from vecforensics.diff.id_order import id_order
from vecforensics.diff.rows import KIND_BIT, Field, RowDimensions, TextIds
from vecforensics.diff.sides import Index, Side, Sides
from vecforensics.diff.writing.metadata_writes import WRITERS_FIELDS
from vecforensics.findings import Kind

__all__ = ["TargetRows"]

Flags = npt.NDArray[np.bool_]

# A stranger's metadata may have any number of fields; the commonest say enough.
_MOST_FIELDS: Final = 32
_CONTROLS: Final = 100_000


@dataclass(frozen=True, slots=True)
class TargetRows:
    """The rows of a target in the order of their ids, of a large one a sample beside the strays, before it is known which strays
    are orphans. `rows`: running target rows (k,); `control` bool (k,): those that are there whatever they turn out to be;
    `sampled`: whether these are not all; `written`: of all target rows, as `Writes.fields`."""

    dimensions: RowDimensions
    rows: Index
    control: Flags
    sampled: bool
    written: Mapping[str, Field]

    @classmethod
    def of(cls, name: str, sides: Sides, strays: Index, written: Mapping[str, Field]) -> TargetRows:
        """`strays`: the rows that stand under no record's id; `written`: what is known of the writing of each target row."""
        side = sides.target
        sampled = side.rows > _CONTROLS
        controls = _drawn(side) if sampled else np.arange(side.rows)
        chosen = np.union1d(strays, controls) if sampled else controls
        ids = side.texts("id", chosen)
        places = _id_order(side, chosen, ids)
        rows = chosen[places]
        fields = {key: Field(given.codes[rows], given.values) for key, given in written.items()}
        known = WRITERS_FIELDS - set(sides.frozen.metadata)
        fields.update(_metadata_fields(side, chosen, places, known))
        kinds = np.zeros(len(rows), np.uint32)
        dimensions = RowDimensions(name, kinds, fields, TextIds(ids.take(numbers(places))))
        control = np.isin(rows, controls) if sampled else np.ones(len(rows), np.bool_)
        return cls(dimensions, rows, control, sampled, written)

    def with_orphans(self, orphans: Index) -> RowDimensions:
        """The orphans, running target rows, marked among the others."""
        orphan = np.isin(self.rows, orphans)
        dimensions = replace(
            self.dimensions, kinds=np.where(orphan, np.uint32(1 << KIND_BIT[Kind.ORPHAN]), np.uint32(0))
        )
        if not self.sampled:
            return dimensions
        others = int(np.count_nonzero(self.control & ~orphan))
        note = (
            f"hot spots of orphans set them against {others:,} other rows of the target; shares are of these."
        )
        return replace(dimensions.chosen(np.flatnonzero(self.control | orphan)), note=note)


def _drawn(side: Side) -> Index:
    """Rows with small hashes of ids, about `_CONTROLS`."""
    limit = np.uint64(2**64 // side.rows * _CONTROLS)
    return np.concatenate(
        [
            side.number(bucket, np.flatnonzero(side.column("id_hash", bucket) < limit))
            for bucket in range(side.buckets)
        ]
    )


def _id_order(side: Side, chosen: Index, ids: pa.StringArray) -> Index:
    """Places in `chosen` by id, shorter ids first, copies of an id by their vectors: nothing of scan or buckets is left."""
    held = TextIds(ids)
    order = id_order(held.lengths(), held.words, held).astype(np.int64)
    ordered = held(order)
    again = np.r_[False, flags(pc.equal(ordered.slice(1), ordered.slice(0, max(len(ordered) - 1, 0))))]
    several = np.flatnonzero(again | np.r_[again[1:], False])
    group = np.cumsum(~again)[several]
    digests = side.integers("digest", chosen[order[several]])
    order[several] = order[several][np.lexsort((digests, group))]
    return order


def _metadata_fields(side: Side, chosen: Index, places: Index, known: frozenset[str]) -> dict[str, Field]:
    """The commonest fields of the target's metadata, of the rows `chosen` in the order `places`; `known`: those that are looked
    at under other names."""
    parts_of = [(bucket, rows) for bucket, _, rows in side.split(chosen)]
    columns = [
        metadata_columns(whole(side.table(bucket)["metadata"]).take(numbers(rows)))
        for bucket, rows in parts_of
    ]
    counts: Counter[str] = Counter()
    for one in columns:
        counts.update({name: len(column) - column.null_count for name, column in one.items()})
    names = sorted((name for name in counts if name not in known), key=lambda name: (-counts[name], name))
    fields = {}
    for name in sorted(names[:_MOST_FIELDS]):
        parts = [
            encoded(one.get(name, pa.nulls(len(rows), pa.string())))
            for (_, rows), one in zip(parts_of, columns, strict=True)
        ]
        fields[f"metadata:{name}"] = joined_field(parts, places)
    return fields
