"""What a store makes of every vector of a collection, a grid of int8 or some noise: a sample of the rows of all buckets says so.

In the sample are the rows with the smallest hashes of ids, the same whatever the buckets and the workers. A grid is asked for
only where rows that are close to what was expected are about to be called drifted, and enough rows differ. The noise of a store
that rounds decimals, or of a provider whose models are not exact, is known where most vectors that are in order show it; what is
right in part is right but for that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.compare.bucket import BucketResult
from vecforensics.diff.compare.grid_learning import FEWEST, learn_grid
from vecforensics.diff.compare.grids import Grid
from vecforensics.diff.compare.pairs import Pairs
from vecforensics.diff.compare.relation import Relation
from vecforensics.diff.sides import Index, Sides

__all__ = ["find_grid", "find_noise"]

Flags = npt.NDArray[np.bool_]

# Below this cosine distance a row is off by float noise, beyond that it says more about damage than about a grid.
_NOISE, _CLOSE = 1e-9, 0.1
_ASKED: Final = (Relation.WRONG, Relation.PART_ZERO, Relation.PART_OTHER)
_TELLING: Final = (*_ASKED, Relation.INT8, Relation.NOISE, Relation.NORMALISED)
_MOST_ROWS: Final = 4096
_MOST_VALUES: Final = 2 * 2**20
# So many rows show what is usual. A component may be off by twice as much as the worst of a usual row; where that is more than
# this share of a component of usual size, much would be right by chance.
_SHOWN: Final = 256
_TIMES: Final = 2
_MOST_NOISE: Final = 0.02


def find_grid(sides: Sides, results: Sequence[BucketResult]) -> Grid | None:
    """The grid that the collection is kept on; None where nothing asks for one or none is seen."""
    if not any(_close(result.pairs, _ASKED).any() for result in results):
        return None
    most = int(np.clip(_MOST_VALUES // max(sides.source.dimension, 1), 256, _MOST_ROWS))
    source, target = _sampled(sides, results, lambda pairs: _close(pairs, _TELLING), most)
    if len(source) < FEWEST:
        return None
    with np.errstate(all="ignore"):
        return learn_grid(sides.source.take(source), sides.target.take(target))


def _close(pairs: Pairs, states: tuple[Relation, ...]) -> Flags:
    """Which pairs are of these states, and close to what was expected."""
    near = (pairs.distance > _NOISE) & (pairs.distance <= _CLOSE)
    flags: Flags = np.isin(pairs.state, states) & near
    return flags


def find_noise(sides: Sides, results: Sequence[BucketResult]) -> float:
    """By how much a component of any vector may be off, where most vectors that are in order are off by something; else 0."""
    noisy = sum(int(np.count_nonzero(result.pairs.state == Relation.NOISE)) for result in results)
    wrong = sum(int(np.count_nonzero(result.pairs.state >= Relation.NON_FINITE)) for result in results)
    in_order = sum(result.compared for result in results) - wrong
    if noisy < max(FEWEST, in_order / 2):
        return 0.0
    source, target = _sampled(sides, results, lambda pairs: pairs.state == Relation.NOISE, _SHOWN)
    expected = sides.source.take(source)
    noise = _TIMES * float(np.median(np.abs(sides.target.take(target) - expected).max(axis=1)))
    usual = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64))))
    return noise if noise <= _MOST_NOISE * usual else 0.0


def _sampled(
    sides: Sides, results: Sequence[BucketResult], wanted: Callable[[Pairs], Flags], most: int
) -> tuple[Index, Index]:
    """Running source and target rows of those `most` of the wanted pairs whose ids have the smallest hashes."""
    hashes, source, target = [np.empty(0, np.uint64)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for result in results:
        pairs, places = result.pairs, np.flatnonzero(wanted(result.pairs))
        if not len(places):
            continue
        named = sides.source.column("id_hash", result.bucket)[pairs.source[places]]
        first = np.argsort(named)[:most]
        hashes.append(named[first])
        source.append(sides.source.number(result.bucket, pairs.source[places[first]]))
        target.append(sides.target.number(result.bucket, pairs.target[places[first]]))
    first = np.argsort(np.concatenate(hashes))[:most]
    return np.concatenate(source)[first], np.concatenate(target)[first]
