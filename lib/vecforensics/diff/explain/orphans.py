"""Target rows under ids that no record has: a mangled id, a further copy, or nobody's.

The id speaks first (`ids.py`). Where it says nothing the content does: a vector (and metadata) that exactly one missing record
should have is that record's, under a lost id; one that a present record should have is a further copy of it. Of a record without
an expected vector, metadata that no other record of the whole source has speak for it. Of those that are nobody's by all this the
finding says which record of another collection they are (`elsewhere.py`), or whose id theirs seems to be (`lookalikes.py`); one
over the vector of an earlier version of that record is its copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vecforensics import arrow_columns as arrow
from vecforensics.diff.explain.crowded import Agreement, with_crowds
from vecforensics.diff.explain.earlier import stale_records
from vecforensics.diff.explain.elsewhere import Other, said_of, strays_elsewhere
from vecforensics.diff.explain.id_affixes import pair_by_affix
from vecforensics.diff.explain.ids import conversions, pair_ids, record_of_zero
from vecforensics.diff.explain.lookalikes import by_spelling, lookalikes
from vecforensics.diff.explain.owners import NEAREST, Owners
from vecforensics.diff.lookup import find
from vecforensics.diff.resolved import Resolved
from vecforensics.diff.sides import Index, Sides
from vecforensics.diff.spellings import ZEROS_LOST, says_nothing
from vecforensics.evidence import hash_text
from vecforensics.findings import Kind

__all__ = ["explain_orphans", "pair_by_id"]


def pair_by_id(sides: Sides, missing: Index, orphans: Index) -> dict[tuple[int, int], tuple[str, int]]:
    """(source row, target row) of the pairs that the ids alone settle → (conversion, orphan number)."""
    if not len(missing) or not len(orphans):
        return {}
    texts = [text or "" for text in sides.target.text("id", orphans)]
    distinct = list(dict.fromkeys(texts))
    rows_of: dict[str, list[int]] = {}
    for number, text in enumerate(texts):
        rows_of.setdefault(text, []).append(number)
    records = [text or "" for text in sides.source.text("id", missing)]
    pairs = pair_ids(records, distinct)
    # Several rows under `0` are several lost ids.
    if len(rows_of.get("0", ())) == 1 and (zero := record_of_zero(records, distinct, pairs)) is not None:
        pairs[distinct.index("0")] = zero, ZEROS_LOST
    taken = {record for record, _ in pairs.values()}
    open_records = [number for number in range(len(records)) if number not in taken]
    open_orphans = [
        number for number, text in enumerate(distinct) if number not in pairs and not says_nothing(text)
    ]
    more = pair_by_affix(
        [records[number] for number in open_records], [distinct[number] for number in open_orphans]
    )
    pairs |= {
        open_orphans[orphan]: (open_records[record], conversion)
        for orphan, (record, conversion) in more.items()
    }
    joined: dict[tuple[int, int], tuple[str, int]] = {}
    for orphan, (record, conversion) in pairs.items():
        number = _own(sides, int(missing[record]), orphans, rows_of[distinct[orphan]])
        joined[int(missing[record]), int(orphans[number])] = conversion, number
    return joined


def _own(sides: Sides, record: int, orphans: Index, numbers: list[int]) -> int:
    """Which of the orphans under one id is the record's: the one that holds what it expects, else the first."""
    if len(numbers) == 1:
        return numbers[0]
    wanted = sides.source.integers("digest", np.array([record]))[0]
    held = sides.target.integers("digest", orphans[np.array(numbers)])
    return numbers[int(np.argmax((held == wanted) & (held != 0)))]


