"""Reading other people's JSON without believing it.

The files of a run come from five stages, perhaps of an older version, perhaps touched by somebody. A value of the wrong type is
the same as no value: the report then says less, and still comes out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Facts", "read_facts"]


@dataclass(frozen=True, slots=True)
class Facts:
    """A JSON object with getters that never raise. Truthy where it holds anything."""

    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Any) -> Facts:
        return cls(value) if isinstance(value, dict) else cls()

    def __bool__(self) -> bool:
        return bool(self.values)

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def text(self, key: str, default: str = "") -> str:
        value = self.values.get(key)
        return value if isinstance(value, str) else default

    def number(self, key: str) -> float | None:
        return _number(self.values.get(key))

    def count(self, key: str) -> int:
        """A number of things: a whole number that is not negative, else 0."""
        value = self.number(key)
        return int(value) if value is not None and value >= 0 and value == int(value) else 0

    def flag(self, key: str) -> bool | None:
        value = self.values.get(key)
        return value if isinstance(value, bool) else None

    def facts(self, key: str) -> Facts:
        return Facts.of(self.values.get(key))

    def each(self, key: str) -> tuple[Facts, ...]:
        """The objects of a list, in order."""
        value = self.values.get(key)
        return (
            tuple(Facts(item) for item in value if isinstance(item, dict)) if isinstance(value, list) else ()
        )

    def texts(self, key: str) -> tuple[str, ...]:
        """The texts of a list, in order."""
        value = self.values.get(key)
        return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()

    def numbers(self, key: str) -> tuple[float, ...]:
        value = self.values.get(key)
        found = [_number(item) for item in value] if isinstance(value, list) else []
        return tuple(item for item in found if item is not None)

    def items(self, key: str) -> Iterator[tuple[str, Facts]]:
        """Name and object of each entry of an object of objects, by name."""
        inner = self.values.get(key)
        if isinstance(inner, dict):
            for name in sorted(map(str, inner)):
                if isinstance(inner.get(name), dict):
                    yield name, Facts(inner[name])

    def counts(self, key: str) -> dict[str, int]:
        """An object of numbers of things."""
        inner = self.facts(key)
        return {str(name): inner.count(name) for name in inner.values}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def read_facts(path: Path) -> tuple[Facts, str]:
    """The object in a JSON file and "", or no facts and the reason."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Facts(), "absent"
    except (OSError, ValueError, RecursionError) as error:
        return Facts(), f"cannot be read ({type(error).__name__})"
    return (Facts(value), "") if isinstance(value, dict) else (Facts(), "holds no JSON object")
