"""Is a collection kept on a grid? A sample of the rows of all its buckets says so.

Asked only where rows that are close to what was expected are about to be called drifted, and enough rows differ. In the sample
are those of them with the smallest hashes of ids, the same whatever the buckets and the workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from vecforensics.diff.compare.bucket import BucketResult
from vecforensics.diff.compare.grid_learning import FEWEST, learn_grid
from vecforensics.diff.compare.grids import Grid
from vecforensics.diff.compare.relation import Relation
from vecforensics.diff.sides import Sides

__all__ = ["find_grid"]

# Below this cosine distance a row is off by float noise, beyond that it says more about damage than about a grid.
_NOISE, _CLOSE = 1e-9, 0.1
_ASKED: Final = (Relation.WRONG, Relation.PART_ZERO, Relation.PART_OTHER)
_TELLING: Final = (*_ASKED, Relation.INT8, Relation.NOISE, Relation.NORMALISED)
_MOST_ROWS: Final = 4096
_MOST_VALUES: Final = 2 * 2**20


def find_grid(sides: Sides, results: Sequence[BucketResult]) -> Grid | None:
    """The grid that the collection is kept on; None where nothing asks for one or none is seen."""
    hashes, source, target, asking = [], [], [], False
    most = int(np.clip(_MOST_VALUES // max(sides.source.dimension, 1), 256, _MOST_ROWS))
    for result in results:
        pairs = result.pairs
        near = (pairs.distance > _NOISE) & (pairs.distance <= _CLOSE)
        rows = np.flatnonzero(np.isin(pairs.state, _TELLING) & near)
        if not len(rows):
            continue
        asking |= bool(np.isin(pairs.state[rows], _ASKED).any())
        named = sides.source.column("id_hash", result.bucket)[pairs.source[rows]]
        first = np.argsort(named)[:most]
        hashes.append(named[first])
        source.append(sides.source.number(result.bucket, pairs.source[rows[first]]))
        target.append(sides.target.number(result.bucket, pairs.target[rows[first]]))
    if not asking or sum(map(len, hashes)) < FEWEST:
        return None
    first = np.argsort(np.concatenate(hashes))[:most]
    expected = sides.source.take(np.concatenate(source)[first])
    with np.errstate(all="ignore"):
        return learn_grid(expected, sides.target.take(np.concatenate(target)[first]))
