"""What drifts of one field, by what the source's types say of it, told row by row and by column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa

from vecforensics.diff.compare import metadata
from vecforensics.diff.compare.metadata import drift_of_rows
from vecforensics.metadata_rule import MetadataRule
from vecforensics.records import FieldType, metadata_json

CSV = MetadataRule(types={"a": FieldType.UNTYPED})
STAMP = MetadataRule(types={"a": FieldType.TIME_STAMP})
DECIMAL = MetadataRule(types={"a": FieldType.DECIMAL})
SINGLE = MetadataRule(types={"a": FieldType.SINGLE})
HALF = MetadataRule(types={"a": FieldType.HALF})
PLAIN = MetadataRule()
ABSENT = object()


def drift(rule: MetadataRule, pairs: Sequence[tuple[Any, Any]], by_column: bool) -> list[dict[str, Any]]:
    """What happened to the field `a` of each pair; nothing where it is in order."""
    source, target = (
        pa.chunked_array([[metadata_json({} if one is ABSENT else {"a": one}) for one in side]], pa.string())
        for side in zip(*pairs, strict=True)
    )
    numbers = np.arange(len(pairs), dtype=np.int32)
    with patch.object(metadata, "_BY_COLUMN", 1 if by_column else 10**9):
        found = drift_of_rows(source, target, numbers, numbers, ("a",), rule)
    return [found.get(number, {}).get("a", {}) for number in range(len(pairs))]


def both(rule: MetadataRule, expected: Any, actual: Any) -> dict[str, Any]:
    row_by_row = drift(rule, [(expected, actual)] * 3, by_column=False)
    assert drift(rule, [(expected, actual)] * 3, by_column=True) == row_by_row
    return row_by_row[0]
