"""Ids that were mangled on the way: which orphan stands for which missing record?

An id is text, and most of what mangles it is a well-meant conversion (`spellings.py`): through a number (`1` → `1.0`, `007` →
`7`, beyond 2^53 → rounded, large → e-notation, `100,000`, `0x97`), through another case, with spaces trimmed, through another
Unicode form or encoding, a UUID in another spelling. A pair is two unmatched ids of which one is made from the other. Either side
may be the mangled one: a source that went through a spreadsheet loses its zeros before the migration begins.

A pair counts only where it is the only one: an orphan that could stand for two records stands for neither by its id alone. An id
such as `nan` says nothing; there the content has to speak (`resolve.py`). Nor does `0`, unless it can only be what became of
`0000` where other ids lost their zeros too.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

from vecforensics.diff.spellings import (
    DECIMAL,
    FEWEST_OF_UUID,
    ZEROS_LOST,
    conversion,
    number_of,
    reversed_name,
    says_nothing,
    spelling_name,
    spellings,
)

__all__ = ["conversions", "pair_ids", "record_of_zero", "related"]

# What conversions take away from an id or put around it, besides case and Unicode form.
_DRESSING: Final = dict.fromkeys(map(ord, " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\"'_+?{}()-,’\u0307"))
# Candidates that are held against an id one by one.
_FEW: Final = 16
# Spelling an id out takes a twentieth of a millisecond: of very many pairs first so many are asked.
_SOME_PAIRS, _FEWEST_NAMED = 512, 8
# So many digits every way to print a number keeps.
_KEPT_BY_ALL: Final = 6
# No text that is a number in hexadecimal digits begins with another letter or sign.
_HEXADECIMAL: Final = frozenset("0123456789abcdefABCDEF{(uU")


class _Kin(NamedTuple):
    """What an id has in common with its spellings: something that a spelling is `exact` the id is too, or is `rounded`."""

    exact: frozenset[str | float]
    rounded: frozenset[float]


@lru_cache(maxsize=2**14)
def _kin(text: str) -> _Kin:
    if text.isascii() and text.isdigit() and len(text) < FEWEST_OF_UUID:
        value = float(text)
        return _Kin(frozenset((text, value)), _roundings(text, value))
    kin: set[str | float] = {_bare(text)}
    if not text.isascii():
        kin.add(_bare("".join(letter for letter in text if letter.isascii())))
    if text.startswith("b'"):
        kin.add(_bare(text[1:]))
    if "%" in text or "&" in text:
        kin |= {_bare(unquote(text)), _bare(html.unescape(text))}
    stripped = text.strip()
    if stripped[:1] in _HEXADECIMAL and (number := number_of(stripped)) is not None:
        kin.add(str(number))
    if not stripped[:1].isalpha() and DECIMAL.fullmatch(stripped):
        value = float(stripped)
        kin.add(value)
        return _Kin(frozenset(kin), _roundings(stripped, value))
    return _Kin(frozenset(kin), frozenset())


def _roundings(text: str, value: float) -> frozenset[float]:
    if len(text) <= _KEPT_BY_ALL:
        return frozenset()
    return frozenset((float(f"{value:g}"), float(f"{value:.6e}"), float(f"{value:.15g}"))) - {value}


def related(records: Iterable[str], held: Sequence[str]) -> list[int]:
    """Places in `held` of the ids that may be another spelling of one of `records`: no false "no", a few false "maybe"."""
    kin = [_kin(text) for text in held]
    exact = set().union(*(one.exact for one in kin))
    rounded = set().union(*(one.rounded for one in kin))
    met, met_rounded = set(), set()
    for text in records:
        ours = _kin(text)
        met |= exact & ours.exact | exact & ours.rounded
        met_rounded |= rounded & ours.exact
    return [
        place
        for place, one in enumerate(kin)
        if not (one.exact.isdisjoint(met) and one.rounded.isdisjoint(met_rounded))
    ]


def _bare(text: str) -> str:
    """Without case, Unicode form, spaces, quotes and what UUIDs are dressed in."""
    if text.isascii() and text.isalnum():
        return text.lower()
    text = text.replace("%20", "")
    if text.isascii():
        return text.translate(_DRESSING).lower().removeprefix("urn:uuid:")
    folded = unicodedata.normalize("NFKD", text).upper().casefold()
    return (
        re.sub(r"\s", "", unicodedata.normalize("NFKD", folded))
        .translate(_DRESSING)
        .removeprefix("urn:uuid:")
    )


def pair_ids(missing: list[str], orphans: list[str]) -> dict[int, tuple[int, str]]:
    """Orphans that stand for a missing record by their id: orphan number → (missing number, name of the conversion).

    Only pairs that are the only one for both; the rest is left for the content to decide. Ids on either side are distinct.
    """
    by_orphan: dict[int, dict[int, str]] = {}
    by_missing: Counter[int] = Counter()
    for record, orphan in _relatives(missing, orphans):
        name = _conversion(missing[record], orphans[orphan])
        if name is not None:
            by_orphan.setdefault(orphan, {})[record] = name
            by_missing[record] += 1
    return {
        orphan: next(iter(found.items()))
        for orphan, found in sorted(by_orphan.items())
        if len(found) == 1 and by_missing[next(iter(found))] == 1
    }


def conversions(pairs: Sequence[tuple[str, str]]) -> dict[int, str]:
    """Place in `pairs` (a record's id, the id that its row has) → the conversion that made one of the other, where one did. Of
    very many pairs all are asked only where several among some of them are such."""
    step = max(len(pairs) // _SOME_PAIRS, 1)
    named = _converted(pairs, range(0, len(pairs), step))
    return _converted(pairs, range(len(pairs))) if step > 1 and len(named) >= _FEWEST_NAMED else named


def _conversion(record: str, held: str) -> str | None:
    """By which conversion one became the other."""
    name = spelling_name(record, held)
    if name is None and not says_nothing(record) and (back := spelling_name(held, record)) is not None:
        name = reversed_name(back)
    return name


def _converted(pairs: Sequence[tuple[str, str]], places: Iterable[int]) -> dict[int, str]:
    names = ((place, _conversion(*pairs[place])) for place in places)
    return {place: name for place, name in names if name is not None}


def record_of_zero(missing: list[str], orphans: list[str], pairs: dict[int, tuple[int, str]]) -> int | None:
    """The number of the missing record of which nothing is left but `0`; None where `0` may be what a lost id has become.

    `pairs`: of `pair_ids`. The record is the only one that can become `0`, and can be none of the other orphans; and other ids
    lost their zeros as well.
    """
    if all(name != ZEROS_LOST for _, name in pairs.values()):
        return None
    records = [place for place in related(["0"], missing) if spelling_name(missing[place], "0") is not None]
    if len(records) != 1 or spelling_name(missing[records[0]], "0") != ZEROS_LOST:
        return None
    [record] = records
    others = [orphans[place] for place in related([missing[record]], orphans)]
    return None if any(conversion(missing[record], text) is not None for text in others) else record


def _relatives(missing: list[str], orphans: list[str]) -> Iterator[tuple[int, int]]:
    """Pairs (missing number, orphan number) of ids of which one may be a spelling of the other, each once."""
    places = {text: number for number, text in enumerate(orphans) if not says_nothing(text)}
    exact: dict[str | float, list[int]] = {}
    rounded: dict[str | float, list[int]] = {}
    for text, number in places.items():
        kin = _kin(text)
        for one in kin.exact:
            exact.setdefault(one, []).append(number)
        for one in kin.rounded:
            rounded.setdefault(one, []).append(number)
    crowd: set[int] = set()
    crowded: set[int] = set()
    spelt: set[tuple[int, int]] = set()
    for number, text in enumerate(missing):
        kin = _kin(text)
        met = [exact[one] for one in (*kin.exact, *kin.rounded) if one in exact]
        met += [rounded[one] for one in kin.exact if one in rounded]
        if sum(map(len, met)) <= _FEW:
            yield from ((number, orphan) for orphan in set().union(*met))
            continue
        # Where very many have something in common it costs less to spell each out once than to hold each against each.
        crowded.add(number)
        crowd.update(*met)
        spelt |= {(number, places[spelling]) for spelling in spellings(text).keys() & places.keys()}
    if crowd:
        records = {text: number for number, text in enumerate(missing)}
        for number in crowd:
            made = spellings(orphans[number]).keys() & records.keys()
            spelt |= {(records[spelling], number) for spelling in made if records[spelling] in crowded}
        yield from spelt
