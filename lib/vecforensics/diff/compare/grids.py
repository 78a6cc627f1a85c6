"""The grid of int8 that a store keeps a whole collection on, and which vectors are copies on it.

A vector of few components shows no grid by itself: any two or three numbers lie on some. Where the grid is known, from many rows
together (`grid_learning.py`), the code says of each component what the store must have made of it: the nearest level, or the
next one towards zero or downwards where it cuts off. A wrong vector that lies on the same grid is still wrong. What is accepted
is therefore no longer a question of distance: a copy that passes is, level for level, what the store holds of the right vector.

A scale may be one for the collection, one for each component (as in FAISS), or one for each vector, drawn from its own extremes.
Stores that clip a quantile (as in Qdrant) hold the end of the scale for all that lies beyond it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["ON_LEVEL", "ROUNDINGS", "ROW_SCALES", "Grid", "Rounding", "row_levels", "unit"]

Matrix = npt.NDArray[np.floating[Any]]
Wide = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# How far from a level, or from the bounds of rounding, a component may be, in steps: what single precision leaves of 256 of them,
# and a wide margin.
ON_LEVEL: Final = 0.02


class Rounding(StrEnum):
    """Which level a component goes to."""

    NEAREST = "nearest"
    DOWN = "down"
    TO_ZERO = "to zero"


# How many steps above the level that stands for it a component may have been (for `TO_ZERO`: farther from zero).
ROUNDINGS: Final = {Rounding.NEAREST: (-0.5, 0.5), Rounding.DOWN: (0.0, 1.0), Rounding.TO_ZERO: (0.0, 1.0)}

ROW_SCALES: Final = ("peak/127", "peak/128", "spread/255", "spread with zero/255")
"""How a store draws the scale of a vector from the vector."""


@dataclass(frozen=True, slots=True)
class Grid:
    """`step` and `origin` float64 (1,), or (d,) where each component has its own; both empty where each vector has, by the rule
    `row_scale`. `low`, `high`: the ends of the scale where values beyond them were cut off, else infinite. `unit`: vectors are
    brought to length one before; `factor`: what all are multiplied by, where the store gives back its codes as they are.
    `bottom`, `top`: the smallest and the largest values that the rows it was learnt from held; a value beyond them may have been
    cut off there though no row of those shows it."""

    step: Wide
    origin: Wide
    low: Wide
    high: Wide
    row_scale: str | None = None
    unit: bool = False
    rounding: Rounding = Rounding.NEAREST
    bottom: Wide = field(default_factory=lambda: np.array([-np.inf]))
    top: Wide = field(default_factory=lambda: np.array([np.inf]))
    factor: float = 1.0

    @property
    def shared(self) -> bool:
        """Whether a level stands for the same value in every vector."""
        return self.row_scale is None

    def right(self, expected: Matrix, actual: Matrix) -> Flags:
        """Which components of `actual` (k, d) are what the store makes of `expected` (k, d)."""
        return self._made_of(self._reference(expected), actual)

    def _made_of(self, wanted: Wide, actual: Matrix) -> Flags:
        with np.errstate(all="ignore"):
            step, origin = self._scale(wanted)
            held = actual.astype(np.float64)
            level = (held - origin) / step
            kept = np.clip(wanted, self.low, self.high)
            above = (kept - held) / step
            if self.rounding is Rounding.TO_ZERO:
                above *= np.where(wanted < 0, -1.0, 1.0)
            least, most = ROUNDINGS[self.rounding]
            right = np.abs(level - np.rint(level)) <= ON_LEVEL
            right = right & (above >= least - ON_LEVEL) & (above <= most + ON_LEVEL)
            # The largest value of all is the end itself, but for the arithmetic of single precision.
            margin = ON_LEVEL * np.abs(step)
            inside = np.abs(kept - wanted) <= margin
            beyond = (wanted > self.top + margin) & (np.abs(held - self.top) <= margin)
            beyond |= (wanted < self.bottom - margin) & (np.abs(held - self.bottom) <= margin)
        # What was cut off stands at the end of the scale and nowhere else.
        return np.asarray(right & (inside | (np.abs(above) <= ON_LEVEL)) | beyond)

    def holds(self, expected: Matrix, actual: Matrix) -> Flags:
        """Which rows of `actual` are what the store makes of the same row of `expected`."""
        return np.asarray(self.right(expected, actual).all(axis=1))

    def nothing(self, actual: Matrix) -> Flags:
        """Which components hold zero, or the level that stands for it."""
        if not self.shared:
            return np.asarray(actual == 0)
        return np.asarray((actual == 0) | self._made_of(np.zeros(actual.shape), actual))

    def reach(self, actual: Matrix) -> Wide:
        """How far each of `actual` (k, d) may be from the vector that it is a copy of, as a share of its own length; infinite
        where an end of the scale stands for whatever lay beyond it."""
        with np.errstate(all="ignore"):
            held = actual.astype(np.float64)
            step, _ = self._scale(held)
            farthest = ROUNDINGS[self.rounding][1] * step
            length = np.linalg.norm(np.broadcast_to(farthest, held.shape), axis=1)
            share: Wide = length / np.linalg.norm(held, axis=1)
        beyond = (held >= self.high - ON_LEVEL * step) | (held <= self.low + ON_LEVEL * step)
        share[beyond.any(axis=1)] = np.inf
        return share

    def described(self) -> dict[str, Any]:
        """What a finding says of it."""
        if not self.shared:
            return {"scale": "one for each vector"}
        if len(self.step) > 1:
            return {"scale": "one for each component"}
        # Six digits are what the arithmetic of different machines agrees on.
        said = {"scale": "one for the collection", "step": float(f"{self.step[0]:.6g}")}
        return said if self.factor == 1 else said | {"multiplied_by": float(f"{self.factor:.4g}")}

    def _reference(self, expected: Matrix) -> Wide:
        return self.factor * (unit(expected) if self.unit else expected.astype(np.float64))

    def _scale(self, wanted: Wide) -> tuple[Wide, Wide]:
        return (self.step, self.origin) if self.row_scale is None else row_levels(self.row_scale, wanted)


def unit(vectors: Matrix) -> Wide:
    """Vectors of length one, float64; a zero vector is NaN."""
    wide = vectors.astype(np.float64)
    with np.errstate(all="ignore"):
        wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return wide


def row_levels(scale: str, vectors: Wide) -> tuple[Wide, Wide]:
    """The step and the origin of each vector's own grid, float64 (k, 1)."""
    low, high = vectors.min(axis=1, keepdims=True), vectors.max(axis=1, keepdims=True)
    nothing = np.zeros_like(low)
    if scale == "spread/255":
        return (high - low) / 255, low
    if scale == "spread with zero/255":
        return (np.maximum(high, 0) - np.minimum(low, 0)) / 255, nothing
    levels = 127 if scale == "peak/127" else 128
    return np.maximum(np.abs(low), np.abs(high)) / levels, nothing
