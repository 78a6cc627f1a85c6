"""`hashing-N`: every byte n-gram of a text votes, with a sign, for one of N components.

The feature-hashing trick (Weinberger et al., 2009) over byte n-grams of 3, 4 and 5 bytes: texts that share words share
components, so neighbours mean something, and no model has to be downloaded. All votes are whole numbers, summed exactly; only
the final division by the norm rounds. The result is therefore the same to the bit in any batch, process or order.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["HashingEmbedder"]

_SIZES: Final = (3, 4, 5)
# Texts hashed at once: the table of votes stays near 3 MB at 384 dimensions.
_BLOCK: Final = 1_024
# Odd 64-bit constants: the fractional bits of the golden ratio, and the finaliser of MurmurHash3.
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX: Final = np.uint64(0xFF51AFD7ED558CCD)


class HashingEmbedder:
    """Signed n-gram counts in `dimension` components, scaled to length 1; an empty text gives the zero vector."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.name = f"hashing-{dimension}"

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """An (n, dimension) float32 matrix."""
        out = np.empty((len(texts), self.dimension), np.float32)
        for start in range(0, len(texts), _BLOCK):
            block = texts[start : start + _BLOCK]
            out[start : start + len(block)] = self._block(block)
        return out

    def _block(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        encoded = [_folded(text) for text in texts]
        lengths = np.array([len(one) for one in encoded], np.int64)
        data = np.frombuffer(b"".join(encoded), np.uint8).astype(np.uint64)
        owner = np.repeat(np.arange(len(texts)), lengths)
        votes = np.zeros(len(texts) * self.dimension, np.float64)
        for size in _SIZES:
            if len(data) < size:
                continue
            windows = len(data) - size + 1
            whole = owner[:windows] == owner[size - 1 :]
            gram = np.full(windows, size, np.uint64)
            for offset in range(size):
                gram = (gram ^ data[offset : offset + windows]) * _GOLDEN
                gram ^= gram >> np.uint64(29)
            gram = (gram * _MIX)[whole]
            component = ((gram >> np.uint64(33)) % np.uint64(self.dimension)).astype(np.int64)
            sign = 1.0 - 2.0 * ((gram >> np.uint64(32)) & np.uint64(1)).astype(np.float64)
            votes += np.bincount(owner[:windows][whole] * self.dimension + component, sign, len(votes))
        matrix = votes.reshape(len(texts), self.dimension)
        norms = np.sqrt((matrix * matrix).sum(axis=1, keepdims=True))
        scaled: npt.NDArray[np.float32] = (matrix / np.where(norms == 0, 1.0, norms)).astype(np.float32)
        return scaled


def _folded(text: str) -> bytes:
    """Case, Unicode form and runs of space do not change what a text means; a space on both sides marks its ends."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return f" {folded} ".encode("utf-8", "surrogatepass") if folded else b""
