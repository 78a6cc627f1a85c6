"""Which rows are drawn: those with the smallest keys, found in one sweep that holds little more than the rows it has chosen.

A record's key is a hash of the seed, its collection and its id. So a draw is a simple random sample to anybody who does not know
the seed, the same on every machine and in any order of the rows; and the draws of two collections have nothing to do with each
other, though both may go by the same ids (users, their profiles, their settings). An interval over several strata rests on that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xxhash

__all__ = ["draw_smallest", "sample_keys"]

# The finaliser of splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014): shift, multiplier.
_ROUNDS: Final = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
_LAST: Final = np.uint64(31)
_MOST: Final = np.uint64(np.iinfo(np.uint64).max)

Keys = npt.NDArray[np.uint64]
Index = npt.NDArray[np.int64]


def sample_keys(id_hashes: Keys, collection: str, seed: int) -> Keys:
    """The key of each record, uint64 (n,), from its `id_hash` in the evidence: rows are drawn in the order of their keys."""
    # The evidence holds the hash of every id, so that none is read again.
    own = np.uint64(xxhash.xxh3_64_intdigest(collection.encode("utf-8", "surrogatepass"), seed=seed))
    keys = id_hashes ^ own
    for shift, multiplier in _ROUNDS:
        keys ^= keys >> shift
        keys *= multiplier
    keys ^= keys >> _LAST
    return keys


def draw_smallest(
    buckets: Iterable[tuple[Keys, npt.NDArray[np.signedinteger[Any]]]], counts: Sequence[int]
) -> list[Index]:
    """For each stratum the rows with its `counts` smallest keys (0 only where it has no rows), ascending, as running numbers.

    `buckets`: keys and stratum numbers of the rows of one bucket after the other (-1: of no stratum). Of equal keys the earlier
    rows count. Holds at most twice as many rows as it chooses, and one bucket.
    """
    strata, first = [_Smallest(count) for count in counts], 0
    for keys, numbers in buckets:
        for number, one in enumerate(strata):
            rows = np.flatnonzero((numbers == number) & (keys <= one.limit))
            one.add(keys[rows], rows + first)
        first += len(keys)
    return [one.chosen() for one in strata]


@dataclass
class _Smallest:
    """The rows with the `count` smallest keys of those that were added, and some more. None above `limit` is among them."""

    count: int
    limit: np.uint64 = _MOST
    _keys: list[Keys] = field(default_factory=list)
    _rows: list[Index] = field(default_factory=list)
    _held: int = 0

    def add(self, keys: Keys, rows: Index) -> None:
        """Rows behind all that were added before, ascending."""
        self._keys.append(keys)
        self._rows.append(rows)
        self._held += len(rows)
        if self._held > 2 * self.count:
            self._shrink()

    def chosen(self) -> Index:
        if self._held > self.count:
            self._shrink()
        return np.concatenate([np.empty(0, np.int64), *self._rows])

    def _shrink(self) -> None:
        # Their parts are let go at once.
        keys, self._keys = np.concatenate(self._keys), []
        rows, self._rows = np.concatenate(self._rows), []
        self.limit = np.partition(keys, self.count - 1)[self.count - 1]
        kept = keys < self.limit
        alike = np.flatnonzero(keys == self.limit)
        kept[alike[: self.count - np.count_nonzero(kept)]] = True
        self._keys, self._rows, self._held = [keys[kept]], [rows[kept]], self.count
