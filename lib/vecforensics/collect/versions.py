"""Which of several source rows with one id counts.

Without a `version` column two rows with one id are an input error. With one the highest version counts: compared as numbers
where every version of the collection is one, else as text (which is right for ISO time stamps). Rows that share id *and* version
cannot be told apart and are refused too. Only the narrow columns are read, bucket by bucket.

The order of the lower versions is frozen with them, as a number: whoever asks later which of two is the higher need not know
what all the others look like.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vecforensics.arrow_columns import as_numpy, numbers
from vecforensics.errors import SourceError

__all__ = ["NEWEST", "version_ranks"]

NEWEST: Final = -1


def version_ranks(files: list[Path], where: str) -> list[tuple[int, npt.NDArray[np.int64]]]:
    """For each bucket with repeated ids: its number, and int64 (n,): `NEWEST` for the newest row of an id, and for the lower ones
    0, 1, … from the lowest up.

    Raises SourceError naming the id and both row numbers, for the earliest pair that cannot be told apart.
    """
    repeated = [(number, table) for number, table in enumerate(map(_narrow, files)) if _repeats(table)]
    if not repeated:
        return []
    numeric = all(_numeric(version) for version in _versions(files))
    clashes: list[tuple[int, int, str, bool]] = []
    verdicts = []
    for number, table in repeated:
        ranks, clash = _ranked(table, numeric)
        verdicts.append((number, ranks))
        clashes += clash
    if clashes:
        second, first, text, versioned = min(clashes)
        same = "the same version" if versioned else "no version to tell them apart"
        raise SourceError(
            f"the id {text!r} stands in rows {first} and {second} (the first row is 0) with {same}",
            where=where,
            hint="Remove one of them, or name the column that grows with each edit: source.version",
        )
    return verdicts


def _narrow(file: Path) -> pa.Table:
    with pa.memory_map(str(file)) as mapped:
        table = pa.ipc.open_file(mapped).read_all()
    columns = [name for name in ("id", "version", "position", "id_hash") if name in table.schema.names]
    return table.select(columns)


def _hashes(table: pa.Table) -> npt.NDArray[np.uint64]:
    return np.concatenate([np.empty(0, np.uint64), *map(as_numpy, table["id_hash"].chunks)])


def _repeats(table: pa.Table) -> bool:
    hashes = np.sort(_hashes(table))
    return bool((hashes[1:] == hashes[:-1]).any())


def _versions(files: list[Path]) -> Iterator[str]:
    for file in files:
        table = _narrow(file)
        if "version" in table.schema.names:
            for chunk in table["version"].chunks:
                yield from (version for version in chunk.to_pylist() if version is not None)


def _numeric(version: str) -> bool:
    try:
        return Decimal(version).is_finite()
    except InvalidOperation:
        return False


def _ranked(table: pa.Table, numeric: bool) -> tuple[npt.NDArray[np.int64], list[tuple[int, int, str, bool]]]:
    """The ranks of all rows, and the pairs that tie for one as (second row, first row, id, has versions)."""
    hashes = _hashes(table)
    order = np.argsort(hashes, kind="stable")
    same = hashes[order[1:]] == hashes[order[:-1]]
    suspects = np.unique(np.concatenate([order[1:][same], order[:-1][same]]))
    rows = table.take(numbers(suspects)).to_pydict()
    versions = rows.get("version") or [None] * len(suspects)
    groups: dict[str, list[int]] = {}
    for index, text in enumerate(rows["id"]):
        groups.setdefault(text, []).append(index)
    ranks = np.full(table.num_rows, NEWEST, np.int64)
    clashes = []
    for text, members in groups.items():
        if len(members) == 1:
            continue

        def rank(index: int) -> tuple[bool, Decimal | str]:
            version = versions[index]
            if version is None:
                return False, Decimal(0) if numeric else ""
            return True, Decimal(version) if numeric else version

        ranked = sorted(members, key=lambda index: (rank(index), rows["position"][index]))
        for lower, upper in itertools.pairwise(ranked):
            if rank(lower) == rank(upper):
                first, second = sorted((rows["position"][lower], rows["position"][upper]))
                clashes.append((second, first, text, versions[lower] is not None))
        ranks[suspects[ranked[:-1]]] = np.arange(len(ranked) - 1)
    return ranks, clashes
