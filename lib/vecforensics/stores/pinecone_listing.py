"""All ids of a namespace, listed in several places at once.

A listing is a chain: each page of a hundred names the next. Over a network that is minutes for a million ids, while most of the
time nobody does anything. But one can ask for the ids under a prefix, and every id other than the prefix itself goes on with one
of 127 characters (ids are ASCII without NUL). So a prefix under which much lies is split into those, and the parts are walked
side by side.

1. Ask for the first page. If it is the last, that was all.
2. Split: 127 first pages. How much lies under a part is not told; what is left of the namespace's own count is shared out evenly
   among the parts that have a second page.
3. Split further what is still too large. All splits together ask for at most twice as many pages as the listing itself; how many
   more there may be is shared out in the same way. Where most ids begin alike nothing is won before their beginning is behind:
   if that takes more splits than there may be, none is made.
4. Walk the parts, a few at a time, and give their pages in the order of the prefixes.

Nothing hangs on the order of a page or on the count: they only decide where to split. An id that is a prefix itself is named
without being listed; whoever fetches it finds out whether it is there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import log10
from os.path import commonprefix
from typing import Final

from vecforensics.read_ahead import ahead

__all__ = ["Page", "list_ids"]

Page = Callable[[str, str | None], tuple[list[str], str | None]]
"""Prefix and token → the ids of one page, and the token of the next, None after the last."""

_CHARACTERS: Final = tuple(map(chr, range(1, 128)))
_PAGE_IDS: Final = 100
_SPLIT_PAGES: Final = 2
_LISTERS: Final = 8
# Parts of each lister, so that none is idle while the largest is walked; and ids of a part, for a few lie in memory.
_PARTS, _PART_IDS = 4, 50_000


@dataclass(frozen=True, slots=True)
class _Part:
    """The ids under a prefix: those of the first page, and where it goes on."""

    prefix: str
    ids: list[str]
    token: str | None


_First = Callable[[Iterable[str]], list[_Part]]


def list_ids(page: Page, rows: int) -> Iterator[list[str]]:
    """All ids that `page` gives, each once, a page at a time. `rows`: about how many there are."""
    whole = _Part("", *page("", None))
    waiting: deque[tuple[Iterator[list[str]], bool]] = deque()
    walking = 0
    with ThreadPoolExecutor(_LISTERS, "pinecone-list") as pool:

        def first(prefixes: Iterable[str]) -> list[_Part]:
            return list(pool.map(lambda prefix: _Part(prefix, *page(prefix, None)), prefixes))

        splits = _SPLIT_PAGES * rows // (_PAGE_IDS * len(_CHARACTERS))
        enough = min(rows / (_LISTERS * _PARTS), _PART_IDS)
        for part in _parts(whole, rows, splits, enough, first):
            goes_on = part.token is not None
            # A part of the usual size is read to its end: it need not wait until those before it are used up.
            pages = ahead(_pages(page, part), _PART_IDS // _PAGE_IDS) if goes_on else iter([part.ids])
            waiting.append((pages, goes_on))
            walking += goes_on
            while walking > _LISTERS:
                pages, goes_on = waiting.popleft()
                yield from pages
                walking -= goes_on
    for pages, _ in waiting:
        yield from pages


def _pages(page: Page, part: _Part) -> Iterator[list[str]]:
    ids, token = part.ids, part.token
    yield ids
    while token is not None:
        ids, token = page(part.prefix, token)
        yield ids


def _parts(part: _Part, rows: float, splits: int, enough: float, first: _First) -> Iterator[_Part]:
    """`part`, or the parts of it in the order of their prefixes. `rows`: about how many ids it has; `splits`: how often it may
    be split, itself and its parts; `enough`: ids of a part that is not split."""
    if part.token is None or rows <= enough or splits < _needed(part, rows):
        yield part
        return
    if part.prefix:
        yield _Part(part.prefix, [part.prefix], None)
    inside = first(part.prefix + one for one in _CHARACTERS)
    large = sum(one.token is not None for one in inside) or 1
    small = sum(len(one.ids) for one in inside if one.token is None)
    each, extra = divmod(splits - 1, large)
    for one in inside:
        yield from _parts(one, max(0.0, rows - small) / large, each + (extra > 0), enough, first)
        extra -= one.token is not None


def _needed(part: _Part, rows: float) -> int:
    """About how many splits it takes until more than one part is large. What the ids of a page have in common beyond the prefix
    says so; where pages are in order it is longer than what all have in common, by a character for every tenfold."""
    alike = len(commonprefix(part.ids)) - len(part.prefix)  # noqa: RUF071  characters are meant
    return max(0, alike - int(log10(max(1.0, rows / _PAGE_IDS)))) + 1
