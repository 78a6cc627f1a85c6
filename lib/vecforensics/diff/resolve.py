"""The second pass over one collection: what no bucket could say alone, and one best explanation for each wrong row.

In this order, from the most certain explanation to the least: an id that is another spelling of a missing one; an orphan that
holds what exactly one missing record should hold; a vector that is another record's (exchanged, shifted, broadcast); a part
that is right beside a block of another record's vector; one vector under many ids that nobody owns; a coherent group of another
model; drift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.bucket import BucketResult, State
from vecforensics.diff.collected import FoundRows
from vecforensics.diff.compare import Relation, compare_pairs, compare_ragged
from vecforensics.diff.foreign import foreign_rows
from vecforensics.diff.leftovers import block_owners, nobodys_groups
from vecforensics.diff.orphans import explain_orphans, pair_by_id
from vecforensics.diff.owners import Owners, find_owners
from vecforensics.diff.patterns import explain_exchanges
from vecforensics.diff.sides import Index, Sides
from vecforensics.findings import Kind

__all__ = ["Pairs", "Resolved", "resolve_collection"]

# How many vectors in question are held at once (with 384 floats each, 50 MB).
_QUERY_BYTES: Final = 50 * 2**20
_FORMATS: Final = {Relation.FLOAT16: "float16", Relation.BFLOAT16: "bfloat16", Relation.INT8: "int8"}


@dataclass
class Pairs:
    """Joined rows that differ, by running numbers; the columns of `BucketResult` end to end."""

    source: Index
    target: Index
    state: npt.NDArray[np.uint8]
    distance: npt.NDArray[np.float64]
    right: npt.NDArray[np.float32]
    start: npt.NDArray[np.int32]
    stop: npt.NDArray[np.int32]
    detail: dict[int, dict[str, Any]] = field(default_factory=dict)

    def append(self, other: Pairs) -> None:
        base = len(self.source)
        for name in ("source", "target", "state", "distance", "right", "start", "stop"):
            setattr(self, name, np.concatenate([getattr(self, name), getattr(other, name)]))
        self.detail.update({base + number: detail for number, detail in other.detail.items()})


@dataclass
class Resolved:
    """What is known of a collection after the second pass. `held`: running target row of each present source row that was mangled
    (source → target), for whoever asks whether a record is there under another name."""

    found: FoundRows
    missing: Index
    orphans: Index
    wrong: Index
    notes: list[str] = field(default_factory=list)
    compared: int = 0
    unchecked: int = 0
    unusable: int = 0
    mangled: dict[int, int] = field(default_factory=dict)


def resolve_collection(sides: Sides, results: Sequence[BucketResult], tolerance: float) -> Resolved:
    """Explain everything that differs. Deterministic in the content: bucket numbers decide nothing."""
    found = FoundRows()
    pairs = _joined(sides, results)
    missing = _numbers(sides.source, [(result.bucket, result.missing) for result in results])
    orphans = _numbers(sides.target, [(result.bucket, result.orphans) for result in results])
    missing, orphans = _by_position(sides, "source", missing), _by_id(sides, orphans)
    resolved = Resolved(found, missing, orphans, np.empty(0, np.int64))
    resolved.compared = sum(result.compared for result in results)
    resolved.unchecked = sum(result.unchecked for result in results)
    for result in results:
        for source_row, target_row in zip(
            result.extra_source.tolist(), result.extra_target.tolist(), strict=True
        ):
            found.add(
                Kind.DUPLICATE,
                source=int(sides.source.offsets[result.bucket]) + source_row,
                target=int(sides.target.offsets[result.bucket]) + target_row,
                detail={"form": "same id"},
            )
    by_id = pair_by_id(sides, missing, orphans)
    for (source, target), (conversion, _) in by_id.items():
        resolved.mangled[source] = target
        found.add(
            Kind.MANGLED_ID, source=source, target=target, detail={"by": "id", "conversion": conversion}
        )
    _compare_mangled(sides, list(by_id), pairs, tolerance, resolved)
    paired_sources = {source for source, _ in by_id}
    paired_targets = {target for _, target in by_id}
    missing = np.array([row for row in missing.tolist() if row not in paired_sources], np.int64)
    orphans = np.array([row for row in orphans.tolist() if row not in paired_targets], np.int64)
    questioned = np.flatnonzero(
        np.isin(pairs.state, (Relation.WRONG, Relation.PART_OTHER, Relation.PART_ZERO))
    )
    owners = _ask(sides, pairs, questioned, orphans, tolerance)
    unmatched = set(missing.tolist())
    resolved.orphans, resolved.missing = explain_orphans(
        sides, orphans, missing, owners.of_orphans, found, resolved.mangled
    )
    resolved.missing = _by_position(sides, "source", resolved.missing)
    for row in resolved.missing.tolist():
        found.add(Kind.MISSING, source=row)
    _explain_pairs(sides, pairs, questioned, owners, unmatched, resolved, tolerance)
    return resolved


def _numbers(side: Any, parts: list[tuple[int, npt.NDArray[np.int32]]]) -> Index:
    return np.concatenate([np.empty(0, np.int64), *(side.number(bucket, rows) for bucket, rows in parts)])


def _by_position(sides: Sides, side: str, rows: Index) -> Index:
    if not len(rows):
        return rows
    return rows[np.argsort(getattr(sides, side).integers("position", rows), kind="stable")]


def _by_id(sides: Sides, rows: Index) -> Index:
    """Target rows in the order of their ids, then of their digests: the order of a scan says nothing."""
    if not len(rows):
        return rows
    texts, digests = sides.target.text("id", rows), sides.target.integers("digest", rows).tolist()
    order = sorted(range(len(rows)), key=lambda number: (texts[number] or "", digests[number]))
    return rows[np.array(order, np.int64)]


def _joined(sides: Sides, results: Sequence[BucketResult]) -> Pairs:
    empty = np.empty(0, np.int64)
    pairs = Pairs(
        empty,
        empty,
        np.empty(0, np.uint8),
        np.empty(0),
        np.empty(0, np.float32),
        empty.astype(np.int32),
        empty.astype(np.int32),
    )
    for result in results:
        pairs.append(
            Pairs(
                sides.source.number(result.bucket, result.source_row),
                sides.target.number(result.bucket, result.target_row),
                result.state,
                result.distance.astype(np.float64),
                result.right,
                result.start,
                result.stop,
                result.detail,
            )
        )
    return pairs


def _compare_mangled(
    sides: Sides, joined: list[tuple[int, int]], pairs: Pairs, tolerance: float, resolved: Resolved
) -> None:
    """The contents of records that stand under a mangled id are compared as if they stood under their own."""
    if not joined or not sides.source.dimension:
        resolved.unchecked += len(joined)
        return
    source, target = (np.array(column, np.int64) for column in zip(*joined, strict=True))
    expected = sides.source.take(source)
    actual = sides.target.take(target)
    ragged = sides.target.integers("digest", target) == 0
    has = sides.source.integers("digest", source) != 0
    resolved.compared += int(has.sum())
    resolved.unchecked += int((~has).sum())
    compared = compare_pairs(expected, actual, tolerance)
    state = compared.relation.copy()
    detail = {}
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
    kept = np.flatnonzero(has & (state != Relation.EQUAL))
    renumbered = {int(np.searchsorted(kept, number)): item for number, item in detail.items()}
    pairs.append(
        Pairs(
            source[kept],
            target[kept],
            state[kept],
            compared.distance[kept],
            compared.right[kept],
            compared.start[kept],
            compared.stop[kept],
            renumbered,
        )
    )


@dataclass
class _Answers:
    of_pairs: Owners
    of_orphans: Owners


def _ask(
    sides: Sides, pairs: Pairs, questioned: npt.NDArray[np.intp], orphans: Index, tolerance: float
) -> _Answers:
    """Whose are the vectors of these pairs, and of these orphans? In portions that fit into memory."""
    targets = np.r_[pairs.target[questioned], orphans]
    places = np.r_[
        sides.source.integers("position", pairs.source[questioned]).astype(np.int64),
        np.zeros(len(orphans), np.int64),
    ]
    empty = np.empty(0, np.int64)
    nothing = Owners(empty, empty, np.empty(0, np.bool_), np.empty(0))
    if not len(targets) or not sides.source.dimension:
        return _Answers(nothing, nothing)
    portion = max(_QUERY_BYTES // (4 * sides.source.dimension), 256)
    parts = [nothing]
    for start in range(0, len(targets), portion):
        rows = targets[start : start + portion]
        answer = find_owners(
            sides.source,
            sides.target.take(rows),
            sides.target.integers("digest", rows),
            places[start : start + portion],
            tolerance,
        )
        parts.append(Owners(answer.query + start, answer.owner, answer.exact, answer.distance))
    whole = Owners(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("query", "owner", "exact", "distance")
        )
    )
    cut = len(questioned)
    first, second = whole.query < cut, whole.query >= cut
    return _Answers(
        Owners(whole.query[first], whole.owner[first], whole.exact[first], whole.distance[first]),
        Owners(whole.query[second] - cut, whole.owner[second], whole.exact[second], whole.distance[second]),
    )


def _choose(
    sides: Sides, rows: Index, owners: Owners, wrong: npt.NDArray[np.int64], parts: npt.NDArray[np.bool_]
) -> Index:
    """For each questioned row the likeliest owner, -1 where there is none.

    Where several records expect the same vector: one that is in trouble itself before one that is well, one whose own vector
    stands here before others (an exchange), then the nearest in the source. A row that is right in part needs an exact owner.
    """
    chosen = np.full(len(rows), -1, np.int64)
    kept = (owners.owner != rows[owners.query]) & (owners.exact | ~parts[owners.query])
    query, owner = owners.query[kept], owners.owner[kept]
    if not len(query):
        return chosen
    position = sides.source.integers("position", owner).astype(np.int64)
    own_position = sides.source.integers("position", rows[query]).astype(np.int64)
    span = np.int64(max(sides.source.rows, 1))
    mutual = np.isin(owner * span + rows[query], rows[query] * span + owner)
    in_trouble = np.isin(owner, wrong)
    order = np.lexsort(
        (
            position,
            np.abs(position - own_position),
            ~in_trouble,
            ~mutual,
            owners.distance[kept].round(9),
            query,
        )
    )
    query, owner = query[order], owner[order]
    first = np.r_[True, query[1:] != query[:-1]]
    chosen[query[first]] = owner[first]
    return chosen


def _explain_pairs(
    sides: Sides,
    pairs: Pairs,
    questioned: npt.NDArray[np.intp],
    owners: _Answers,
    unmatched: set[int],
    resolved: Resolved,
    tolerance: float,
) -> None:
    found = resolved.found
    rows = pairs.source[questioned]
    states = pairs.state[questioned]
    wrong_states = pairs.state >= Relation.NON_FINITE
    troubled = np.r_[
        pairs.source[wrong_states & (pairs.state != Relation.UNUSABLE)], np.array(sorted(unmatched), np.int64)
    ]
    chosen = _choose(sides, rows, owners.of_pairs, troubled, states != Relation.WRONG)
    owned = np.flatnonzero(chosen >= 0)
    if len(owned):
        order = np.sort(sides.source.integers("position")) if sides.frozen.rows["earlier"] else None
        explained = explain_exchanges(
            _rank(sides, order, rows[owned]),
            _rank(sides, order, chosen[owned]),
            ~np.isin(chosen[owned], troubled),
        )
        begins = _first_ids(sides, rows[owned], explained.detail)
        for number, kind, detail in zip(owned.tolist(), explained.kind, explained.detail, strict=True):
            pair = int(questioned[number])
            if kind is Kind.SHIFTED:
                detail = {**detail, "begins_with": begins[detail["begins_at"]]}
            found.add(
                kind,
                source=int(rows[number]),
                target=int(pairs.target[pair]),
                partner=int(chosen[number]),
                distance=float(pairs.distance[pair]),
                detail=detail,
            )
    done = set(questioned[owned].tolist())
    rest = [
        int(pair)
        for pair in questioned.tolist()
        if pair not in done and pairs.state[pair] != Relation.PART_ZERO
    ]
    _explain_rest(sides, pairs, np.array(rest, np.int64), resolved, done)
    _explain_each(pairs, done, resolved)
    resolved.wrong = np.unique(pairs.source[wrong_states & (pairs.state != Relation.UNUSABLE)])


def _rank(sides: Sides, order: npt.NDArray[Any] | None, rows: Index) -> Index:
    """The place of records among all records: their position, less the earlier versions that stood before them."""
    position = sides.source.integers("position", rows).astype(np.int64)
    return position if order is None else np.searchsorted(order, position).astype(np.int64)


def _first_ids(sides: Sides, rows: Index, details: list[dict[str, Any]]) -> dict[int, str | None]:
    """The id of the record at which each shifted run begins."""
    begins = sorted({detail["begins_at"] for detail in details if "begins_at" in detail})
    if not begins:
        return {}
    order = np.sort(sides.source.integers("position")) if sides.frozen.rows["earlier"] else None
    ranks = _rank(sides, order, rows)
    at = {int(rank): int(row) for rank, row in zip(ranks, rows, strict=True)}
    wanted = [at[begin] for begin in begins]
    return dict(zip(begins, sides.source.text("id", np.array(wanted, np.int64)), strict=True))


def _explain_rest(sides: Sides, pairs: Pairs, rest: Index, resolved: Resolved, done: set[int]) -> None:
    """Wrong rows that hold no record's vector as a whole."""
    found = resolved.found
    blocks = rest[pairs.state[rest] == Relation.PART_OTHER]
    for pair, owner in block_owners(
        sides, pairs.source, pairs.target, pairs.start, pairs.stop, blocks
    ).items():
        done.add(pair)
        found.add(
            Kind.PARTIAL,
            source=int(pairs.source[pair]),
            target=int(pairs.target[pair]),
            partner=owner,
            distance=float(pairs.distance[pair]),
            detail={**_part(pairs, pair), "rest": "another record's"},
        )
    rest = np.array([pair for pair in rest.tolist() if pair not in done], np.int64)
    for members in nobodys_groups(sides, pairs.target[rest]):
        for pair in rest[members].tolist():
            done.add(pair)
            found.add(
                Kind.BROADCAST,
                source=int(pairs.source[pair]),
                target=int(pairs.target[pair]),
                distance=float(pairs.distance[pair]),
                detail={"group": len(members), "owner": "nobody"},
            )
    rest = np.array([pair for pair in rest.tolist() if pair not in done], np.int64)
    if not len(rest):
        return
    portion = max(_QUERY_BYTES // (8 * sides.source.dimension), 256)
    group, scores = np.zeros(len(rest), np.bool_), np.zeros(len(rest))
    for start in range(0, len(rest), portion):
        part = rest[start : start + portion]
        expected, actual = sides.source.take(pairs.source[part]), sides.target.take(pairs.target[part])
        meant = np.flatnonzero(expected.any(axis=1) & actual.any(axis=1))
        group[start + meant], scores[start + meant] = foreign_rows(expected[meant], actual[meant])
    size = int(group.sum())
    for number, pair in enumerate(rest.tolist()):
        done.add(pair)
        detail: dict[str, Any] = {}
        if group[number]:
            detail = {"group": size, "consistency": round(float(scores[number]), 3)}
        elif pairs.right[pair] >= 0.05:
            detail = {"right": round(float(pairs.right[pair]), 4)}
        found.add(
            Kind.FOREIGN_MODEL if group[number] else Kind.DRIFTED,
            source=int(pairs.source[pair]),
            target=int(pairs.target[pair]),
            distance=float(pairs.distance[pair]),
            detail=detail,
        )


def _part(pairs: Pairs, pair: int) -> dict[str, Any]:
    return {
        "right": round(float(pairs.right[pair]), 4),
        "wrong_from": int(pairs.start[pair]),
        "wrong_to": int(pairs.stop[pair]),
    }


def _explain_each(pairs: Pairs, done: set[int], resolved: Resolved) -> None:
    """Pairs whose bucket has already said what they are."""
    whole_collection = _benign_lines(pairs, resolved)
    for pair in range(len(pairs.source)):
        state = int(pairs.state[pair])
        if pair in done or state in whole_collection or state == Relation.EQUAL:
            continue
        kind, detail = _named(pairs, pair, state)
        if state == Relation.UNUSABLE:
            resolved.unusable += 1
            resolved.compared -= 1
            resolved.unchecked += 1
        resolved.found.add(
            kind,
            source=int(pairs.source[pair]),
            target=int(pairs.target[pair]),
            distance=float(pairs.distance[pair]),
            detail=detail,
        )


def _named(pairs: Pairs, pair: int, state: int) -> tuple[Kind, dict[str, Any]]:
    if state == State.RAGGED:
        return Kind.WRONG_DIMENSION, pairs.detail[pair]
    if state == State.STALE:
        return Kind.STALE, pairs.detail.get(pair, {})
    relation = Relation(state)
    if relation in _FORMATS:
        return Kind.QUANTISED, {"format": _FORMATS[relation]}
    if relation in (Relation.PART_ZERO, Relation.PART_NAN):
        return Kind.PARTIAL, {
            **_part(pairs, pair),
            "rest": "zero" if relation is Relation.PART_ZERO else "NaN",
        }
    if relation is Relation.UNUSABLE:
        return Kind.UNCHECKED, {"reason": "the expected vector is not finite"}
    simple = {
        Relation.NOISE: Kind.NOISE,
        Relation.NORMALISED: Kind.NORMALISED,
        Relation.NON_FINITE: Kind.NON_FINITE,
        Relation.ZERO: Kind.ZERO,
    }
    return simple[relation], {}


def _benign_lines(pairs: Pairs, resolved: Resolved) -> set[int]:
    """What a store did to (nearly) every vector is one line and not one a row; returns the states that are said so."""
    said: set[int] = set()
    what = {
        Relation.NORMALISED: (Kind.NORMALISED, "normalised"),
        Relation.FLOAT16: (Kind.QUANTISED, "stored as float16"),
        Relation.BFLOAT16: (Kind.QUANTISED, "stored as bfloat16"),
        Relation.INT8: (Kind.QUANTISED, "stored as int8"),
        Relation.NOISE: (Kind.NOISE, "off by float noise within the tolerance"),
    }
    for relation, (kind, words) in what.items():
        count = int((pairs.state == relation).sum())
        if count < 20 or count < 0.5 * resolved.compared:
            continue
        said.add(int(relation))
        detail: dict[str, Any] = {"whole_collection": True, "rows": count}
        if relation in _FORMATS:
            detail["format"] = _FORMATS[relation]
        resolved.found.add(kind, detail=detail)
        resolved.notes.append(
            f"{count:,} of {resolved.compared:,} vectors are {words}: the work of the store, benign"
        )
    return said
