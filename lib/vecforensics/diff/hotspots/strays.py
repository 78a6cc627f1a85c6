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

from vecforensics.arrow_columns import as_numpy, encoded, numbers, whole
from vecforensics.diff.compare.json_columns import metadata_columns
from vecforensics.diff.dimensions import joined_field
from vecforensics.diff.rows import KIND_BIT, Field, RowDimensions, TextIds
from vecforensics.diff.sides import Index, Side, Sides
from vecforensics.diff.writes import WRITERS_FIELDS, Writes
from vecforensics.findings import Kind

__all__ = ["stray_dimensions"]

# A stranger's metadata may have any number of fields; the commonest say enough.
_MOST_FIELDS: Final = 32
_CONTROLS: Final = 100_000


def stray_dimensions(name: str, sides: Sides, orphans: Index, writes: Writes) -> RowDimensions:
    """The rows of a target in the order of their ids, with the orphans marked; of a large one a sample of the others. `writes`:
    what is known of each target row."""
    chosen, note = _cases_and_controls(sides.target, orphans)
    order = _id_order(sides.target, chosen)
    kinds = np.where(np.isin(order, orphans), np.uint32(1 << KIND_BIT[Kind.ORPHAN]), np.uint32(0))
    fields = {key: Field(given.codes[order], given.values) for key, given in writes.fields.items()}
    fields.update(_metadata_fields(sides.target, order, WRITERS_FIELDS - set(sides.frozen.metadata)))
    return RowDimensions(name, kinds, fields, TextIds(sides.target.texts("id", order)), note)


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


def _id_order(side: Side, chosen: Index) -> Index:
    """Running rows by id, shorter ids first, copies of an id by their vectors: nothing of a scan or of the buckets is left."""
    ids = side.texts("id", chosen)
    digests = side.integers("digest", chosen)
    columns = [pc.binary_length(ids), ids, numbers(digests)]
    table = pa.Table.from_arrays(columns, ["length", "id", "digest"])
    keys = [("length", "ascending"), ("id", "ascending"), ("digest", "ascending")]
    order: Index = chosen[as_numpy(pc.sort_indices(table, sort_keys=keys))]
    return order


def _metadata_fields(side: Side, order: Index, known: frozenset[str]) -> dict[str, Field]:
    """The commonest fields of the target's metadata; `known`: those that are looked at under other names."""
    chosen = np.sort(order)
    parts_of = [(bucket, rows) for bucket, _, rows in side.split(chosen)]
    columns = [
        metadata_columns(whole(side.table(bucket)["metadata"]).take(numbers(rows)))
        for bucket, rows in parts_of
    ]
    counts: Counter[str] = Counter()
    for one in columns:
        counts.update({name: len(column) - column.null_count for name, column in one.items()})
    names = sorted((name for name in counts if name not in known), key=lambda name: (-counts[name], name))
    place = np.searchsorted(chosen, order)
    fields = {}
    for name in sorted(names[:_MOST_FIELDS]):
        parts = [
            encoded(one.get(name, pa.nulls(len(rows), pa.string())))
            for (_, rows), one in zip(parts_of, columns, strict=True)
        ]
        fields[f"metadata:{name}"] = joined_field(parts, place)
    return fields
