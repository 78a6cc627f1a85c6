"""Where it clusters: the places in which far more damage stands than chance would put there, as sentences.

A migration that races, skips or times out does not hurt rows at random: it loses the batches of one worker, every tenth row,
the tail below a thousand, what was written in one bad minute. `find_hot_spots` looks along every line that is at hand
(position, id, batch, worker, time, collection, metadata) and says, ranked, where each kind of finding gathers: "batches
17–19 of worker 3 hold 96 % of the missing rows (1.2 % of all rows)". Where damage lies at random, it says nothing: the
false-discovery rate is held over all tests of a run. The method and its limits are in docs/hotspots.md.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vecforensics.diff.hotspots.lines import Population, lay_out
from vecforensics.diff.hotspots.parts import Part, are_several, covered_by_all, in_words
from vecforensics.diff.hotspots.risk import AtRisk, rows_at_risk, seen_in_a_sample
from vecforensics.diff.hotspots.search import Claim, Limits, search
from vecforensics.diff.rows import CORRUPT_MASK, KIND_BIT, RowDimensions
from vecforensics.errors import printable
from vecforensics.findings import SEVERITY, Kind, Severity

__all__ = ["HotSpot", "HotSpots", "Within", "find_hot_spots", "gather", "joined", "rows_of"]

_CORRUPT_KINDS = tuple(kind for kind in Kind if SEVERITY[kind] is Severity.CORRUPT)


def _percent(part: int, whole: int) -> str:
    """A share in words that never rounds up to all or down to none."""
    share = 100.0 * part / whole
    if part == whole:
        return "100 %"
    if share >= 99.95:
        return "over 99.9 %"
    if share < 0.05:
        return "under 0.1 %" if part else "0 %"
    return f"{share:.1f} %" if share < 9.95 or share > 99 else f"{share:.0f} %"


@dataclass(frozen=True, slots=True)
class Within:
    """A place as one collection sees it: `hits` of its `found` rows of the kind stand in `size` of its `rows`. `run`: the first
    and the last of the `size`, from 0, where they stand on end in the source."""

    collection: str
    hits: int
    size: int
    found: int
    rows: int
    run: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class HotSpot:
    """One place where findings of one kind gather.

    `hits` of the kind's `found` rows stand in this part of `size` rows out of `rows` (of all collections). `collection`: the
    one in which all of it lies, if there is one. `log10_q`: the adjusted p-value (Benjamini-Yekutieli) as a power of ten.
    `score`: nats of likelihood gained beyond what the description costs. `also`: other names for nearly the same rows. `side`:
    whose rows they are, the source's or the target's; `sampled`: not all of them were looked at, so that `found` and `hits` of a
    source are those of the sample. `within`: the same of each
    collection that has rows here, since a share of all collections together is that of none of them.
    """

    kind: str
    where: str
    parts: tuple[Part, ...]
    collection: str | None
    hits: int
    size: int
    found: int
    rows: int
    log10_q: float
    score: float
    also: tuple[str, ...] = ()
    side: str = "source"
    sampled: bool = False
    within: tuple[Within, ...] = ()

    @property
    def _verb(self) -> str:
        return "hold" if are_several(self.parts) else "holds"

    @property
    def _in_the_sample(self) -> str:
        """Of a target all damaged rows are looked at, and a sample of the others."""
        return " in the sample" if self.sampled and self.side == "source" else ""

    @property
    def sentence(self) -> str:
        name = self.kind.replace("_", " ")
        held = (
            f"{_percent(self.hits, self.found)} of the {name} rows"
            if self.hits < self.found
            else f"all {self.found:,} {name} rows"
        )
        held += self._in_the_sample
        whole = "all rows" if self.side == "source" else "all vectors in the target"
        if self.sampled and self.side == "target":
            whole = f"the {self.rows:,} vectors in the target that were looked at"
        return f"{self.where} {self._verb} {held} ({_percent(self.size, self.rows)} of {whole})"

    def sentence_of(self, one: Within) -> str:
        """The same of one collection alone."""
        every = "all" if one.hits == one.found > 1 else f"{one.hits:,} of the"
        name = f"{self.kind.replace('_', ' ')} row{'s' if one.found != 1 else ''}"
        held = f"{every} {one.found:,} {name} of {printable(one.collection, 60)}{self._in_the_sample}"
        whole = "rows" if self.side == "source" else "vectors in the target"
        looked_at = " that were looked at" if self.sampled and self.side == "target" else ""
        return f"{self.where} {self._verb} {held} ({_percent(one.size, one.rows)} of its {whole}{looked_at})"

    @property
    def rate(self) -> float:
        """The share of the rows here that are of this kind."""
        return self.hits / self.size

    def as_dict(self) -> dict[str, Any]:
        return {
            "collection": self.collection,
            "kind": self.kind,
            "side": self.side,
            "sampled": self.sampled,
            "dimension": " × ".join(part.dimension for part in self.parts),
            "where": self.where,
            "parts": [part.as_dict() for part in self.parts],
            "rows": self.hits,
            "of": self.size,
            "share_of_kind": float(f"{self.hits / self.found:.6g}"),
            "share_of_rows": float(f"{self.size / self.rows:.6g}"),
            "p_value": float(f"{10.0 ** max(self.log10_q, -300.0):.3g}"),
            "log10_p_value": round(self.log10_q, 2),
            "also": list(self.also),
            "sentence": self.sentence,
            "within": {
                one.collection: {
                    "rows": one.hits,
                    "of": one.size,
                    "found": one.found,
                    "run": None if one.run is None else list(one.run),
                    "sentence": self.sentence_of(one),
                }
                for one in self.within
            },
        }

    def __str__(self) -> str:
        return self.sentence

    def __html__(self) -> str:
        from markupsafe import Markup

        names = f"; that is also {' or '.join(self.also)}" if self.also else ""
        return str(Markup("<b>{}</b>{}").format(self.sentence, names))

    def _repr_html_(self) -> str:
        return f"<p>{self.__html__()}</p>"


@dataclass(frozen=True, slots=True)
class HotSpots(Sequence[HotSpot]):
    """All places found, the strongest first; `tests` made at the false-discovery rate `level` along `lines`; `skipped` fields."""

    spots: tuple[HotSpot, ...]
    tests: int
    level: float
    lines: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        return (
            f"one-sided hypergeometric tests and Bonferroni scans, {self.tests:,} tests, "
            f"false-discovery rate {self.level:g} (Benjamini–Yekutieli)"
        )

    def __len__(self) -> int:
        return len(self.spots)

    def __iter__(self) -> Iterator[HotSpot]:
        return iter(self.spots)

    def __getitem__(self, index: Any) -> Any:
        return self.spots[index]

    def as_dict(self) -> dict[str, Any]:
        return {
            "spots": [spot.as_dict() for spot in self.spots],
            "tests": self.tests,
            "level": self.level,
            "lines": list(self.lines),
            "skipped": list(self.skipped),
            "method": self.method,
        }

    def __str__(self) -> str:
        if not self.spots:
            return f"No place stands out ({self.method})."
        return "\n".join(f"{number}. {spot.sentence}" for number, spot in enumerate(self.spots, 1))

    def _repr_html_(self) -> str:
        from markupsafe import Markup

        if not self.spots:
            return str(Markup("<p>{}</p>").format(str(self)))
        items = Markup("").join(Markup("<li>{}</li>").format(spot) for spot in self.spots)
        return str(Markup("<ol>{}</ol><p><small>{}</small></p>").format(items, self.method))


def _rank(spot: HotSpot) -> tuple[bool, float, str, str]:
    """The strongest first; what dangles is what the missing parents have left behind, and stands after all causes."""
    return spot.kind == Kind.DANGLING.value, -spot.score, spot.kind, spot.where


def rows_of(spot: HotSpot, population: Population) -> npt.NDArray[np.bool_]:
    """Which rows of `population` (`lay_out` of the same rows) the spot covers, shape (rows,)."""
    return covered_by_all(spot.parts, population)


def _spot(claim: Claim, population: Population, bad: npt.NDArray[np.int64], sampled: bool) -> HotSpot:
    mask = covered_by_all(claim.parts, population)
    ends = np.argmax(mask), population.rows - 1 - np.argmax(mask[::-1])
    first, last = (int(np.searchsorted(population.starts, row, side="right")) - 1 for row in ends)
    return HotSpot(
        claim.kind,
        in_words(claim.parts),
        claim.parts,
        population.collections[first] if first == last else None,
        int(np.count_nonzero(mask[bad])),
        int(np.count_nonzero(mask)),
        len(bad),
        population.rows,
        claim.log_q / math.log(10),
        claim.score,
        tuple(in_words(parts) for parts in claim.also),
        population.side,
        sampled,
        tuple(_within(mask, population, bad)),
    )


def _within(
    mask: npt.NDArray[np.bool_], population: Population, bad: npt.NDArray[np.int64]
) -> Iterator[Within]:
    """What a mask over all rows covers of each collection; `bad` ascends."""
    for name, start, end in zip(
        population.collections, population.starts.tolist(), population.ends.tolist(), strict=True
    ):
        here, hurt = mask[start:end], bad[slice(*np.searchsorted(bad, (start, end)))]
        if size := int(np.count_nonzero(here)):
            first, last = int(np.argmax(here)), len(here) - 1 - int(np.argmax(here[::-1]))
            # Rows of a target stand in no order that means anything.
            on_end = population.side == "source" and last - first + 1 == size
            hits = int(np.count_nonzero(mask[hurt]))
            yield Within(name, hits, size, len(hurt), len(here), (first, last) if on_end else None)


def _ascending(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Each of some rows once. `np.unique` hashes them, which takes 0.3 s for half a million and not 0.01 s."""
    rows = np.sort(rows)
    return rows[np.append(True, rows[1:] != rows[:-1])] if len(rows) else rows