def explain_orphans(
    sides: Sides,
    others: Sequence[Other],
    orphans: Index,
    missing: Index,
    bare: Index,
    owners: Owners,
    resolved: Resolved,
    tolerance: float,
) -> tuple[Index, Index]:
    """Name each orphan; returns the target rows that remain orphans and the source rows that remain missing. `bare`: of the
    missing ones those that metadata may speak for, since no vector is expected of them."""
    found, mangled = resolved.found, resolved.mangled
    texts = [text or "" for text in sides.target.text("id", orphans)]
    held_metadata = sides.target.text("metadata", orphans)
    agree = Agreement(sides)
    candidates = with_crowds(sides, missing, owners, dict(enumerate(held_metadata)), agree)
    everyone = np.array(sorted(set().union(*candidates.values())), np.int64)
    wanted_metadata = dict(zip(everyone.tolist(), sides.source.text("metadata", everyone), strict=True))
    position = dict(zip(everyone.tolist(), sides.source.integers("position", everyone).tolist(), strict=True))
    open_records = set(missing.tolist())
    # Only where the content leaves a choice, or says nothing, is it worth asking what an id looks like.
    unclear = [
        number
        for number in range(len(texts))
        if (len(candidates.get(number, ())) > 1 if sides.source.dimension else number not in candidates)
    ]
    spelt = by_spelling(sides, list(dict.fromkeys(texts[number] for number in unclear)))
    spelt_like = {number: spelt[texts[number]] for number in unclear if texts[number] in spelt}
    unowned = [
        number for number in range(len(texts)) if number not in candidates and number not in spelt_like
    ]
    by_metadata = _by_metadata(sides, bare, [(number, held_metadata[number]) for number in unowned], agree)
    if sides.source.dimension and by_metadata:
        like_others = by_spelling(sides, [texts[number] for number in by_metadata])
        by_metadata = {
            number: record for number, record in by_metadata.items() if texts[number] not in like_others
        }
    strange: dict[int, dict[str, Any]] = {}
    renamed: list[tuple[int, int, str]] = []
    for number, target in enumerate(orphans.tolist()):
        owned = sorted(set(candidates.get(number, [])), key=lambda row: position[row])
        unmatched = [row for row in owned if row in open_records]
        alike = [
            row
            for row in (owned if len(owned) > 1 or not unmatched else ())
            if agree(wanted_metadata[row], held_metadata[number])
        ]
        fitting = [row for row in unmatched if row in alike]
        # Where the metadata are those of a record that is there, a missing one has to have them as well.
        choice = fitting if len(unmatched) > 1 or len(alike) > len(fitting) else unmatched
        source = choice[0] if len(choice) == 1 else by_metadata.get(number)
        if source is not None:
            open_records.discard(source)
            mangled[source] = target
            renamed.append((source, number, "content" if choice else "metadata"))
        elif owned and (not unmatched or (alike and not fitting)):
            same = alike or owned
            like = [row for row in same if row in spelt_like.get(number, ())] or same
            detail = {"form": "another id", **(_how_many(same) if len(same) > 1 else {})}
            found.add(Kind.DUPLICATE, source=like[0], target=target, detail=detail)
        elif spelt_like.get(number) and not sides.source.dimension:
            found.add(
                Kind.DUPLICATE,
                source=_first(sides, spelt_like[number]),
                target=target,
                detail={"form": "another spelling of the id"},
            )
        else:
            strange[number] = _how_many(unmatched) if unmatched else {}
    _name_renamed(sides, orphans, texts, renamed, resolved)
    nobodys = [number for number, said in strange.items() if not said]
    away = _name_elsewhere(sides, others, orphans[nobodys], resolved, tolerance)
    strange = {number: said for number, said in strange.items() if int(orphans[number]) not in away}
    left = _name_strange(sides, orphans, texts, strange, set(missing.tolist()), resolved, tolerance)
    return np.array(sorted({*left, *away}), np.int64), np.array(sorted(open_records), np.int64)


def _name_renamed(
    sides: Sides, orphans: Index, texts: list[str], renamed: list[tuple[int, int, str]], resolved: Resolved
) -> None:
    """Name the pairs (record, number of an orphan) that content or metadata decided, and by which conversion one id became the
    other: several ids that a conversion makes one of (rounded beyond 2^53, in lower case) tell no pair by themselves."""
    ids = sides.source.text("id", np.array([source for source, _, _ in renamed], np.int64))
    names = conversions(
        [(text or "", texts[number]) for text, (_, number, _) in zip(ids, renamed, strict=True)]
    )
    for place, (source, number, by) in enumerate(renamed):
        otherwise = "id lost" if says_nothing(texts[number]) else "another id"
        resolved.found.add(
            Kind.MANGLED_ID,
            source=source,
            target=int(orphans[number]),
            detail={"by": by, "conversion": names.get(place, otherwise)},
        )


def _name_elsewhere(
    sides: Sides, others: Sequence[Other], orphans: Index, resolved: Resolved, tolerance: float
) -> set[int]:
    """Say which of the orphans are rows of another collection's records; returns these target rows."""
    owners = strays_elsewhere(sides, others, orphans, tolerance)
    for place, one in sorted(owners.items()):
        target = int(orphans[place])
        resolved.elsewhere[target] = one
        resolved.found.add(Kind.ORPHAN, target=target, partner_id=one.id, detail=said_of(one))
    return {int(orphans[place]) for place in owners}


