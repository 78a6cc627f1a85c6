"""What may be a row, and what becomes of it: the rules of the store, applied on the way in.

What the store changes by nature: values are kept as float32; whole numbers in metadata become doubles; null values in metadata
go; empty metadata is no metadata. Everything else that does not fit is refused, and with it the whole request.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from vecforensics.pinecone_local.wire import Refused, dumps

__all__ = [
    "DEFAULT",
    "Metadata",
    "Record",
    "Sparse",
    "Values",
    "canonical",
    "checked_id",
    "checked_metadata",
    "checked_probe",
    "checked_sparse",
    "checked_values",
    "record_of",
]

Values: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
Metadata: TypeAlias = dict[str, "str | float | bool | list[str]"]

# One namespace under two names, from API version 2025-04 on.
DEFAULT: Final = "__default__"
_MOST_ID = 512
_MOST_METADATA_BYTES = 40 * 1024
_MOST_SPARSE = 2_048
_MOST_INDEX = 2**32 - 1


@dataclass(frozen=True, slots=True, eq=False)
class Sparse:
    """The sparse half of a vector: as many indices as values."""

    indices: np.ndarray[Any, np.dtype[np.uint32]]
    values: Values


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One row as it is kept; never changed, only replaced, so that what was acknowledged and what is visible may share it."""

    id: str
    values: Values
    sparse: Sparse | None = None
    metadata: Metadata | None = None

    def sent(self, *, values: bool = True, metadata: bool = True) -> dict[str, Any]:
        """The row as it goes over the wire; what it has not is absent."""
        row: dict[str, Any] = {"id": self.id}
        if values:
            row["values"] = self.values
            if self.sparse is not None:
                row["sparseValues"] = {"indices": self.sparse.indices, "values": self.sparse.values}
        if metadata and self.metadata is not None:
            row["metadata"] = self.metadata
        return row


def record_of(row: object, dimension: int, metric: str) -> Record:
    """A row as it came, checked and in the form that it is kept in."""
    if not isinstance(row, Mapping):
        raise Refused(400, "a vector must be an object with an id and values")
    row_id = checked_id(row.get("id"))
    sparse = row.get("sparseValues")
    return Record(
        row_id,
        checked_values(row.get("values"), dimension, row_id),
        None if sparse is None else checked_sparse(sparse, metric, row_id),
        checked_metadata(row.get("metadata"), row_id),
    )


def canonical(namespace: object) -> str:
    """The one name of a namespace; the default one is ""."""
    if namespace is None or namespace == DEFAULT:
        return ""
    if not isinstance(namespace, str) or not namespace.isascii() or "\0" in namespace or len(namespace) > 512:
        raise Refused(400, "a namespace must be at most 512 ASCII characters, without NUL")
    return namespace


def checked_id(value: object) -> str:
    """An id that the store takes."""
    if not isinstance(value, str) or not value:
        raise Refused(400, "Vector ID must be a string of 1 to 512 characters")
    if len(value) > _MOST_ID:
        raise Refused(400, f"Vector ID must be at most {_MOST_ID} characters, got {len(value)}")
    if not value.isascii() or "\0" in value:
        raise Refused(400, f"Vector ID must be ASCII, but got {value!r}")
    return value


def checked_values(values: object, dimension: int, row_id: str) -> Values:
    """The vector of a row as float32 of shape (dimension,); one of zeros alone is not stored."""
    kept = _checked_vector(values, dimension, f"Vector ID {row_id!r}")
    if not kept.any():
        raise Refused(
            400,
            f"Dense vectors must contain at least one non-zero value. Vector ID {row_id!r} contains only zeros",
        )
    return kept


def checked_probe(values: object, dimension: int) -> Values:
    """The vector of a query, which may be all zeros: people ask with one for just any rows."""
    return _checked_vector(values, dimension, "the query")


def checked_sparse(sparse: object, metric: str, row_id: str) -> Sparse:
    """The sparse half of a row; only dotproduct can score one."""
    if metric != "dotproduct":
        raise Refused(
            400,
            "Index configuration does not support sparse values - only indexes that are sparse or using "
            "dotproduct are supported",
        )
    indices = sparse.get("indices") if isinstance(sparse, Mapping) else None
    values = sparse.get("values") if isinstance(sparse, Mapping) else None
    if (
        not isinstance(indices, Sequence)
        or not isinstance(values, Sequence)
        or not 1 <= len(indices) == len(values) <= _MOST_SPARSE
        or not set(map(type, values)) <= {float, int}
        or not set(map(type, indices)) <= {int}
        or not all(0 <= index <= _MOST_INDEX for index in indices)
        or len(set(indices)) != len(indices)
    ):
        raise Refused(
            400,
            f"Vector ID {row_id!r}: sparse values need as many different indices as values, 1 to {_MOST_SPARSE}",
        )
    kept = _as_float32(values)
    if not np.isfinite(kept).all():
        raise Refused(400, f"Vector ID {row_id!r}: sparse values must be finite float32 numbers")
    return Sparse(np.array(indices, np.uint32), kept)


def checked_metadata(metadata: object, row_id: str) -> Metadata | None:
    """Metadata as it is kept, None where nothing is left of it."""
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping):
        raise Refused(400, f"Vector ID {row_id!r}: metadata must be an object")
    kept = {key: _kept(key, value) for key, value in metadata.items() if value is not None}
    if not kept:
        return None
    size = len(dumps(kept))
    if size > _MOST_METADATA_BYTES:
        raise Refused(
            400,
            f"metadata size is {size} bytes, which exceeds the limit of {_MOST_METADATA_BYTES} bytes per vector",
        )
    return kept


def _checked_vector(values: object, dimension: int, whose: str) -> Values:
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if not isinstance(values, Sequence) or not set(map(type, values)) <= {float, int}:
        raise Refused(400, f"{whose}: values must be a list of numbers")
    if len(values) != dimension:
        raise Refused(
            400, f"Vector dimension {len(values)} does not match the dimension of the index {dimension}"
        )
    kept = _as_float32(values)
    if not np.isfinite(kept).all():
        raise Refused(400, f"{whose}: values must be finite float32 numbers")
    return kept


def _kept(key: object, value: object) -> str | float | bool | list[str]:
    if not isinstance(key, str) or not key or key.startswith("$"):
        raise Refused(400, f"Metadata keys must be strings that do not start with '$', got {key!r}")
    if isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, float)):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return list(value)
    raise Refused(
        400,
        f"Metadata value must be a string, number, boolean or list of strings, got '{value!s:.60}' for field '{key}'",
    )


def _as_float32(numbers: Sequence[float]) -> Values:
    try:
        with np.errstate(over="ignore"):
            return np.array(numbers, np.float64).astype(np.float32)
    except OverflowError:  # a whole number past every double
        return np.array([np.inf], np.float32)
