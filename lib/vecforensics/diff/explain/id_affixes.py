"""Ids that were written with something around them, without something around them, or cut off.

`prod/7` for `7`, `7#chunk` for `7`, the first twenty characters of a UUID: no conversion of one id tells that, but many ids
together do. What stands before or behind the orphans' ids is learnt from a sample of them, by which cuts leave the id of an
unmatched record; what several ids show, and most of them or a separator confirms, is then applied to all. As with
`ids.pair_ids` a pair counts only where it is the only one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import Final

__all__ = ["FEWEST", "LEARNT_FROM", "MOST_AFFIXES", "SHORTEST_REST", "cuts", "pair_by_affix", "words"]

LEARNT_FROM: Final = 2000
FEWEST: Final = 3
MOST_AFFIXES: Final = 8
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
    votes: Counter[tuple[str, str]] = Counter()
    for text in sample:
        votes.update({affix for affix, rest in cuts(text) if rest in places})
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


def cuts(text: str) -> Iterator[tuple[tuple[str, str], str]]:
    """(before, behind) and the rest of each cut of an id in two; one of the first two is empty."""
    for at in range(1, min(len(text), _LONGEST)):
        yield (text[:at], ""), text[at:]
        yield ("", text[at:]), text[:at]


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
