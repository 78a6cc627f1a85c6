"""The second pass over one collection: what no bucket could say alone, and one best explanation for each wrong row.

In this order, from the most certain explanation to the least: an id that is another spelling of a missing one; an orphan that
holds what exactly one missing record should hold; a vector that is another record's (exchanged, shifted, broadcast); a part
that is right beside a block of another record's vector; a vector of another collection's record; one vector under many ids that
nobody owns; a coherent group of another model; drift.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from vecforensics.diff.collected import FoundRows
from vecforensics.diff.compare.bucket import BucketResult, State
from vecforensics.diff.compare.copies import raw_vectors
from vecforensics.diff.compare.pairs import Pairs
from vecforensics.diff.compare.ragged import compare_ragged
from vecforensics.diff.compare.relation import Relation, compare_pairs
from vecforensics.diff.explain.alone import (
    alike_rows,
    copies_of_present,
    find_shared_vectors,
    find_suspicious,
    rows_alone,
)
from vecforensics.diff.explain.earlier import stale_records
from vecforensics.diff.explain.elsewhere import Other
from vecforensics.diff.explain.further import FurtherRows
from vecforensics.diff.explain.orphans import explain_orphans, pair_by_id
from vecforensics.diff.explain.owners import Owners, find_owners
from vecforensics.diff.explain.paired_metadata import drift_of_pairs
from vecforensics.diff.explain.wrong_rows import explain_pairs
from vecforensics.diff.lookup import portions
from vecforensics.diff.resolved import Resolved, joined_pairs, running
from vecforensics.diff.sides import Index, Sides
from vecforensics.findings import Kind

__all__ = ["resolve_collection"]


def resolve_collection(
    sides: Sides, results: Sequence[BucketResult], tolerance: float, others: Sequence[Other] = ()
) -> Resolved:
    """Explain everything that differs. Deterministic in the content: bucket numbers decide nothing. `others`: the collections
    whose records a row may be that is nobody's here."""
    found = FoundRows()
    pairs = joined_pairs(sides, results)
    missing = running(sides.source, [(result.bucket, result.missing) for result in results])
    orphans = running(sides.target, [(result.bucket, result.orphans) for result in results])
    missing, orphans = _by_position(sides, "source", missing), _by_id(sides, orphans)
    resolved = Resolved(found, missing, orphans)
    resolved.compared = sum(result.compared for result in results)
    resolved.unchecked = sum(result.unchecked for result in results)
    by_id = pair_by_id(sides, missing, orphans)
    for (source, target), (conversion, _) in by_id.items():
        resolved.mangled[source] = target
        found.add(
            Kind.MANGLED_ID, source=source, target=target, detail={"by": "id", "conversion": conversion}
        )
    pairs = Pairs.joined([pairs, _compare_mangled(sides, list(by_id), tolerance, resolved)])
    either = _format_of_16_bits(pairs)
    pairs.state[pairs.state == Relation.EITHER16] = either
    joined = np.array(list(by_id), np.int64).reshape(-1, 2)
    missing, orphans = missing[~np.isin(missing, joined[:, 0])], orphans[~np.isin(orphans, joined[:, 1])]
    questioned = np.flatnonzero(
        np.isin(pairs.state, (Relation.WRONG, Relation.PART_OTHER, Relation.PART_ZERO))
    )
    # Where vectors are expected of some records only, or of none, the target itself has to say what is a copy of what.
    nobody, lacks = not sides.source.dimension, sides.source.lacks_vectors
    # Where only a sample was embedded, that a record has no expected vector says nothing.
    by_themselves = lacks and not nobody and not sides.source.evidence.sampled
    label = alike_rows(sides) if nobody or (len(orphans) and lacks) else None
    further = FurtherRows.of(sides, results)
    strangers = orphans[:0] if nobody else further.strangers(sides, missing)
    owners = _ask(sides, pairs, questioned, np.r_[orphans, strangers], tolerance, label)
    of_strangers = owners.of_orphans.of(len(orphans), len(orphans) + len(strangers))
    missing = further.explain(sides, others, missing, strangers, of_strangers, resolved, tolerance, either)
    unmatched = set(missing.tolist())
    paired = len(resolved.mangled)
    bare = _without_vector(sides, missing) if nobody or by_themselves else missing[:0]
    resolved.orphans, resolved.missing = explain_orphans(
        sides, others, orphans, missing, bare, owners.of_orphans.of(0, len(orphans)), resolved, tolerance
    )
    more = np.array(list(resolved.mangled)[paired:], np.int64)
    resolved.unchecked += int(np.isin(more, bare).sum())
    resolved.missing = _by_position(sides, "source", resolved.missing)
    for row in resolved.missing.tolist():
        found.add(Kind.MISSING, source=row)
    explain_pairs(sides, others, pairs, questioned, owners.of_pairs, unmatched, resolved, tolerance)
    _compare_metadata(sides, resolved)
    if nobody and label is not None:
        find_shared_vectors(sides, found, label)
        resolved.notes += find_suspicious(sides, found)
    elif by_themselves and (alone := rows_alone(sides, sum(result.unchecked for result in results))).any():
        find_shared_vectors(sides, found, alike_rows(sides, alone))
    return resolved


