"""The length that most lists of a column have, counted over all of its rows, null and empty lists left aside.

The first rows do not show it: a migration that broke off, or changed its model, leaves rows of one length together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.arrow_columns import as_numpy

__all__ = ["commonest", "counted_length"]


def counted_length(parts: Iterable[pa.Array], rows: int) -> int:
    """The length that most lists of a column have, which comes in `parts` and has `rows` rows. They are read until the answer is
    sure: half of them where the first are like most, and all of them at most."""
    counts: Counter[int] = Counter()
    left = rows
    for part in parts:
        lengths = as_numpy(pc.list_value_length(part))
        sizes, many = np.unique(lengths[lengths > 0], return_counts=True)
        counts.update(dict(zip(sizes.tolist(), many.tolist(), strict=True)))
        left -= len(part)
        ahead, behind = [*(count for _, count in counts.most_common(2)), 0, 0][:2]
        if ahead > behind + left:
            break
    return commonest(counts)


def commonest(counts: Counter[int]) -> int:
    """The length with the most rows, the shortest of those that have equally many; 0 where there are none."""
    return min(counts, key=lambda size: (-counts[size], size), default=0)
