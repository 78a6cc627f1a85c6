"""What a row holds beside what the case names (an owner's column, a metadata field) outlives its record's being written again.

Nobody says what such values should be, so they stay what they are. A record keeps those of the row under its own id. Where none
stands there but one under a mangled id, which is going to be removed, it takes over those. Where several rows stand under one id,
or several mangled ones and no other, the first counts, and what another holds that differs from it cannot be kept. Nor can a
metadata text that is no JSON object, where fields have to be put into it. That is said before anything is written
(`cautions.py`), and is written only on demand.

Values are taken from the pre-images of the ledger, so that a run which broke off between removing and writing still has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from vecforensics.arrow_columns import whole
from vecforensics.arrow_values import values_of
from vecforensics.case import Target
from vecforensics.evidence import Evidence
from vecforensics.stores import Columns
from vecforensics.stores.keeping import as_object, unnamed
from vecforensics.stores.shape import is_text

__all__ = ["Keeping", "Kept"]


@dataclass(frozen=True, slots=True)
class Kept:
    """What records keep. `rows`: in the store's own columns, without what the case names; `at`: id → its row, where one stood.

    `lost`: id → the names of columns and metadata fields of which a value cannot be kept. `gone`: id → those of which a row that
    stands for the record beside its own holds another value.
    """

    rows: pa.Table
    at: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gone: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, ids: Sequence[str]) -> pa.Table | None:
        """Row for row what `ids` keep, null where nothing stood; None where rows hold nothing more than the case names."""
        if not self.rows.num_columns:
            return None
        return self.rows.take(pa.array([self.at.get(one) for one in ids], pa.int64()))


@dataclass(frozen=True, slots=True)
class Keeping:
    """How the records of one collection keep what the case does not name. `fields`: the metadata fields that it names.

    `stand_ins`: record → the wrong ids under which rows of it stand.
    """

    columns: Columns
    fields: tuple[str, ...]
    stand_ins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        evidence: Evidence,
        name: str,
        target: Target,
        stand_ins: Mapping[tuple[str, str], tuple[str, ...]],
    ) -> Keeping:
        """That of a collection of the evidence."""
        mine = {record: ids for (collection, record), ids in stand_ins.items() if collection == name}
        columns = Columns(target.id, target.vector, target.metadata)
        return cls(columns, evidence.collection(name).metadata, mine)

    def elsewhere(self, ids: Sequence[str]) -> list[str]:
        """The wrong ids under which rows of the records `ids` stand."""
        return sorted({other for one in ids for other in self.stand_ins.get(one, ())})

    def kept(self, ids: Sequence[str], standing: Sequence[tuple[pa.Table, Sequence[str | None]]]) -> Kept:
        """What each record of `ids` keeps of the rows that are `standing`, in tables with the id of each row."""
        parts = [unnamed(rows, self.columns, self.fields) for rows, _ in standing] or [pa.table({})]
        rows = pa.concat_tables(parts, promote_options="permissive").combine_chunks()
        places: dict[str, list[int]] = {}
        for row, one in enumerate(one for _, under in standing for one in under):
            if one is not None:
                places.setdefault(one, []).append(row)
        at: dict[str, int] = {}
        lost: dict[str, tuple[str, ...]] = {}
        gone: dict[str, tuple[str, ...]] = {}
        for one in ids if rows.num_columns else ():
            own = places.get(one, [])
            others = [row for other in self.stand_ins.get(one, ()) for row in places.get(other, ())]
            first, *further = own or others or [-1]
            if first < 0:
                continue
            at[one] = first
            torn = {self.columns.metadata} if self._torn(rows, first) else set()
            if names := torn | self._differing(rows, first, further):
                lost[one] = tuple(sorted(names))
            if own and (names := self._differing(rows, first, others)):
                gone[one] = tuple(sorted(names))
        return Kept(rows, at, lost, gone)

    def _differing(self, rows: pa.Table, first: int, others: Sequence[int]) -> set[str]:
        """Of which columns or fields one of `others` holds a value that `first` does not."""
        here = dict(self._values(rows, first)) if others else {}
        return {
            name for other in others for name, value in self._values(rows, other) if here.get(name) != value
        }

    def _values(self, rows: pa.Table, row: int) -> Iterator[tuple[str, str]]:
        """The values of a row that are not null, by column or metadata field, spelt so that the same is spelt the same."""
        for name in rows.column_names:
            [value] = values_of(whole(rows.column(name).slice(row, 1)))
            inside: Any = value if isinstance(value, dict) else None
            if name == self.columns.metadata and is_text(rows.schema.field(name).type):
                inside = as_object(value)
            if name == self.columns.metadata and inside is not None:
                yield from ((key, repr(part)) for key, part in inside.items() if part is not None)
            elif value is not None:
                yield name, repr(value)

    def _torn(self, rows: pa.Table, row: int) -> bool:
        """Whether the metadata are a text into which no field can be put."""
        if not self.fields or self.columns.metadata not in rows.column_names:
            return False
        column = rows.column(self.columns.metadata)
        return is_text(column.type) and as_object(column[row].as_py()) is None