def _format_of_16_bits(pairs: Pairs) -> Relation:
    """What is the same in both formats of 16 bits is called what the collection's other vectors are in."""
    brain, half = (np.count_nonzero(pairs.state == one) for one in (Relation.BFLOAT16, Relation.FLOAT16))
    return Relation.BFLOAT16 if brain > half else Relation.FLOAT16


def _without_vector(sides: Sides, records: Index) -> Index:
    """Those of some records of which no vector is expected, not even one that is of no use."""
    bare = np.ones(len(records), np.bool_)
    for bucket, places, rows in sides.source.split(records):
        bare[places] = ~sides.source.vectors(bucket).present[rows]
    return records[bare]


def _by_position(sides: Sides, side: str, rows: Index) -> Index:
    if not len(rows):
        return rows
    return rows[np.argsort(getattr(sides, side).integers("position", rows), kind="stable")]


def _by_id(sides: Sides, rows: Index) -> Index:
    """Target rows in the order of their ids, then of their digests, then of all they hold: the order of a scan says nothing."""
    if not len(rows):
        return rows
    texts, digests = sides.target.text("id", rows), sides.target.integers("digest", rows).tolist()
    keys = [(text or "", digest) for text, digest in zip(texts, digests, strict=True)]
    order, counts = sorted(range(len(rows)), key=keys.__getitem__), Counter(keys)
    alike = [number for number in order if counts[keys[number]] > 1]
    if alike:
        held = dict(zip(alike, _all_held(sides, rows[np.array(alike)]), strict=True))
        order.sort(key=lambda number: (keys[number], held.get(number, ("", b""))))
    return rows[np.array(order, np.int64)]


def _all_held(sides: Sides, rows: Index) -> list[tuple[str, bytes]]:
    """Metadata and, where it has no digest, the vector of some target rows."""
    raw = [b""] * len(rows)
    unknown = np.flatnonzero(sides.target.integers("digest", rows) == 0)
    for bucket, places, local in sides.target.split(rows[unknown]):
        for place, held in zip(
            unknown[places].tolist(),
            raw_vectors(sides.target.table(bucket), sides.target.vectors(bucket), local),
            strict=True,
        ):
            raw[place] = held
    return [(text or "", held) for text, held in zip(sides.target.text("metadata", rows), raw, strict=True)]


