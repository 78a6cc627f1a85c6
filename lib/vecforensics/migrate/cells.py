"""What a repair writes of a CSV's cells: each in the type in which the target holds its field, so that a mended row is like its
neighbours.

A CSV has no types. Written as it stands, a cell puts "5" beside the 5 of all other rows, which a filter for numbers passes over
and a column of numbers refuses. So it is looked up how the target held the field when the evidence was frozen: by a sample of its
rows, those with the smallest hashes of their ids, whatever the buckets. What a cell does not spell in that type stays text, and
where the target holds nothing there is nothing to follow.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from vecforensics.arrow_columns import as_numpy, numbers, whole
from vecforensics.evidence import Evidence
from vecforensics.metadata_rule import TRUE_CELLS, MetadataRule
from vecforensics.records import FieldType

__all__ = ["Cells"]

_LOOKED_AT: Final = 4_096


@dataclass(frozen=True, slots=True)
class Cells:
    """`held`: by field without a type, how many of the rows looked at hold a value of each type."""

    rule: MetadataRule
    held: Mapping[str, Counter[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, evidence: Evidence, name: str) -> Cells:
        """How the frozen target of a collection holds what the source has no type for."""
        rule = MetadataRule.of(evidence.collection(name).facts)
        fields = [one for one, kind in rule.types.items() if kind is FieldType.UNTYPED]
        held: dict[str, Counter[str]] = {one: Counter() for one in fields}
        for text in _some_metadata(evidence, name) if fields else ():
            row = json.loads(text)
            for one in fields if isinstance(row, dict) else ():
                held[one][_type_of(row.get(one))] += 1
        return cls(rule, held)

    def typed(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """A record's metadata as they are to be written."""
        return {name: self._typed(name, value) for name, value in metadata.items()}

    def _typed(self, name: str, cell: Any) -> Any:
        held = self.held.get(name)
        if not held:
            return cell
        if cell is None or cell == "":
            return "" if held["empty"] > held["nothing"] else None
        numbers = held["int"] + held["float"]
        kind = max(("text", "bool", "number", "structure"), key=(held | Counter(number=numbers)).__getitem__)
        value = _read(kind, cell.strip(), whole=held["int"] > 0)
        return value if self.rule.kept(name, {name: cell}, {name: value}) else cell


def _type_of(value: Any) -> str:
    if value is None or value == "":
        return "nothing" if value is None else "empty"
    names = {bool: "bool", int: "int", float: "float", str: "text"}
    return names.get(type(value), "structure")


def _read(kind: str, text: str, *, whole: bool) -> Any:
    """A cell as a value of a kind, or None; `whole`: a whole number as one, and not as a double."""
    try:
        match kind:
            case "bool":
                return text in TRUE_CELLS
            case "number":
                return int(text) if whole and text.lstrip("-").isdecimal() else float(text)
            case "structure":
                return json.loads(text)
    except (ValueError, RecursionError):
        pass
    return None


def _some_metadata(evidence: Evidence, name: str) -> list[str]:
    hashes, texts = np.empty(0, np.uint64), np.empty(0, np.object_)
    for bucket in range(evidence.collection(name).buckets):
        table = evidence.table(name, "target", bucket)
        mine = as_numpy(whole(table["id_hash"]))
        rows = np.argsort(mine, kind="stable")[:_LOOKED_AT]
        some = np.array(whole(table["metadata"]).take(numbers(rows)).to_pylist(), np.object_)
        hashes, texts = np.r_[hashes, mine[rows]], np.r_[texts, some]
        kept = np.argsort(hashes, kind="stable")[:_LOOKED_AT]
        hashes, texts = hashes[kept], texts[kept]
    return [text for text in texts.tolist() if text is not None]
