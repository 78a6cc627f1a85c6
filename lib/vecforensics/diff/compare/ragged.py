"""Vectors of a wrong length: how much of the expected one is there?"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vecforensics.diff.compare.relation import cosine_distances

__all__ = ["compare_ragged"]

Matrix = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


def compare_ragged(
    expected: Matrix, rows: list[npt.NDArray[np.float32]], tolerance: float
) -> list[dict[str, Any]]:
    """What vectors of a wrong length are: for each row its `length`, the expected one, a `form` and how much is `right`.

    `form` is `empty`, `truncated` (a prefix of the expected vector), `padded` (the expected vector and more behind it) or
    `other`.
    """
    details: list[dict[str, Any]] = [{} for _ in rows]
    width = expected.shape[1]
    by_length: dict[int, list[int]] = {}
    for number, row in enumerate(rows):
        by_length.setdefault(len(row), []).append(number)
    for length, members in by_length.items():
        common = min(length, width)
        if not common:
            for number in members:
                details[number] = {"length": length, "expected_length": width, "form": "empty", "right": 0.0}
            continue
        actual = np.stack([rows[number] for number in members])
        wanted = expected[members]
        share = (actual[:, :common] == wanted[:, :common]).sum(axis=1) / width
        same = _same_beginning(wanted[:, :common], actual[:, :common], tolerance)
        rest_zero = np.asarray(~actual[:, common:].any(axis=1))
        for at, number in enumerate(members):
            form = "other" if not same[at] else "truncated" if length < width else "padded"
            detail: dict[str, Any] = {
                "length": length,
                "expected_length": width,
                "form": form,
                "right": round(float(common / width if same[at] else share[at]), 4),
            }
            if form == "padded":
                detail["padding"] = "zero" if rest_zero[at] else "other"
            details[number] = detail
    return details


def _same_beginning(wanted: Matrix, held: Matrix, tolerance: float) -> Flags:
    """Whether the components that both vectors of a pair have are the same within the tolerance."""
    if wanted.shape[1] > 1:
        return np.asarray(cosine_distances(wanted, held) <= tolerance)
    # One component has no direction but its sign. What turns a longer vector by the tolerance changes it by so much.
    one, other = wanted[:, 0].astype(np.float64), held[:, 0].astype(np.float64)
    return np.asarray((np.abs(other - one) <= np.sqrt(2 * tolerance) * np.abs(one)) & (one != 0))
