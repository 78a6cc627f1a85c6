"""Which part of a witness is worth looking at, in what rows and lanes. The plan is made in four steps:

1. *Relevant operations* (`views/selection.py`), until `most_operations` is reached.
2. *Lanes*: one for each task that has a relevant operation, one for each key that they touch or that is damaged.
3. *Rows* (`views/rows.py`): one for each completion, fault, cancellation, error and for the return; what begins in between hangs
   on the row above.
4. *Alignment*: rows up to the first difference between the two runs stand on the same line.
"""

from __future__ import annotations

from vecforensics.race.model import (
    Trace,
    Witness,
)
from vecforensics.race.views.edges import meetings, missing_edges
from vecforensics.race.views.rows import endings_in_common, lay_out, parting_row
from vecforensics.race.views.selection import key_lanes
from vecforensics.race.views.story import Story
from vecforensics.race.views.words import Names

__all__ = ["tell"]


def tell(
    witness: Witness,
    *,
    beside: Trace | None = None,
    beside_title: str = "",
    most_operations: int = 16,
    most_lanes: int = 6,
) -> Story:
    """Plan the view of `witness`. `beside`: the run to show next to it, instead of the witness's own passing run (for example
    the corrected program's on the same records). `most_lanes` binds the lanes of one run."""
    names = Names(witness.records)
    other = beside if beside is not None else witness.passing
    keys = key_lanes(witness, names, most_operations, most_lanes)
    parting = endings_in_common(witness.trace, other) if other is not None else None
    missing = missing_edges(witness)
    met = () if missing else meetings(witness)
    if witness.faults:
        title = "With this fault it fails"
    elif witness.passing is None:
        title = "It fails, in any order that was tried"
    elif met:
        title = "In one round of the loop it fails"
    else:
        title = "This order fails"
    failing = lay_out(witness.trace, witness, keys, parting, title, names, most_operations, most_lanes)
    left_out = len(witness.trace.operations) - len(failing.spans)
    if other is None:
        return Story(names, failing, None, None, missing, left_out, met)
    if not beside_title:
        if beside is not None:
            beside_title = "The corrected code: passes"
        elif witness.faults:
            beside_title = "The same code, no fault: passes"
        elif met:
            beside_title = "The same code, one at a time: passes"
        else:
            beside_title = "The same code, another order: passes"
    run = lay_out(other, witness, keys, parting, beside_title, names, most_operations, most_lanes)
    return Story(names, failing, run, parting_row(failing.rows, run.rows), missing, left_out, met)
