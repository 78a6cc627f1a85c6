"""Metadata of records and of rows that do not share a bucket, compared as a bucket compares those of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from vecforensics.diff.compare.metadata import drift_of_rows
from vecforensics.diff.sides import Index, Sides
from vecforensics.metadata_rule import MetadataRule

__all__ = ["drift_of_pairs"]


def drift_of_pairs(sides: Sides, source: Index, target: Index) -> Mapping[int, dict[str, Any]]:
    """By place in `source` and `target`, running rows (k,), the fields of each pair that differ; who agrees is left out."""
    places = np.arange(len(source), dtype=np.int32)
    return drift_of_rows(
        pa.chunked_array([sides.source.texts("metadata", source)]),
        pa.chunked_array([sides.target.texts("metadata", target)]),
        places,
        places,
        sides.frozen.metadata,
        MetadataRule.of(sides.frozen.facts),
    )
