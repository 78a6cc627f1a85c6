"""How long the vectors of a frozen target are, by its own count: what `FrozenCollection.dimension` says only where nothing is
expected of them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow.compute as pc

from vecforensics.arrow_columns import as_numpy, whole
from vecforensics.evidence import Evidence
from vecforensics.list_lengths import commonest

__all__ = ["usual_target_length"]


def usual_target_length(evidence: Evidence, name: str) -> int:
    """The length that most vectors of a collection have in the target as it was frozen; 0 where it holds none."""
    counts: Counter[int] = Counter()
    one = evidence.collection(name)
    for bucket in range(one.buckets):
        rows = evidence.table(name, "target", bucket)
        vectors, ragged = rows.column("vector"), rows.column("ragged")
        counts[one.dimension] += len(vectors) - vectors.null_count
        if ragged.null_count < len(ragged):
            lengths = as_numpy(whole(pc.list_value_length(ragged)))
            sizes, many = np.unique(lengths[lengths > 0], return_counts=True)
            counts.update(dict(zip(sizes.tolist(), many.tolist(), strict=True)))
    return commonest(+counts)
