"""The vectors of a collection in memory, for tests that say what each of them is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ArrayVectors:
    """`CollectionVectors` over arrays in memory. A row of `actual_vectors` counts only where `present` is true, one of
    `expected_vectors` where it is finite; without `owners` the further rows stand under no record's id."""

    collection: str
    expected_vectors: npt.NDArray[np.float32]
    actual_vectors: npt.NDArray[np.float32]
    present: npt.NDArray[np.bool_]
    further_vectors: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    owners: npt.NDArray[np.int64] | None = None

    @property
    def dimension(self) -> int:
        return int(self.expected_vectors.shape[1])

    @property
    def rows(self) -> int:
        return int(self.expected_vectors.shape[0])

    def expected(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        vectors = self.expected_vectors[rows]
        found: Any = np.isfinite(vectors).all(axis=1)
        return vectors, found

    def actual(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        return self.actual_vectors[rows], self.present[rows]

    def same(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        equal: npt.NDArray[np.bool_] = (self.expected_vectors[rows] == self.actual_vectors[rows]).all(axis=1)
        return equal & self.present[rows]

    def further_owners(self) -> npt.NDArray[np.int64]:
        return np.full(len(self.further_vectors), -1) if self.owners is None else self.owners

    def further(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        return self.further_vectors[rows]
