"""The user's own embedder: any function from a list of texts to an array of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vecforensics.code_reference import load_function
from vecforensics.errors import CaseError

__all__ = ["FunctionEmbedder"]


class FunctionEmbedder:
    """Calls `package.module:function` or `file.py:function` and checks what comes back."""

    def __init__(self, reference: str, folder: Path) -> None:
        self.name = reference
        self._function = load_function(reference, folder, CaseError)
        self._dimension = 0

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """An (n, d) float32 matrix. Raises CaseError where the function fails, gives another shape, or another d than before."""
        try:
            result = np.asarray(self._function(list(texts)), dtype=np.float32)
        except Exception as error:
            raise CaseError(
                f"the embedder fails ({type(error).__name__}: {error})",
                where=self.name,
                hint="Mend it; it takes a list of texts",
            ) from error
        if result.ndim != 2 or result.shape[0] != len(texts) or result.shape[1] == 0:
            raise CaseError(
                f"gave the shape {result.shape} for {len(texts)} texts",
                where=self.name,
                hint="Return one vector a text: an array of shape (n, d)",
            )
        self._dimension = self._dimension or result.shape[1]
        if result.shape[1] != self._dimension:
            raise CaseError(
                f"gave vectors of {self._dimension} components first and of {result.shape[1]} then",
                where=self.name,
                hint="Return vectors of one length, whatever the texts",
            )
        return result