def _compare_mangled(
    sides: Sides, joined: list[tuple[int, int]], tolerance: float, resolved: Resolved
) -> Pairs:
    """The contents of records that stand under a mangled id are compared as if they stood under their own."""
    if not joined or not sides.source.dimension:
        resolved.unchecked += len(joined)
        nobody = np.empty(0, np.int64)
        return Pairs.of(nobody, nobody, State.RAGGED)
    source, target = (np.array(column, np.int64) for column in zip(*joined, strict=True))
    expected = sides.source.take(source)
    actual = sides.target.take(target)
    ragged = sides.target.integers("digest", target) == 0
    has = sides.source.integers("digest", source) != 0
    resolved.compared += int(has.sum())
    resolved.unchecked += int((~has).sum())
    compared = compare_pairs(expected, actual, tolerance, sides.grid)
    state = compared.relation.copy()
    detail: dict[int, dict[str, Any]] = {}
    for number in np.flatnonzero(ragged & has).tolist():
        bucket = int(np.searchsorted(sides.target.offsets, target[number], "right")) - 1
        row = int(target[number] - sides.target.offsets[bucket])
        values = sides.target.table(bucket)["ragged"][row].as_py()
        if values is None:
            continue
        state[number] = State.RAGGED
        detail[number] = compare_ragged(
            expected[number : number + 1], [np.array(values, np.float32)], tolerance
        )[0]
    wrong = np.flatnonzero(has & (compared.relation >= Relation.PART_ZERO))
    stale = stale_records(sides, source[wrong], lambda some: actual[wrong[some]], tolerance)
    for place, version in stale.items():
        state[wrong[place]] = State.STALE
        detail[int(wrong[place])] = {"version": version}
    columns = (compared.distance, compared.right, compared.start, compared.stop)
    pairs = Pairs(source, target, state, *columns, detail)
    return pairs.kept(np.flatnonzero(has & (state != Relation.EQUAL)))


def _compare_metadata(sides: Sides, resolved: Resolved) -> None:
    """Metadata of records that stand under a mangled id, compared as a bucket compares those of the others.

    Where a pair was found by its metadata these agree, and nothing is said twice.
    """
    if not sides.frozen.metadata or not resolved.mangled:
        return
    source, target = (np.array(column, np.int64) for column in zip(*resolved.mangled.items(), strict=True))
    for place, fields in drift_of_pairs(sides, source, target).items():
        resolved.found.add(
            Kind.METADATA_DRIFT,
            source=int(source[place]),
            target=int(target[place]),
            detail={"fields": fields},
        )


@dataclass
class _Answers:
    of_pairs: Owners
    of_orphans: Owners


def _ask(
    sides: Sides,
    pairs: Pairs,
    questioned: npt.NDArray[np.intp],
    orphans: Index,
    tolerance: float,
    label: Index | None,
) -> _Answers:
    """Whose are the vectors of these pairs, and of these orphans? In portions that fit into memory."""
    targets = np.r_[pairs.target[questioned], orphans]
    places = np.r_[
        sides.source.integers("position", pairs.source[questioned]).astype(np.int64),
        np.zeros(len(orphans), np.int64),
    ]
    empty = np.empty(0, np.int64)
    nothing = Owners(empty, empty, np.empty(0, np.bool_), np.empty(0))
    if not sides.source.dimension:
        return _Answers(nothing, nothing if label is None else copies_of_present(sides, orphans, label))
    if not len(targets):
        return _Answers(nothing, nothing)
    answers = [nothing]
    for part in portions(len(targets), 4 * sides.source.dimension):
        rows = targets[part]
        answer = find_owners(
            sides.source,
            sides.target.take(rows),
            sides.target.integers("digest", rows),
            places[part],
            tolerance,
            sides.grid,
        )
        answers.append(replace(answer, query=answer.query + part.start))
    whole = Owners.joined(answers)
    cut = len(questioned)
    of_orphans = whole.of(cut, len(targets))
    if label is not None:
        copies = copies_of_present(sides, orphans, label)
        new = ~np.isin(copies.query, of_orphans.query)
        of_orphans = Owners.joined([of_orphans, copies.kept(new)])
    return _Answers(whole.of(0, cut), of_orphans)
