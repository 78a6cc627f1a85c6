"""The arithmetic under the hot spots: how surprising is it that so many damaged rows stand together?

Every question has one form. Of `total` rows `bad` are damaged; a part of `size` rows, named without looking at the damage,
holds `hits` of them. If the damage had fallen on the rows at random, `hits` would follow the hypergeometric distribution
(Fisher's exact test, one-sided). Three things are built on that:

1. `log_tail`: the p-value in log space. Successive terms of the tail shrink by a falling ratio, so first term / (1 - ratio)
   bounds the sum from above; far out, where decisions fall, the bound and the exact tail agree to a few per cent. Summing
   the tail itself costs time in proportion to its length and ends at 1e-308, where a million rows begin to be interesting.
2. `log_likelihood_ratio`: how much better "one rate inside, another outside" explains the damage than one rate for all
   (Kulldorff 1997, the Bernoulli model). P-values say whether; the likelihood ratio says which of several descriptions.
3. Control over all tests of a run. Values too small to reach significance whatever the damage are no tests at all (Tarone
   1990, here `can_be_hot`), so a field with a million names costs nothing. Among the rest the false-discovery rate is held
   by Benjamini and Yekutieli's procedure (2001), which allows any dependence between the tests; on a set without any hot
   spot it is at the same time a bound on the chance of a single false claim.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "Floats",
    "Ints",
    "by_adjust",
    "can_be_hot",
    "log_likelihood_ratio",
    "log_tail",
    "smallest_log_p",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def _log_choose(n: Any, k: Any) -> Any:
    from scipy.special import gammaln

    return gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)


def log_tail(hits: Any, size: Any, bad: Any, total: Any) -> Floats:
    """Log of an upper bound on P(X >= hits), X hypergeometric: `size` drawn from `total` rows of which `bad` are damaged.

    Arguments are broadcast against each other; all counts, `hits <= min(size, bad)`. At or below the mode the bound is 0 (p = 1).
    """
    hits, size, bad, total = (np.asarray(x, dtype=np.float64) for x in (hits, size, bad, total))
    ratio = (bad - hits) * (size - hits) / ((hits + 1.0) * np.maximum(total - bad - size + hits + 1.0, 1.0))
    first = _log_choose(bad, hits) + _log_choose(total - bad, size - hits) - _log_choose(total, size)
    beyond_mode = (ratio < 1.0) & (hits * total > size * bad)
    bound = first - np.log1p(-np.where(beyond_mode, ratio, 0.0))
    return np.asarray(np.where(beyond_mode, np.minimum(bound, 0.0), 0.0), dtype=np.float64)


def smallest_log_p(size: Any, bad: int, total: int) -> Floats:
    """Log of the smallest p-value that a part of `size` rows could reach: all its rows damaged, or all damage in it."""
    size = np.asarray(size, dtype=np.float64)
    return log_tail(np.minimum(size, bad), size, bad, total)


def log_likelihood_ratio(hits: Any, size: Any, bad: Any, total: Any) -> Floats:
    """Log-likelihood, in nats, gained by a higher rate of damage inside; 0 where the rate inside is not higher.

    Source: M. Kulldorff, "A spatial scan statistic", Communications in Statistics 26 (1997), Bernoulli model.
    """
    from scipy.special import rel_entr

    hits, size, bad, total = (np.asarray(x, dtype=np.float64) for x in (hits, size, bad, total))
    outside, rest = bad - hits, total - size
    inside = rel_entr(hits, size) + rel_entr(size - hits, size)
    gained = (
        inside
        + rel_entr(outside, rest)
        + rel_entr(rest - outside, rest)
        - rel_entr(bad, total)
        - rel_entr(total - bad, total)
    )
    return np.asarray(np.where(hits * total > size * bad, np.maximum(gained, 0.0), 0.0), dtype=np.float64)


def can_be_hot(families: Iterable[tuple[Floats, Ints]], level: float) -> tuple[float, int]:
    """Which parts of a run can be hot at all: (log of the limit on their smallest p-value, how many they are).

    `families`: for each family of parts the smallest log p-values and how many parts have each. The limit is the largest
    `level / K` that at most K parts can undercut, after R. E. Tarone, "A modified Bonferroni method for discrete data",
    Biometrics 46 (1990). It depends on sizes alone, never on where the damage lies, so the choice costs no validity.
    """
    pairs = [(low, count) for low, count in families if len(low)]
    if not pairs:
        return float(np.log(level)), 0
    low = np.concatenate([pair[0] for pair in pairs])
    count = np.concatenate([pair[1] for pair in pairs])
    order = np.argsort(low, kind="stable")
    low, running = low[order], np.cumsum(count[order])
    # K = running[i] serves when the next part up could not reach level / K; the first such i gives the smallest K.
    following = np.append(low[1:], np.inf)
    serves = following > np.log(level) - np.log(np.maximum(running, 1))
    position = int(np.argmax(serves))
    tests = int(running[position])
    limit = float(np.log(level) - np.log(max(tests, 1)))
    return limit, int(count[order][low <= limit].sum())


def by_adjust(log_p: Floats, tests: int) -> Floats:
    """Log of Benjamini-Yekutieli adjusted p-values for the given ones out of `tests` tests; the rest count as p = 1.

    Source: Y. Benjamini, D. Yekutieli, "The control of the false discovery rate in multiple testing under dependency",
    Annals of Statistics 29 (2001), theorem 1.3.
    """
    if len(log_p) == 0:
        return np.zeros(0)
    tests = max(tests, len(log_p))
    harmonic = (
        float(np.sum(1.0 / np.arange(1, tests + 1)))
        if tests < 10_000
        else float(np.log(tests) + 0.5772156649015329)
    )
    harmonic += 0.0 if tests < 10_000 else 0.5 / tests
    order = np.argsort(log_p, kind="stable")
    stepped = log_p[order] + np.log(tests) + np.log(harmonic) - np.log(np.arange(1, len(log_p) + 1))
    adjusted = np.minimum(np.minimum.accumulate(stepped[::-1])[::-1], 0.0)
    out = np.empty(len(log_p))
    out[order] = adjusted
    return out
