"""The rows that could have shown a kind at all: only among these is it asked where the kind gathers.

A record that is missing cannot hold a vector of another model. Were it counted as one that holds none, a lost batch in a
collection of foreign vectors would make a place of everything that is not that batch: damage invented from the complement of
other damage. So for each kind those records are set aside of which nobody could have seen whether it befell them: the vector is
not there or was not looked at, there is nothing to compare it with, the record names no parent, or another kind hides this one
(of a vector of zeros nobody can say whose it was). Survival analysis calls what is left the set at risk (Kaplan and Meier,
"Nonparametric estimation from incomplete observations", Journal of the American Statistical Association 53, 1958).

Hiding has a direction. Zeros hide a foreign model, a foreign model hides no zeros: a batch of zeros in a foreign collection is a
place, the rest of the collection is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vecforensics.diff.hotspots.lines import Category, Population
from vecforensics.diff.hotspots.orders import METADATA_PREFIX
from vecforensics.diff.hotspots.parts import at_places, rows_at_places
from vecforensics.diff.hotspots.statistics import Ints
from vecforensics.diff.hotspots.windows import Counts
from vecforensics.diff.id_order import narrow
from vecforensics.diff.rows import KIND_BIT, LookedAt, RowDimensions
from vecforensics.findings import Kind

__all__ = ["AtRisk", "count_pair", "rows_at_risk", "seen_in_a_sample", "sizes_of"]

_BLOCK_ROWS: Final = 1 << 20


def _bits(kinds: Iterable[Kind]) -> int:
    return sum(1 << KIND_BIT[kind] for kind in kinds)


# Of what is not there, or not yet, nothing can be seen.
_ABSENT: Final = _bits((Kind.MISSING, Kind.PENDING))
# Vectors that point nowhere.
_SHAPELESS: Final = _bits((Kind.NON_FINITE, Kind.ZERO, Kind.WRONG_DIMENSION))
# One vector under many ids is seen whatever it is, and hides whose it was and what became of it.
_GIVEN: Final = _SHAPELESS | _bits((Kind.BROADCAST, Kind.UNCHECKED))
# An unknown vector hides whose it was before.
_UNKNOWN: Final = _GIVEN | _bits((Kind.FOREIGN_MODEL, Kind.DRIFTED))

# Kind → the kinds that hide it, beside its own absence; and how much must have been seen of a vector.
_HIDDEN_BY: Final[Mapping[Kind, int]] = {
    Kind.MISSING: _bits((Kind.PENDING,)),
    Kind.MANGLED_ID: _ABSENT,
    Kind.DUPLICATE: _ABSENT,
    Kind.NON_FINITE: _ABSENT,
    Kind.ZERO: _ABSENT,
    Kind.WRONG_DIMENSION: _ABSENT,
    Kind.BROADCAST: _ABSENT | _SHAPELESS,
    Kind.DRIFTED: _ABSENT | _GIVEN,
    Kind.FOREIGN_MODEL: _ABSENT | _GIVEN | _bits((Kind.DRIFTED,)),
    Kind.SWAPPED: _ABSENT | _UNKNOWN,
    Kind.SHIFTED: _ABSENT | _UNKNOWN,
    Kind.STALE: _ABSENT | _UNKNOWN,
    Kind.PARTIAL: _ABSENT | _UNKNOWN,
    Kind.METADATA_DRIFT: _ABSENT,
    Kind.DANGLING: _ABSENT,
    Kind.PREMATURE: _ABSENT | _bits((Kind.DANGLING,)),
}
_OF_VECTORS: Final[Mapping[Kind, LookedAt]] = {
    Kind.NON_FINITE: LookedAt.ALONE,
    Kind.ZERO: LookedAt.ALONE,
    Kind.WRONG_DIMENSION: LookedAt.ALONE,
    Kind.BROADCAST: LookedAt.ALONE,
    Kind.DRIFTED: LookedAt.COMPARED,
    Kind.FOREIGN_MODEL: LookedAt.COMPARED,
    Kind.SWAPPED: LookedAt.COMPARED,
    Kind.SHIFTED: LookedAt.COMPARED,
    Kind.STALE: LookedAt.COMPARED,
    Kind.PARTIAL: LookedAt.COMPARED,
}
_OF_DEPENDENTS: Final = (Kind.DANGLING, Kind.PREMATURE)


def sizes_of(codes: npt.NDArray[Any], values: int) -> Ints:
    """Rows a code, 0..values, counted block by block (bincount widens what it is given to eight bytes a row)."""
    out = np.zeros(values + 1, dtype=np.int64)
    for start in range(0, len(codes), _BLOCK_ROWS):
        out += np.bincount(codes[start : start + _BLOCK_ROWS], minlength=values + 1)
    return out


def count_pair(one: Category, two: Category, rows: npt.NDArray[Any] | slice = slice(None)) -> Ints:
    """Of some rows, how many have each pair of codes, flat, shape ((V1 + 1) * (V2 + 1),)."""
    width = len(two.labels) + 1
    out = np.zeros((len(one.labels) + 1) * width, dtype=np.int64)
    first, second = one.codes[rows], two.codes[rows]
    for start in range(0, len(first), _BLOCK_ROWS):
        cell = first[start : start + _BLOCK_ROWS].astype(np.int32) * np.int32(width)
        cell += second[start : start + _BLOCK_ROWS]
        out += np.bincount(cell, minlength=len(out))
    return out


@dataclass(frozen=True, eq=False)
class AtRisk:
    """The rows among which some kinds are looked for: all but `gone`, indices in ascending order."""

    population: Population
    gone: npt.NDArray[Any]

    @classmethod
    def everybody(cls, population: Population) -> AtRisk:
        return cls(population, np.zeros(0, narrow(population.rows)))

    @classmethod
    def but(cls, population: Population, gone: npt.NDArray[np.bool_]) -> AtRisk:
        """All rows that `gone`, bool (rows,), does not mark."""
        return cls(population, np.flatnonzero(gone).astype(narrow(population.rows)))

    @property
    def rows(self) -> int:
        return self.population.rows - len(self.gone)

    def those_of(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Which of some rows are at risk."""
        if not len(self.gone):
            return rows
        away = np.zeros(self.population.rows, np.bool_)
        away[self.gone] = True
        left: npt.NDArray[Any] = rows[~away[rows]]
        return left

    @cached_property
    def _kept(self) -> npt.NDArray[Any] | None:
        """The rows themselves, where they are fewer than those that are gone."""
        if 2 * self.rows > self.population.rows:
            return None
        kept = np.ones(self.population.rows, np.bool_)
        kept[self.gone] = False
        return np.flatnonzero(kept).astype(self.gone.dtype)

    def sizes(self, of_all: Sequence[Ints]) -> list[Ints]:
        """Of each category the rows a code, given those of the whole population."""

        def of(item: Category, size: Ints) -> Ints:
            return self._counted(size, lambda rows: sizes_of(item.codes[rows], len(item.labels)))

        return list(map(of, self.population.categories, of_all))

    def pair(self, one: Category, two: Category, of_all: Ints) -> Ints:
        """Rows a pair of codes, flat, given those of the whole population."""
        return self._counted(of_all, lambda rows: count_pair(one, two, rows))

    @cached_property
    def places(self) -> Counts:
        """Of each period the rows a place."""
        if self._kept is not None:
            return at_places(self.population, self._kept)
        everybody = rows_at_places(tuple((self.population.ends - self.population.starts).tolist()))
        return everybody - at_places(self.population, self.gone) if len(self.gone) else everybody

    def _counted(self, of_all: Ints, count: Callable[[npt.NDArray[Any]], Ints]) -> Ints:
        if self._kept is not None:
            return count(self._kept)
        return of_all - count(self.gone) if len(self.gone) else of_all


