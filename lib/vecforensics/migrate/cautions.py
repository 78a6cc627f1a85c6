"""What has to be said before a plan is written, and what is written only on demand.

* The expectation may be wrong and not the store: a case file that names another model than the one that made the target would
  have every vector replaced by one of the wrong model. It shows in vectors of another length, and in nearly all of them being
  wrong in one way that has nothing to do with the record. `--replace-all` means that it is so.
* A value that the case does not name cannot be kept (`keeping.py`). `--accept-loss` lets it go; a rollback still puts it back.

Rows that the target lacks hold nothing in the columns that the case does not name, and a row that is removed beside its record's
own takes its values along: both are said, and need no word.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow.compute as pc
import pyarrow.parquet as pq

from vecforensics import stores
from vecforensics.arrow_columns import texts
from vecforensics.case import Case
from vecforensics.errors import CaseError, TargetError, TargetNotThere, VecforensicsError, printable
from vecforensics.evidence import Evidence
from vecforensics.findings import Kind
from vecforensics.migrate.keeping import Keeping
from vecforensics.migrate.place import ids_of
from vecforensics.migrate.plan import Plan
from vecforensics.stores.keeping import unnamed
from vecforensics.target_length import usual_target_length

__all__ = ["ACCEPT_LOSS", "REPLACE_ALL", "Caution", "cautions"]

REPLACE_ALL: Final = "--replace-all"
ACCEPT_LOSS: Final = "--accept-loss"
# What a wrong expectation makes of every record. Damage of a migration is seldom so even, and says more of itself.
_IN_ONE_WAY: Final = (Kind.WRONG_DIMENSION, Kind.FOREIGN_MODEL, Kind.DRIFTED)
_NEARLY_ALL: Final = 0.9
_NAMED: Final = 5
# Rows of a store looked at together.
_ROWS: Final = 16_384


@dataclass(frozen=True, slots=True)
class Caution:
    """One thing to be said. `flag`: without it nothing is written; "" where it is only said."""

    text: str
    where: str
    flag: str = ""
    hint: str = ""

    @property
    def line(self) -> str:
        """It as a line of a plan."""
        return f"refused without {self.flag}: {self.text}" if self.flag else self.said

    @property
    def said(self) -> str:
        """It as a line of what was done."""
        return f"with {self.flag}: {self.text}" if self.flag else f"note: {self.text}"

    def refusal(self, command: str) -> VecforensicsError:
        """It as what stops the writing. `command`: what was asked for."""
        kind = CaseError if self.flag == REPLACE_ALL else TargetError
        return kind(self.text, where=self.where, hint=f"{self.hint}: {command} {self.flag}")


def cautions(case: Case, evidence: Evidence, plan: Plan, findings: Path) -> list[Caution]:
    """What has to be said of a plan that has not begun. Reads those rows of the target of which something may be lost; raises
    TargetError where that fails."""
    written: dict[str, set[str]] = {}
    for chunk in plan.chunks:
        for name, record in chunk.keys if chunk.kind == "upsert" else ():
            written.setdefault(name, set()).add(record)
    said = _in_one_way(findings) if findings.is_file() else {}
    found: list[Caution] = []
    for name in sorted(written):
        found += _of_expectation(evidence, name, said.get(name, {}))
        found += _of_values(case, evidence, name, plan, written[name])
    return found


def _of_expectation(evidence: Evidence, name: str, said: Mapping[str, int]) -> Iterator[Caution]:
    frozen = evidence.collection(name)
    held = usual_target_length(evidence, name)
    if held not in (0, frozen.dimension):
        what = f"the target's vectors have {held:,} numbers and the expected ones ({frozen.expected}) {frozen.dimension:,}"
    else:
        compared = frozen.rows["source"] - said.get(Kind.MISSING, 0) - said.get(Kind.UNCHECKED, 0)
        kind = max(_IN_ONE_WAY, key=lambda one: said.get(one, 0))
        wrong = min(said.get(kind, 0), compared)
        if not wrong or wrong <= _NEARLY_ALL * compared:
            return
        what = f"{wrong:,} of {compared:,} compared vectors are {kind.value} by what is expected ({frozen.expected})"
    yield Caution(
        f"{what}: it is likelier that the expectation is wrong than that the store is",
        f"collections.{name}.expected",
        REPLACE_ALL,
        "Mend `expected` and begin a new run, or, where all vectors are to be replaced, say so",
    )


def _in_one_way(findings: Path) -> dict[str, Counter[str]]:
    """Collection → kind → records, of those kinds that count here."""
    kinds = texts(kind.value for kind in (*_IN_ONE_WAY, Kind.MISSING, Kind.UNCHECKED))
    found: dict[str, Counter[str]] = {}
    columns = ["collection", "source_id", "kind", "detail"]
    for batch in pq.ParquetFile(findings).iter_batches(columns=columns):
        for row in batch.filter(pc.is_in(batch["kind"], value_set=kinds)).to_pylist():
            # Contents that were not compared are one line, whose detail says how many they are.
            rows = 1 if row["source_id"] is not None else int(json.loads(row["detail"]).get("rows", 0))
            found.setdefault(row["collection"], Counter())[row["kind"]] += rows
    return found


def _of_values(case: Case, evidence: Evidence, name: str, plan: Plan, written: set[str]) -> Iterator[Caution]:
    target = case.collections[name].target
    keeping = Keeping.of(evidence, name, target, plan.stand_ins)
    stood, doubtful = _in_the_target(evidence, name, written)
    doubtful |= keeping.stand_ins.keys() & written
    where = f"{target.uri} {target.collection}"
    try:
        reader = stores.open_reader(target, case.folder)
        beside = unnamed(reader.preimage(target.collection, []), keeping.columns, keeping.fields)
    except TargetNotThere:
        return
    new = len(written - stood - keeping.stand_ins.keys())
    empty = [one for one in beside.column_names if one != target.metadata and one[:1] != "_"]
    if new and empty:
        they = "row that the target lacks holds" if new == 1 else "rows that the target lacks hold"
        yield Caution(
            f"{name}: {new:,} {they} nothing in {_named(empty)}, which the case does not name",
            where,
        )
    lost: dict[str, Sequence[str]] = {}
    gone: dict[str, Sequence[str]] = {}
    asked = sorted(doubtful)
    for start in range(0, len(asked), _ROWS):
        some = asked[start : start + _ROWS]
        rows = reader.preimage(target.collection, [*some, *keeping.elsewhere(some)])
        kept = keeping.kept(some, [(rows, ids_of(rows, target.id, reader.uri).to_pylist())])
        lost |= kept.lost
        gone |= kept.gone
    if gone:
        yield Caution(
            f"{name}: copies of {_records(gone)} are removed that hold other values than the row that stays, in {_columns(gone)}",
            where,
        )
    if lost:
        yield Caution(
            f"{name}: of {_records(lost)} not everything can be kept that the case does not name: {_columns(lost)} (several rows "
            "stand for one record and differ, or the metadata are no JSON object)",
            where,
            ACCEPT_LOSS,
            "Settle it in the store and begin a new run, or let the values go, which a rollback puts back",
        )


def _in_the_target(evidence: Evidence, name: str, written: set[str]) -> tuple[set[str], set[str]]:
    """Of the records to be written those that stood in the frozen target, and those of which something may be lost: under
    whose id several rows stood, or metadata that are no object."""
    wanted = texts(written)
    stood: set[str] = set()
    doubtful: set[str] = set()
    for bucket in range(evidence.collection(name).buckets):
        rows = evidence.table(name, "target", bucket).select(["id", "metadata"])
        rows = rows.filter(pc.is_in(rows["id"], value_set=wanted.cast(rows["id"].type)))
        counts = pc.value_counts(rows["id"].combine_chunks())
        stood.update(counts.field("values").to_pylist())
        doubtful.update(counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist())
        torn = pc.invert(pc.fill_null(pc.starts_with(rows["metadata"], "{"), True))
        doubtful.update(rows.filter(torn)["id"].to_pylist())
    return stood, doubtful


def _records(of: Mapping[str, Any]) -> str:
    return "1 record" if len(of) == 1 else f"{len(of):,} records"


def _columns(of: Mapping[str, Sequence[str]]) -> str:
    return _named(sorted({name for names in of.values() for name in names}))


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(printable(one, 60) for one in names[:_NAMED]) + more
