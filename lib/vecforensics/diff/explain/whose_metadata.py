"""Whose metadata stand under a record where they changed? Often another record's, and often its neighbour's.

What stands there is put into the words of the source, and looked for among the metadata of all records. Only where one record
alone has them it is named: a plan and a country are many records'. The figure is read as that of exchanged vectors
(`patterns.py`): a run that moved by an offset, a pair, a cycle, a copy. It costs a look at all metadata of the source, a bucket
at a time, and only where some have changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vecforensics import arrow_columns as arrow
from vecforensics.diff.compare.bucket import BucketResult
from vecforensics.diff.explain.crowded import Agreement
from vecforensics.diff.explain.patterns import explain_exchanges
from vecforensics.diff.sides import Index, Sides

__all__ = ["whose_metadata"]


def whose_metadata(sides: Sides, results: Sequence[BucketResult]) -> dict[int, tuple[int, dict[str, Any]]]:
    """Running source row → the record that alone has the metadata standing under it, and what a finding says of that."""
    rows, texts = _changed(sides, results)
    owner = _only_owner(sides, texts)
    known = np.flatnonzero((owner >= 0) & (owner != rows))
    if not len(known):
        return {}
    rows, owner = rows[known], owner[known]
    place = sides.source.integers("position", rows).astype(np.int64)
    theirs = sides.source.integers("position", owner).astype(np.int64)
    # Unless its own are known to be others, a record has its metadata.
    drifted = np.array(sorted(_drifted(sides, results)), np.int64)
    explained = explain_exchanges(place, theirs, owner, ~np.isin(owner, drifted))
    details = zip(owner.tolist(), explained.detail, strict=True)
    return dict(zip(rows.tolist(), details, strict=True))


def _drifted(sides: Sides, results: Sequence[BucketResult]) -> set[int]:
    return {int(sides.source.offsets[result.bucket]) + row for result in results for row in result.drift}


def _changed(sides: Sides, results: Sequence[BucketResult]) -> tuple[Index, pa.StringArray]:
    """The running source rows in whose metadata a value changed, and what the source would call what they hold."""
    agree = Agreement(sides)
    rows: list[Index] = [np.empty(0, np.int64)]
    texts: list[str] = []
    for result in results:
        changed = [
            number
            for number, fields in enumerate(result.drift.values())
            if any(entry["change"] == "changed" for entry in fields.values())
        ]
        if not changed:
            continue
        held = arrow.whole(sides.target.table(result.bucket)["metadata"]).take(
            arrow.numbers(result.drift_target[changed])
        )
        rows.append(sides.source.number(result.bucket, np.array(list(result.drift))[changed]))
        texts += map(agree.carried, held.to_pylist())
    return np.concatenate(rows), arrow.texts(texts)


def _only_owner(sides: Sides, texts: pa.StringArray) -> Index:
    """The running source row that alone has such metadata, -1 where none or several do."""
    asked = texts.unique()
    if not len(asked):
        return np.empty(0, np.int64)

    def of_bucket(bucket: int) -> tuple[Index, npt.NDArray[np.int32]]:
        said = pc.index_in(arrow.whole(sides.source.table(bucket)["metadata"]), value_set=asked)
        hit = np.flatnonzero(arrow.present(said))
        return sides.source.number(bucket, hit), arrow.as_numpy(said)[hit]

    found, at = (np.concatenate(column) for column in zip(*sides.source.each(of_bucket), strict=True))
    owner = np.full(len(asked), -1, np.int64)
    owner[at] = found
    owner[np.bincount(at, minlength=len(asked)) != 1] = -1
    owners: Index = owner[arrow.as_numpy(pc.index_in(texts, value_set=asked))]
    return owners
