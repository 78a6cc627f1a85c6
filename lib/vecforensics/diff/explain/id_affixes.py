"""Ids that were written with something around them, without something around them, or cut off.

`prod/7` for `7`, `7#chunk` for `7`, the first twenty characters of a UUID: no conversion of one id tells that, but many ids
together do. What stands before or behind the orphans' ids is learnt from a sample of them, by which cuts leave the id of an
unmatched record; what several ids show, and most of them or a separator confirms, is then applied to all. Digits before or
behind a short number are no evidence: among dense numbers (10 … 99 are missing, and 1011 … 1100 strange) most end like one of the
others, whatever was done to them. As with `ids.pair_ids` a pair counts only where it is the only one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

__all__ = ["FEWEST", "LEARNT_FROM", "MOST_AFFIXES", "SHORTEST_REST", "cuts", "pair_by_affix", "words"]

LEARNT_FROM: Final = 2000
FEWEST: Final = 3
MOST_AFFIXES: Final = 8
Affix = tuple[str, str]

# Ids are cut only where fewer characters than this stand before the cut, or behind it.
_LONGEST: Final = 200
_DIGITS: Final = frozenset("0123456789")
_HEXADECIMAL: Final = _DIGITS | frozenset("abcdefABCDEF")
# A shorter beginning than this is no evidence by itself.
SHORTEST_REST: Final = 8


def pair_by_affix(missing: list[str], orphans: list[str]) -> dict[int, tuple[int, str]]:
    """Orphan number → (missing number, what was done to the id). Ids on either side are distinct."""
    pairs = dict(_by_affix(missing, orphans, "added"))
    if len(pairs) < FEWEST:
        pairs = {
            orphan: (record, said) for record, (orphan, said) in _by_affix(orphans, missing, "lost").items()
        }
    if len(pairs) < FEWEST:
        pairs = _by_cut(missing, orphans)
    return pairs if len(pairs) >= FEWEST else {}


def _by_affix(plain: list[str], dressed: list[str], verb: str) -> dict[int, tuple[int, str]]:
    """Number of a dressed id → (number of the plain one, the affix in words)."""
    places = {text: number for number, text in enumerate(plain)}
    step = max(len(dressed) // LEARNT_FROM, 1)
    sample = sorted(dressed)[::step]
    votes: dict[Affix, list[str]] = {}
    for number, first, last in cuts(sample):
        text = sample[number]
        place = places.get(text[first : len(text) - last])
        if place is not None:
            votes.setdefault((text[:first], text[len(text) - last :]), []).append(plain[place])
    kept = [
        affix
        for affix, rests in sorted(votes.items(), key=lambda item: (-len(item[1]), item[0]))
        if len(rests) >= min(FEWEST, len(sample))
        and (_separated(*affix) or (2 * len(rests) >= len(sample) and not _of_dense_numbers(affix, rests)))
    ][:MOST_AFFIXES]
    candidates: dict[int, dict[int, str]] = {}
    asked: Counter[int] = Counter()
    for number, text in enumerate(dressed):
        for before, behind in kept:
            if len(text) <= len(before) + len(behind) or not (
                text.startswith(before) and text.endswith(behind)
            ):
                continue
            rest = text[len(before) : len(text) - len(behind)]
            if rest in places:
                if places[rest] not in candidates.setdefault(number, {}):
                    asked[places[rest]] += 1
                candidates[number].setdefault(places[rest], words((before, behind), verb))
    return {
        number: next(iter(found.items()))
        for number, found in candidates.items()
        if len(found) == 1 and asked[next(iter(found))] == 1
    }


def cuts(texts: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Where some distinct ids are cut in two: the number of one, and how many of its characters are cut off before the rest and
    behind it, one of the two none. At separators, and where at least `FEWEST` of the ids have the same before or behind."""
    ahead = _shared(texts)
    back = _shared([text[::-1] for text in texts])
    for number, (text, prefix, suffix) in enumerate(zip(texts, ahead, back, strict=True)):
        length = len(text)
        near = chain(range(1, min(length, _LONGEST)), range(max(length - _LONGEST + 1, _LONGEST), length))
        for at in near:
            if at <= prefix or not text[at - 1].isalnum():
                yield number, at, 0
            if length - at <= suffix or not text[at].isalnum():
                yield number, 0, length - at


def _shared(texts: Sequence[str]) -> list[int]:
    """For each text how much of its beginning at least `FEWEST` of all (or all, where they are fewer) have."""
    order = sorted(range(len(texts)), key=texts.__getitem__)
    window = min(FEWEST, len(texts))
    longest = [0] * len(texts)
    # What begins alike stands together, so that the first and the last of a window have in common what all in it have.
    for first in range(len(texts) - window + 1 if texts else 0):
        common = _common(texts[order[first]], texts[order[first + window - 1]])
        for place in order[first : first + window]:
            longest[place] = max(longest[place], common)
    return longest


def _common(one: str, other: str) -> int:
    """How many characters two texts begin with that are the same."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def words(affix: tuple[str, str], verb: str) -> str:
    """What a finding says was done to an id, which had something before it or behind it `added` or `lost`."""
    before, behind = affix
    return f"prefix {before!r} {verb}" if before else f"suffix {behind!r} {verb}"


def _separated(before: str, behind: str) -> bool:
    """Whether a separator stands between the affix and the id."""
    border = before[-1:] or behind[:1]
    return not border.isalnum()


def _of_dense_numbers(affix: Affix, rests: Sequence[str]) -> bool:
    """Whether an affix and the ids that it leaves, `rests`, are digits of short numbers, decimal or hexadecimal."""
    signs = frozenset().union(*rests)
    digits = _DIGITS if signs <= _DIGITS else _HEXADECIMAL
    return signs <= digits and digits.issuperset("".join(affix)) and min(map(len, rests)) < SHORTEST_REST


def _by_cut(missing: list[str], orphans: list[str]) -> dict[int, tuple[int, str]]:
    """Orphans that are the beginnings of missing ids, all cut after the same number of characters."""
    length, count = Counter(len(text) for text in orphans).most_common(1)[0] if orphans else (0, 0)
    if count < FEWEST or length < SHORTEST_REST:
        return {}
    ordered = sorted((text, number) for number, text in enumerate(missing) if len(text) > length)
    pairs = {}
    for number, text in enumerate(orphans):
        if len(text) != length:
            continue
        low = bisect_left(ordered, (text, -1))
        fits = ordered[low : low + 2]
        if fits and fits[0][0].startswith(text) and not (len(fits) > 1 and fits[1][0].startswith(text)):
            pairs[number] = (fits[0][1], f"cut off after {length} characters")
    return pairs
