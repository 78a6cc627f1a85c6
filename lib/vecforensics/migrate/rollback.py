"""Rollback: what stood before stands again, row for row and byte for byte, also after a migration that broke off.

Every key that was ever sent is put back from its pre-image, the last first: rows that were there come back in the store's own
columns, duplicates as often as they stood, and keys under which nothing stood are removed. A row that is no longer what this
migration wrote is somebody else's later work: it is left alone and named.

A kill in between is harmless. Which keys a group is about to restore is noted first, and restoring twice does what once does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.arrow_columns import texts
from vecforensics.case import Case
from vecforensics.errors import ToolFailed
from vecforensics.evidence import Evidence
from vecforensics.migrate.apply import open_places
from vecforensics.migrate.chain import Operation, State
from vecforensics.migrate.effects import Effects
from vecforensics.migrate.ledger import Ledger
from vecforensics.migrate.place import Place, pack, unpack
from vecforensics.retry import Retry

__all__ = ["Conflict", "roll_back"]


@dataclass(frozen=True, slots=True)
class Conflict:
    """A key that somebody else changed after the migration; it was left as it is."""

    collection: str
    id: str


def roll_back(
    case: Case, evidence: Evidence, ledger: Ledger, retry: Retry, progress: Callable[[int, int], None]
) -> list[Conflict]:
    """Undo every effect that the ledger knows. Gives the keys left alone. Raises ToolFailed where it cannot."""
    operations = {operation.op: operation for operation in ledger.operations()}
    sent = {entry.op for entry in ledger.entries(State.SENT)}
    verified = {entry.op: entry.detail for entry in ledger.entries(State.VERIFIED)}
    begun = {op for note in ledger.notes("restoring") for op in note["ops"]}
    images = list(ledger.preimages())
    places = open_places(case, evidence, sorted({collection for collection, _, _ in images}))
    effects = Effects(ledger, places, retry)
    conflicts: list[Conflict] = []
    for done, (collection, ops, rows) in enumerate(reversed(images)):
        progress(done, len(images))
        place = places[collection]
        open_ops = [op for op in ops if ledger.state(op) is not State.ROLLED_BACK]
        untouched = [op for op in open_ops if op not in sent]
        ledger.advance([op for op in untouched if ledger.state(op) is State.INTENT], State.ROLLED_BACK)
        ours = [operations[op] for op in open_ops if op in sent]
        foreign = _foreign(effects, place, ours, verified, begun)
        conflicts += [Conflict(one.collection, one.id) for one in foreign]
        todo = [one for one in ours if one not in foreign]
        if todo:
            _restore(effects, place, todo, unpack(rows))
    progress(len(images), len(images))
    return conflicts


def _foreign(
    effects: Effects, place: Place, ours: list[Operation], verified: dict[int, str], begun: set[int]
) -> list[Operation]:
    """Operations whose key no longer holds what was read back after the write. What was never read back cannot be told."""
    standing = effects.retried(place, lambda: place.standing([one.id for one in ours]))
    foreign = []
    for one in ours:
        if one.op in begun or one.op not in verified:
            continue
        there = standing.get(one.id)
        if (there.digest if there else "") != verified[one.op]:
            foreign.append(one)
    return foreign


def _restore(effects: Effects, place: Place, todo: list[Operation], rows: pa.Table) -> None:
    ids = [one.id for one in todo]
    ops = [one.op for one in todo]
    before = rows.filter(pc.is_in(place.ids_of(rows), value_set=texts(ids)))
    effects.ledger.note("restoring", {"ops": ops})
    effects.retried(place, lambda: place.writer.restore(place.collection, ids, before))
    after = effects.retried(place, lambda: place.writer.preimage(place.collection, ids))
    if not _same_rows(before, after):
        raise ToolFailed(
            "the store acknowledged the rows put back, but holds others",
            where=place.writer.uri,
            hint="Nothing is lost, the rows are in migration/ledger.sqlite; try again",
        )
    effects.ledger.advance(ops, State.ROLLED_BACK)


def _same_rows(before: pa.Table, after: pa.Table) -> bool:
    """Whether the rows are the same in the columns that there were before, and columns that came since hold nothing."""
    since = [after.column(name) for name in after.column_names if name not in before.column_names]
    if any(column.null_count < after.num_rows for column in since):
        return False
    try:
        return _bag(after.select(before.column_names).cast(before.schema)) == _bag(before)
    except (pa.ArrowInvalid, KeyError):
        return False


def _bag(rows: pa.Table) -> list[bytes]:
    """The rows without their order, each as its bytes: equal bags are equal to the last bit, NaN included."""
    whole = rows.combine_chunks()
    return sorted(pack(whole.take([row])) for row in range(whole.num_rows))
