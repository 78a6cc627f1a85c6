"""What a record depends on: is it there at all, and was it there first?

`dangling`: the record stands in the target and its parent does not. Only the distinct parents that a bucket's records name are
looked up, in the parent's own bucket, so the check costs eight bytes a parent. Where no record of the source has the parent's id
either, the reference is broken there, and no writing to the target mends it. `premature`: both are there, but the child was
written before the parent, by sequence numbers of one counter, by times, or by the order of one log, which also decides where
times are equal. Where numbers and times contradict each other, times decide. Lines of two logs are in no order.

A time that names no zone may be that of any clock in the world: beside one with a zone it says nothing, unless the two lie
further apart than zones do. And where the lines of one log contradict its own times without a zone by no more than two hours,
either the clock was put back in between and the lines are right, or lines were written late (or joined from several logs) and
the times are: nothing is judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vecforensics import arrow_columns as arrow
from vecforensics.diff.collected import FoundRows
from vecforensics.diff.compare.bucket import BucketResult
from vecforensics.diff.lookup import find
from vecforensics.diff.resolved import Resolved
from vecforensics.diff.sides import Side, Sides
from vecforensics.diff.writing.moments import NEVER
from vecforensics.diff.writing.writes import Writes
from vecforensics.evidence import hash_text
from vecforensics.findings import Kind
from vecforensics.records import PARENT_PREFIX

__all__ = ["find_dangling", "find_premature"]


def _absent(side: Side, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Those id hashes that stand under no row of one side of a collection, sorted."""
    absent = []
    number = (hashes % np.uint64(side.buckets)).astype(np.int64)
    for bucket in range(side.buckets):
        asked = hashes[number == bucket]
        if len(asked):
            absent.append(asked[~np.isin(asked, side.column("id_hash", bucket))])
    return np.sort(np.concatenate([np.empty(0, np.uint64), *absent]))


def find_dangling(
    name: str,
    all_sides: Mapping[str, Sides],
    results: Sequence[BucketResult],
    resolved: Mapping[str, Resolved],
    found: FoundRows,
) -> None:
    """Add a finding for each present record of collection `name` whose parent stands in no target row under its own id."""
    sides, here = all_sides[name], resolved[name]
    for parent in sides.frozen.parents:
        named = [result.parents[parent] for result in results if len(result.parents.get(parent, ()))]
        under_another_id = sides.source.text(PARENT_PREFIX + parent, np.array(list(here.mangled), np.int64))
        named.append(hash_text(arrow.texts(under_another_id).drop_null()))
        absent = _absent(all_sides[parent].target, np.unique(np.concatenate(named)))
        absent = absent[~np.isin(absent, all_sides[parent].source.integers("id_hash", resolved[parent].late))]
        if not len(absent):
            continue
        nowhere = _absent(all_sides[parent].source, absent)
        before = here.broken_references
        mangled = _ids_of_mangled(all_sides[parent], resolved[parent])
        for bucket in range(sides.source.buckets):
            column = arrow.whole(sides.source.table(bucket)[PARENT_PREFIX + parent])
            hashes = hash_text(column)
            lost = find(absent, hashes)[1] & arrow.present(column)
            rows = sides.source.number(bucket, np.flatnonzero(lost))
            still_here = ~np.isin(rows, here.missing)
            texts = column.take(arrow.numbers(np.flatnonzero(lost))).to_pylist()
            in_source = ~np.isin(hashes[lost], nowhere)
            here.broken_references += int(np.count_nonzero(still_here & ~in_source))
            for row, text, kept, held in zip(
                rows.tolist(), texts, still_here.tolist(), in_source.tolist(), strict=True
            ):
                if not kept:
                    continue
                detail: dict[str, Any] = {"parent": parent}
                if not held:
                    detail["in_source"] = False
                if text in mangled:
                    detail["parent_stands_under"] = mangled[text]
                found.add(Kind.DANGLING, source=row, partner_id=text, detail=detail)
        if here.broken_references > before:
            here.notes.append(
                f"dangling: {here.broken_references - before:,} of the parents named are not in the source of {parent} either; "
                "these references are broken there, and no repair of the target mends them."
            )


