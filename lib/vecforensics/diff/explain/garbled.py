"""A wrong vector whose components are all there, only not as they were: what was done to it, where that can be told exactly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["garbled"]

Matrix = npt.NDArray[np.float32]


def garbled(expected: Matrix, actual: Matrix) -> list[str | None]:
    """For each pair (k, d) how the actual vector was made of the expected one, bit for bit; None where it was not."""
    if not len(expected):
        return []
    found: list[str | None] = [None] * len(expected)
    with np.errstate(all="ignore"):
        swapped = np.ascontiguousarray(actual).view(np.uint32).byteswap()
        answers = (
            ("negated", (actual == -expected).all(axis=1)),
            ("bytes in another order", (swapped == expected.view(np.uint32)).all(axis=1)),
            ("signs lost", (actual == np.abs(expected)).all(axis=1)),
            ("components in reverse", (actual == expected[:, ::-1]).all(axis=1)),
            ("doubles read as floats", _doubles(expected, actual)),
            (
                "components in another order",
                (np.sort(actual, axis=1) == np.sort(expected, axis=1)).all(axis=1),
            ),
        )
    for name, rows in answers:
        for row in np.flatnonzero(rows).tolist():
            if found[row] is None:
                found[row] = name
    return found


def _doubles(expected: Matrix, actual: Matrix) -> npt.NDArray[np.bool_]:
    """Whether the actual vector is the beginning of the expected one in double precision, eight bytes taken for two floats."""
    half = expected.shape[1] // 2
    if expected.shape[1] % 2 or not half:
        return np.zeros(len(expected), np.bool_)
    wide = np.ascontiguousarray(expected[:, :half].astype(np.float64)).view(np.uint32)
    same: npt.NDArray[np.bool_] = (wide == np.ascontiguousarray(actual).view(np.uint32)).all(axis=1)
    return same
