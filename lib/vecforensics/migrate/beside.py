"""Verification of what the case does not name: does a row that was written again still hold it?

The case cannot say what is right there. The ledger can say what stood: the pre-image of the row under the record's own id, or,
where there was none, those of the rows that stood for it and were removed. What a value of theirs was, one of them at least, it
has to be still. The rows as they are now come from a fresh reader, and nothing here is shared with what decided on them
(`keeping.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from vecforensics import stores
from vecforensics.arrow_values import rows_of
from vecforensics.case import Case, Target
from vecforensics.errors import TargetError
from vecforensics.evidence import Evidence
from vecforensics.migrate.chain import Operation, State
from vecforensics.migrate.ledger import Ledger
from vecforensics.migrate.place import ids_of, unpack
from vecforensics.migrate.verification import Tally

__all__ = ["compare_beside"]

Values = dict[str, str]

# Records whose rows are read again together.
_ROWS: Final = 16_384


def compare_beside(case: Case, evidence: Evidence, ledger: Ledger, tally: Tally) -> None:
    """Compare the rows of all records that are DONE with their pre-images, as far as these hold what the case does not name."""
    for name, one in case.collections.items():
        fields = evidence.collection(name).metadata
        try:
            for before in _gathered(_stood(ledger, one.target, name, fields)):
                _compare(case, name, fields, before, tally)
        except TargetError as error:
            tally.unseen(f"{name}: whether rows written again hold what they held ({error})")


def _gathered(stood: Iterator[tuple[str, str, Values]]) -> Iterator[dict[str, list[Values]]]:
    """Record → the rows that stood for it, many records at a time. Those removed elsewhere come after all records were written,
    and count only where a record had no row of its own."""
    own: set[str] = set()
    before: dict[str, list[Values]] = {}
    for kind, record, values in stood:
        if kind == "upsert":
            own.add(record)
        elif record in own:
            continue
        if values:
            before.setdefault(record, []).append(values)
        if len(before) >= _ROWS:
            yield before
            before = {}
    if before:
        yield before


def _stood(
    ledger: Ledger, target: Target, name: str, fields: Sequence[str]
) -> Iterator[tuple[str, str, Values]]:
    """The rows of all pre-images that stood for a record: the operation on them, the record, and their values."""
    operations = {one.op: one for one in ledger.operations() if one.collection == name}
    for collection, ops, data in ledger.preimages():
        if collection != name:
            continue
        mine = {one.id: one for one in (operations[op] for op in ops) if ledger.state(one.op) is State.DONE}
        rows = unpack(data)
        ids = ids_of(rows, target.id, target.uri).to_pylist()
        for under, values in zip(ids, _values(rows, target, fields), strict=True):
            operation = mine.get(under)
            if operation is not None and (record := _record(operation)) is not None:
                yield operation.kind, record, values


def _record(operation: Operation) -> str | None:
    if operation.kind == "upsert":
        return operation.id
    stands_for = json.loads(operation.because).get("stands_for")
    return stands_for if isinstance(stands_for, str) else None


def _compare(
    case: Case, name: str, fields: Sequence[str], before: Mapping[str, list[Values]], tally: Tally
) -> None:
    target = case.collections[name].target
    rows = stores.open_reader(target, case.folder).preimage(target.collection, list(before))
    now = dict(
        zip(ids_of(rows, target.id, target.uri).to_pylist(), _values(rows, target, fields), strict=True)
    )
    changed: list[str] = []
    columns: set[str] = set()
    for record, stood in before.items():
        # A record that is gone again is `missing` already.
        there = now.get(record)
        lost = (
            [{one for one, value in row.items() if there.get(one) != value} for row in stood]
            if there is not None
            else [set()]
        )
        if all(lost):
            changed.append(record)
            columns |= min(lost, key=len)
    tally.beside(name, len(before), len(changed), columns)


def _values(rows: pa.Table, target: Target, fields: Sequence[str]) -> Iterator[Values]:
    """Of each row what is neither null nor named by the case, by column or metadata field, spelt."""
    named = {target.id, target.vector} | (set() if target.metadata in rows.column_names else {*fields})
    for row in rows_of(rows.select([one for one in rows.column_names if one not in named])):
        metadata = row.pop(target.metadata, None)
        if isinstance(metadata, str):
            try:
                metadata = json.loads(metadata)
            except (ValueError, RecursionError):
                metadata = None
        inside: Mapping[str, Any] = metadata if isinstance(metadata, dict) else {}
        beside = {**row, **{one: value for one, value in inside.items() if one not in fields}}
        yield {one: repr(value) for one, value in beside.items() if value is not None}
