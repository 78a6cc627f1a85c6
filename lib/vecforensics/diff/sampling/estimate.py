"""When embedding again is expensive: look at some records, say how many are wrong, and how sure that is.

Ids are cheap and stay exact; contents cost an embedding each. A sample of them is drawn by strata: each collection, and in it
apart what lies in a hot spot that the ids have shown already and what does not. Every stratum gets the same fraction of its
rows, small ones at least a minimum, so that a spot of fifty rows among a million is looked at at all.

Which rows: those with the smallest keyed hash of their id (bottom-k). It is a simple random sample to anybody who does not
know the seed, the same on every machine and in any order of the rows, and the draws of several buckets merge into the draw
of the whole.

How sure: the rate is the stratified estimate, the sum of W * x / n with W the stratum's share of all rows. Its interval is
built from Clopper-Pearson intervals and never covers less than it says:
* strata with the same sampling fraction are one group: their hits together are a sum of independent Bernoulli trials with
  unequal chances (draws without replacement too: Vatutin & Mikhailov 1982), whose tails are within those of the binomial
  with the mean chance (Hoeffding 1956, theorem 4, from one below to one above the mean; the one case in between, a single hit
  or a single miss, is bounded by Markov's inequality). The small rounding of the fractions is allowed for;
* strata with a fraction of their own are a group each, or all strata are one group whose limits widen by how unequal the
  fractions are, whichever says more by the plan alone; a stratum that was read whole is known and has no interval;
* the groups share the error (Sidak: independent draws), and their limits are added up by weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vecforensics.diff.hotspots import HotSpots, rows_of
from vecforensics.diff.hotspots.lines import Population
from vecforensics.errors import InputError, printable

__all__ = [
    "RateEstimate",
    "SamplePlan",
    "Stratum",
    "StratumRate",
    "clopper_pearson",
    "draw_sample",
    "estimate_rate",
    "plan_sample",
    "sample_keys",
    "stratify",
]

MINIMUM: Final = 50  # rows a stratum: none wrong among 50 says "below 7 %"


@dataclass(frozen=True, slots=True)
class Stratum:
    """`drawn` of the `size` rows are looked at. `own`: its fraction is its own (the minimum), not that of the other strata."""

    name: str
    size: int
    drawn: int
    own: bool


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """Which share of which stratum, fixed before anything is looked at."""

    strata: tuple[Stratum, ...]
    requested: int

    @property
    def drawn(self) -> int:
        return sum(stratum.drawn for stratum in self.strata)

    @property
    def size(self) -> int:
        return sum(stratum.size for stratum in self.strata)


@dataclass(frozen=True, slots=True)
class StratumRate:
    """What one stratum shows, with a Clopper-Pearson interval of its own."""

    name: str
    size: int
    drawn: int
    found: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RateEstimate:
    """The estimated share of wrong contents among `size` rows, of which `drawn` were looked at and `found` were wrong."""

    rate: float
    low: float
    high: float
    confidence: float
    size: int
    drawn: int
    found: int
    strata: tuple[StratumRate, ...]
    method: str

    @property
    def is_exact(self) -> bool:
        return self.drawn == self.size

    def as_dict(self) -> dict[str, Any]:
        return {
            "rate": _rounded(self.rate),
            "low": _rounded(self.low),
            "high": _rounded(self.high),
            "confidence": self.confidence,
            "rows": self.size,
            "sampled": self.drawn,
            "found": self.found,
            "estimate": not self.is_exact,
            "method": self.method,
            "strata": [
                {
                    "name": one.name,
                    "rows": one.size,
                    "sampled": one.drawn,
                    "found": one.found,
                    "low": _rounded(one.low),
                    "high": _rounded(one.high),
                }
                for one in self.strata
            ],
        }

    def __str__(self) -> str:
        if self.is_exact:
            return f"all {self.size:,} contents were read: {self.found:,} are wrong ({_share(self.rate)})"
        return (
            f"an estimate: {self.found:,} of {self.drawn:,} sampled contents are wrong, which makes {_share(self.rate)} of "
            f"{self.size:,} (between {_share(self.low)} and {_share(self.high)}, confidence {self.confidence:.0%})"
        )

    def _repr_html_(self) -> str:
        from markupsafe import Markup

        rows = Markup("").join(
            Markup("<tr><td>{}</td><td>{:,}</td><td>{:,}</td><td>{:,}</td><td>{} – {}</td></tr>").format(
                printable(one.name), one.size, one.drawn, one.found, _share(one.low), _share(one.high)
            )
            for one in self.strata
        )
        head = Markup("<tr><th>stratum</th><th>rows</th><th>sampled</th><th>wrong</th><th>interval</th></tr>")
        return str(Markup("<p>{}</p><table>{}{}</table>").format(str(self), head, rows))


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _share(value: float) -> str:
    """A share in per cent with two digits that count."""
    return (
        "0 %"
        if value == 0
        else f"{float(f'{100 * value:.2g}'):g} %"
        if value < 0.995
        else f"{100 * value:.4g} %"
    )


def clopper_pearson(hits: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval for a binomial rate (C. J. Clopper, E. S. Pearson, Biometrika 26, 1934)."""
    from scipy.special import betaincinv

    if trials == 0:
        return 0.0, 1.0
    tail = (1.0 - confidence) / 2.0
    low = float(betaincinv(hits, trials - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, trials - hits, 1.0 - tail)) if hits < trials else 1.0
    return low, high