def gather(
    population: Population,
    damaged: Mapping[str, npt.NDArray[np.int64]],
    limits: Limits | None = None,
    *,
    at_risk: Mapping[str, AtRisk] | None = None,
    sampled: Collection[str] = (),
    limit: int = 12,
) -> HotSpots:
    """Where each kind of damage gathers, at most `limit` places. `damaged`: for each kind the indices of its rows, any order;
    `at_risk`: the rows that could have shown it, all where it is not named; `sampled`: kinds of which a sample was looked at.

    Time and memory grow linearly with the rows: a few passes over narrow codes, then work on the damaged rows alone.
    """
    limits = limits or Limits()
    ascending = {kind: _ascending(rows) for kind, rows in damaged.items()}
    claims, tests = search(population, ascending, limits, at_risk)
    spots = [
        _spot(claim, population, ascending[claim.kind], population.sampled or claim.kind in sampled)
        for claim in claims
    ]
    spots.sort(key=_rank)
    lines = (*(item.name for item in population.categories), *(item.name for item in population.orders))
    return HotSpots(tuple(spots[:limit]), tests, limits.level, lines, population.skipped)


def joined(found: Sequence[HotSpots], *, limit: int = 12) -> HotSpots:
    """What several searches of one run found, the strongest first; their false-discovery rates add up."""
    spots = sorted((spot for one in found for spot in one), key=_rank)
    lines = tuple(dict.fromkeys(line for one in found for line in one.lines))
    skipped = tuple(dict.fromkeys(text for one in found for text in one.skipped))
    tests, level = sum(one.tests for one in found), sum(one.level for one in found)
    return HotSpots(tuple(spots[:limit]), tests, level, lines, skipped)


