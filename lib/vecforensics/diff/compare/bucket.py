"""One hash bucket, compared on its own: a pure function from two mapped tables to a small result.

1. Join on the id hash; the ids themselves decide, so a collision costs time and never an error.
2. Compare the digests of joined rows' vectors, which collect took of every byte when it froze them: eight bytes a row instead
   of both vectors. Rows with one digest hold one vector, but for a chance of 2⁻⁶⁴ a row.
3. Only for rows that differ: numbers, some hundred rows at a time, so that both sides stay in the cache. What a row is
   in itself (NaN, zero, noise, a narrower format, a part) is said here, and whether it is the vector of an earlier version of the
   same record, since earlier versions share the bucket.
4. Compare the metadata text; only where it differs, field by field.

What no bucket can know alone (whose vector is this? is the parent there?) is left to the second pass, which gets row numbers and
not vectors. A result holds one entry a row that differs, about forty bytes each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics.arrow_columns import as_numpy, numbers, whole
from vecforensics.diff.compare.copies import digests_of, raw_vectors
from vecforensics.diff.compare.grids import Grid
from vecforensics.diff.compare.joining import join_ids
from vecforensics.diff.compare.metadata import drift_of_rows
from vecforensics.diff.compare.pairs import Pairs
from vecforensics.diff.compare.ragged import compare_ragged
from vecforensics.diff.compare.relation import Relation, compare_rows
from vecforensics.diff.compare.stale import find_stale
from vecforensics.diff.vectors import MappedVectors, rows_at_once
from vecforensics.evidence import Bucket, Evidence, hash_text
from vecforensics.metadata_rule import MetadataRule
from vecforensics.records import PARENT_PREFIX

__all__ = ["BucketResult", "BucketTask", "State", "compare_bucket"]

Rows = npt.NDArray[np.int32]


class State(IntEnum):
    """What a bucket knows of a row. The values up to 31 are those of `Relation` for a joined pair."""

    RAGGED = 32
    STALE = 33
    NO_EXPECTED = 34


@dataclass(frozen=True, slots=True)
class BucketTask:
    """Everything a process elsewhere needs: where the evidence lies, which bucket, and the settings.

    `sampled`: only the contents of these source rows of the bucket are compared (None: of all). `grid`: what the collection is
    kept on, where that has been learnt.
    """

    evidence: str
    collection: str
    bucket: int
    tolerance: float
    rule: MetadataRule
    sampled: npt.NDArray[np.int32] | None = None
    grid: Grid | None = None


@dataclass
class BucketResult:
    """What differs in one bucket. Row numbers are those of the bucket's tables.

    `pairs`: the joined rows that differ. `extra_*`: further target rows under an id that has one already, and whether they hold
    the same vector as that one. `drift`: JSON text by source row, in ascending order, and `drift_target` the target row of each.
    `parents`: for each parent collection the distinct id hashes that present records name.
    """

    bucket: int
    compared: int
    unchecked: int
    missing: Rows
    orphans: Rows
    pairs: Pairs
    extra_source: Rows
    extra_target: Rows
    extra_same: npt.NDArray[np.bool_]
    drift: dict[int, dict[str, Any]] = field(default_factory=dict)
    drift_target: Rows = field(default_factory=lambda: np.empty(0, np.int32))
    parents: dict[str, npt.NDArray[np.uint64]] = field(default_factory=dict)

    @property
    def differs(self) -> bool:
        """Whether any row of the bucket is not exactly what it should be."""
        odd = (self.missing, self.orphans, self.pairs, self.extra_source, self.drift)
        return any(len(rows) for rows in odd)


def compare_bucket(task: BucketTask, evidence: Evidence | None = None) -> BucketResult:
    """Compare one bucket; reads nothing but the evidence. `evidence`: the task's, where it is open already."""
    evidence = evidence or Evidence.open(Path(task.evidence))
    frozen = evidence.collection(task.collection)
    bucket = evidence.bucket(task.collection, task.bucket)
    source_row, target_row, extra_source, extra_target = join_ids(bucket.source, bucket.target)
    expected, actual = MappedVectors(bucket.source), MappedVectors(bucket.target)
    wanted, held = digests_of(bucket.source)[source_row], digests_of(bucket.target)[target_row]
    has_expected = expected.present[source_row] & (wanted != 0)
    looked_at = np.ones(len(source_row), np.bool_)
    if task.sampled is not None:
        looked_at = np.isin(source_row, task.sampled)
        has_expected &= looked_at
    fixed = actual.present[target_row]
    unequal = np.flatnonzero(has_expected & fixed & (wanted != held))
    ragged = looked_at & ~fixed
    bare = looked_at & ~has_expected & fixed
    result = BucketResult(
        bucket=task.bucket,
        compared=int(has_expected.sum()),
        unchecked=int((~has_expected).sum()),
        missing=_others(bucket.source.num_rows, source_row),
        orphans=_others(bucket.target.num_rows, np.r_[target_row, extra_target]),
        pairs=Pairs.joined(
            [
                _related(bucket, expected, actual, source_row[unequal], target_row[unequal], task),
                _ragged(bucket, expected, source_row[ragged], target_row[ragged], has_expected[ragged], task),
                _by_itself(actual, source_row[bare], target_row[bare]),
            ]
        ),
        extra_source=extra_source,
        extra_target=extra_target,
        extra_same=_same_vector(
            bucket.target, actual, target_row[np.searchsorted(source_row, extra_source)], extra_target
        ),
    )
    if frozen.metadata:
        result.drift = drift_of_rows(
            bucket.source["metadata"],
            bucket.target["metadata"],
            source_row,
            target_row,
            frozen.metadata,
            task.rule,
        )
        drifted = np.array(list(result.drift), np.int32)
        result.drift_target = target_row[np.searchsorted(source_row, drifted)]
    for name in frozen.parents:
        column = whole(bucket.source[PARENT_PREFIX + name]).take(numbers(source_row))
        result.parents[name] = hash_text(column.drop_null().unique())
    return result


