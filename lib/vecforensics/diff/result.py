"""The result of a diff: plain data that shows itself, and that findings.json and findings.parquet are written from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from vecforensics.arrow_columns import text
from vecforensics.errors import printable
from vecforensics.finding_words import in_words, with_code
from vecforensics.findings import MEANING, SEVERITY, Kind, Severity, Verdict

__all__ = ["CollectionSummary", "Diff"]

# Findings of each kind that findings.json shows.
_EXAMPLES: Final = 5


@dataclass(frozen=True, slots=True)
class CollectionSummary:
    """One collection in numbers. `checked` of `of` records have a verdict on their content; `counts` holds every kind.

    `records_corrupt`: source records with a corrupt finding; `rows_corrupt`: those, and the corrupt target rows that belong to no
    record. `metadata_fields`: of each field that drifted, how many rows changed it, miss it, and hold it as another type.
    """

    source_rows: int
    target_rows: int
    dimension: int
    checked: int
    unchecked: int
    rows_corrupt: int
    records_corrupt: int
    counts: Mapping[str, int]
    broken_references: int
    digests: Mapping[str, str]
    notes: tuple[str, ...] = ()
    metadata_fields: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def drift_by_field(self) -> list[str]:
        """A sentence for each metadata field that drifted."""
        return [
            f"metadata field {printable(name, 60)}: "
            + ", ".join(f"{count:,} {change}" for change, count in counts.items() if count)
            for name, counts in self.metadata_fields.items()
        ]

    def as_dict(self) -> dict[str, Any]:
        return {
            "source_rows": self.source_rows,
            "target_rows": self.target_rows,
            "dimension": self.dimension,
            "checked": self.checked,
            "of": self.source_rows,
            "unchecked": self.unchecked,
            "rows_corrupt": self.rows_corrupt,
            "records_corrupt": self.records_corrupt,
            "counts": dict(self.counts),
            "broken_references": self.broken_references,
            "metadata_fields": {name: dict(counts) for name, counts in self.metadata_fields.items()},
            "digests": dict(self.digests),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Diff:
    """What is wrong with a target, and how sure that is.

    `table` holds the findings (`findings.FINDINGS_SCHEMA`); `hot_spots`, `hot_spot_search` (by what method, with how many tests
    and along which lines they were looked for) and `impact` as they stand in findings.json; `limits`
    are the sentences that say what this run could not see. `estimate` is set where contents were sampled.
    """

    case: str
    title: str
    verdict: Verdict
    collections: Mapping[str, CollectionSummary]
    table: pa.Table
    hot_spots: tuple[Mapping[str, Any], ...] = ()
    hot_spot_search: Mapping[str, Any] | None = None
    impact: Mapping[str, Any] | None = None
    estimate: Mapping[str, Any] | None = None
    limits: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    evidence_digest: str = ""
    path: Path = Path()

    @property
    def counts(self) -> dict[str, int]:
        """Findings of every kind over all collections, noughts included."""
        return {kind.value: sum(one.counts[kind.value] for one in self.collections.values()) for kind in Kind}

    @property
    def rows_corrupt(self) -> int:
        return sum(one.rows_corrupt for one in self.collections.values())

    @property
    def records_corrupt(self) -> int:
        return sum(one.records_corrupt for one in self.collections.values())

    @property
    def rows_checked(self) -> int:
        return sum(one.checked for one in self.collections.values())

    @property
    def findings(self) -> Any:
        """The findings as a pandas frame, which shows what is absent as an empty cell."""
        from vecforensics.diff.findings_frame import FindingsFrame

        return FindingsFrame.of(self.table)

    @property
    def said_at_once(self) -> dict[str, int]:
        """By kind, of how many rows a finding about a whole collection speaks, which is one line and not one a row."""
        rows: dict[str, int] = {}
        whole = pc.and_(pc.is_null(self.table["source_id"]), pc.is_null(self.table["target_id"]))
        for one in self.table.filter(whole).select(["kind", "detail"]).to_pylist():
            rows[one["kind"]] = rows.get(one["kind"], 0) + int(json.loads(one["detail"]).get("rows", 0))
        return rows

    def of_kind(self, kind: Kind | str) -> pa.Table:
        """The findings of one kind."""
        return self.table.filter(pc.equal(self.table["kind"], text(Kind(kind).value)))

    def as_dict(self) -> dict[str, Any]:
        """The content of findings.json (format 1)."""
        return {
            "format": 1,
            "case": self.case,
            "title": self.title,
            "verdict": self.verdict.value,
            "estimate": dict(self.estimate) if self.estimate is not None else None,
            "collections": {name: one.as_dict() for name, one in self.collections.items()},
            "counts": self.counts,
            "rows_corrupt": self.rows_corrupt,
            "records_corrupt": self.records_corrupt,
            "rows_checked": self.rows_checked,
            "hot_spots": [dict(spot) for spot in self.hot_spots],
            "hot_spot_search": dict(self.hot_spot_search) if self.hot_spot_search is not None else None,
            "impact": dict(self.impact) if self.impact is not None else None,
            "examples": [row for kind in Kind for row in self.of_kind(kind).slice(0, _EXAMPLES).to_pylist()],
            "settings": dict(self.settings),
            "limits": list(self.limits),
            "evidence_digest": self.evidence_digest,
        }

    @property
    def headline(self) -> str:
        """The verdict in one sentence."""
        total = sum(one.source_rows for one in self.collections.values())
        checked = f"{self.rows_checked:,} of {total:,} records checked"
        if self.rows_checked < total:
            checked = f"ids of all, contents of {checked}"
        sampled = self._estimated is not None
        if self.verdict is Verdict.CORRUPT:
            least = "at least " if sampled else ""
            rest = "; contents were sampled, so this is an estimate" if sampled else ""
            rows = "row is" if self.rows_corrupt == 1 else "rows are"
            return f"CORRUPT: {least}{self.rows_corrupt:,} {rows} wrong ({checked}){rest}"
        if self.verdict is Verdict.CLEAN:
            return f"CLEAN: every record stands in the target as it should ({checked})"
        return f"UNKNOWN: nothing wrong was found, but not everything could be checked ({checked})"

    @property
    def _estimated(self) -> str | None:
        """The sentence about the share of wrong contents, where they were sampled."""
        if self.estimate is None or not self.estimate["estimate"]:
            return None
        return f"This is {self.estimate['sentence']}"

    def _lines(self) -> list[str]:
        lines = [f"{printable(spot['sentence'])}" for spot in self.hot_spots]
        for name, one in (self.impact or {}).items():
            low, high = one["recall_low"], one["recall_high"]
            sampled = one["queries"] < one["population"]
            between = f" ({low:.3f} to {high:.3f})" if sampled else ""
            shares = f" ({one['changed_low']:.1%} to {one['changed_high']:.1%})" if sampled else ""
            lines.append(
                f"{printable(name)}: recall@{one['k']} is {one['recall']:.3f}{between} of 1; asked with their own vectors, "
                f"{one['changed_share']:.1%}{shares} of the records lost at least one of their right {one['k']}"
                + (f" ({one['outside']:,} without an expected vector are left out)" if one["outside"] else "")
            )
        return lines

    def _examples(self) -> list[str]:
        """The first finding about a row of each kind that is not benign, on one line each."""
        lines = []
        for kind in Kind:
            rows = self.of_kind(kind) if SEVERITY[kind] is not Severity.BENIGN else self.table.slice(0, 0)
            known = pc.or_(pc.is_valid(rows["source_id"]), pc.is_valid(rows["target_id"]))
            for row in rows.filter(known).slice(0, 1).to_pylist():
                record = row["source_id"] if row["source_id"] is not None else row["target_id"]
                words = [f"{kind.value}: {printable(row['collection'], 60)} {_quoted(record)}"]
                if row["target_id"] not in (None, record):
                    words.append(f"under the id {_quoted(row['target_id'])}")
                if row["partner_id"] is not None:
                    words.append(f"partner {_quoted(row['partner_id'])}")
                if said := in_words(row["detail"], self.collections[row["collection"]].dimension):
                    words.append(printable(said, 160))
                lines.append(", ".join(words))
        return lines

    def _meanings(self) -> dict[Kind, str]:
        at_once = self.said_at_once
        return {
            kind: MEANING[kind]
            + (
                f"; whole collections count as one, {at_once[kind.value]:,} rows"
                if kind.value in at_once
                else ""
            )
            for kind in Kind
        }

    def __str__(self) -> str:
        width = max(len(kind) for kind in Kind)
        lines = [f"{printable(self.case)}  {self.headline}"]
        if self._estimated is not None:
            lines.append(printable(self._estimated))
        for name, one in self.collections.items():
            lines.append(
                f"  {printable(name)}: {one.source_rows:,} records, {one.target_rows:,} vectors, "
                f"{one.checked:,} contents checked, {one.rows_corrupt:,} rows corrupt"
            )
            lines += [f"    {printable(note)}" for note in (*one.notes, *one.drift_by_field)]
        lines.append("")
        meanings = self._meanings()
        lines += [
            f"  {kind.value:<{width}}  {self.counts[kind.value]:>9,}  {meanings[kind]}"
            + ("" if SEVERITY[kind] is Severity.CORRUPT else f" ({SEVERITY[kind].value})")
            for kind in Kind
        ]
        sentences = self._lines()
        if sentences:
            lines += ["", *(f"  • {sentence}" for sentence in sentences)]
        examples = self._examples()
        if examples:
            lines += ["", "For example (findings.parquet in the run folder has all):"]
            lines += [f"  • {example}" for example in examples]
        if self.limits:
            lines += ["", "Not seen:", *(f"  • {printable(limit)}" for limit in self.limits)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        names = list(self.collections)
        head = Markup("").join(Markup("<th>{}</th>").format(name) for name in names)
        meanings = self._meanings()
        rows = Markup("").join(
            Markup(
                "<tr><td style='text-align:left'><code>{}</code></td><td style='text-align:left'>{}</td>{}"
                "<td><b>{:,}</b></td><td style='text-align:left'>{}</td></tr>"
            ).format(
                kind.value,
                SEVERITY[kind].value,
                Markup("").join(
                    Markup("<td>{:,}</td>").format(self.collections[name].counts[kind.value])
                    for name in names
                ),
                self.counts[kind.value],
                meanings[kind],
            )
            for kind in Kind
        )
        notes = [note for one in self.collections.values() for note in one.notes]
        drift = [f"{name}: {text}" for name, one in self.collections.items() for text in one.drift_by_field]
        parts = [
            Markup("<p><b>{}</b></p>").format(self.headline),
            Markup("<p>{}</p>").format(self._estimated) if self._estimated is not None else "",
            Markup(
                "<table><tr><th style='text-align:left'>kind</th><th style='text-align:left'>severity</th>{}<th>all</th>"
                "<th style='text-align:left'>meaning</th></tr>{}</table>"
            ).format(head, rows),
            _listed("Where and at what cost", self._lines()),
            _listed("Metadata by field", drift),
            _listed("Notes", notes),
            _listed("Not seen", [with_code(limit) for limit in self.limits]),
        ]
        return "".join(str(part) for part in parts)


def _quoted(record_id: str) -> str:
    """An id so that its spaces are seen."""
    return f"'{printable(record_id, 80)}'"


def _listed(title: str, sentences: Sequence[str]) -> Markup:
    if not sentences:
        return Markup("")
    items = Markup("").join(Markup("<li>{}</li>").format(sentence) for sentence in sentences)
    return Markup("<p>{}</p><ul>{}</ul>").format(title, items)
