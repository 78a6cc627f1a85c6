"""From findings to what has to be done about them.

Most kinds mean: write the record again. Rows under a wrong id have to go as well, each with the record that it stands for, so
that it goes only when that record stands under its right id. History (`premature`) and what nobody could check are left alone,
and so is every row of a collection whose source holds no record at all: it is likelier that the source was emptied by mistake
than that all of the target stands there by one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from vecforensics.case import Case
from vecforensics.errors import EvidenceError
from vecforensics.findings import FINDINGS_SCHEMA, SEVERITY, Kind, Severity
from vecforensics.migrate.outline import Key, Outline
from vecforensics.migrate.place import spot

__all__ = ["Wanted", "from_findings"]

# Rows under an id that is no record's own.
_WRONG_ID: Final = frozenset({Kind.ORPHAN, Kind.MANGLED_ID, Kind.DUPLICATE})
# What writing the record again does not change: its parent is missing (which is written, where the source has it), or it came too
# early.
_NOT_BY_WRITING: Final = frozenset({Kind.DANGLING, Kind.PREMATURE})


@dataclass(frozen=True, slots=True)
class Wanted:
    """`upserts`: collection → ids of records to write again. `deletes`: target row → why. `left`: kinds left as they are.

    `stand_ins`: record → the wrong ids under which rows of it stand.
    """

    upserts: Mapping[str, set[str]] = field(default_factory=dict)
    deletes: Mapping[Key, Mapping[str, Any]] = field(default_factory=dict)
    left: Mapping[str, int] = field(default_factory=dict)
    stand_ins: Mapping[Key, tuple[str, ...]] = field(default_factory=dict)


def from_findings(path: Path, case: Case, order: Outline) -> Wanted:
    """Read `findings.parquet`. Raises EvidenceError where it is unreadable or speaks of a collection that the case lacks."""
    upserts: dict[str, set[str]] = {name: set() for name in case.collections}
    deletes: dict[Key, Mapping[str, Any]] = {}
    left: Counter[str] = Counter()
    stand_ins: dict[Key, dict[str, None]] = {}
    shared = _neighbours(case)
    emptied = {name for name in upserts if not order.levels[name]} - {name for name, _ in order.refused}
    for row in _rows(path):
        name, kind = row["collection"], Kind(row["kind"])
        if name not in upserts:
            raise EvidenceError(
                f"a finding speaks of {name!r}, which the case does not have",
                where=str(path),
                hint="Run diff again",
            )
        source, target = row["source_id"], row["target_id"]
        if SEVERITY[kind] is not Severity.CORRUPT:
            if SEVERITY[kind] is Severity.UNKNOWN:
                left[kind.value] += 1
            continue
        if kind is Kind.DANGLING:
            left[kind.value] += not _add_parents(row, upserts, order)
        if kind in _NOT_BY_WRITING:
            left[kind.value] += kind is Kind.PREMATURE
            continue
        if name in emptied:
            left[kind.value] += 1
            continue
        known = source is not None and order.holds((name, source))
        if known:
            upserts[name].add(source)
            if kind in _WRONG_ID and target not in (None, source):
                stand_ins.setdefault((name, source), {})[target] = None
        if kind in _WRONG_ID and target is not None:
            if any(order.holds((neighbour, target)) for neighbour in shared[name]):
                if order.holds((name, target)):
                    upserts[name].add(target)  # a record's own id, twice: written again, which leaves one
            else:
                stands_for = source if known else None
                deletes.setdefault((name, target), {"kind": kind.value, "stands_for": stands_for})
        elif not known:
            left[kind.value] += 1
    under = {key: tuple(sorted(ids)) for key, ids in stand_ins.items()}
    return Wanted(upserts, deletes, dict(sorted(left.items())), under)


def _rows(path: Path) -> Any:
    columns = ["collection", "source_id", "target_id", "kind", "partner_id", "detail"]
    try:
        file = pq.ParquetFile(path)
        missing = set(FINDINGS_SCHEMA.names) - set(file.schema_arrow.names)
        if missing:
            raise pa.ArrowInvalid(f"no column {sorted(missing)[0]!r}")
        for batch in file.iter_batches(columns=columns):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise EvidenceError(f"cannot be read ({error})", where=str(path), hint="Run diff again") from None


def _add_parents(row: Mapping[str, Any], upserts: Mapping[str, set[str]], order: Outline) -> bool:
    """Add the parent that a dangling record misses (`partner_id`, of the collection `detail.parent`), where the source holds it;
    whether it does."""
    try:
        detail = json.loads(row["detail"])
    except ValueError:
        return False
    parent = (str(detail.get("parent")) if isinstance(detail, dict) else "", row["partner_id"])
    if parent[0] not in upserts or not order.holds(parent):
        return False
    upserts[parent[0]].add(parent[1])
    return True


def _neighbours(case: Case) -> dict[str, list[str]]:
    """Collection → the collections that share its target, itself included: a row of theirs is no orphan of ours."""
    place = {name: spot(one.target) for name, one in case.collections.items()}
    return {name: [other for other in case.collections if place[other] == place[name]] for name in place}