def _name_strange(
    sides: Sides,
    orphans: Index,
    texts: list[str],
    strange: dict[int, dict[str, Any]],
    missing: set[int],
    resolved: Resolved,
    tolerance: float,
) -> list[int]:
    """Say whose ids those of the orphans that content does not explain seem to be; returns the target rows that stay orphans.
    `strange`: by number, what else is said of them. What holds an earlier version of a present record so named is its copy."""
    known, left_out = lookalikes(sides, [texts[number] for number in strange])
    if left_out:
        resolved.notes.append(
            f"of the ids that no record has {left_out:,} were not looked at for other spellings of a record's id; in a sample of "
            "them hardly one was any"
        )
    seems = {number: known[texts[number]] for number in strange if texts[number] in known}
    there = {number: row for number, (row, _) in seems.items() if row not in missing}
    stale = _stale(sides, orphans, there, tolerance)
    left = []
    for number, said in strange.items():
        target = int(orphans[number])
        row, name = seems.get(number, (-1, None))
        if number in stale:
            held = {"vector": "its own of an earlier version", "version": stale[number]}
            detail = {"form": "another id", "conversion": name, **held}
            resolved.found.add(Kind.DUPLICATE, source=row, target=target, detail=detail)
        else:
            like = {"by": "id", "conversion": name} if name is not None else {}
            resolved.found.add(Kind.ORPHAN, target=target, partner=row, detail={**said, **like})
            left.append(target)
    return left


def _stale(sides: Sides, orphans: Index, records: dict[int, int], tolerance: float) -> dict[int, str | None]:
    """Number of an orphan → the earlier version of that record whose vector it holds."""
    numbers = np.array(list(records), np.int64)
    numbers = numbers[sides.target.integers("digest", orphans[numbers]) != 0]
    if not len(numbers) or not sides.source.dimension:
        return {}
    rows = np.array([records[number] for number in numbers.tolist()], np.int64)
    stale = stale_records(sides, rows, lambda some: sides.target.take(orphans[numbers[some]]), tolerance)
    return {int(numbers[place]): version for place, version in stale.items()}


def _how_many(records: list[int]) -> dict[str, Any]:
    """Of how many records a row may be; of a crowd not all were looked at."""
    return {"candidates": len(records), **({"at_least": True} if len(records) >= NEAREST else {})}


def _by_metadata(
    sides: Sides, missing: Index, strays: list[tuple[int, str | None]], agree: Agreement
) -> dict[int, int]:
    """Number of an orphan → the missing record that alone in the source has its metadata; the orphan alone has them too."""
    if not agree.fields or not strays or not len(missing):
        return {}
    wanted = sides.source.text("metadata", missing)
    records: dict[str, list[int]] = {}
    for number, text in enumerate(wanted):
        records.setdefault(agree.key(text), []).append(number)
    askers: dict[str, list[int]] = {}
    for number, text in strays:
        askers.setdefault(agree.key(text), []).append(number)
    pairs = {
        ours[0]: records[key][0]
        for key, ours in askers.items()
        if len(ours) == 1 and len(records.get(key, ())) == 1 and key != "{}"
    }
    texts = dict(strays)
    pairs = {orphan: record for orphan, record in pairs.items() if agree(wanted[record], texts[orphan])}
    if not pairs:
        return {}
    hashes = hash_text(arrow.texts(wanted[record] for record in pairs.values()))
    order = np.sort(hashes)
    seen = np.zeros(len(order), np.int64)
    for bucket in range(sides.source.buckets):
        held = hash_text(arrow.whole(sides.source.table(bucket)["metadata"]))
        at, hit = find(order, held)
        np.add.at(seen, at[hit], 1)
    alone = seen[np.searchsorted(order, hashes)] == 1
    return {
        orphan: int(missing[record])
        for (orphan, record), only in zip(pairs.items(), alone.tolist(), strict=True)
        if only
    }


def _first(sides: Sides, rows: set[int]) -> int:
    """The record that stands first in the source."""
    numbers = np.array(sorted(rows), np.int64)
    return int(numbers[np.argmin(sides.source.integers("position", numbers))])
