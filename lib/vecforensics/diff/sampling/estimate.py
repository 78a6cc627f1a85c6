"""From how many of the sampled contents are wrong to how many of all are, and how sure that is.

The rate is the stratified estimate, the sum of W * x / n with W the stratum's share of all rows. Its interval is built from
Clopper-Pearson intervals and never covers less than it says:
* strata with the same sampling fraction are one group: their hits together are a sum of independent Bernoulli trials with
  unequal chances (draws without replacement too: Vatutin & Mikhailov 1982), whose tails are within those of the binomial
  with the mean chance (Hoeffding 1956, theorem 4, from one below to one above the mean; the one case in between, a single hit
  or a single miss, is bounded by Markov's inequality). The small rounding of the fractions is allowed for;
* strata with a fraction of their own are a group each, or all strata are one group whose limits widen by how unequal the
  fractions are, whichever says more by the plan alone; a stratum that was read whole is known and has no interval;
* the groups share the error (Sidak: independent draws), and their limits are added up by weight.

A drawn row may be too young to be judged, or have nothing to be compared with. It is not left out, since most that are young
were only asked for their age because they look wrong: it counts as right in the lower limit and as wrong in the upper one, which
holds whatever it turns out to be (C. F. Manski, "Nonparametric bounds on treatment effects", 1990).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vecforensics.diff.sampling.plan import SamplePlan, Stratum
from vecforensics.errors import printable

__all__ = ["RateEstimate", "StratumRate", "clopper_pearson", "estimate_rate"]


@dataclass(frozen=True, slots=True)
class StratumRate:
    """What one stratum shows, with Clopper-Pearson limits of its own: how many of the drawn rows were found wrong, how many were
    too `young` to be judged, and how many had nothing to be compared with (`bare`)."""

    name: str
    size: int
    drawn: int
    found: int
    young: int
    bare: int
    low: float
    high: float

    @classmethod
    def of(cls, stratum: Stratum, found: int, young: int, bare: int, confidence: float) -> StratumRate:
        """What these counts say of a stratum."""
        name, size, drawn, most = stratum.name, stratum.size, stratum.drawn, found + young + bare
        if drawn == size:
            low, high = found / size, most / size
        else:
            low = clopper_pearson(found, drawn, confidence)[0]
            high = clopper_pearson(most, drawn, confidence)[1]
        return cls(name, size, drawn, found, young, bare, low, high)

    @property
    def most(self) -> int:
        """How many are wrong if all that could not be judged are."""
        return self.found + self.young + self.bare


@dataclass(frozen=True, slots=True)
class RateEstimate:
    """The estimated share of wrong contents among `size` rows, of which `drawn` were looked at.

    `rate` counts those that could not be judged as right, `most` as wrong. `low` and `high` hold the truth with `confidence`,
    whatever they are.
    """

    rate: float
    most: float
    low: float
    high: float
    confidence: float
    size: int
    strata: tuple[StratumRate, ...]
    method: str

    @property
    def drawn(self) -> int:
        return sum(one.drawn for one in self.strata)

    @property
    def found(self) -> int:
        return sum(one.found for one in self.strata)

    @property
    def young(self) -> int:
        return sum(one.young for one in self.strata)

    @property
    def bare(self) -> int:
        return sum(one.bare for one in self.strata)

    @property
    def is_exact(self) -> bool:
        return self.drawn == self.size

    def as_dict(self) -> dict[str, Any]:
        return {
            "rate": _rounded(self.rate),
            "rate_most": _rounded(self.most),
            "low": _rounded(self.low),
            "high": _rounded(self.high),
            "confidence": self.confidence,
            "rows": self.size,
            "sampled": self.drawn,
            "found": self.found,
            "pending": self.young,
            "unchecked": self.bare,
            "estimate": not self.is_exact,
            "method": self.method,
            "strata": [
                {
                    "name": one.name,
                    "rows": one.size,
                    "sampled": one.drawn,
                    "found": one.found,
                    "pending": one.young,
                    "unchecked": one.bare,
                    "low": _rounded(one.low),
                    "high": _rounded(one.high),
                }
                for one in self.strata
            ],
        }

    def __str__(self) -> str:
        unjudged = [f"{self.young:,} too young to be judged"] if self.young else []
        unjudged += [f"{self.bare:,} with nothing to be compared with"] if self.bare else []
        rate = f"{_share(self.rate)} to {_share(self.most)}" if unjudged else _share(self.rate)
        if self.is_exact:
            said = ", ".join([f"{self.found:,} are wrong", *unjudged])
            return f"all {self.size:,} contents were read: {said} ({rate})"
        said = ", ".join([f"{self.found:,} of {self.drawn:,} sampled contents are wrong", *unjudged])
        return (
            f"an estimate: {said}, which makes {rate} of {self.size:,} "
            f"(between {_share(self.low)} and {_share(self.high)}, confidence {self.confidence:.0%})"
        )

    def _repr_html_(self) -> str:
        from markupsafe import Markup

        rows = Markup("").join(
            Markup("<tr><td>{}</td>{}<td>{} – {}</td></tr>").format(
                printable(one.name),
                Markup("").join(
                    Markup("<td>{:,}</td>").format(count)
                    for count in (one.size, one.drawn, one.found, one.most - one.found)
                ),
                _share(one.low),
                _share(one.high),
            )
            for one in self.strata
        )
        titles = ("stratum", "rows", "sampled", "wrong", "not judged", "interval")
        head = Markup("<tr>{}</tr>").format(
            Markup("").join(Markup("<th>{}</th>").format(title) for title in titles)
        )
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


def estimate_rate(
    plan: SamplePlan,
    found: Mapping[str, int],
    *,
    young: Mapping[str, int] | None = None,
    bare: Mapping[str, int] | None = None,
    confidence: float = 0.95,
) -> RateEstimate:
    """The share of wrong contents, from how many of each stratum's sampled rows are wrong. `young`: how many are too young to be
    judged; `bare`: how many had nothing to be compared with."""
    rates = tuple(
        StratumRate.of(
            one,
            found.get(one.name, 0),
            (young or {}).get(one.name, 0),
            (bare or {}).get(one.name, 0),
            confidence,
        )
        for one in plan.strata
    )
    hits, most = [one.found for one in rates], [one.most for one in rates]
    size, groups = max(plan.size, 1), _grouped(plan, confidence)
    # What was seen is certain: so many rows are wrong, and so many are right.
    low = max(_limits(plan, groups, hits, confidence)[0], sum(hits) / size)
    high = min(_limits(plan, groups, most, confidence)[1], 1.0 - (plan.drawn - sum(most)) / size)
    method = (
        "every content read"
        if plan.drawn == plan.size
        else f"stratified sample without replacement ({len(rates)} strata, {len(groups)} groups), expansion estimate, "
        "Clopper–Pearson limits a group, combined by weight (conservative)"
        if len(groups) > 1 or len(rates) > 1
        else "simple random sample without replacement, Clopper–Pearson interval"
    )
    if unjudged := sum(most) - sum(hits):
        method += f"; {unjudged:,} sampled contents that could not be judged count as right in the lower limit and as wrong in "
        method += "the upper one"
    rate, rate_most = (
        sum(one.size / size * count / one.drawn for one, count in zip(rates, counts, strict=True))
        for counts in (hits, most)
    )
    return RateEstimate(rate, rate_most, low, high, confidence, plan.size, rates, method)
