"""A store that keeps every vector in int8, with one scale for all of them, for each component, or for each vector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from planted_world import World

SCALES = ("symmetric", "zero point", "min-max", "quantile", "symmetric quantile")
ROUNDINGS = ("nearest", "down", "to zero")
_ROUND = {"nearest": np.rint, "down": np.floor, "to zero": np.trunc}


@dataclass(frozen=True)
class Int8Store:
    """`axis`: None for one scale for the collection, 0 for one for each component, 1 for one for each vector (then `scale` is no
    quantile). `unit`: vectors are brought to length one first."""

    scale: str = "min-max"
    rounding: str = "nearest"
    axis: int | None = None
    unit: bool = False

    def kept(self, vectors: np.ndarray, trained_on: np.ndarray) -> np.ndarray:
        """What the store holds of `vectors` (k, d), finite, with its scale drawn from `trained_on` (n, d); float32."""
        vectors, trained_on = self._prepared(vectors), self._prepared(trained_on)
        seen = vectors if self.axis == 1 else trained_on
        step, origin, lowest, highest = self._levels(seen)
        step = np.where(step, step, 1)
        code = _ROUND[self.rounding]((vectors - origin) / step)
        code = np.clip(code, lowest, highest).astype(np.float32)
        return (code * step.astype(np.float32) + origin.astype(np.float32)).astype(np.float32)

    def _levels(self, seen: np.ndarray) -> tuple[np.ndarray, ...]:
        def of(quantile: float, values: np.ndarray) -> np.ndarray:
            return np.quantile(values, quantile, axis=self.axis, keepdims=True)

        nothing, one = np.zeros((1, 1)), np.ones((1, 1))
        if self.scale.startswith("symmetric"):
            peak = of(0.99 if "quantile" in self.scale else 1.0, np.abs(seen))
            return peak / 127, nothing, -127 * one, 127 * one
        low, high = (0.005, 0.995) if self.scale == "quantile" else (0.0, 1.0)
        low, high = of(low, seen), of(high, seen)
        if self.scale == "zero point":
            low = np.minimum(low, 0)
            step = (np.maximum(high, 0) - low) / 255
            point = np.rint(-low / np.where(step, step, 1))
            return step, nothing, -point, 255 - point
        return (high - low) / 255, low, 0 * one, 255 * one

    def _prepared(self, vectors: np.ndarray) -> np.ndarray:
        wide = vectors.astype(np.float64)
        if self.unit:
            length = np.linalg.norm(wide, axis=1, keepdims=True)
            wide = (wide / np.where(length, length, 1)).astype(np.float32).astype(np.float64)
        return wide

    def keep(self, world: World) -> None:
        """Everything in the target of the world passes through the store; NaN stays NaN."""
        for number, (text, vector, metadata) in enumerate(world.target):
            if len(vector) != world.dimension:
                continue
            finite = np.isfinite(vector)
            held = self.kept(np.where(finite, vector, np.float32(0))[None], world.expected)[0]
            world.target[number] = (text, np.where(finite, held, vector).astype(np.float32), metadata)
