"""Small tools for looking a few keys up among very many, and for going through many rows some at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["Filter", "Hashes", "find", "portions", "ranges"]

Hashes = npt.NDArray[np.uint64]

# Which keys are asked for at all, by a hash of 22 bits at most: 4 MB that stay in the processor's cache. Of fewer keys fewer
# bits, so that one in some hundreds of the others is a false "maybe".
_FEWEST_BITS, _MOST_BITS, _SPARSE = 12, 22, 9
_SPREAD: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
# What is looked at together, and so many rows at least.
_TOGETHER: Final = 32 * 2**20
_FEWEST: Final = 256


class Filter:
    """Which of many keys may be among a few: no false "no", a few false "maybe" (a Bloom filter of one hash)."""

    def __init__(self, keys: Hashes) -> None:
        self._bits = min(max(len(keys).bit_length() + _SPARSE, _FEWEST_BITS), _MOST_BITS)
        self._held = np.zeros(2**self._bits, np.bool_)
        self._held[self._place(keys)] = True

    def maybe(self, keys: Hashes) -> npt.NDArray[np.int64]:
        """The places in `keys` that are worth a search."""
        return np.flatnonzero(self._held[self._place(keys)])

    def _place(self, keys: Hashes) -> npt.NDArray[np.int64]:
        # Bits of a product only carry upwards, so the upper ones depend on all.
        places: npt.NDArray[np.int64] = ((keys * _SPREAD) >> np.uint64(64 - self._bits)).view(np.int64)
        return places


def ranges(starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """start, start + 1, … for each start, `counts` numbers each."""
    inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    numbers: npt.NDArray[np.int64] = np.repeat(starts, counts) + inside
    return numbers


def find(
    keys: npt.NDArray[Any], held: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Where each of `held` stands among the ascending `keys`, and whether it does."""
    if not len(keys):
        return np.zeros(len(held), np.int64), np.zeros(len(held), np.bool_)
    at = np.minimum(np.searchsorted(keys, held), len(keys) - 1)
    return at, keys[at] == held


def portions(rows: int, row_bytes: int) -> Iterator[slice]:
    """Slices that go through so many rows, each of which takes `row_bytes` while it is looked at: about 32 MB at a time."""
    step = max(_TOGETHER // max(row_bytes, 1), _FEWEST)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
