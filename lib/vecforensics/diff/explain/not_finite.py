"""NaN and infinity in a vector: which components they took, and whether the others are what they should be.

A store that rounds or normalises leaves no component as it was given, so the others are compared up to one factor a row and the
rounding of the row's own format, with what is not finite left out. One stretch of NaN beside components that are all right is a
vector that arrived in part; NaN here and there, infinity, or NaN over something wrong is `non_finite`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.compare.grids import Grid
from vecforensics.diff.compare.relation import stretches
from vecforensics.diff.explain.partial_copies import right_components
from vecforensics.findings import Kind

__all__ = ["not_finite_parts"]

Matrix = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

# One component out of twenty is no part of a vector; so few right ones are right by chance.
_LEAST: Final = 0.05
# Bit for bit, or on a known grid, two components prove something; up to a factor, which explains one by itself, it takes more.
_FEWEST_EQUAL, _FEWEST_NEAR = 2, 4


def not_finite_parts(
    expected: Matrix | None, actual: Matrix, grid: Grid | None = None, noise: float = 0.0
) -> list[tuple[Kind, dict[str, Any]]]:
    """What to call vectors (k, d) that are not all finite, and its detail. `expected`: finite, None where nobody knows it.
    `grid`: what the collection is kept on, `noise`: by how much its components are off, where that is known.

    `not_finite` counts the components, `wrong_from` and `wrong_to` bound them where they are one stretch, `rest` says what they
    are; `right` is the share of the components that say anything and are right, `others` how the finite ones are.
    """
    finite = np.isfinite(actual)
    nan = np.asarray(np.isnan(actual).any(axis=1))
    infinite = np.asarray(np.isinf(actual).any(axis=1))
    held = np.where(finite, actual, np.float32(0))
    # A component that is zero on both sides says nothing, and does not part a stretch.
    silent: Flags = np.zeros_like(finite) if expected is None else finite & (held == 0) & (expected == 0)
    one_stretch = stretches(~finite, silent) == 1
    counts = (~finite).sum(axis=1)
    first = (~finite).argmax(axis=1)
    last = finite.shape[1] - (~finite)[:, ::-1].argmax(axis=1)
    said: list[tuple[Kind, dict[str, Any]]] = []
    for row in range(len(actual)):
        detail: dict[str, Any] = {
            "rest": "NaN and infinity" if nan[row] and infinite[row] else "NaN" if nan[row] else "infinity",
            "not_finite": int(counts[row]),
        }
        if one_stretch[row]:
            detail |= {"wrong_from": int(first[row]), "wrong_to": int(last[row])}
        said.append((Kind.NON_FINITE, detail))
    if expected is None:
        return said
    share, others, enough = _others(expected, held, finite, grid, noise)
    for row, (_, detail) in enumerate(said):
        detail["right"] = round(float(share[row]), 4)
        if others[row]:
            detail["others"] = others[row]
        part = detail["not_finite"] >= max(2, _LEAST * finite.shape[1]) and share[row] >= _LEAST
        if part and one_stretch[row] and detail["rest"] == "NaN" and enough[row]:
            said[row] = (Kind.PARTIAL, detail)
    return said


def _others(
    expected: Matrix, held: Matrix, finite: Flags, grid: Grid | None, noise: float
) -> tuple[npt.NDArray[np.float64], list[str], Flags]:
    """Of each row: the share of the telling components that are right, how the finite ones are, and whether all of them are
    right. `held`: the vectors with zero for what is not finite."""
    right, near, _ = right_components(np.where(finite, expected, np.float32(0)), held, grid, noise)
    equal = (expected == held) & finite
    telling = ((expected != 0) | (held != 0)) & finite
    told, same = telling.sum(axis=1), (equal & telling).sum(axis=1)
    exact = (same == told) & (same >= _FEWEST_EQUAL)
    fewest = _FEWEST_EQUAL if grid is not None and grid.shared else _FEWEST_NEAR
    proved = near >= np.maximum(fewest, _LEAST * told)
    close = (right | ~telling).all(axis=1) & proved
    good = np.where(exact, same, np.where(proved, (right & telling).sum(axis=1), same))
    share = good / np.maximum(told + (~finite).sum(axis=1), 1)
    others = [
        ""
        if not told[row]
        else "right"
        if exact[row]
        else "right but for rounding or length"
        if close[row]
        else "partly right"
        if good[row] >= max(_FEWEST_EQUAL, _LEAST * told[row])
        else "not right"
        for row in range(len(held))
    ]
    return share, others, exact | close
