"""Diff: which vectors are wrong, how, and where do they cluster?

The buckets are compared each on its own (`compare/`), what none of them can say alone is explained over a whole collection
(`explain/`), what is young is looked at once more (`settling/`), what one collection owes another follows (`dependencies.py`),
then where damage gathers (`hotspots/`) and what it costs (`impact/`). Everything is read from the frozen evidence; the store is
asked again only about rows that may not have been visible yet. The same evidence gives the same bytes, whatever the workers,
the buckets or the cluster.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vecforensics.arrow_columns import numbers
from vecforensics.blas_threads import one_blas_thread
from vecforensics.case import Case
from vecforensics.diff.collected import KINDS, FoundColumns, findings_table
from vecforensics.diff.costs import measure_costs
from vecforensics.diff.explain.elsewhere import MOST_OTHERS
from vecforensics.diff.hotspots.strays import TargetRows
from vecforensics.diff.other_length import of_other_length
from vecforensics.diff.passes import Part, Passed, Work
from vecforensics.diff.result import CollectionSummary, Diff
from vecforensics.diff.rows import RowDimensions
from vecforensics.diff.sampling.draw import Draw, draw_contents, estimate, frozen_draw
from vecforensics.diff.sampling.unseen import left_out, limits_of_a_sample, mark_sampled
from vecforensics.diff.shared import without_secret
from vecforensics.diff.writing.limits import writing_limits
from vecforensics.errors import without_userinfo
from vecforensics.evidence import Evidence, damage_named
from vecforensics.findings import Kind, Severity, Verdict, zero_counts
from vecforensics.memory import give_back, seldom_collected, system_pool
from vecforensics.metadata_rule import MetadataRule
from vecforensics.records import FieldType
from vecforensics.run_folder import RunFolder, write_json, write_whole
from vecforensics.stores import VectorReader

__all__ = ["choose_contents", "diff_vectors"]

_FALSE_DISCOVERY: Final = 0.01
_WRITTEN_SINCE: Final = (
    "The target has been written to by the migration of this run; young rows were not looked at again but judged as they were "
    "frozen. Diff the case file to see the target as it is now."
)


@one_blas_thread()
@system_pool()
@seldom_collected()
def diff_vectors(
    case: Case,
    run: RunFolder,
    *,
    sample: int | None = None,
    workers: int | None = None,
    memory_mb: int = 256,
    cluster: str | None = None,
    shared: str | None = None,
    seed: int = 0,
    refetch: Mapping[str, VectorReader] | None = None,
    impact: bool = True,
) -> Diff:
    """Compare every collection of the run's evidence; writes findings.parquet and findings.json into the run folder.

    `sample`: read the contents of so many records instead of all (ids stay exact); evidence that was collected with a sample has
    its own and needs none. `workers`: threads, by default one a core. `cluster`: address of a dask scheduler. `shared`: fsspec
    URL below which its workers read the evidence, which is copied there; without it they see the run folder under its own path.
    `refetch`: by collection, a reader that may be asked again for rows younger than `settle_s` (by default the case's target).
    `impact`: also measure what the damage costs. Raises EvidenceError where the evidence is absent or damaged.
    """
    sample = sample or None
    shared = without_secret(shared) if cluster and shared else None
    address = without_userinfo(cluster) if cluster else cluster
    settings = {"sample": sample, "workers": workers, "cluster": address, "shared": shared, "seed": seed}
    written_since = bool(case.settle_s) and run.ledger_sqlite.exists()
    if written_since:
        # What the repair has put there must not excuse what was frozen.
        case = case.model_copy(update={"settle_s": 0.0})
    with run.stage("diff", settings), damage_named(run.evidence):
        work = Work(
            case,
            Evidence.open(run.evidence),
            workers or _cores(),
            cluster=cluster,
            shared=shared,
            refetch=refetch,
            seed=seed,
            memory_mb=memory_mb,
            impact=impact,
        )
        draw = _drawn(work, sample)
        diff = _assembled(work, run, work.passed(None if draw is None else draw.rows), draw)
        if draw is None and sample:
            nothing = f"A sample of {sample:,} was asked for; where no vectors are expected there is nothing to sample."
            diff = replace(diff, limits=(*diff.limits, nothing))
        if written_since:
            diff = replace(diff, limits=(*diff.limits, _WRITTEN_SINCE))
        _write(run, diff)
        return diff


@one_blas_thread()
def choose_contents(case: Case, evidence: Evidence, sample: int, seed: int = 0) -> Draw:
    """Draw the records whose contents are worth an embedding, from evidence that holds no expected vectors yet.

    `collect` calls it between freezing and embedding. The store is not asked again: what may be missing only for the moment
    counts as missing here, and is judged by the diff.
    """
    without_second_look = case.model_copy(update={"settle_s": 0.0})
    work = Work(without_second_look, evidence, _cores(), seed=seed, impact=False)
    return draw_contents(work.passed(), sample, seed, embedding=True)


def _drawn(work: Work, sample: int | None) -> Draw | None:
    """Whose contents are compared: those that were drawn at collect, else a draw by what the ids show; None for everybody's."""
    if work.evidence.sampled:
        return frozen_draw(work.evidence, {name: work.sides(name) for name in work.names}, sample)
    comparable = [name for name in work.names if work.evidence.collections[name].expected is not None]
    if sample is None or not comparable:
        return None
    by_id = work.passed({name: np.empty(0, np.int64) for name in comparable})
    return draw_contents(by_id, sample, work.seed)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _assembled(work: Work, run: RunFolder, passed: Passed, draw: Draw | None) -> Diff:
    """The result, once all collections have been passed over: what was found, where it gathers, and what it costs."""
    marked = [mark_sampled(part, draw) for part in passed.parts]
    for part in passed.parts:
        _note_unchecked(part, draw)
    # Shown in the order in which the case file names them, as in the report.
    order = {name: number for number, name in enumerate(work.case.collections)}
    by_case = sorted(passed.parts, key=lambda part: order.get(part.name, len(order)))
    columns = {part.name: part.found.columns() for part in passed.parts}
    summaries = {part.name: _summary(part, columns[part.name]) for part in by_case}
    damaged = {name for name, one in summaries.items() if one.rows_corrupt}
    rows = {one.collection: one for one in passed.dimensions()} if damaged else {}
    table, where, notes = _found_and_where(passed, columns, list(rows.values()))
    give_back()
    hurt = {name: rows[name] for name in damaged}
    impact, unmeasured = measure_costs(work, passed, hurt, draw) if work.impact else ({}, [])
    return Diff(
        case=work.case.case,
        title=work.case.title,
        verdict=_verdict(work.evidence, summaries, table),
        collections=summaries,
        table=table,
        hot_spots=tuple(where.pop("spots")),
        hot_spot_search=where,
        impact={name: impact[name] for name in summaries if name in impact} or None,
        estimate=estimate(draw, passed) if draw is not None else None,
        limits=(
            *_limits(work.case, passed.parts, draw, set(impact)),
            *limits_of_a_sample(work, passed.parts, draw, marked),
            *unmeasured,
            *notes,
        ),
        settings={
            "tolerance": {"cosine": work.case.tolerance.cosine},
            "settle_s": work.case.settle_s,
            "sample": draw.plan.requested if draw is not None else None,
            "seed": work.seed,
        },
        evidence_digest=work.evidence.digest,
        path=run.path,
    )


def _found_and_where(
    passed: Passed, columns: Mapping[str, FoundColumns], rows: Sequence[RowDimensions]
) -> tuple[pa.Table, dict[str, Any], list[str]]:
    """The findings as one table, the places where they gather and how they were looked for (`HotSpots.as_dict`), and what is to
    be said of that. `rows`: the records, where any damage was found."""
    from vecforensics.diff.hotspots import find_hot_spots, joined

    targets = passed.target_rows()
    astray = [part for part in passed.parts if part.name in targets]
    # Each of two searches has half of the rate.
    rate = _FALSE_DISCOVERY / 2 if astray else _FALSE_DISCOVERY
    population = passed.layout.population if rows else None
    spots = [find_hot_spots(rows, population=population, false_discovery=rate)]
    strays = [targets[part.name].with_orphans(part.resolved.orphans) for part in astray]
    if astray:
        spots.append(find_hot_spots(strays, "target", false_discovery=rate))
    where = joined(spots)
    table = pa.concat_tables(
        findings_table(
            part.name,
            part.sides,
            part.found,
            columns[part.name],
            _placed(part, columns[part.name], targets.get(part.name)),
        )
        for part in passed.parts
    )
    notes = [f"{one.collection}: {one.note}" for one in strays if one.note]
    notes += [f"Where damage gathers was not asked along {line}." for line in where.skipped]
    return table, where.as_dict(), notes


def _note_unchecked(part: Part, draw: Draw | None) -> None:
    """Contents that nothing could be compared with are one line for each reason, not one a record."""
    resolved = part.resolved
    dark = left_out(part, draw)
    bare = (
        "no expected vectors"
        if part.sides.frozen.expected is None
        else "no expected vector for these records"
    )
    counts = {"not in the sample": dark, bare: resolved.unchecked - resolved.unusable - dark}
    for reason, rows in counts.items():
        if rows > 0:
            part.found.add(Kind.UNCHECKED, detail={"whole_collection": True, "rows": rows, "reason": reason})


def _summary(part: Part, columns: FoundColumns) -> CollectionSummary:
    counts = zero_counts()
    numbers_of_kinds = np.bincount(columns.kind, minlength=len(KINDS)).tolist()
    for kind, count in zip(KINDS, numbers_of_kinds, strict=True):
        counts[kind.value] = count
    records = len(np.unique(columns.source[columns.corrupt & (columns.source >= 0)]))
    strays = len(np.unique(columns.target[columns.corrupt & (columns.source < 0)]))
    frozen = part.sides.frozen
    return CollectionSummary(
        source_rows=frozen.rows["source"],
        target_rows=frozen.rows["target"],
        dimension=frozen.dimension,
        checked=frozen.rows["source"] - part.resolved.unchecked,
        unchecked=part.resolved.unchecked,
        rows_corrupt=records + strays,
        records_corrupt=records,
        counts=counts,
        broken_references=part.resolved.broken_references,
        metadata_fields=part.found.metadata_fields(),
        digests=dict(frozen.digests),
        notes=(
            *of_other_length(part.sides.source.evidence, part.name),
            *frozen.notes,
            *part.resolved.notes,
        ),
    )


def _placed(part: Part, columns: FoundColumns, held: TargetRows | None) -> dict[str, pa.Array]:
    """Batch, worker and time of writing of each finding's record, or where there is none of its row in the target."""
    source, target = columns.source, columns.target
    own = held.written if held else {}
    placed: dict[str, pa.Array] = {}
    for name in ("batch", "worker", "written_at"):
        for written, rows in ((part.writes.fields, source), (own, np.where(source < 0, target, -1))):
            given = written.get(name)
            if given is None:
                continue
            codes = np.append(given.codes, np.int32(-1))[rows]
            texts = given.values.cast(pa.string()).take(numbers(np.maximum(codes, 0), codes >= 0))
            placed[name] = pc.coalesce(texts, placed[name]) if name in placed else texts
    return placed


def _verdict(evidence: Evidence, summaries: Mapping[str, CollectionSummary], table: pa.Table) -> Verdict:
    severities = set(table["severity"].unique().to_pylist())
    if Severity.CORRUPT.value in severities:
        return Verdict.CORRUPT
    # A record whose own id is "null" is not told from a row without an id.
    unchecked = any(one.unchecked or evidence.collection(name).without_id for name, one in summaries.items())
    unchecked |= any(one.facts.get("settled") is False for one in evidence.collections.values())
    return Verdict.UNKNOWN if unchecked or Severity.UNKNOWN.value in severities else Verdict.CLEAN


def _limits(case: Case, parts: Sequence[Part], draw: Draw | None, measured: set[str]) -> list[str]:
    """What was not looked at, or could not be. `measured`: the collections of which the cost of damage is known."""
    sentences = [
        f"Vectors within a cosine distance of {case.tolerance.cosine:g} of what is expected count as the same; a smaller "
        "change is not seen as damage."
    ]
    if len(parts) > MOST_OTHERS + 1:
        sentences.append(
            f"Whether a row is a record's of another collection was asked of {MOST_OTHERS} collections: of those whose vectors "
            "have its length, those that miss the most records."
        )
    for part in parts:
        frozen = part.sides.frozen
        if frozen.expected is None:
            sentences.append(
                f"{part.name}: there are no expected vectors; whether a vector belongs to its record was not checked."
            )
        elif bare := part.resolved.unchecked - left_out(part, draw):
            sentences.append(f"{part.name}: {bare:,} contents had nothing to be compared with.")
        if frozen.expected is not None and frozen.dimension == 1:
            sentences.append(
                f"{part.name}: vectors of one component: any number of the same sign points the same way, so a wrong one counts "
                "as a rescaled copy."
            )
        untyped = [
            name for name, kind in MetadataRule.of(frozen.facts).types.items() if kind is FieldType.UNTYPED
        ]
        if untyped:
            sentences.append(
                f"{part.name}: the source has no types (CSV); metadata count as the same where they are what a cell spells, so "
                "whether a number, a truth value or text was meant was not checked."
            )
        if not frozen.metadata:
            sentences.append(
                f"{part.name}: the case file names no metadata fields; metadata was not compared."
            )
        sentences += writing_limits(part.sides, part.writes, part.resolved)
        if not frozen.parents and not any(part.name in other.sides.frozen.parents for other in parts):
            sentences.append(f"{part.name}: the case file names no dependencies; nothing can dangle.")
        young = sum(found.kind is Kind.PENDING for found in part.found.rows)
        if young:
            counted = "; what damage costs counts them as in order" if part.name in measured else ""
            why = (
                "may be among those that were not seen"
                if frozen.facts.get("unseen")
                else "were too young to be judged"
            )
            sentences.append(f"{part.name}: {young:,} rows {why}{counted}.")
        if frozen.facts.get("settled") is False:
            sentences.append(
                f"{part.name}: the store may not have shown every acknowledged write ({frozen.facts['freshness']}); begin a new "
                "run when nobody writes."
            )
    return [*sentences, *parts[0].sides.source.evidence.facts.get("log_notes", ())]


def _write(run: RunFolder, diff: Diff) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(diff.table, sink, compression="zstd", store_schema=False)
    write_whole(run.findings_parquet, sink.getvalue().to_pybytes())
    write_json(run.findings_json, diff.as_dict())
