"""Embedders: from texts to the vectors that should stand in the target.

hashing-N                          numpy n-gram hashing into N dimensions; bitwise deterministic, needs no model
package.module:function            the user's own: a list of texts in, an (n, d) array out
file.py:function                   the same, from a file beside the case file
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from vecforensics.errors import CaseError

__all__ = ["Embedder", "open_embedder"]

_HASHING: Final = re.compile(r"hashing-([0-9]{1,5})")


class Embedder(Protocol):
    """Turns texts into vectors of one length. The same text gives the same vector, whatever else is in the batch."""

    name: str

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """An (n, d) float32 matrix, row i for text i."""
        ...


def open_embedder(name: str, folder: Path) -> Embedder:
    """The embedder of that name. `folder`: where a file's path starts. Raises CaseError for a name that is none."""
    from vecforensics.embedding.function import FunctionEmbedder
    from vecforensics.embedding.hashing import HashingEmbedder

    hashing = _HASHING.fullmatch(name)
    if hashing:
        dimension = int(hashing.group(1))
        if not 8 <= dimension <= 16_384:
            raise CaseError(f"{dimension} dimensions", where=name, hint="hashing-N takes N from 8 to 16384")
        return HashingEmbedder(dimension)
    if ":" in name:
        return FunctionEmbedder(name, folder)
    raise CaseError(
        "unknown embedder", where=name, hint="Known: hashing-N, package.module:function, file.py:function"
    )
