"""Rows for the tests of hot spots: a source of `count` records with a batch, a worker, a time and metadata each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vecforensics.diff.rows import KIND_BIT, Field, RowDimensions, TextIds
from vecforensics.findings import Kind


def field(values: Sequence[Any]) -> Field:
    """None = unknown."""
    encoded = pa.array(
        [None if value is None else str(value) for value in values], pa.string()
    ).dictionary_encode()
    return Field(encoded.indices.fill_null(-1).to_numpy().astype(np.int32), encoded.dictionary)


def rows(
    count: int,
    damaged: Mapping[Kind, Any],
    fields: Mapping[str, Sequence[Any]] | None = None,
    *,
    collection: str = "users",
    name: Callable[[int], str] = lambda number: f"user-{number}",
) -> RowDimensions:
    """`damaged`: row numbers of each kind. Ids count upwards unless `name` says otherwise."""
    kinds = np.zeros(count, np.uint32)
    for kind, numbers in damaged.items():
        kinds[np.asarray(numbers, dtype=np.int64)] |= np.uint32(1 << KIND_BIT[kind])
    ids = pa.array([name(number) for number in range(count)], pa.string())
    return RowDimensions(
        collection,
        kinds,
        {key: field(values) for key, values in (fields or {}).items()},
        TextIds(ids),
    )
