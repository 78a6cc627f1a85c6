"""Small tools for looking a few keys up among very many."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["Filter", "Hashes", "ranges"]

Hashes = npt.NDArray[np.uint64]

# Which keys are asked for at all, by a hash of 22 bits: 4 MB that stay in the processor's cache.
_BITS: Final = 22
_SPREAD: Final = np.uint64(0x9E37_79B9_7F4A_7C15)


class Filter:
    """Which of many keys may be among a few: no false "no", a few false "maybe" (a Bloom filter of one hash)."""

    def __init__(self, keys: Hashes) -> None:
        self._held = np.zeros(2**_BITS, np.bool_)
        self._held[self._place(keys)] = True

    def maybe(self, keys: Hashes) -> npt.NDArray[np.int64]:
        """The places in `keys` that are worth a search."""
        return np.flatnonzero(self._held[self._place(keys)])

    @staticmethod
    def _place(keys: Hashes) -> npt.NDArray[np.int64]:
        # Bits of a product only carry upwards, so the upper ones depend on all.
        places: npt.NDArray[np.int64] = ((keys * _SPREAD) >> np.uint64(64 - _BITS)).view(np.int64)
        return places


def ranges(starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """start, start + 1, … for each start, `counts` numbers each."""
    inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    numbers: npt.NDArray[np.int64] = np.repeat(starts, counts) + inside
    return numbers
