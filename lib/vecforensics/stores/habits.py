"""What a store does to metadata by nature, so that it is no change: nulls dropped, whole numbers kept as doubles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vecforensics.records import metadata_json

__all__ = ["StoreHabits", "as_doubles", "is_double"]


@dataclass(frozen=True, slots=True)
class StoreHabits:
    """What a store does to metadata by nature: null values dropped, whole numbers kept as doubles."""

    drops_nulls: bool = False
    numbers_are_doubles: bool = False

    @classmethod
    def of(cls, store: str) -> StoreHabits:
        """The habits of a store by its name (measured); an export of it has them too (`target.exported_from`)."""
        return cls(
            drops_nulls=store in {"pinecone", "chroma", "milvus"}, numbers_are_doubles=store == "pinecone"
        )


def is_double(number: int) -> bool:
    """Whether a double holds the whole number itself: all up to 2^53 and, beyond, those that end in enough zero bits."""
    try:
        return int(float(number)) == number
    except OverflowError:
        return False


def as_doubles(value: Any) -> str:
    """The value as a store that knows only doubles gives it back; numbers that a double cannot hold stay as they are."""

    def doubled(part: Any) -> Any:
        if isinstance(part, bool) or not isinstance(part, int | list | dict):
            return part
        if isinstance(part, int):
            return float(part) if is_double(part) else part
        if isinstance(part, list):
            return [doubled(item) for item in part]
        return {key: doubled(item) for key, item in part.items()}

    return metadata_json(doubled(value))