def stratify(population: Population, spots: HotSpots) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    """(stratum of each row, names of the strata): each collection, apart in it what lies in one of `spots` and what does not."""
    hot = np.zeros(population.rows, dtype=bool)
    for spot in spots:
        hot |= rows_of(spot, population)
    collection = np.repeat(np.arange(len(population.collections)), population.ends - population.starts)
    codes = (collection * 2 + hot).astype(np.int32)
    used, inverse = np.unique(codes, return_inverse=True)
    names = [
        f"{population.collections[code // 2]}{', in a hot spot' if code % 2 else ''}"
        for code in used.tolist()
    ]
    return inverse.astype(np.int32), tuple(names)


def plan_sample(sizes: Mapping[str, int], requested: int, *, minimum: int = MINIMUM) -> SamplePlan:
    """How many rows of each stratum to look at: one fraction for all, at least `minimum` (or the whole stratum) of each.

    At most `requested` rows in all. Raises InputError if that is less than one a stratum.
    """
    filled = {name: size for name, size in sizes.items() if size > 0}
    if requested < max(len(filled), 1):
        raise InputError(
            f"a sample of {requested} is too small for {len(filled)} strata",
            hint="Ask for at least one row a stratum",
        )
    least = min(minimum, requested // max(len(filled), 1))

    def drawn(fraction: float) -> dict[str, int]:
        return {name: min(size, max(least, int(np.ceil(fraction * size)))) for name, size in filled.items()}

    low, high = 0.0, 1.0
    if sum(drawn(1.0).values()) <= requested:
        low = 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(drawn(middle).values()) <= requested else (low, middle)
    strata = tuple(
        Stratum(name, filled[name], count, least > int(np.ceil(low * filled[name])) and count < filled[name])
        for name, count in drawn(low).items()
    )
    return SamplePlan(strata, requested)


def sample_keys(ids: pa.Array | pa.ChunkedArray, seed: int) -> npt.NDArray[np.uint64]:
    """A keyed hash of each id, uint64: the order in which rows are drawn."""
    import xxhash

    digest = xxhash.xxh3_64_intdigest
    return np.fromiter(
        (digest(text.encode("utf-8"), seed=seed) for text in ids.to_pylist()), np.uint64, len(ids)
    )


def draw_sample(
    keys: npt.NDArray[np.uint64], strata: npt.NDArray[np.integer[Any]], plan: SamplePlan
) -> npt.NDArray[np.int64]:
    """The rows to look at, ascending: in stratum number h those with the `plan.strata[h].drawn` smallest keys."""
    chosen = [np.zeros(0, dtype=np.int64)]
    for number, stratum in enumerate(plan.strata):
        rows = np.flatnonzero(strata == number)
        if len(rows) > stratum.drawn:
            rows = rows[np.argsort(keys[rows], kind="stable")[: stratum.drawn]]
        chosen.append(rows)
    return np.sort(np.concatenate(chosen))


def _pooled(strata: Sequence[Stratum], found: Sequence[int], confidence: float) -> tuple[float, float]:
    """Limits for the share of wrong rows in strata that are one group."""
    trials, hits = sum(one.drawn for one in strata), sum(found)
    size = sum(one.size for one in strata)
    low, high = clopper_pearson(hits, trials, confidence)
    if len(strata) > 1:
        tail = (1.0 - confidence) / 2.0
        low = min(low, tail / trials) if hits == 1 else low
        high = max(high, 1.0 - tail / trials) if hits == trials - 1 else high
    # A stratum's share of the rows over its share of the draws: 1 but for the rounding of the fraction.
    tilt = [one.size / size / (one.drawn / trials) for one in strata]
    return max(0.0, 1.0 - max(tilt) * (1.0 - low), low * min(tilt)), min(
        1.0, high * max(tilt), 1.0 - min(tilt) * (1.0 - high)
    )


def _limits(
    plan: SamplePlan, groups: Sequence[Sequence[int]], hits: Sequence[int], confidence: float
) -> tuple[float, float]:
    """Limits for the share of wrong rows of all strata: those of the groups, which share the error, by their weight."""
    size, strata = plan.size, plan.strata
    each = confidence ** (1.0 / max(len(groups), 1))
    low = high = sum(x for x, one in zip(hits, strata, strict=True) if one.drawn == one.size) / max(size, 1)
    for group in groups:
        weight = sum(strata[at].size for at in group) / size
        limits = _pooled([strata[at] for at in group], [hits[at] for at in group], each)
        low, high = low + weight * limits[0], high + weight * limits[1]
    return low, high


def _grouped(plan: SamplePlan, confidence: float) -> list[list[int]]:
    """Which strata are one group. Two ways are right whatever the data: strata with a fraction of their own apart, or all
    together, the limits widened by how unequal the fractions are.

    The one is taken that would say more if nothing, or every twentieth row, were found wrong: a choice by the plan alone, which
    costs no confidence.
    """
    open_strata = [at for at, one in enumerate(plan.strata) if one.drawn < one.size]
    apart = [[at] for at in open_strata if plan.strata[at].own]
    rest = [at for at in open_strata if not plan.strata[at].own]
    apart += [rest] if rest else []
    together = [open_strata] if open_strata else []

    def width(groups: list[list[int]]) -> float:
        total = 0.0
        for share in (0.0, 0.05):
            low, high = _limits(plan, groups, [round(share * one.drawn) for one in plan.strata], confidence)
            total += high - low
        return total

    return min((apart, together), key=width)


def estimate_rate(plan: SamplePlan, found: Mapping[str, int], *, confidence: float = 0.95) -> RateEstimate:
    """The share of wrong contents, from how many of each stratum's sampled rows are wrong."""
    size, strata = plan.size, plan.strata
    hits = [found.get(one.name, 0) for one in strata]
    groups = _grouped(plan, confidence)
    low, high = _limits(plan, groups, hits, confidence)
    # What was seen is certain: so many rows are wrong, and so many are right.
    low = max(low, sum(hits) / max(size, 1))
    high = min(high, 1.0 - (plan.drawn - sum(hits)) / max(size, 1))
    rate = sum(one.size / size * x / one.drawn for one, x in zip(strata, hits, strict=True)) if size else 0.0
    method = (
        "every content read"
        if plan.drawn == size
        else f"stratified sample without replacement ({len(strata)} strata, {len(groups)} groups), expansion estimate, "
        "Clopper–Pearson limits a group, combined by weight (conservative)"
        if len(groups) > 1 or len(strata) > 1
        else "simple random sample without replacement, Clopper–Pearson interval"
    )
    rates = tuple(
        StratumRate(
            one.name,
            one.size,
            one.drawn,
            x,
            *(
                (x / one.size, x / one.size)
                if one.drawn == one.size
                else clopper_pearson(x, one.drawn, confidence)
            ),
        )
        for one, x in zip(strata, hits, strict=True)
    )
    return RateEstimate(rate, low, high, confidence, size, plan.drawn, sum(hits), rates, method)
