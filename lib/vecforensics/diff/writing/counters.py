"""Which sequence numbers may be compared: those that one counter gave out.

Workers that count by themselves begin at the same number, and what one wrote as its fifth says nothing of what another wrote as
its seventh. So a number counts within its worker's own part of a log only, unless all numbers plainly come from one counter: none
stands at two workers, they do not lie worker by worker one behind the other (as numbers that were dealt out in blocks do), and
where times are known they rise with the numbers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vecforensics.diff.writing.moments import NEVER

__all__ = ["counters"]


def counters(
    sequence: npt.NDArray[np.float64], time: npt.NDArray[np.int64], writer: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The number of the counter that each write's sequence number is of; `writer` numbers who wrote it, by worker and log."""
    known = np.isfinite(sequence)
    number, moment, who = sequence[known], time[known], writer[known]
    if len(number) and (who != who[0]).any() and not _are_one(number, moment, who):
        return writer
    return np.broadcast_to(np.int64(0), len(sequence))


def _are_one(
    number: npt.NDArray[np.float64], moment: npt.NDArray[np.int64], who: npt.NDArray[np.int64]
) -> bool:
    order = np.argsort(number)
    if (number[order][1:] == number[order][:-1]).any():
        # Sorting by three keys takes three times as long as by one.
        order = np.lexsort((moment, who, number))
    number, moment, who = number[order], moment[order], who[order]
    changes = who[1:] != who[:-1]
    twice = bool((changes & (number[1:] == number[:-1])).any())
    in_blocks = int(np.count_nonzero(changes)) < len(np.unique(who))
    timed = moment[moment != NEVER]
    return not twice and not in_blocks and bool((timed[1:] >= timed[:-1]).all())
