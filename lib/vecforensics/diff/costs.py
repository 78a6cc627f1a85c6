"""What the damage costs, collection by collection, where anybody can say: the right neighbours that a search no longer finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from vecforensics.diff.dimensions import EvidenceVectors
from vecforensics.diff.passes import Part, Passed, Work
from vecforensics.diff.rows import RowDimensions
from vecforensics.diff.sampling.draw import Draw
from vecforensics.diff.sampling.unseen import left_out, not_embedded
from vecforensics.diff.sides import Sides

__all__ = ["measure_costs"]

_QUERIES: Final = (50, 500)
# Multiplications that it may take: about two seconds a core.
_BUDGET: Final = 4e10


def measure_costs(
    work: Work, passed: Passed, rows: Mapping[str, RowDimensions], draw: Draw | None
) -> tuple[dict[str, Any], list[str]]:
    """What the damage to each collection costs, as it stands in findings.json, and the sentences on where nobody can say.
    `rows`: the records of the damaged collections."""
    from vecforensics.diff.impact import measure_impact

    costs, unmeasured = dict[str, Any](), list[str]()
    for part in passed.parts:
        if part.name not in rows or not part.sides.source.dimension:
            continue
        # The cost of what was not looked at is nobody's guess.
        if reason := _why_unmeasured(work, part, draw):
            unmeasured.append(f"{part.name}: what the damage costs was not measured, since {reason}.")
            continue
        impact = measure_impact(
            _vectors(passed, part),
            rows[part.name],
            queries=_queries(part.sides),
            seed=work.seed,
            memory_mb=work.memory_mb // 2,
        )
        if impact is None:
            unmeasured.append(
                f"{part.name}: what the damage costs was not measured, since fewer than two records have an expected vector to "
                "be near each other."
            )
        else:
            costs[part.name] = impact.as_dict()
    return costs, unmeasured


def _vectors(passed: Passed, part: Part) -> EvidenceVectors:
    """The vectors of a collection as a search returns them, but for what nobody can judge."""
    source, resolved = part.sides.source, part.resolved
    mangled = np.array(list(resolved.mangled.items()), np.int64).reshape(-1, 2)
    # Of what should be near a record without an expected vector nobody knows, under whatever id it stands.
    bare = source.integers("digest", mangled[:, 0]) == 0
    gone = np.union1d(resolved.excused_strays, mangled[bare, 1])
    return EvidenceVectors(part.name, part.sides, passed.layout.orders[part.name], resolved.excused, gone)


def _why_unmeasured(work: Work, part: Part, draw: Draw | None) -> str:
    """What keeps anybody from saying what damage costs; nothing where all was looked at."""
    if draw is None:
        return ""
    if left_out(part, draw):
        return "this is a sample"
    return "the missing records were not embedded" if not_embedded(work, part, draw) else ""


def _queries(sides: Sides) -> int:
    """How many records are asked for their neighbours: all sides are searched for each, so fewer in a large collection."""
    fewest, most = _QUERIES
    largest = max(sides.source.rows, sides.target.rows)
    return int(min(most, max(fewest, _BUDGET / (largest * sides.source.dimension))))