def rows_at_risk(
    rows: Sequence[RowDimensions], population: Population, damaged: Mapping[str, npt.NDArray[Any]]
) -> dict[str, AtRisk]:
    """For each kind of damage, the rows that could have shown it; kinds with the same rows share them. `rows`: those that
    `population` was laid out of, with what was found of them; `damaged`: for each kind the indices of its rows."""
    known: dict[bytes, AtRisk] = {}
    found: dict[str, AtRisk] = {}
    for name, hurt in damaged.items():
        kind = Kind(name)
        gone = np.concatenate([_safe(kind, one) for one in rows])
        if kind in _OF_DEPENDENTS and population.parents:
            gone |= np.logical_and.reduce([parent < 0 for parent in population.parents])
            _leave_one_a_family(gone, hurt, population)
        if kind is Kind.METADATA_DRIFT:
            gone |= _without_metadata(rows)
        found[name] = known.setdefault(np.packbits(gone).tobytes(), AtRisk.but(population, gone))
    return found


def seen_in_a_sample(rows: Sequence[RowDimensions], kinds: Iterable[str]) -> list[str]:
    """Which kinds are shown by vectors, where those of some records were not drawn and never looked at."""
    looked_at = [one.looked_at for one in rows if one.looked_at is not None]
    if not any((far == LookedAt.NOT).any() for far in looked_at):
        return []
    return [kind for kind in kinds if Kind(kind) in _OF_VECTORS]


