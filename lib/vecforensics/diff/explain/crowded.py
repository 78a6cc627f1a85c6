"""Whose row is it, where more records expect its vector than are looked at one by one? Their metadata may tell them apart.

Of thousands of equal texts `owners.py` proposes the first few. A row without its record's id may be any of them; the one that
also has its metadata is the likelier, and one that is missing before one that is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Final

import numpy as np

from vecforensics import arrow_columns as arrow
from vecforensics.diff.compare.metadata import as_object, field_drift
from vecforensics.diff.explain.owners import NEAREST, Owners
from vecforensics.diff.lookup import Filter, Hashes
from vecforensics.diff.sides import Index, Sides
from vecforensics.evidence import hash_text
from vecforensics.metadata_rule import MetadataRule
from vecforensics.records import metadata_json
from vecforensics.stores.habits import as_doubles

__all__ = ["Agreement", "with_crowds"]

# Two that nothing tells apart are as good as any number of them.
_MOST: Final = 8


class Agreement:
    """Whether metadata are what the source says, in the fields that the target should carry and as its store keeps them."""

    def __init__(self, sides: Sides) -> None:
        self.fields = sides.frozen.metadata
        self.rule = MetadataRule.of(sides.frozen.facts)

    def __call__(self, wanted: str | None, held: str | None) -> bool:
        return wanted == held or (
            bool(self.fields) and not field_drift(as_object(wanted), as_object(held), self.fields, self.rule)
        )

    def key(self, text: str | None) -> str:
        """One text for metadata that agree but for the width of numbers, for nulls and for what the source's types leave open."""
        held = as_object(text)
        cores = {name: self.rule.core(name, held[name]) for name in self.fields if name in held}
        return metadata_json({name: as_doubles(core) for name, core in cores.items() if core is not None})

    def carried(self, text: str | None) -> str:
        """What a record's metadata would be, had the target kept them as they were."""
        return metadata_json(self.rule.in_source(self.fields, as_object(text)))


def with_crowds(
    sides: Sides, missing: Index, owners: Owners, held: Mapping[int, str | None], agree: Agreement
) -> dict[int, list[int]]:
    """Number of a row in question → its owners by `owners`; where those are but the first of many, also the missing ones and
    those with its metadata. `held`: the metadata of the rows."""
    candidates: dict[int, list[int]] = {}
    for query, owner in zip(owners.query.tolist(), owners.owner.tolist(), strict=True):
        candidates.setdefault(query, []).append(owner)
    crowded = np.flatnonzero(np.bincount(owners.query) >= NEAREST) if len(owners.query) else owners.query
    if not len(crowded) or not sides.source.dimension:
        return candidates
    asked = np.isin(owners.query, crowded)
    expects = sides.source.integers("digest", owners.owner[asked])
    pairs = sorted(set(zip(owners.query[asked].tolist(), expects.tolist(), strict=True)))
    digests = np.unique(expects)
    missing_ones = _missing_by_key(sides, missing, digests, agree)
    carried = {query: agree.carried(held[query]) for query in crowded.tolist()}
    alike = _with_metadata(sides, digests, sorted(set(carried.values())))
    for query, digest in pairs:
        more = missing_ones.get((digest, None), []) + missing_ones.get((digest, agree.key(held[query])), [])
        more += alike.get((digest, carried[query]), [])
        candidates[query] = list(dict.fromkeys(candidates[query] + more))
    return candidates


def _missing_by_key(
    sides: Sides, missing: Index, digests: Hashes, agree: Agreement
) -> dict[tuple[int, str | None], list[int]]:
    """Missing records, some each, by the digest that they expect, and by that and their metadata."""
    found: dict[tuple[int, str | None], list[int]] = {}
    expects = sides.source.integers("digest", missing)
    chosen = np.flatnonzero(np.isin(expects, digests))
    texts = sides.source.text("metadata", missing[chosen])
    for row, digest, text in zip(missing[chosen].tolist(), expects[chosen].tolist(), texts, strict=True):
        for key in (None, agree.key(text)):
            known = found.setdefault((digest, key), [])
            if len(known) < _MOST:
                known.append(row)
    return found


def _with_metadata(sides: Sides, digests: Hashes, texts: list[str]) -> dict[tuple[int, str], list[int]]:
    """Records, some each and those first in the source, by the digest that they expect and their metadata, of those that are one
    of `texts`."""
    wanted = {int(one): text for one, text in zip(hash_text(arrow.texts(texts)), texts, strict=True)}
    hashes, asked = np.array(sorted(wanted), np.uint64), Filter(digests)

    def of_bucket(bucket: int) -> tuple[Index, Hashes, Hashes]:
        expects = sides.source.column("digest", bucket)
        rows = asked.maybe(expects)
        rows = rows[np.isin(expects[rows], digests)]
        said = hash_text(arrow.whole(sides.source.table(bucket)["metadata"].take(arrow.numbers(rows))))
        hit = np.isin(said, hashes)
        return sides.source.number(bucket, rows[hit]), expects[rows[hit]], said[hit]

    row, expects, said = (
        np.concatenate(column) for column in zip(*sides.source.each(of_bucket), strict=True)
    )
    order = np.lexsort((sides.source.integers("position", row), said, expects))
    row, expects, said = row[order], expects[order], said[order]
    fresh = np.ones(len(row), np.bool_)
    fresh[1:] = (expects[1:] != expects[:-1]) | (said[1:] != said[:-1])
    begins = np.flatnonzero(fresh)
    return {
        (int(expects[begin]), wanted[int(said[begin])]): row[begin : min(end, begin + _MOST)].tolist()
        for begin, end in pairwise([*begins.tolist(), len(row)])
    }
