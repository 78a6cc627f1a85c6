"""A world of records and vectors, and the truth about each: source and target as plain lists and arrays."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vecforensics.findings import Kind

ID_SHAPES = ("numeric", "padded", "uuid", "unicode", "spaces", "enotation", "beyond53", "words")
PLANS = ("free", "pro", "team")


def make_ids(shape: str, count: int, rng: np.random.Generator) -> list[str]:
    """Distinct ids of one shape."""
    if shape == "numeric":
        return [str(n) for n in range(1000, 1000 + count)]
    if shape == "padded":
        return [f"{n:08d}" for n in range(1, count + 1)]
    if shape == "uuid":
        return [str(uuid.UUID(bytes=rng.bytes(16), version=4)) for _ in range(count)]
    if shape == "unicode":
        return [f"café-{n}-ñandú" for n in range(count)]
    if shape == "spaces":
        return [f" User {n} " for n in range(count)]
    if shape == "enotation":
        return [f"{n}e{n % 7 + 1}" for n in range(1, count + 1)]
    if shape == "beyond53":
        return [str(2**53 + 1 + 4 * n) for n in range(count)]
    return [f"post/{n}:{'abc'[n % 3]}" for n in range(count)]


def make_vectors(
    count: int,
    dimension: int,
    rng: np.random.Generator,
    *,
    normalised: bool,
    clustered: bool,
    topics: int | None = None,
) -> np.ndarray:
    """Vectors (count, dimension), isotropic or about centres. `topics`: how many centres; one for forty vectors if not given."""
    vectors = rng.normal(size=(count, dimension))
    if clustered:
        centres = rng.normal(size=(topics or max(count // 40, 2), dimension)) * 2
        vectors = centres[rng.integers(0, len(centres), count)] + 0.4 * vectors
    if normalised:
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)


@dataclass
class World:
    """A source, a target and the truth. `free`: rows that no planter has touched yet, in random order."""

    ids: list[str]
    expected: np.ndarray
    metadata: list[dict[str, Any]]
    parents: list[str | None]
    rng: np.random.Generator
    earlier: list[tuple[str, np.ndarray]] = field(default_factory=list)
    target: list[tuple[str, np.ndarray, dict[str, Any]]] = field(default_factory=list)
    row_of: dict[str, int] = field(default_factory=dict)
    free: list[int] = field(default_factory=list)
    truth: set[tuple[str, str]] = field(default_factory=set)
    partners: dict[tuple[str, str], str] = field(default_factory=dict)
    logs: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def make(
        cls,
        count: int = 400,
        *,
        dimension: int = 32,
        shape: str = "words",
        normalised: bool = True,
        clustered: bool = False,
        topics: int | None = None,
        seed: int = 0,
    ) -> World:
        rng = np.random.default_rng(seed)
        ids = make_ids(shape, count, rng)
        expected = make_vectors(
            count, dimension, rng, normalised=normalised, clustered=clustered, topics=topics
        )
        metadata = [
            {
                "plan": PLANS[n % 3],
                "score": n % 17,
                "ratio": n / 7,
                "active": "true" if n % 2 else "false",
                "tags": [f"t{n}"],
            }
            for n in range(count)
        ]
        parents: list[str | None] = [None if n < count // 2 else ids[n - count // 2] for n in range(count)]
        world = cls(ids, expected, metadata, parents, rng)
        world.target = [(ids[n], expected[n].copy(), dict(metadata[n])) for n in range(count)]
        world.row_of = {text: n for n, text in enumerate(ids)}
        world.free = rng.permutation(count).tolist()
        return world

    @property
    def dimension(self) -> int:
        return int(self.expected.shape[1])

    def take(self, count: int, where: Callable[[int], bool] = lambda _row: True) -> list[int]:
        """Untouched rows. Rows whose children are looked at elsewhere do not matter: dangling truth is computed at the end."""
        chosen = [row for row in self.free if where(row)][:count]
        self.free = [row for row in self.free if row not in set(chosen)]
        return chosen

    def take_run(self, count: int) -> list[int]:
        """Untouched neighbours in source order."""
        free = set(self.free)
        starts = [row for row in self.free if all(row + k in free for k in range(-3, count + 4))]
        run = list(range(starts[0], starts[0] + count)) if starts else []
        self.free = [row for row in self.free if not run or not run[0] - 3 <= row <= run[-1] + 3]
        return run

    def vector(self, row: int, vector: np.ndarray) -> None:
        at = self.place(self.ids[row])
        self.target[at] = (self.target[at][0], vector.astype(np.float32), self.target[at][2])

    def place(self, text: str) -> int:
        return next(n for n, entry in enumerate(self.target) if entry[0] == text)

    def expect(self, kind: Kind, text: str, partner: str | None = None) -> None:
        self.truth.add((kind.value, text))
        if partner is not None:
            self.partners[(kind.value, text)] = partner