def _safe(kind: Kind, one: RowDimensions) -> npt.NDArray[np.bool_]:
    """The records of a collection that could not have shown `kind`, by what else they show and by how far they were looked at."""
    safe: npt.NDArray[np.bool_] = (one.kinds & np.uint32(_HIDDEN_BY.get(kind, 0))) != 0
    if one.looked_at is not None and kind in _OF_VECTORS:
        needed = _OF_VECTORS[kind]
        # Where no vector is expected at all, vectors are compared with one another.
        if kind is Kind.BROADCAST and (one.looked_at == LookedAt.COMPARED).any():
            needed = LookedAt.COMPARED
        safe |= one.looked_at < needed
    return safe


def _leave_one_a_family(gone: npt.NDArray[np.bool_], hurt: npt.NDArray[Any], population: Population) -> None:
    """Mark in `gone` all but the first child of each parent, where the children of one share their fate. They then say no more
    than one of them does: all dangle when the parent is lost, and twenty lost parents of five are not a hundred rows that met."""
    damaged = np.zeros(population.rows, np.bool_)
    damaged[hurt] = True
    for parent in population.parents:
        rows = np.flatnonzero(~gone & (parent >= 0))
        family = parent[rows]
        if not _share_their_fate(family, damaged[rows]):
            continue
        first = np.full(int(family.max()) + 1, len(rows))
        np.minimum.at(first, family, np.arange(len(rows)))
        gone[rows] = True
        gone[rows[first[first < len(rows)]]] = False


def _share_their_fate(family: npt.NDArray[Any], damaged: npt.NDArray[np.bool_]) -> bool:
    """Whether the damage differs from family to family by more than chance and two standard deviations. `family`, `damaged`: one
    a row.

    Source: R. E. Tarone, "Testing the goodness of fit of the binomial distribution", Biometrika 66 (1979), the score test
    against correlated trials.
    """
    rows = np.bincount(family)
    bad = np.bincount(family[damaged], minlength=len(rows))
    share = float(np.mean(damaged)) if len(damaged) else 0.0
    spread = float(np.square(bad - share * rows).sum())
    by_chance = share * (1 - share)
    return bool(spread - by_chance * len(family) > 2 * by_chance * float(2 * rows @ (rows - 1)) ** 0.5)


def _without_metadata(rows: Sequence[RowDimensions]) -> npt.NDArray[np.bool_]:
    """Which records belong to a collection whose metadata are not compared; none, where nobody's fields are known."""
    compared = [any(name.startswith(METADATA_PREFIX) for name in one.fields) for one in rows]
    return np.repeat([any(compared) and not some for some in compared], [len(one.kinds) for one in rows])
