"""Ids that were mangled on the way: which orphan stands for which missing record?

An id is text, and most of what mangles it is a well-meant conversion: through a number (`1` → `1.0`, `007` → `7`, beyond 2^53 →
rounded, large → e-notation), through another case, with spaces trimmed, through another Unicode form, a UUID in another
spelling. Each conversion is a function from text to the texts that it makes; a pair is two unmatched ids of which one is made
from the other. Either side may be the mangled one: a source that went through a spreadsheet loses its zeros before the
migration begins.

A pair counts only where it is the only one: an orphan that could stand for two records stands for neither by its id alone. An id
such as `nan` says nothing; there the content has to speak (`resolve.py`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Final

__all__ = ["coercions", "conversion", "pair_ids", "related", "says_nothing"]

# What a lost id looks like, in lower case and without surrounding space.
_SAYS_NOTHING: Final = frozenset(
    {
        "",
        "nan",
        "none",
        "null",
        "undefined",
        "na",
        "n/a",
        "<na>",
        "nil",
        "nat",
        "[object object]",
        "0",
        "-1",
        "true",
        "false",
    }
)

_DECIMAL: Final = re.compile(r"[+-]?\d{1,400}(\.\d*)?([eE][+-]?\d{1,3})?")
_INTEGER: Final = re.compile(r"[+-]?\d{1,400}")
_UUID: Final = re.compile(
    r"(?:urn:uuid:)?[{(]?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})[)}]?",
    re.IGNORECASE,
)


_LONGEST_OF_NOTHING: Final = max(map(len, _SAYS_NOTHING))


def says_nothing(text: str) -> bool:
    """Whether an id is what is left where an id was lost."""
    return (len(text) <= _LONGEST_OF_NOTHING or text[0].isspace() or text[-1].isspace()) and (
        text.strip().lower() in _SAYS_NOTHING
    )


def _without_zeros(text: str) -> Iterable[str]:
    if _INTEGER.fullmatch(text) and re.match(r"[+-]?0\d", text):
        yield re.sub(r"^([+-]?)0+(?=\d)", r"\1", text)


def _through_integer(text: str) -> Iterable[str]:
    """Read as a whole number and printed again: leading zeros, a plus sign and spaces are lost."""
    if _INTEGER.fullmatch(text.strip()):
        yield str(int(text))


def _through_double(text: str) -> Iterable[str]:
    """Read as a double and printed as Python, JavaScript, C or pandas would: `1.0`, e-notation, rounded beyond 2^53."""
    stripped = text.strip()
    if not _DECIMAL.fullmatch(stripped):
        return
    value = float(stripped)
    if value != value or value in (float("inf"), float("-inf")):
        return
    whole = value == int(value)
    plain = repr(value)
    yield plain
    yield f"{value:g}"
    yield f"{value:.6e}"
    yield f"{value:.15g}"
    rounded, _, its_exponent = f"{value:e}".partition("e")
    short, digits = repr(float(rounded)), plain.partition("e")[0] if "e" in plain else _shortest(value)
    # Seven digits may round up to the next power of ten: 999999950 to 1.000000e+09.
    power_of_ten = Decimal(plain).adjusted() if value else 0
    for part, exponent in ((short, its_exponent), (digits, f"{power_of_ten:+03d}")):
        powers = {exponent[1:], exponent[1:].lstrip("0") or "0"}
        signs = ("-",) if exponent.startswith("-") else ("+", "")
        for mantissa in {part, part.removesuffix(".0")}:
            yield from [
                f"{mantissa}{letter}{sign}{power}" for sign in signs for power in powers for letter in "eE"
            ]
    if whole:
        yield str(int(value))
        yield f"{int(value)}.0"
        yield f"{int(value)}.00"


def _shortest(value: float) -> str:
    """The shortest mantissa that reads back as `value`, as JavaScript prints it in e-notation."""
    digits = repr(abs(value)).replace(".", "").removesuffix("0") if "e" not in repr(value) else ""
    digits = (digits or "0").lstrip("0").rstrip("0") or "0"
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[0]}.{digits[1:]}" if len(digits) > 1 else f"{sign}{digits[0]}"


def _case(text: str) -> Iterable[str]:
    yield text.lower()
    yield text.upper()
    yield text.casefold()


def _space(text: str) -> Iterable[str]:
    if text.split() == [text]:
        return
    yield text.strip()
    yield re.sub(r"\s+", " ", text.strip())
    yield re.sub(r"\s+", "", text)
    yield re.sub(r"\s+", "_", text.strip())
    yield re.sub(r"\s+", "+", text)
    yield re.sub(r"\s", "%20", text)


def _unicode_form(text: str) -> Iterable[str]:
    if text.isascii():
        return
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        yield unicodedata.normalize(form, text)
    # Bytes in UTF-8 read as Latin-1 or Windows-1252, and what cannot be written left out or replaced.
    for codec in ("latin-1", "cp1252"):
        try:
            yield text.encode().decode(codec)
        except UnicodeError:
            continue
    ascii_bytes = text.encode("ascii", "replace").decode()
    yield ascii_bytes
    yield text.encode("ascii", "ignore").decode()


def _uuid(text: str) -> Iterable[str]:
    found = _UUID.fullmatch(text.strip())
    if found:
        plain = "-".join(found.groups()).lower()
        for spelling in (plain, plain.upper()):
            bare = spelling.replace("-", "")
            yield from (spelling, bare, f"{{{spelling}}}", f"urn:uuid:{spelling}")


def _quotes(text: str) -> Iterable[str]:
    yield text.strip("\"'")
    yield f'"{text}"'
    yield f"'{text}'"
    yield f"b'{text}'"


_COERCIONS: Final[Mapping[str, Callable[[str], Iterable[str]]]] = {
    "leading zeros lost": _without_zeros,
    "space": _space,
    "read as a whole number": _through_integer,
    "read as a floating-point number": _through_double,
    "UUID spelling": _uuid,
    "case": _case,
    "Unicode form": _unicode_form,
    "quotes": _quotes,
}


def coercions(text: str) -> Mapping[str, str]:
    """The texts that known conversions make of an id, each with the name of the likeliest one; not those that say nothing."""
    return {result: name for result, name in _spellings(text).items() if not says_nothing(result)}


def conversion(record: str, held: str) -> str | None:
    """By which conversion the id `record` became `held`, or the other way round; None where none does it."""
    made = coercions(record).get(held)
    if made is not None:
        return made
    back = coercions(held).get(record)
    return None if back is None else _reversed(back)


@lru_cache(maxsize=2**16)
def _spellings(text: str) -> Mapping[str, str]:
    """What `coercions` chooses from; not to be changed."""
    made: dict[str, str] = {}
    for name, convert in _COERCIONS.items():
        for result in convert(text):
            if result not in made:
                made[result] = name
    # Case and space often go together; one more step covers it.
    made.setdefault(text.strip().casefold(), "case and space")
    made.pop(text, None)
    return made


# What conversions take away from an id or put around it, besides case and Unicode form.
_DRESSING: Final = dict.fromkeys(map(ord, " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\"'_+?{}()-"))


def _kin(text: str) -> frozenset[str | float]:
    """What an id has in common with all its spellings: an id of which `text` is a spelling, or that is one of it, shares some."""
    kin: set[str | float] = {_bare(text)}
    if not text.isascii():
        kin.add(_bare("".join(letter for letter in text if letter.isascii())))
    if text.startswith("b'"):
        kin.add(_bare(text[1:]))
    stripped = text.strip()
    if not stripped[:1].isalpha() and _DECIMAL.fullmatch(stripped):
        value = float(stripped)
        kin |= {value, float(f"{value:g}"), float(f"{value:.6e}"), float(f"{value:.15g}")}
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
        made = _spellings(text)
        for spelling in made.keys() & places.keys():
            add(places[spelling], number, made[spelling])
    for text, number in places.items():
        if _kin(text).isdisjoint(ours):
            continue
        made = _spellings(text)
        for spelling in made.keys() & records.keys():
            add(number, records[spelling], _reversed(made[spelling]))
    return {
        orphan: next(iter(found.items()))
        for orphan, found in sorted(by_orphan.items())
        if len(found) == 1 and len(by_missing[next(iter(found))]) == 1
    }


def _reversed(name: str) -> str:
    return {
        "leading zeros lost": "leading zeros added",
        "read as a whole number": "another spelling of the number",
        "read as a floating-point number": "another spelling of the number",
    }.get(name, name)
