"""Ids that were written with something around them, without something around them, or cut off.

`prod/7` for `7`, `7#chunk` for `7`, the first twenty characters of a UUID: no conversion of one id tells that, but many ids
together do. What stands before or behind the orphans' ids is learnt from a sample of them, by which cuts leave the id of an
unmatched record; what several ids show, and most of them or a separator confirms, is then applied to all. As with
`ids.pair_ids` a pair counts only where it is the only one.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

__all__ = ["FEWEST", "LEARNT_FROM", "MOST_AFFIXES", "SHORTEST_REST", "cuts", "pair_by_affix", "words"]

LEARNT_FROM: Final = 2000
FEWEST: Final = 3
MOST_AFFIXES: Final = 8
Affix = tuple[str, str]

_LONGEST: Final = 200  # characters; longer ids are not cut in every place
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
    votes: Counter[Affix] = Counter()
    for _, affix, rest in cuts(sample):
        if rest in places:
            votes[affix] += 1
    kept = [
        affix
        for affix, count in sorted(votes.items(), key=lambda item: (-item[1], item[0]))
        if count >= min(FEWEST, len(sample)) and (2 * count >= len(sample) or _separated(*affix))
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


def cuts(texts: Sequence[str]) -> Iterator[tuple[str, Affix, str]]:
    """Each of some distinct ids cut in two, (before, behind) and the rest, one of the first two empty: at separators, and where
    at least `FEWEST` of the ids have the same before or behind."""
    ahead = _shared(texts)
    back = _shared([text[::-1] for text in texts])
    for text, prefix, suffix in zip(texts, ahead, back, strict=True):
        length, last = len(text), min(len(text), _LONGEST)
        signs = [] if text.isalnum() else [at for at, sign in enumerate(text) if not sign.isalnum()]
        for at in {*range(1, min(prefix + 1, last)), *(sign + 1 for sign in signs if 0 < sign + 1 < last)}:
            yield text, (text[:at], ""), text[at:]
        for at in {*range(max(length - suffix, 1), last), *(sign for sign in signs if 0 < sign < last)}:
            yield text, ("", text[at:]), text[:at]


def _shared(texts: Sequence[str]) -> list[int]:
    """For each text how much of its beginning at least `FEWEST` of all (or all, where they are fewer) have."""
    order = sorted(range(len(texts)), key=texts.__getitem__)
    window = min(FEWEST, len(texts))
    longest = [0] * len(texts)
    # What begins alike stands together, so that the first and the last of a window have in common what all in it have.
    for first in range(len(texts) - window + 1 if texts else 0):
        pairs = zip(texts[order[first]], texts[order[first + window - 1]], strict=False)
        common = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        for place in order[first : first + window]:
            longest[place] = max(longest[place], common)
    return longest


def words(affix: tuple[str, str], verb: str) -> str:
    """What a finding says was done to an id, which had something before it or behind it `added` or `lost`."""
    before, behind = affix
    return f"prefix {before!r} {verb}" if before else f"suffix {behind!r} {verb}"


def _separated(before: str, behind: str) -> bool:
    """Whether a separator stands between the affix and the id."""
    border = before[-1:] or behind[:1]
    return not border.isalnum()


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
