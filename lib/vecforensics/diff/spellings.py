"""What well-meant conversions make of a text: a number is read and printed again, another case, space, Unicode form, quotes,
another encoding.

Each conversion is a function from a text to the texts that it makes, under the name by which a finding calls it. Ids suffer them,
and so do values of metadata.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

__all__ = [
    "DECIMAL",
    "FEWEST_OF_UUID",
    "ZEROS_LOST",
    "coercions",
    "conversion",
    "number_of",
    "reversed_name",
    "says_nothing",
    "spelling_name",
    "spellings",
]

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

DECIMAL: Final = re.compile(r"[+-]?\d{1,400}(\.\d*)?([eE][+-]?\d{1,3})?")
_INTEGER: Final = re.compile(r"[+-]?\d{1,400}")
_UUID: Final = re.compile(
    r"(?:urn:uuid:)?[{(]?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})[)}]?",
    re.IGNORECASE,
)
_PLAIN: Final = re.compile(r"[1-9]\d{0,299}", re.ASCII)
_HEXADECIMAL: Final = re.compile(r"0x([0-9a-f]{1,250})", re.IGNORECASE)
_SEPARATORS: Final = ",_' ’\u00a0\u202f"
_GROUPED: Final = re.compile(rf"\d{{1,3}}([{_SEPARATORS}])\d{{3}}(?:\1\d{{3}})*", re.ASCII)
# What a URL, or HTML, cannot hold as it is.
_QUOTED: Final = re.compile(r"[^A-Za-z0-9_.~-]")
_MARKUP: Final = re.compile(r"""[&<>"']""")
_LETTERS_I: Final = frozenset("iıIİ")
# As many digits as a decimal number has that is a UUID and no other id.
FEWEST_OF_UUID: Final = 30
ZEROS_LOST: Final = "leading zeros lost"
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
    if not DECIMAL.fullmatch(stripped):
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


def _thousands(text: str) -> Iterable[str]:
    if not text.isdigit() and _GROUPED.fullmatch(text):
        text = re.sub(rf"[{_SEPARATORS}]", "", text)
        yield text
    if len(text) > 3 and _PLAIN.fullmatch(text):
        groups = f"{int(text):,}".split(",")
        yield from [separator.join(groups) for separator in _SEPARATORS]


def _hexadecimal(text: str) -> Iterable[str]:
    if _PLAIN.fullmatch(text):
        digits = f"{int(text):x}"
        yield f"0x{digits}"
        yield f"0x{digits.upper()}"
        yield f"0X{digits.upper()}"
    elif found := _HEXADECIMAL.fullmatch(text):
        yield str(int(found[1], 16))


def number_of(text: str) -> int | None:
    """The number that a text is in hexadecimal digits, after `0x` or as a UUID; None where it is none."""
    found = _HEXADECIMAL.fullmatch(text) or _UUID.fullmatch(text)
    return int("".join(found.groups()), 16) if found else None


def _case(text: str) -> Iterable[str]:
    yield text.lower()
    yield text.upper()
    yield text.casefold()


def _turkish_case(text: str) -> Iterable[str]:
    """In Turkish the small letter of I has no dot, and the capital of i has one; elsewhere the two dots get lost."""
    if not _LETTERS_I.isdisjoint(text):
        yield text.replace("İ", "i").lower()
        yield text.replace("I", "ı").replace("İ", "i").lower()
        yield text.replace("i", "İ").replace("ı", "I").upper()
        yield text.replace("İ", "I").replace("ı", "i")


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
    # What cannot be written in ASCII replaced or left out.
    yield text.encode("ascii", "replace").decode()
    yield text.encode("ascii", "ignore").decode()


def _mojibake(text: str) -> Iterable[str]:
    """Bytes in UTF-8 read as Latin-1 or Windows-1252, and the text that such a reading was made from."""
    if text.isascii():
        return
    for written, read in (
        ("utf-8", "latin-1"),
        ("utf-8", "cp1252"),
        ("latin-1", "utf-8"),
        ("cp1252", "utf-8"),
    ):
        try:
            yield text.encode(written).decode(read)
        except UnicodeError:
            continue


def _url_encoding(text: str) -> Iterable[str]:
    if not _QUOTED.search(text):
        return
    # JSON may hold half of a surrogate pair, which no UTF-8 can.
    yield quote(text, errors="replace")
    yield quote(text, safe="", errors="replace")
    if "%" in text and "\ufffd" not in (decoded := unquote(text)):
        yield decoded


def _html_entities(text: str) -> Iterable[str]:
    if not _MARKUP.search(text):
        return
    yield html.escape(text, quote=False)
    yield html.escape(text)
    if "&" in text:
        yield html.unescape(text)


def _uuid(text: str) -> Iterable[str]:
    found = _UUID.fullmatch(text.strip())
    if _PLAIN.fullmatch(text) and len(text) >= FEWEST_OF_UUID and int(text) < 2**128:
        digits = f"{int(text):032x}"
        yield "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    if found:
        number = str(int("".join(found.groups()), 16))
        if len(number) >= FEWEST_OF_UUID:
            yield number
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
    ZEROS_LOST: _without_zeros,
    "space": _space,
    "read as a whole number": _through_integer,
    "read as a floating-point number": _through_double,
    "thousands separators": _thousands,
    "hexadecimal": _hexadecimal,
    "UUID spelling": _uuid,
    "case": _case,
    "Turkish case": _turkish_case,
    "mojibake": _mojibake,
    "URL encoding": _url_encoding,
    "HTML entities": _html_entities,
    "Unicode form": _unicode_form,
    "quotes": _quotes,
}


_CASE_AND_SPACE: Final = "case and space"


def coercions(text: str) -> Mapping[str, str]:
    """The texts that known conversions make of an id, each with the name of the likeliest one; not those that say nothing."""
    return {result: name for result, name in spellings(text).items() if not says_nothing(result)}


def conversion(record: str, held: str) -> str | None:
    """By which conversion the id `record` became `held`, or the other way round; None where none does it."""
    made = coercions(record).get(held)
    if made is not None:
        return made
    back = coercions(held).get(record)
    return None if back is None else reversed_name(back)


def spelling_name(text: str, held: str) -> str | None:
    """What `spellings(text)` calls `held`, None where that is none of them; without spelling all the others."""
    if held == text:
        return None
    for name, convert in _COERCIONS.items():
        if held in convert(text):
            return name
    return _CASE_AND_SPACE if held == text.strip().casefold() else None


@lru_cache(maxsize=2**16)
def spellings(text: str) -> Mapping[str, str]:
    """What `coercions` chooses from; not to be changed."""
    made: dict[str, str] = {}
    for name, convert in _COERCIONS.items():
        for result in convert(text):
            if result not in made:
                made[result] = name
    # Case and space often go together; one more step covers it.
    made.setdefault(text.strip().casefold(), _CASE_AND_SPACE)
    made.pop(text, None)
    return made


def reversed_name(name: str) -> str:
    """What a conversion is called where the text is what it was made from."""
    return {
        ZEROS_LOST: "leading zeros added",
        "read as a whole number": "another spelling of the number",
        "read as a floating-point number": "another spelling of the number",
    }.get(name, name)
