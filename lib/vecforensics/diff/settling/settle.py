"""Not there, or not there yet? What is wrong and younger than `settle_s` is fetched again before anything is said of it.

A store that is eventually consistent shows an acknowledged write late, and a deletion too. A row's age is counted from its time
of writing where logs or metadata give one, else from the moment of freezing, since it may have been written then; of a stray or a
further copy both its own write and its record's count. A time after the freezing by more than `settle_s`, which is more than
clocks differ, is none. What a further look finds in order is in order, a stray or a copy that is gone is settled; what is wrong
still and has become old enough meanwhile is judged; the rest is `pending`. Waiting ends after `patience_s`.

Records are looked at before the second pass, strays after it: only then is it known whose they are.

A store may say that it holds more rows than were read. As long as no more records are missing than that, any of them may be among
these, and all are `pending`. Where more are missing, most are indeed, and which are not nobody can tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.collected import Found
from vecforensics.diff.compare.bucket import BucketResult
from vecforensics.diff.compare.relation import Relation
from vecforensics.diff.explain.leftovers import nobodys_groups
from vecforensics.diff.resolved import Resolved
from vecforensics.diff.settling.second_look import (
    Sight,
    count_ids,
    look_at_records,
    look_for_others,
    owner_of_each,
)
from vecforensics.diff.sides import Index, Sides
from vecforensics.diff.writing.writes import Writes
from vecforensics.errors import TargetNotThere
from vecforensics.findings import SEVERITY, Kind, Severity
from vecforensics.records import NO_ID
from vecforensics.stores import VectorReader

__all__ = ["Settling", "frozen_moment"]

_NEVER: Final = np.iinfo(np.int64).min
# Said of a stray or of a further copy; and what a row is no matter whether it is visible yet.
_OF_STRAYS: Final = (Kind.ORPHAN, Kind.DUPLICATE, Kind.MANGLED_ID)
_LASTING: Final = (Kind.DANGLING, Kind.PREMATURE)
_AT_SECOND_LOOK: Final = {"seen": "at a second look"}

Births = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass
class Settling:
    """The second look at one collection. Without `settle_s` nothing is young and nothing is looked at.

    `own` gives what is known of the writing of each target row; `reader` the store, or None where it cannot be asked.
    """

    sides: Sides
    writes: Writes
    own: Callable[[], Writes]
    reader: Callable[[], VectorReader | None]
    collection: str
    settle_s: float
    frozen_at: datetime
    tolerance: float
    patience_s: float = 60.0
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    in_order: Index = field(default_factory=lambda: np.empty(0, np.int64))
    _appeared: dict[int, tuple[Kind, Sight]] = field(default_factory=dict)
    _young: set[int] = field(default_factory=set)
    _unseen: set[int] = field(default_factory=set)
    _young_strays: set[int] = field(default_factory=set)
    _fetched: int = 0
    _gone: int = 0
    _looked_at: set[int] = field(default_factory=set)
    _until: float | None = None

    def records(self, results: list[BucketResult]) -> None:
        """Look again at young records that are missing, wrong or there twice; takes those that are in order out of `results`,
        and those that appeared meanwhile out of what is missing."""
        if self.settle_s:
            self._look_at_records(results)
        if sum(len(result.missing) for result in results) <= self.sides.frozen.facts.get("unseen", 0):
            self._unseen = self._missing(results) - self._young

    def _look_at_records(self, results: list[BucketResult]) -> None:
        rows, born = self._wrong(results)
        rows, born = self._if_young(rows, born)
        sights: dict[int, Sight] = {}
        self._looked_at = set(rows.tolist())

        def look(asked: Index, reader: VectorReader) -> Flags:
            sights.update(look_at_records(self.sides, asked, reader, self.collection, self.tolerance))
            return np.array([sights[row].kind is None for row in asked.tolist()], np.bool_)

        settled, young = self._until_settled(rows, born, look)
        self.in_order, self._young = np.sort(rows[settled]), set(rows[young].tolist())
        missing = self._missing(results)
        self._appeared = {
            row: (sight.kind, sight)
            for row, sight in sights.items()
            if row in missing and sight.kind is not None and sight.kind is not Kind.MISSING
        }
        _take_out(self.sides, results, self.in_order, np.array(sorted(self._appeared), np.int64))

    def strays(self, resolved: Resolved, results: list[BucketResult]) -> None:
        """Say what appeared meanwhile, and look again at young rows under ids that no record has: of those that are gone nothing
        is said, and a record that stood under such an id is missing."""
        late = self._young | self._unseen | set(self._appeared)
        resolved.late = np.r_[self.in_order, np.array(sorted(late), np.int64)]
        if self.settle_s:
            self._look_again(resolved, results)
        excused = {*self.in_order.tolist(), *self._young, *self._unseen}
        resolved.excused = np.array(sorted(excused), np.int64)

    def _look_again(self, resolved: Resolved, results: list[BucketResult]) -> None:
        ahead = int((self.writes.time > self._latest()).sum())
        if ahead:
            resolved.notes.append(
                f"{ahead:,} times of writing lie more than {self.settle_s:g} s after the evidence was frozen and cannot be "
                "right; the age of these rows was counted from the freezing"
            )
        sights = {row: sight for row, (_, sight) in self._appeared.items()}
        owners = owner_of_each(self.sides, sights, self.tolerance)
        for row, (kind, sight) in sorted(self._appeared.items(), key=lambda one: one[0]):
            resolved.found.add(
                Kind.SWAPPED if row in owners else kind,
                source=row,
                partner=owners.get(row, -1),
                distance=sight.distance,
                detail={**sight.detail, **_AT_SECOND_LOOK},
            )
        strays = {
            row
            for result in results
            for row in self.sides.target.number(result.bucket, result.orphans).tolist()
        }
        self._look_at_strays(resolved, strays)
        self._look_at_others(resolved, strays)
        if self._fetched:
            settled = f"{len(self.in_order):,} of them were in order then"
            gone = f", {self._gone:,} strays and further copies were gone" if self._gone else ""
            rows = "1 row was" if self._fetched == 1 else f"{self._fetched:,} rows were"
            resolved.notes.append(f"{rows} fetched again; {settled}{gone}")

    def conclude(self, resolved: Resolved) -> None:
        """Turn what is said of rows that are too young still, or may stand where nobody read, into one `pending` each."""
        if not self._young and not self._young_strays and not self._unseen:
            return
        kept: list[Found] = []
        waiting: dict[tuple[int, int], list[Found]] = {}
        for found in resolved.found.rows:
            stray = found.target if found.target in self._young_strays else -1
            unseen = found.kind is Kind.MISSING and found.source in self._unseen
            if unseen or (_is_judged(found) and (found.source in self._young or stray >= 0)):
                waiting.setdefault((found.source, stray), []).append(found)
            else:
                kept.append(found)
        order = {kind: number for number, kind in enumerate(Kind)}
        for (source, stray), said in waiting.items():
            names = [kind.value for kind in sorted({found.kind for found in said}, key=order.__getitem__)]
            kept.append(Found(Kind.PENDING, source=source, target=stray, detail={"seems": ", ".join(names)}))
        resolved.found.rows[:] = kept

    def _wrong(self, results: list[BucketResult]) -> tuple[Index, Births]:
        """Running source rows of which something would be said, and when each was born (seconds since 1970)."""
        parts = [np.empty(0, np.int64)]
        copies: dict[int, list[int]] = {}
        for result in results:
            pairs = result.pairs
            bad = (pairs.state >= Relation.NON_FINITE) & (pairs.state != Relation.UNUSABLE)
            drifted = np.array(list(result.drift), np.int32)
            rows = np.r_[result.missing, pairs.source[bad], drifted, result.extra_source]
            parts.append(self.sides.source.number(result.bucket, rows))
            for record, target in zip(
                self.sides.source.number(result.bucket, result.extra_source).tolist(),
                self.sides.target.number(result.bucket, result.extra_target).tolist(),
                strict=True,
            ):
                copies.setdefault(record, []).append(target)
        rows = np.unique(np.concatenate(parts))
        born = self._born(self.writes, rows)
        if copies:
            held = np.searchsorted(rows, np.array([row for row, targets in copies.items() for _ in targets]))
            own = self._born(self.own(), np.array([target for some in copies.values() for target in some]))
            np.fmax.at(born, held, own)
        return rows, born

    def _missing(self, results: list[BucketResult]) -> set[int]:
        return {
            row
            for result in results
            for row in self.sides.source.number(result.bucket, result.missing).tolist()
        }

    def _look_at_strays(self, resolved: Resolved, strays: set[int]) -> None:
        record_of: dict[int, int] = {}
        for found in resolved.found.rows:
            if found.kind in _OF_STRAYS and found.target in strays:
                record_of[found.target] = max(found.source, record_of.get(found.target, -1))
        if not record_of:
            return
        rows, records = (np.array(column, np.int64) for column in (list(record_of), list(record_of.values())))
        known = records >= 0
        born = self._born(self.own(), rows)
        theirs = np.full(len(rows), np.nan)
        theirs[known] = self._born(self.writes, records[known])
        rows, born = self._if_young(rows, np.fmax(born, theirs))
        texts = [text or "" for text in self.sides.target.text("id", rows)]
        text_of = dict(zip(rows.tolist(), texts, strict=True))
        if self.sides.frozen.without_id:
            # A row without an id cannot be asked for again.
            named = np.array([text != NO_ID for text in texts], np.bool_)
            rows, born = rows[named], born[named]

        def look(asked: Index, reader: VectorReader) -> Flags:
            names = [text_of[row] for row in asked.tolist()]
            there = count_ids(reader, self.collection, list(dict.fromkeys(names)))
            return np.array([not there[text] for text in names], np.bool_)

        settled, young = self._until_settled(rows, born, look)
        gone, self._young_strays = set(rows[settled].tolist()), set(rows[young].tolist())
        self._gone = len(gone)
        _forget(resolved, gone, self._young_strays)

    def _look_at_others(self, resolved: Resolved, strays: set[int]) -> None:
        """Rows that only the second pass found wrong (one vector under many records, where none is expected): those that hold
        another vector by now are settled, and so is one that too few are left to share a vector with."""
        target_of = {
            found.source: found.target
            for found in resolved.found.rows
            if _is_judged(found)
            and found.source >= 0
            and found.target >= 0
            and found.target not in strays
            and found.source not in self._looked_at
        }
        asked_for = np.array(list(target_of), np.int64)
        rows, born = self._if_young(asked_for, self._born(self.writes, asked_for))

        def look(asked: Index, reader: VectorReader) -> Flags:
            frozen = self.sides.target.take(np.array([target_of[row] for row in asked.tolist()], np.int64))
            return look_for_others(self.sides, asked, frozen, reader, self.collection)

        settled, young = self._until_settled(rows, born, look)
        gone = set(rows[settled].tolist())
        if gone:
            left = np.array([target for row, target in target_of.items() if row not in gone], np.int64)
            groups = nobodys_groups(self.sides, left)
            still = {int(left[place]) for members in groups if len(members) >= 3 for place in members}
            gone |= {row for row, target in target_of.items() if target not in still}
        resolved.found.rows[:] = [one for one in resolved.found.rows if one.source not in gone]
        self._young |= set(rows[young].tolist()) - gone

    def _born(self, writes: Writes, rows: Index) -> Births:
        """When each row was written, seconds since 1970; NaN unknown, or later than it can have been."""
        written = writes.time[rows]
        return np.where((written != _NEVER) & (written <= self._latest()), written / 1e9, np.nan)

    def _latest(self) -> float:
        """The last moment at which what was frozen may have been written, in nanoseconds since 1970."""
        return (self.frozen_at.timestamp() + self.settle_s) * 1e9

    def _if_young(self, rows: Index, born: Births) -> tuple[Index, Births]:
        born = np.where(np.isnan(born), self.frozen_at.timestamp(), born)
        young = born + self.settle_s > self.frozen_at.timestamp()
        return rows[young], born[young]

    def _until_settled(
        self, rows: Index, born: Births, look: Callable[[Index, VectorReader], Flags]
    ) -> tuple[Flags, Flags]:
        """Look at `rows` until each is settled or old; which are settled, and which are neither."""
        settled = np.zeros(len(rows), np.bool_)
        if not len(rows):
            return settled, settled
        reader = self.reader()
        if reader is None:
            return settled, born + self.settle_s > self.frozen_at.timestamp()
        self._fetched += len(rows)
        now = self.clock().timestamp()
        self._until = self._until or now + self.patience_s
        while True:
            still = np.flatnonzero(~settled)
            try:
                settled[still] = look(rows[still], reader)
            except TargetNotThere:
                # Nothing was there when the evidence was frozen either, not even the collection.
                if self.sides.frozen.rows["target"]:
                    raise
            now = self.clock().timestamp()
            if settled.all():
                break
            wait = float(born[~settled].max() + self.settle_s) - now
            if wait <= 0 or now + wait > self._until:
                break
            self.sleep(min(wait, max(self.settle_s / 4, 0.05)))
        return settled, ~settled & (born + self.settle_s > now)


def _is_judged(found: Found) -> bool:
    return SEVERITY[found.kind] is Severity.CORRUPT and found.kind not in _LASTING


def _forget(resolved: Resolved, gone: set[int], young: set[int]) -> None:
    """Take back what was said of target rows that are gone; those that are young are no longer counted as strays."""
    found = resolved.found
    found.rows[:] = [one for one in found.rows if one.target not in gone]
    lost = [source for source, target in resolved.mangled.items() if target in gone]
    for source in lost:
        del resolved.mangled[source]
        found.add(Kind.MISSING, source=source)
    resolved.missing = np.r_[resolved.missing, np.array(lost, np.int64)]
    resolved.excused_strays = np.array(sorted(gone | young), np.int64)
    resolved.orphans = resolved.orphans[~np.isin(resolved.orphans, resolved.excused_strays)]


def _take_out(sides: Sides, results: list[BucketResult], fine: Index, appeared: Index) -> None:
    """Remove source rows from what differs: those that are in order altogether, those that appeared from what is missing."""
    fine_rows = set(fine.tolist())
    for result in results:
        first = int(sides.source.offsets[result.bucket])
        for row in [row for row in result.drift if first + row in fine_rows]:
            del result.drift[row]
        missing = sides.source.number(result.bucket, result.missing)
        result.missing = result.missing[~np.isin(missing, np.r_[fine, appeared])]
        copies = ~np.isin(sides.source.number(result.bucket, result.extra_source), fine)
        for name in ("extra_source", "extra_target", "extra_same"):
            setattr(result, name, getattr(result, name)[copies])
        wrong = ~np.isin(sides.source.number(result.bucket, result.pairs.source), fine)
        result.pairs = result.pairs.kept(np.flatnonzero(wrong))


def frozen_moment(facts: Any) -> datetime:
    """When the evidence was frozen, by its index."""
    return datetime.fromisoformat(str(facts["frozen_at"]).replace("Z", "+00:00"))
