"""One record of a run: who its neighbours should be, and who they are in the target."""

from __future__ import annotations

import numpy as np

from vecforensics.diff.dimensions import EvidenceIds, EvidenceVectors, source_order
from vecforensics.diff.impact import compare_neighbours
from vecforensics.diff.impact.results import Neighbours
from vecforensics.diff.rows import RowDimensions
from vecforensics.diff.sides import Sides
from vecforensics.errors import InputError
from vecforensics.evidence import Evidence, damage_named
from vecforensics.run_folder import RunFolder

__all__ = ["neighbours_of"]


def neighbours_of(
    run: RunFolder, collection: str, record: str, *, k: int = 10, memory_mb: int = 128
) -> Neighbours:
    """The `k` nearest of a record by the expected vectors, and by what stands in the target, from the frozen evidence.

    Raises EvidenceError for a collection that was not frozen, InputError for a record that is none or has no expected vector, and
    where only a sample has one: the nearest among a sample are not the nearest.
    """
    with damage_named(run.evidence):
        return _neighbours(Evidence.open(run.evidence), collection, record, k, memory_mb)


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
