"""Ids that were mangled on the way: which orphan stands for which missing record?

An id is text, and most of what mangles it is a well-meant conversion (`spellings.py`): through a number (`1` → `1.0`, `007` →
`7`, beyond 2^53 → rounded, large → e-notation, `100,000`, `0x97`), through another case, with spaces trimmed, through another
Unicode form or encoding, a UUID in another spelling. A pair is two unmatched ids of which one is made from the other. Either side
may be the mangled one: a source that went through a spreadsheet loses its zeros before the migration begins.

A pair counts only where it is the only one: an orphan that could stand for two records stands for neither by its id alone. An id
such as `nan` says nothing; there the content has to speak (`resolve.py`).
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from vecforensics.diff.spellings import DECIMAL, number_of, reversed_name, says_nothing, spellings

__all__ = ["pair_ids", "related"]

# What conversions take away from an id or put around it, besides case and Unicode form.
_DRESSING: Final = dict.fromkeys(map(ord, " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\"'_+?{}()-,’\u0307"))
# So many digits every way to print a number keeps.
_KEPT_BY_ALL: Final = 6
# No text that is a number in hexadecimal digits begins with another letter or sign.
_HEXADECIMAL: Final = frozenset("0123456789abcdefABCDEF{(uU")


@lru_cache(maxsize=2**14)
def _kin(text: str) -> frozenset[str | float]:
    """What an id has in common with all its spellings: an id of which `text` is a spelling, or that is one of it, shares some."""
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
        if len(stripped) > _KEPT_BY_ALL:
            kin |= {float(f"{value:g}"), float(f"{value:.6e}"), float(f"{value:.15g}")}
    return frozenset(kin)


def related(records: Iterable[str], held: Sequence[str]) -> list[int]:
    """Places in `held` of the ids that may be another spelling of one of `records`: no false "no", a few false "maybe"."""
    kin = [_kin(text) for text in held]
    theirs, met = set().union(*kin), set()
    for text in records:
        met |= theirs & _kin(text)
    return [place for place, one in enumerate(kin) if not one.isdisjoint(met)]


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
    by_missing: dict[int, set[int]] = {}

    def add(orphan: int, record: int, name: str) -> None:
        by_orphan.setdefault(orphan, {}).setdefault(record, name)
        by_missing.setdefault(record, set()).add(orphan)

    places = {text: number for number, text in enumerate(orphans) if not says_nothing(text)}
    records = {text: number for number, text in enumerate(missing) if not says_nothing(text)}
    # Most unmatched ids have no relation at all on the other side; telling that costs a fifth of spelling a number out.
    theirs: set[str | float] = set().union(*map(_kin, places))
    ours: set[str | float] = set()
    for number, text in enumerate(missing):
        kin = _kin(text)
        if kin.isdisjoint(theirs):
            continue
        ours |= kin
        made = spellings(text)
        for spelling in made.keys() & places.keys():
            add(places[spelling], number, made[spelling])
    for text, number in places.items():
        if _kin(text).isdisjoint(ours):
            continue
        made = spellings(text)
        for spelling in made.keys() & records.keys():
            add(number, records[spelling], reversed_name(made[spelling]))
    return {
        orphan: next(iter(found.items()))
        for orphan, found in sorted(by_orphan.items())
        if len(found) == 1 and len(by_missing[next(iter(found))]) == 1
    }
