"""Further rows under an id that stands there already: copies of its record, or another record's row that met it.

Two ids of which a conversion makes one (rounded beyond 2^53, in lower case) meet in a store that appends: all but one of the
records are missing, and their rows stand under the id of the one. Here id and content have to speak together: a row is a missing
record's where no other missing record expects its vector, and where the record's id becomes this one by a known conversion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.compare.bucket import BucketResult
from vecforensics.diff.compare.relation import Relation, compare_pairs
from vecforensics.diff.explain.crowded import Agreement, with_crowds
from vecforensics.diff.explain.earlier import stale_records
from vecforensics.diff.explain.elsewhere import Other, owners_elsewhere, said_of
from vecforensics.diff.explain.ids import related
from vecforensics.diff.explain.owners import Owners
from vecforensics.diff.lookup import portions
from vecforensics.diff.resolved import Resolved, running
from vecforensics.diff.sides import Index, Side, Sides
from vecforensics.diff.spellings import conversion, says_nothing
from vecforensics.findings import Kind

__all__ = ["FurtherRows"]

_ITS_OWN: Final = {
    Relation.EQUAL: "its own",
    Relation.NOISE: "its own but for float noise",
    Relation.NORMALISED: "its own at another length",
    Relation.FLOAT16: "its own as float16",
    Relation.BFLOAT16: "its own as bfloat16",
    Relation.INT8: "its own as int8",
}


@dataclass(frozen=True, slots=True)
class FurtherRows:
    """By running rows: the record under whose id each stands (`source`), the row itself (`target`), and whether its vector is
    that of the record's own row (`same`)."""

    source: Index
    target: Index
    same: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, sides: Sides, results: Sequence[BucketResult]) -> FurtherRows:
        return cls(
            running(sides.source, [(result.bucket, result.extra_source) for result in results]),
            running(sides.target, [(result.bucket, result.extra_target) for result in results]),
            np.concatenate([np.empty(0, np.bool_), *(result.extra_same for result in results)]),
        )

    def strangers(self, sides: Sides, missing: Index) -> Index:
        """Those that hold another vector than the record's own row, under an id that a missing record's may have become: by a
        conversion, or where one is a record's that says nothing (`nan`) and to which other ids were lost."""
        others = self.target[~self.same]
        if not len(missing) or not len(others):
            return others[:0]
        records, held = sides.source.text("id", missing), sides.target.text("id", others)
        texts = [text or "" for text in held]
        lost = [place for place, text in enumerate(texts) if says_nothing(text)]
        places = {*related((text or "" for text in records), texts), *lost}
        return others[np.array(sorted(places), np.int64)]

    def explain(
        self,
        sides: Sides,
        others: Sequence[Other],
        missing: Index,
        strangers: Index,
        owners: Owners,
        resolved: Resolved,
        tolerance: float,
        either: Relation,
    ) -> Index:
        """Name each; returns the source rows that remain missing. `owners`: of the `strangers`, by their place there. `either`:
        the format of what is the same in both of 16 bits."""
        met = _met(sides, missing, strangers, owners)
        held = self._held(sides, tolerance, either)
        strange = [place for place, vector in enumerate(held) if vector.get("vector") == "another"]
        strange = [place for place in strange if int(self.target[place]) not in met]
        rows = self.target[np.array(strange, np.int64)]
        away = {
            int(rows[place]): one for place, one in owners_elsewhere(sides, others, rows, tolerance).items()
        }
        resolved.elsewhere |= away
        found = resolved.found
        for record, row, vector in zip(self.source.tolist(), self.target.tolist(), held, strict=True):
            if row in met:
                source, name = met[row]
                resolved.mangled[source] = row
                found.add(
                    Kind.MANGLED_ID,
                    source=source,
                    target=row,
                    partner=record,
                    detail={"by": "content", "conversion": name},
                )
            else:
                other = away.get(row)
                found.add(
                    Kind.DUPLICATE,
                    source=record,
                    target=row,
                    detail={"form": "same id", **vector, **({} if other is None else said_of(other))},
                    partner_id=None if other is None else other.id,
                )
        return missing[~np.isin(missing, np.array([source for source, _ in met.values()], np.int64))]

    def _held(self, sides: Sides, tolerance: float, either: Relation) -> list[dict[str, Any]]:
        """What a finding says of the vector of each, beside that of the record's own row: nothing where it is the same."""
        said: list[dict[str, Any]] = [{} if same else {"vector": "another"} for same in self.same.tolist()]
        if not sides.source.dimension:
            return said
        others = np.flatnonzero(~self.same)
        known = sides.source.integers("digest", self.source[others]) != 0
        whole = sides.target.integers("digest", self.target[others]) != 0
        others = others[known & whole]
        for stretch in portions(len(others), 8 * sides.source.dimension):
            part = others[stretch]
            source, actual = self.source[part], sides.target.take(self.target[part])
            relation = compare_pairs(sides.source.take(source), actual, tolerance, sides.grid).relation
            relation[relation == Relation.EITHER16] = either
            for place, number in zip(part.tolist(), relation.tolist(), strict=True):
                if number in _ITS_OWN:
                    said[place] = {"vector": _ITS_OWN[Relation(number)]}
        rest = np.array([place for place in others.tolist() if said[place]["vector"] == "another"], np.int64)
        stale = stale_records(
            sides, self.source[rest], lambda some: sides.target.take(self.target[rest[some]]), tolerance
        )
        for place, version in stale.items():
            said[rest[place]] = {"vector": "its own of an earlier version", "version": version}
        return said


def _met(sides: Sides, missing: Index, rows: Index, owners: Owners) -> Mapping[int, tuple[int, str]]:
    """Target row → the missing record that it is, and the conversion that made its id of the record's. Of several rows that would
    be one record's, one is: with its metadata, if any has them."""
    agree, open_records = Agreement(sides), set(missing.tolist())
    queries = np.unique(owners.query)
    held = dict(zip(queries.tolist(), _ids_and_metadata(sides.target, rows[queries]), strict=True))
    owned = with_crowds(sides, missing, owners, {query: said for query, (_, said) in held.items()}, agree)
    records = np.array(sorted(open_records & set().union(*owned.values())), np.int64)
    wanted = dict(zip(records.tolist(), _ids_and_metadata(sides.source, records), strict=True))
    candidates: dict[int, dict[int, str]] = {}
    for query, some in owned.items():
        made = {row: _became(wanted[row][0], held[query][0]) for row in some if row in wanted}
        candidates[query] = {row: name for row, name in made.items() if name is not None}
    claims: dict[int, list[tuple[bool, str, str, int]]] = {}
    for query, names in candidates.items():
        text, metadata = held[query]
        fitting = [record for record in names if agree(wanted[record][1], metadata)]
        chosen = fitting if len(names) > 1 else list(names)
        if len(chosen) == 1:
            claims.setdefault(chosen[0], []).append((not fitting, text, metadata, query))
    return {
        int(rows[query]): (record, candidates[query][record])
        for record, those in claims.items()
        for *_, query in [min(those)]
    }


def _became(record: str, held: str) -> str | None:
    """How the id of a record became that of a row, None where nothing is known to do it."""
    return conversion(record, held) or ("id lost" if says_nothing(held) else None)


def _ids_and_metadata(side: Side, rows: Index) -> list[tuple[str, str]]:
    texts, metadata = side.text("id", rows), side.text("metadata", rows)
    return [(text or "", said or "") for text, said in zip(texts, metadata, strict=True)]