def _ids_of_mangled(sides: Sides, resolved: Resolved) -> dict[str, str]:
    rows = np.array(list(resolved.mangled), np.int64)
    targets = np.array(list(resolved.mangled.values()), np.int64)
    return {
        source: target or ""
        for source, target in zip(
            sides.source.text("id", rows), sides.target.text("id", targets), strict=True
        )
        if source is not None
    }


def find_premature(
    name: str,
    all_sides: Mapping[str, Sides],
    writes: Mapping[str, Writes],
    resolved: Mapping[str, Resolved],
    found: FoundRows,
) -> None:
    """Add a finding for each record of `name` that was written before a parent which stands in the target as well; count those of
    which nothing says whether they were."""
    sides, own = all_sides[name], writes[name]
    if not own.known:
        return
    absent = resolved[name].missing
    for parent in sides.frozen.parents:
        other = writes[parent]
        theirs = all_sides[parent].source
        if not theirs.rows:
            continue
        hashes = theirs.integers("id_hash")
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        parent_missing = resolved[parent].missing
        for bucket in range(sides.source.buckets):
            column = arrow.whole(sides.source.table(bucket)[PARENT_PREFIX + parent])
            valid = arrow.present(column)
            asked = hash_text(column)
            at, there = find(ordered, asked)
            child = np.flatnonzero(valid & there)
            elder = order[at[child]]
            row = sides.source.number(bucket, child)
            both = ~np.isin(row, absent) & ~np.isin(elder, parent_missing)
            child, elder, row = child[both], elder[both], row[both]
            early, basis = _before(own, row, other, elder)
            resolved[name].unordered += int(np.count_nonzero(basis < 0))
            resolved[name].one_zone += int(np.count_nonzero(basis == _ONE_ZONE))
            resolved[name].put_back += int(np.count_nonzero(basis == _PUT_BACK))
            texts = column.take(arrow.numbers(child[early])).to_pylist()
            for place, text in zip(np.flatnonzero(early).tolist(), texts, strict=True):
                found.add(
                    Kind.PREMATURE,
                    source=int(row[place]),
                    partner_id=text,
                    detail={"parent": parent, "by": _BASES[int(basis[place])]},
                )


_BASES = ("sequence number", "time", "order in the log")
# What none of these decides: nothing is known, only one of two times names its zone, or lines contradict times without one.
_NOTHING, _ONE_ZONE, _PUT_BACK = -1, -2, -3
# No zone is further from UTC than this, and no clock is put back by more than that (two hours, at Troll in Antarctica).
_WIDEST_ZONE_NS: Final = 14 * 3600 * 10**9
_PUT_BACK_NS: Final = 2 * 3600 * 10**9


def _before(
    own: Writes, row: npt.NDArray[np.int64], other: Writes, elder: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Whether each child's write came first, and by which of `_BASES`: the first that tells the two apart, or why none does.
    Equal sequence numbers are those of one write, and nothing further is asked."""
    number, elders_number = own.sequence[row], other.sequence[elder]
    time, elders_time = own.time[row], other.time[elder]
    line, elders_line = own.line[row], other.line[elder]
    without, elders_without = own.zoneless[row], other.zoneless[elder]
    timed = (time != NEVER) & (elders_time != NEVER)
    apart = np.abs(np.where(timed, time, 0) - np.where(timed, elders_time, 0))
    one_zone = timed & (without != elders_without) & (apart < _WIDEST_ZONE_NS)
    by_time = timed & ~one_zone & (time != elders_time)
    by_sequence = (
        np.isfinite(number) & np.isfinite(elders_number) & (own.counter[row] == other.counter[elder])
    )
    by_sequence &= ~(by_time & (number != elders_number) & ((number < elders_number) != (time < elders_time)))
    by_line = (line >= 0) & (elders_line >= 0) & (own.log[row] == other.log[elder])
    put_back = by_time & by_line & without & (apart <= _PUT_BACK_NS)
    put_back &= (line != elders_line) & ((line < elders_line) != (time < elders_time))
    asked = [by_sequence, put_back, by_time, by_line, one_zone]
    nobody = np.zeros(len(row), np.bool_)
    firsts = [number < elders_number, nobody, time < elders_time, line < elders_line, nobody]
    early: npt.NDArray[np.bool_] = np.select(asked, firsts, False)
    return early, np.select(asked, [0, _PUT_BACK, 1, 2, _ONE_ZONE], _NOTHING)
