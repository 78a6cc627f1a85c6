"""How wrong rows are written down: findings about joined rows, given by their places in `pairs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vecforensics.diff.collected import FoundRows
from vecforensics.diff.compare.pairs import Pairs
from vecforensics.diff.sides import Index
from vecforensics.findings import Kind

__all__ = ["say", "what_is_right"]


def say(
    found: FoundRows,
    pairs: Pairs,
    which: Index,
    kinds: Kind | Sequence[Kind],
    details: Sequence[Mapping[str, Any]] | None = None,
    partner: Index | None = None,
) -> None:
    """One finding for each of the rows `which`; `partner`: running source rows, -1 for none."""
    found.add_pairs(kinds, pairs.source[which], pairs.target[which], pairs.distance[which], details, partner)


def what_is_right(pairs: Pairs, which: Index) -> list[dict[str, Any]]:
    """How much of each vector is right, and where it is not."""
    right = pairs.right[which].astype(np.float64).round(4).tolist()
    return [
        {"right": share, "wrong_from": start, "wrong_to": stop}
        for share, start, stop in zip(
            right, pairs.start[which].tolist(), pairs.stop[which].tolist(), strict=True
        )
    ]