def _same_vector(target: pa.Table, vectors: MappedVectors, one: Rows, other: Rows) -> npt.NDArray[np.bool_]:
    """Whether two rows hold the same vector, byte for byte: what is not finite or of another length too."""
    digests = digests_of(target)
    same: npt.NDArray[np.bool_] = digests[one] == digests[other]
    # Without a digest the bytes themselves are asked.
    alike = np.flatnonzero(same & (digests[one] == 0))
    pairs = (raw_vectors(target, vectors, rows[alike]) for rows in (one, other))
    same[alike] = [mine == theirs for mine, theirs in zip(*pairs, strict=True)]
    return same


def _others(count: int, rows: npt.NDArray[np.integer[Any]]) -> Rows:
    mask = np.ones(count, np.bool_)
    mask[rows] = False
    return np.flatnonzero(mask).astype(np.int32)


def _related(
    bucket: Bucket,
    expected: MappedVectors,
    actual: MappedVectors,
    source_row: Rows,
    target_row: Rows,
    task: BucketTask,
) -> Pairs:
    """Pairs that hold other bytes than are expected: what they are by their numbers, or of which earlier version."""
    if not len(source_row):
        return Pairs.of(source_row, target_row, Relation.EQUAL)
    compared = compare_rows(
        lambda pairs: expected.take(source_row[pairs]),
        lambda pairs: actual.take(target_row[pairs]),
        (len(source_row), expected.dimension),
        task.tolerance,
        task.grid,
    )
    state, detail = compared.relation.copy(), dict[int, dict[str, Any]]()
    wrong = np.flatnonzero(state >= Relation.PART_ZERO)
    stale = find_stale(
        bucket.earlier,
        as_numpy(whole(bucket.source["id_hash"]))[source_row[wrong]],
        lambda places: actual.take(target_row[wrong[places]]),
        task.tolerance,
        task.grid,
    )
    for place, version in stale.items():
        state[wrong[place]] = State.STALE
        detail[int(wrong[place])] = {"version": version}
    pairs = Pairs(
        source_row,
        target_row,
        state,
        compared.distance.astype(np.float32),
        compared.right,
        compared.start,
        compared.stop,
        detail,
    )
    return pairs.kept(np.flatnonzero(state != Relation.EQUAL))


def _ragged(
    bucket: Bucket,
    expected: MappedVectors,
    source_row: Rows,
    target_row: Rows,
    has_expected: npt.NDArray[np.bool_],
    task: BucketTask,
) -> Pairs:
    """Pairs whose target vector has another length, and how much of the expected one is in it."""
    if not len(source_row):
        return Pairs.of(source_row, target_row, State.RAGGED)
    ragged = whole(bucket.target["ragged"]).take(numbers(target_row))
    lengths = as_numpy(pc.list_value_length(ragged)).tolist()
    wanted = expected.dimension or int(bucket.target.schema.field("vector").type.list_size)
    details: list[dict[str, Any]] = [{"length": length, "expected_length": wanted} for length in lengths]
    known = np.flatnonzero(has_expected)
    if len(known):
        values = as_numpy(ragged.flatten(), np.nan)
        ends = np.cumsum(lengths)
        rows = [values[ends[number] - lengths[number] : ends[number]] for number in known.tolist()]
        for number, detail in zip(
            known.tolist(),
            compare_ragged(expected.take(source_row[known]), rows, task.tolerance),
            strict=True,
        ):
            details[number] = detail
    return Pairs.of(source_row, target_row, State.RAGGED, dict(enumerate(details)))


def _by_itself(actual: MappedVectors, source_row: Rows, target_row: Rows) -> Pairs:
    """Pairs without an expected vector: what a vector shows by itself, NaN, infinity and nothing but zeros."""
    state = np.full(len(target_row), Relation.EQUAL, np.uint8)
    step = rows_at_once(actual.dimension)
    for start in range(0, len(target_row), step):
        part = slice(start, start + step)
        vectors = actual.take(target_row[part])
        finite = np.isfinite(vectors).all(axis=1)
        with np.errstate(invalid="ignore"):  # a NaN may be a signalling one
            state[part][~vectors.any(axis=1)] = Relation.ZERO
        state[part][~finite] = Relation.NON_FINITE
    return Pairs.of(source_row, target_row, state).kept(np.flatnonzero(state != Relation.EQUAL))
