"""What can be wrong with a vector: the kinds, their severity, and the table that findings travel in.

The names are a contract: the diff, the race laboratory, the migration's verification and the report all use them, and so do
other people's tools that read `findings.json`. A verdict has three values, and the absence of a check is never `clean`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import pyarrow as pa

__all__ = ["FINDINGS_SCHEMA", "MEANING", "SEVERITY", "Kind", "Severity", "Verdict", "zero_counts"]


class Severity(StrEnum):
    """How a kind counts towards the verdict."""

    CORRUPT = "corrupt"
    BENIGN = "benign"
    UNKNOWN = "unknown"


class Verdict(StrEnum):
    """What may be said of a target as a whole."""

    CLEAN = "clean"
    CORRUPT = "corrupt"
    UNKNOWN = "unknown"


class Kind(StrEnum):
    """The fixed names, in the order in which a table shows them."""

    MISSING = "missing"
    ORPHAN = "orphan"
    MANGLED_ID = "mangled_id"
    DUPLICATE = "duplicate"
    SWAPPED = "swapped"
    SHIFTED = "shifted"
    BROADCAST = "broadcast"
    NON_FINITE = "non_finite"
    ZERO = "zero"
    WRONG_DIMENSION = "wrong_dimension"
    PARTIAL = "partial"
    STALE = "stale"
    FOREIGN_MODEL = "foreign_model"
    DRIFTED = "drifted"
    METADATA_DRIFT = "metadata_drift"
    DANGLING = "dangling"
    PREMATURE = "premature"
    NORMALISED = "normalised"
    QUANTISED = "quantised"
    NOISE = "noise"
    PENDING = "pending"
    UNCHECKED = "unchecked"


_BENIGN: Final = {Kind.NORMALISED, Kind.QUANTISED, Kind.NOISE}
_UNKNOWN: Final = {Kind.PENDING, Kind.UNCHECKED}

SEVERITY: Final[Mapping[Kind, Severity]] = {
    kind: Severity.BENIGN if kind in _BENIGN else Severity.UNKNOWN if kind in _UNKNOWN else Severity.CORRUPT
    for kind in Kind
}

MEANING: Final[Mapping[Kind, str]] = {
    Kind.MISSING: "a source record has no vector in the target",
    Kind.ORPHAN: "a target vector belongs to no source record",
    Kind.MANGLED_ID: "a target id is not a source id but stands for one",
    Kind.DUPLICATE: "one source record stands under more than one target id",
    Kind.SWAPPED: "the vector is another record's",
    Kind.SHIFTED: "a run of records each holds its neighbour's vector",
    Kind.BROADCAST: "one vector stands under many ids that should differ",
    Kind.NON_FINITE: "NaN or infinity in the vector",
    Kind.ZERO: "an all-zero vector",
    Kind.WRONG_DIMENSION: "another length than the collection's",
    Kind.PARTIAL: "part of the vector is right, the rest is not",
    Kind.STALE: "the vector of an earlier version of the record",
    Kind.FOREIGN_MODEL: "a coherent group that another model produced",
    Kind.DRIFTED: "beyond tolerance with no better explanation",
    Kind.METADATA_DRIFT: "metadata missing, changed or retyped",
    Kind.DANGLING: "what the record depends on is not in the target",
    Kind.PREMATURE: "written before what it depends on",
    Kind.NORMALISED: "same direction, other norm",
    Kind.QUANTISED: "a copy in a narrower number format",
    Kind.NOISE: "float rounding or provider noise",
    Kind.PENDING: "not visible yet within the store's consistency window",
    Kind.UNCHECKED: "could not be read or has no expected vector",
}

# One row a finding; a record may have several. `detail` is canonical JSON.
FINDINGS_SCHEMA: Final = pa.schema(
    [
        pa.field("collection", pa.string(), nullable=False),
        pa.field("source_id", pa.string()),
        pa.field("target_id", pa.string()),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("severity", pa.string(), nullable=False),
        pa.field("partner_id", pa.string()),
        pa.field("distance", pa.float64()),
        pa.field("batch", pa.string()),
        pa.field("worker", pa.string()),
        pa.field("written_at", pa.string()),
        pa.field("detail", pa.string(), nullable=False),
    ]
)


def zero_counts() -> dict[str, int]:
    """A count of nought for every kind: a table prints the zeros too."""
    return {kind.value: 0 for kind in Kind}
