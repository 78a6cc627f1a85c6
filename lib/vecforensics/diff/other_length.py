"""A target whose vectors have another length than the expected ones: likelier than the store, the expectation is wrong."""

from __future__ import annotations

from vecforensics.evidence import Evidence
from vecforensics.target_length import usual_target_length

__all__ = ["of_other_length"]


def of_other_length(evidence: Evidence, name: str) -> tuple[str, ...]:
    """A sentence where most of a target's vectors have another length than what is expected."""
    frozen = evidence.collection(name)
    held = usual_target_length(evidence, name) if frozen.expected is not None else 0
    if held in (0, frozen.dimension):
        return ()
    return (
        f"the target's vectors have {held:,} numbers and the expected ones {frozen.dimension:,}: is the model behind `expected` "
        f"in the case file ({frozen.expected}) the one that made them?",
    )
