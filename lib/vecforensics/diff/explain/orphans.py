"""Target rows under ids that no record has: a mangled id, a further copy, or nobody's.

The id speaks first (`ids.py`). Where it says nothing the content does: a vector (and metadata) that exactly one missing record
should have is that record's, under a lost id; one that a present record should have is a further copy of it. Where no vectors
are expected, metadata that only one record of the whole source has speak for it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from vecforensics import arrow_columns as arrow
from vecforensics.diff.collected import FoundRows
from vecforensics.diff.explain.crowded import Agreement, with_crowds
from vecforensics.diff.explain.id_affixes import pair_by_affix
from vecforensics.diff.explain.ids import pair_ids
from vecforensics.diff.explain.owners import NEAREST, Owners
from vecforensics.diff.sides import Index, Sides
from vecforensics.diff.spellings import coercions, says_nothing
from vecforensics.evidence import hash_text
from vecforensics.findings import Kind

__all__ = ["explain_orphans", "pair_by_id"]

# Ids whose spellings are looked up together; each has some thirty.
_AT_ONCE: Final = 20_000


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
    sides: Sides, orphans: Index, missing: Index, owners: Owners, found: FoundRows, mangled: dict[int, int]
) -> tuple[Index, Index]:
    """Name each orphan; returns the target rows that remain orphans and the source rows that remain missing."""
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
    spelt_like = _present_by_id(sides, texts, unclear)
    unowned = [number for number in unclear if number not in spelt_like] if not sides.source.dimension else []
    by_metadata = _by_metadata(sides, missing, [(number, held_metadata[number]) for number in unowned], agree)
    left: list[int] = []
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
            found.add(
                Kind.MANGLED_ID,
                source=source,
                target=target,
                detail={
                    "by": "content" if choice else "metadata",
                    "conversion": "id lost" if says_nothing(texts[number]) else "another id",
                },
            )
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
            detail = _how_many(unmatched) if unmatched else {}
            left.append(target)
            found.add(Kind.ORPHAN, target=target, detail=detail)
    return np.array(left, np.int64), np.array(sorted(open_records), np.int64)


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
        at = np.minimum(np.searchsorted(order, held), len(order) - 1)
        np.add.at(seen, at[order[at] == held], 1)
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


def _present_by_id(sides: Sides, texts: list[str], numbers: list[int]) -> dict[int, set[int]]:
    """For each of those orphans the records whose ids are another spelling of it."""
    like: dict[int, set[int]] = {}
    for start in range(0, len(numbers), _AT_ONCE):
        made = [
            (number, result)
            for number in numbers[start : start + _AT_ONCE]
            if not says_nothing(texts[number])
            for result in coercions(texts[number])
        ]
        if made:
            _look_up(sides, made, like)
    return like


def _look_up(sides: Sides, made: list[tuple[int, str]], like: dict[int, set[int]]) -> None:
    """Add to `like` the records that have one of the ids `made` (number of the orphan, id)."""
    hashes = hash_text(arrow.texts(result for _, result in made))
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    for bucket in range(sides.source.buckets):
        table = sides.source.table(bucket)
        held = sides.source.column("id_hash", bucket)
        at = np.minimum(np.searchsorted(ordered, held), len(ordered) - 1)
        rows = np.flatnonzero(ordered[at] == held)
        for row, text in zip(rows.tolist(), table["id"].take(arrow.numbers(rows)).to_pylist(), strict=True):
            place = int(at[row])
            while place < len(ordered) and ordered[place] == held[row]:
                number, result = made[int(order[place])]
                if result == text:
                    like.setdefault(number, set()).add(int(sides.source.offsets[bucket]) + row)
                place += 1
