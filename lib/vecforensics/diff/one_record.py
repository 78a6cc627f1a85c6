"""One record of a run: who its neighbours should be, and who they are in the target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vecforensics.arrow_columns import text
from vecforensics.diff.dimensions import EvidenceIds, EvidenceVectors, source_order
from vecforensics.diff.impact import compare_neighbours
from vecforensics.diff.impact.results import Neighbours
from vecforensics.diff.rows import RowDimensions
from vecforensics.diff.sides import Sides
from vecforensics.errors import InputError, printable
from vecforensics.evidence import Evidence, damage_named
from vecforensics.run_folder import RunFolder

__all__ = ["neighbours_of"]


def neighbours_of(
    run: RunFolder, collection: str, record: str, *, k: int = 10, memory_mb: int = 128
) -> Neighbours:
    """The `k` nearest of a record by the expected vectors, and by what stands in the target, from the frozen evidence; and what
    the diff found of it, where it has run.

    Raises EvidenceError for a collection that was not frozen, InputError for a record that is none or has no expected vector, and
    where only a sample has one: the nearest among a sample are not the nearest.
    """
    with damage_named(run.evidence):
        found = _neighbours(Evidence.open(run.evidence), collection, record, k, memory_mb)
    return replace(found, said=tuple(_said(run, collection, record)))


def _said(run: RunFolder, collection: str, record: str) -> Iterator[str]:
    """The findings of one record, the few words of each that name what to look at."""
    if not run.findings_parquet.is_file():
        return
    mine = (pc.field("collection") == text(collection)) & (pc.field("source_id") == text(record))
    columns = ["kind", "target_id", "partner_id"]
    for row in pq.read_table(run.findings_parquet, columns=columns, filters=mine).to_pylist():
        words = [row["kind"]]
        if row["target_id"] not in (None, record):
            words.append(f"stands under the id '{printable(row['target_id'], 80)}'")
        if row["partner_id"] is not None:
            words.append(f"partner '{printable(row['partner_id'], 80)}'")
        yield ", ".join(words)


def _neighbours(evidence: Evidence, collection: str, record: str, k: int, memory_mb: int) -> Neighbours:
    frozen = evidence.collection(collection)
    sides = Sides.of(evidence, collection)
    if not sides.source.dimension:
        raise InputError(
            "there are no expected vectors, so nobody knows who its neighbours should be",
            where=f"collection {collection}",
            hint="Name an embedder, a column or another store under expected",
        )
    if evidence.sampled and not all(
        sides.source.vectors(bucket).present.all() for bucket in range(frozen.buckets)
    ):
        raise InputError(
            "only a sample of the records has expected vectors, so nobody knows who is nearest",
            where=f"collection {collection}",
            hint="Collect again without --sample",
        )
    order = source_order(sides)
    rows = RowDimensions(collection, np.zeros(len(order), np.uint32), {}, EvidenceIds(sides.source, order))
    return compare_neighbours(
        EvidenceVectors(collection, sides, order), rows, record, k=k, memory_mb=memory_mb
    )
