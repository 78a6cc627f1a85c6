"""Whose id does a strange id seem to be, where its content says nothing of it?

`user:7` over a vector that nobody expects is no copy of record `7`, but it is hardly there by itself: somebody wrote that record
under another id. An id is such another one by a known conversion (`spellings.py`), or by something before or behind it that
several strange ids have. Present ids are many and often dense (of 1 … 1000 nearly every end of a number is one), so what stands
before or behind has to be told from a chance: by a separator, by letters before a number, or by the length of the rest. An id
that may be of two records is of none.
"""

from __future__ import annotations

import itertools
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
import pyarrow.compute as pc

from vecforensics import arrow_columns as arrow
from vecforensics.diff.explain.id_affixes import FEWEST, LEARNT_FROM, MOST_AFFIXES, SHORTEST_REST, cuts, words
from vecforensics.diff.lookup import Filter, Hashes
from vecforensics.diff.sides import Sides
from vecforensics.diff.spellings import coercions, conversion, says_nothing
from vecforensics.evidence import hash_text

__all__ = ["by_spelling", "lookalikes"]

# Ids whose spellings are looked up together; each has some thirty.
_AT_ONCE: Final = 20_000
# So many characters of rests are held as text at once.
_CHARACTERS: Final = 2**22
_FEWEST_LETTERS: Final = 2

Affix = tuple[str, str]


def lookalikes(sides: Sides, strange: Iterable[str]) -> tuple[dict[str, tuple[int, str]], int]:
    """Strange id → (running row of the record whose id it seems to be, what was done to that id); and how many of the ids were
    not looked at for spellings, since hardly one in a sample was any."""
    texts = sorted({text for text in strange if not says_nothing(text)})
    if not texts or not sides.source.rows:
        return {}, 0
    # Spelling out a million ids takes half a minute, which is worth it only where some of them are spellings of a record's.
    some = _some(texts, _AT_ONCE)
    alike = by_spelling(sides, some)
    if len(alike) >= FEWEST and len(some) < len(texts):
        some, alike = texts, by_spelling(sides, texts)
    rows = {text: next(iter(records)) for text, records in alike.items() if len(records) == 1}
    ids = sides.source.text("id", np.array(list(rows.values()), np.int64))
    found = {}
    for (text, row), record in zip(rows.items(), ids, strict=True):
        name = conversion(record or "", text)
        if name is not None:
            found[text] = row, name
    rest = [text for text in texts if text not in alike]
    return found | (_with_affix(sides, rest) or _without_prefix(sides, rest)), len(texts) - len(some)


def by_spelling(sides: Sides, texts: Sequence[str]) -> dict[str, set[int]]:
    """For each of some ids the records whose ids are another spelling of it, if there are any."""
    like: dict[str, set[int]] = {}
    for start in range(0, len(texts), _AT_ONCE):
        part = [text for text in texts[start : start + _AT_ONCE] if not says_nothing(text)]
        made = [(text, result) for text in part for result in coercions(text)]
        for place, row in _records(sides, [result for _, result in made]):
            like.setdefault(made[place][0], set()).add(row)
    return like


def _with_affix(sides: Sides, texts: list[str]) -> dict[str, tuple[int, str]]:
    """Of ids that several have the same before or behind a record's id: that record."""
    sample = _some(texts, LEARNT_FROM)
    hits = [
        (number, (sample[number][:before], sample[number][len(sample[number]) - behind :]))
        for number, before, behind in _cuts_that_leave_an_id(sides, sample)
    ]
    # `1/6` has something before 6 and something behind 1; it shows neither.
    halves = Counter(number for number, affix in hits if _separated(affix))
    votes: dict[Affix, list[str]] = {}
    for number, affix in hits:
        if halves[number] < 2 or not _separated(affix):
            votes.setdefault(affix, []).append(_rest(sample[number], *map(len, affix)))
    kept = [
        affix
        for affix, rests in sorted(votes.items(), key=lambda item: (-len(item[1]), item[0]))
        if len(rests) >= FEWEST and _no_chance(affix, rests, len(sample))
    ][:MOST_AFFIXES]
    asked = [
        (text, affix, _rest(text, *map(len, affix)))
        for text in texts
        for affix in kept
        if len(text) > len(affix[0]) + len(affix[1]) and text.startswith(affix[0]) and text.endswith(affix[1])
    ]
    candidates: dict[str, dict[int, str]] = {}
    for place, row in _records(sides, [rest for _, _, rest in asked]):
        text, affix, _ = asked[place]
        candidates.setdefault(text, {})[row] = words(affix, "added")
    return {text: next(iter(some.items())) for text, some in candidates.items() if len(some) == 1}


