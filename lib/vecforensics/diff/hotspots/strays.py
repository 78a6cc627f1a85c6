"""Where rows gather that belong to no record: the target looked at as a population of its own.

An orphan has no row in the source, so no position, no metadata of the source and no batch of a record. It has an id, what its
own metadata say, and the log may have named it. Against all other rows of the target that is enough to ask "which ids, which
batch, which worker, when?" The order in which a store lists its rows means nothing and is not asked for.

A question of this kind needs no more than some controls beside the cases (Breslow and Day 1980, on case-control studies): beyond
100,000 rows the orphans are set against as many others, drawn by the hash of their ids, and the hot spots say so.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.arrow_columns import encoded, flags, numbers, whole
from vecforensics.diff.compare.json_columns import metadata_columns
from vecforensics.diff.dimensions import joined_field
from vecforensics.diff.id_order import id_order
from vecforensics.diff.rows import KIND_BIT, Field, RowDimensions, TextIds
from vecforensics.diff.sides import Index, Side, Sides
from vecforensics.diff.writing.metadata_writes import WRITERS_FIELDS
from vecforensics.diff.writing.writes import Writes
from vecforensics.findings import Kind

__all__ = ["stray_dimensions"]

# A stranger's metadata may have any number of fields; the commonest say enough.
_MOST_FIELDS: Final = 32
_CONTROLS: Final = 100_000


def stray_dimensions(name: str, sides: Sides, orphans: Index, writes: Writes) -> RowDimensions:
    """The rows of a target in the order of their ids, with the orphans marked; of a large one a sample of the others. `writes`:
    what is known of each target row."""
    side = sides.target
    chosen, note = _cases_and_controls(side, orphans)
    ids = side.texts("id", chosen)
    places = _id_order(side, chosen, ids)
    stray = np.zeros(side.rows, np.bool_)
    stray[orphans] = True
    order = chosen[places]
    kinds = np.where(stray[order], np.uint32(1 << KIND_BIT[Kind.ORPHAN]), np.uint32(0))
    fields = {key: Field(given.codes[order], given.values) for key, given in writes.fields.items()}
    known = WRITERS_FIELDS - set(sides.frozen.metadata)
    fields.update(_metadata_fields(side, chosen, places, known))
    return RowDimensions(name, kinds, fields, TextIds(ids.take(numbers(places))), note)


def _cases_and_controls(side: Side, orphans: Index) -> tuple[Index, str]:
    """The rows that are looked at, and what is to be said of them."""
    if side.rows <= _CONTROLS:
        return np.arange(side.rows), ""
    limit = np.uint64(2**64 // side.rows * _CONTROLS)
    drawn = [
        side.number(bucket, np.flatnonzero(side.column("id_hash", bucket) < limit))
        for bucket in range(side.buckets)
    ]
    controls = np.concatenate(drawn)
    controls = controls[~np.isin(controls, orphans)]
    note = f"hot spots of orphans set them against {len(controls):,} other rows of the target; shares are of these."
    return np.sort(np.r_[orphans, controls]), note


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
