"""Which of several source rows with one id counts: the one with the highest version, where there is a `version` column.

What order the versions of an id have is found out for each id by itself (`version_order.py`); one record's odd version says
nothing of the others. Rows whose versions are the same, or of which nothing says which is the higher, are an input error that
names them, and so are two rows with one id where there is no version: which of them a record is decides what is right in the
target, and a guess would let a repair write the old over the new. Only the narrow columns are read, bucket by bucket.

The order of the lower versions is frozen with them, as a number: whoever asks later which of two is the higher need not read
versions again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vecforensics.arrow_columns import as_numpy, encoded, numbers, present, whole
from vecforensics.collect.version_order import places_of, plain_keys
from vecforensics.errors import SourceError, printable

__all__ = ["NEWEST", "version_ranks"]

NEWEST: Final = -1
# Characters of a version that a message shows.
_SHOWN: Final = 60
# Of a record whose versions have no order, so many pairs are asked which it is.
_MOST_PAIRS: Final = 10_000


class _Doubt(NamedTuple):
    """Two rows of one id that no version tells apart: their numbers in the source, the later one first, and what to say; of how
    many ids of the bucket this is so."""

    second: int
    first: int
    text: str
    why: str
    hint: str
    ids: int


def version_ranks(files: Iterable[Path], where: str) -> list[tuple[int, npt.NDArray[np.int64]]]:
    """For each bucket with repeated ids: its number, and int64 (n,): `NEWEST` for the newest row of an id, and for the lower ones
    0, 1, … from the lowest up. A row without a version is lower than one that has one.

    Raises SourceError naming the id and both row numbers, for the earliest pair that cannot be told apart.
    """
    verdicts, doubts = [], []
    for number, table in enumerate(map(_narrow, files)):
        rows = _repeated(table)
        if len(rows):
            ranks = np.full(table.num_rows, NEWEST, np.int64)
            ranks[rows], found = _ranked(table.take(numbers(rows)))
            verdicts.append((number, ranks))
            doubts += found
    if doubts:
        worst = min(doubts)
        others = sum(one.ids for one in doubts) - 1
        more = f"; so it is with {others:,} more id{'s' if others > 1 else ''}" if others else ""
        raise SourceError(
            f"the id {worst.text!r} stands in rows {worst.first} and {worst.second} (the first row is 0) with {worst.why}{more}",
            where=where,
            hint=worst.hint,
        )
    return verdicts


def _narrow(file: Path) -> pa.Table:
    with pa.memory_map(str(file)) as mapped:
        table = pa.ipc.open_file(mapped).read_all()
    columns = [name for name in ("id", "version", "position", "id_hash") if name in table.schema.names]
    return table.select(columns)


def _repeated(table: pa.Table) -> npt.NDArray[np.intp]:
    """The rows, ascending, whose id hash stands more than once."""
    hashes = as_numpy(whole(table["id_hash"]))
    order = np.argsort(hashes, kind="stable")
    same = hashes[order[1:]] == hashes[order[:-1]]
    return np.unique(np.concatenate([order[1:][same], order[:-1][same]]))


def _ranked(rows: pa.Table) -> tuple[npt.NDArray[np.int64], list[_Doubt]]:
    """The ranks of rows in source order whose ids are repeated (or share a hash with one that is), and the earliest doubts."""
    ids = whole(rows["id"])
    record = as_numpy(encoded(ids).indices)
    position = as_numpy(whole(rows["position"]))
    versions = whole(rows["version"]) if "version" in rows.schema.names else pa.nulls(len(ids), pa.string())
    there = present(versions)
    doubts: list[_Doubt] = []
    key = plain_keys(versions)
    if key is None:
        key, unclear = _keys_by_record(record, versions.to_pylist())
        if unclear is not None:
            one, other, many = unclear
            texts = [printable(versions[row], _SHOWN) for row in (one, other)]
            why = f"the versions {texts[0]!r} and {texts[1]!r}, and nothing says which is the higher"
            hint = "Write the versions of an id in one way (10, v1.10, 2024-01-09T10:00:00Z), or remove a row"
            doubts.append(_Doubt(int(position[other]), int(position[one]), ids[one].as_py(), why, hint, many))
    order = np.lexsort((position, key, there, record))
    lower, upper = order[:-1], order[1:]
    same = record[lower] == record[upper]
    tied = np.flatnonzero(same & (key[lower] == key[upper]) & (there[lower] == there[upper]))
    if len(tied):
        earliest = tied[np.lexsort((position[lower[tied]], position[upper[tied]]))[0]]
        row, other = int(lower[earliest]), int(upper[earliest])
        why = "the same version" if there[row] else "no version to tell them apart"
        hint = "Remove one of them, or name the column that grows with each edit: source.version"
        many = len(np.unique(record[lower[tied]]))
        doubts.append(_Doubt(int(position[other]), int(position[row]), ids[row].as_py(), why, hint, many))
    at = np.arange(len(order))
    begins = np.maximum.accumulate(np.where(np.r_[True, ~same], at, 0))
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.where(np.r_[~same, True], NEWEST, at - begins)
    return ranks, doubts


def _keys_by_record(
    record: npt.NDArray[np.integer[Any]], versions: list[str | None]
) -> tuple[npt.NDArray[np.int64], tuple[int, int, int] | None]:
    """A number for each row that is larger the higher its version is among those of its record; and of all records of which
    nothing says so, the two rows that stand first, and how many records they are."""
    keys = np.zeros(len(versions), np.int64)
    unclear: list[tuple[int, int]] = []
    order = np.argsort(record, kind="stable")
    ends = np.flatnonzero(np.diff(record[order], append=-1)) + 1
    rows, start = order.tolist(), 0
    for end in ends.tolist():
        known = {row: text for row in rows[start:end] if (text := versions[row]) is not None}
        start = end
        if len(known) < 2:
            continue
        places = places_of(known.values())
        if places is None:
            unclear.append(_unclear(known))
            # Told apart here, so that they are not called the same as well.
            places = list(range(len(known)))
        for row, place in zip(known, places, strict=True):
            keys[row] = place
    first = min(unclear, key=lambda rows: rows[::-1], default=None)
    return keys, None if first is None else (*first, len(unclear))


def _unclear(known: Mapping[int, str]) -> tuple[int, int]:
    """Of rows whose versions have no order the first two that have none, or the first two."""
    pairs = list(itertools.islice(itertools.combinations(known, 2), _MOST_PAIRS))
    return next(
        ((one, other) for one, other in pairs if places_of((known[one], known[other])) is None), pairs[0]
    )