def _cuts_that_leave_an_id(sides: Sides, sample: Sequence[str]) -> list[tuple[int, int, int]]:
    """Those of the `cuts` of some ids of which the rest is a record's id.

    Of long ids that begin alike there are hundreds of rests each, so that they are kept as hashes.
    """
    made, hashes = array("i"), [np.empty(0, np.uint64)]
    block: list[str] = []
    held = 0
    for number, before, behind in cuts(sample):
        made.extend((number, before, behind))
        block.append(_rest(sample[number], before, behind))
        held += len(block[-1])
        if held > _CHARACTERS:
            hashes.append(hash_text(arrow.texts(block)))
            block, held = [], 0
    hashes.append(hash_text(arrow.texts(block)))

    def cut(place: int) -> tuple[int, int, int]:
        return made[3 * place], made[3 * place + 1], made[3 * place + 2]

    def rest(place: int) -> str:
        number, before, behind = cut(place)
        return _rest(sample[number], before, behind)

    met = {place for place, _ in _records_by_hash(sides, np.concatenate(hashes), rest)}
    return [cut(place) for place in sorted(met)]


def _rest(text: str, before: int, behind: int) -> str:
    return text[before : len(text) - behind]


def _without_prefix(sides: Sides, texts: list[str]) -> dict[str, tuple[int, str]]:
    """Of ids that are a record's without what stands before all records' ids up to a separator: that record."""
    [some] = sides.source.text("id", np.zeros(1, np.int64))
    if not re.search(r"[\W_]", some or ""):
        # What all ids begin with is not more than what one does.
        return {}
    bounds = sides.source.each(lambda bucket: pc.min_max(sides.source.table(bucket)["id"]).as_py())
    first = min(bound["min"] for bound in bounds if bound["min"] is not None)
    last = max(bound["max"] for bound in bounds if bound["max"] is not None)
    # What the first and the last have in common all have.
    shared = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    before = re.sub(r"[^\W_]*$", "", "".join(letter for letter, _ in shared))
    if not before:
        return {}
    if not _records(sides, [before + text for text in _some(texts, LEARNT_FROM)]):
        return {}
    found = {
        texts[place]: (row, words((before, ""), "lost"))
        for place, row in _records(sides, [before + text for text in texts])
    }
    return found if len(found) >= FEWEST else {}


def _some(texts: list[str], most: int) -> list[str]:
    """At most so many of them, evenly."""
    return texts[:: max(-(-len(texts) // most), 1)]


def _separated(affix: Affix) -> bool:
    """Whether a separator stands between the affix and the id, and not the sign or the point of a number."""
    before, behind = affix
    border = before[-1:] or behind[:1]
    return not border.isalnum() and (border not in "+-.," or any(map(str.isalpha, before + behind)))


def _no_chance(affix: Affix, rests: Sequence[str], asked: int) -> bool:
    """Whether what stands before or behind the ids of records, `rests`, is there on purpose."""
    if _separated(affix):
        return True
    before, behind = affix
    border = before[-1:] or behind[:1]
    if 2 * len(rests) < asked or not border.isalnum():
        return False
    letters = sum(map(str.isalpha, before + behind))
    numbered = letters >= _FEWEST_LETTERS and border.isalpha() and all(map(str.isdigit, rests))
    return numbered or min(map(len, rests)) >= SHORTEST_REST


def _records(sides: Sides, made: Sequence[str]) -> list[tuple[int, int]]:
    """(place in `made`, running row) of each record that has one of these ids."""
    return _records_by_hash(sides, hash_text(arrow.texts(made)), made.__getitem__) if made else []


def _records_by_hash(sides: Sides, hashes: Hashes, made: Callable[[int], str]) -> list[tuple[int, int]]:
    """The same of ids of which the hashes are given; `made`: place → id."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    asked = Filter(ordered)

    def of_bucket(bucket: int) -> list[tuple[int, int]]:
        held = sides.source.column("id_hash", bucket)
        rows = asked.maybe(held)
        low, high = np.searchsorted(ordered, held[rows]), np.searchsorted(ordered, held[rows], "right")
        met = np.flatnonzero(low < high)
        ids = arrow.whole(sides.source.table(bucket)["id"]).take(arrow.numbers(rows[met])).to_pylist()
        running = sides.source.number(bucket, rows[met]).tolist()
        places = [order[first:stop].tolist() for first, stop in zip(low[met], high[met], strict=True)]
        return [
            (place, row)
            for row, text, same in zip(running, ids, places, strict=True)
            for place in same
            if made(place) == text
        ]

    return [pair for some in sides.source.each(of_bucket) for pair in some]