def find_hot_spots(
    rows: Sequence[RowDimensions],
    side: str = "source",
    *,
    population: Population | None = None,
    false_discovery: float = 0.01,
    limit: int = 12,
) -> HotSpots:
    """Where the findings of a run gather, over all collections together; corrupt kinds only.

    `side`: whose rows these are; rows of the target are those of which some belong to no record, and are looked at by
    themselves. `population`: `lay_out(rows, side)`, where it has been made already.
    """
    rows = [one for one in rows if len(one.kinds)]
    starts = np.cumsum([0, *(len(one.kinds) for one in rows)])
    wrong_of = [np.flatnonzero(one.kinds & CORRUPT_MASK) for one in rows]
    wrong = np.concatenate([np.empty(0, np.int64), *map(np.add, wrong_of, starts.tolist())])
    shown = np.concatenate(
        [np.empty(0, np.uint32), *(one.kinds[some] for one, some in zip(rows, wrong_of, strict=True))]
    )
    damaged = {kind.value: wrong[(shown & np.uint32(1 << KIND_BIT[kind])) != 0] for kind in _CORRUPT_KINDS}
    damaged = {kind: where for kind, where in damaged.items() if len(where)}
    if not damaged:
        return HotSpots((), 0, false_discovery, ())
    population = population or lay_out(rows, side)
    at_risk = rows_at_risk(rows, population, damaged)
    limits, sampled = Limits(level=false_discovery), seen_in_a_sample(rows, damaged)
    return gather(population, damaged, limits, at_risk=at_risk, sampled=sampled, limit=limit)
