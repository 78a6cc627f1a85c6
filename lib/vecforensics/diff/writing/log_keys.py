"""Whose id stands under a key of the log: `user_id=7` is no post's, though a post 7 there may be.

A key speaks of a collection whose id column is called so, or whose name it is (`user_id`, `UserId`, of `users`). One that speaks
of none (`id`, `key`) may name anything. Ends of a range and what belongs to the log itself (`last_id`, `batch_id`) name nothing
that was written, and neither does the key of a parent beside that of a child: `post_id=7 user_id=3` tells of the post.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from vecforensics.diff.sides import Side

__all__ = ["ANYTHING", "NOTHING", "Keys"]

# Numbers of what a key may name: of no record, and of a record of any collection.
NOTHING: Final = -1
ANYTHING: Final = 0
_GENERIC: Final = frozenset({"id", "recordid", "rowid", "vectorid"})
_OF_NO_RECORD: Final = re.compile(
    "(?:first|last|start|end|from|to|min|max|next|prev|previous|after|before|parent"
    "|batch|worker|shard|job|run|request|req|trace|span|thread|process)id"
)
_WORD: Final = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+")


def _plain(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", key.lower())


def _keys_by_name(collection: str) -> set[str]:
    """ "prod_users" -> "produsersid", "produserid", "usersid", "userid"."""
    named = {_plain(collection), *(word.lower() for word in _WORD.findall(collection)[-1:])}
    for one in list(named):
        named |= {one.removesuffix("s"), one.removesuffix("es")}
        if one.endswith("ies"):
            named.add(one[:-3] + "y")
    return {f"{one}id" for one in named if one}


@dataclass
class Keys:
    """`sets`: collections that a key may speak of, by number; those of `ANYTHING` are all. `parents` by collection."""

    by_key: Mapping[str, frozenset[str]]
    parents: Mapping[str, frozenset[str]]
    sets: list[frozenset[str]] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, sides: Mapping[str, Side]) -> Keys:
        """The keys of a case, whose sides are named by its collections."""
        by_key: dict[str, set[str]] = {}
        parents = {}
        for name, side in sides.items():
            frozen = side.evidence.collection(name)
            column = _plain(str(frozen.facts.get("id_column", "")).rpartition(".")[2])
            in_store = str(frozen.facts.get("target_collection", name))
            for key in {column, *_keys_by_name(name), *_keys_by_name(in_store)} - _GENERIC - {""}:
                by_key.setdefault(key, set()).add(name)
            parents[name] = frozenset(frozen.parents) - {name}
        return cls({key: frozenset(names) for key, names in by_key.items()}, parents, sets=[frozenset(sides)])

    def numbers(self, keys: Sequence[str]) -> list[int]:
        """What each of the keys of one event may name."""
        numbers = [self._number(key) for key in keys]
        if len(numbers) < 2:
            return numbers
        spoken_of = {number for number in numbers if number > ANYTHING}
        if len(spoken_of) < 2:
            return numbers
        elder = set(self._parents(spoken_of))
        return [NOTHING if number in elder else number for number in numbers]

    def _number(self, key: str) -> int:
        known = self._numbers.get(key)
        if known is not None:
            return known
        plain = _plain(key)
        meant = self.by_key.get(plain)
        if meant is None:
            number = NOTHING if _OF_NO_RECORD.fullmatch(plain) else ANYTHING
        else:
            if meant not in self.sets[1:]:
                self.sets.append(meant)
            number = self.sets.index(meant, 1)
        self._numbers[key] = number
        return number

    def _parents(self, spoken_of: Iterable[int]) -> Iterable[int]:
        """Those of them on whose collections those of another depend, and not the other way round."""
        spoken_of = list(spoken_of)
        for number in spoken_of:
            for other in spoken_of:
                if other != number and self._depends(other, number) and not self._depends(number, other):
                    yield number

    def _depends(self, child: int, parent: int) -> bool:
        return any(self.parents[name] & self.sets[parent] for name in self.sets[child])
