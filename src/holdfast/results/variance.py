"""The variance of a mean over items and over repeated trainings, and what an interval makes of it.

A study asks the same items of every seed, so that items and seeds are crossed: an item that is hard for one training is
hard for the next. The mean over both has the variance of the two-way random-effects model,

    V = V_items + V_seeds - V_both,

where V_items is the cluster-robust variance of the seeds' mean over images, V_seeds the variance of the seeds' means
over their number, and V_both the part that each of the two holds already. Three seeds alone know their spread badly
(Student's t with two degrees of freedom multiplies it by 4.3). The spreads of all cells of the study are therefore
taken as draws from one distribution, fitted to them, and each is weighed with it as far as that distribution is narrow
(Smyth, Statistical Applications in Genetics and Molecular Biology 3, 2004), but never taken for less than it showed
itself: an unsteady recipe among steady ones would otherwise look steady. ``docs/statistics.md`` holds the simulated
coverage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from holdfast.results.items import Floats
from holdfast.verdict.statistics.normal import student_quantile

Interval = tuple[float, float]
Basis = Literal["items and seeds", "seeds", "items", "nothing"]

MOST_PRIOR = 4.0
"""Degrees of freedom that the study's other cells may lend to one: few cells look more alike than they are."""


@dataclass(frozen=True)
class Effect:
    """A mean, or a difference of means, in points.

    Attributes:
        value: The estimate.
        error: Its standard error; ``None`` where nothing is known of it.
        freedom: Degrees of freedom of the error.
        basis: What the error carries.
        seeds: Trainings a recipe and condition, on average.
    """

    value: float
    error: float | None
    freedom: float
    basis: Basis
    seeds: float

    def interval(self, confidence: float = 0.95) -> Interval | None:
        """Two-sided."""
        if self.error is None:
            return None
        reach = student_quantile(0.5 + confidence / 2, max(1.0, self.freedom)) * self.error
        return self.value - reach, self.value + reach

    def above(self, bound: float) -> float:
        """One-sided p-value of the hypothesis that the truth is at most ``bound``."""
        if self.error is None:
            return 1.0
        if self.error == 0:
            return 0.0 if self.value > bound else 1.0
        return _upper_tail((self.value - bound) / self.error, self.freedom)

    def below(self, bound: float) -> float:
        """One-sided p-value of the hypothesis that the truth is at least ``bound``."""
        return replace(self, value=-self.value).above(-bound)

    @property
    def repeated(self) -> bool:
        """Whether the error carries seeds: without, it says nothing of what another training would do."""
        return self.basis in ("items and seeds", "seeds")

    def p_value(self, at: float = 0.0) -> float:
        """Two-sided."""
        return min(1.0, 2 * min(self.above(at), self.below(at)))


def _upper_tail(t: float, freedom: float) -> float:
    from scipy.special import stdtr

    return float(stdtr(min(max(1.0, freedom), 1e6), -t))


@dataclass(frozen=True)
class Prior:
    """What the spreads over seeds of a study have in common.

    Attributes:
        variance: Of one training, in squared points.
        freedom: How much it counts, in degrees of freedom; 0: nothing is known.
    """

    variance: float = 0.0
    freedom: float = 0.0


def fit_prior(variances: Sequence[float], degrees: Sequence[int]) -> Prior:
    """Fit the distribution of the spreads to those seen, by the moments of their logarithms.

    Args:
        variances: Over the seeds of each cell, in squared points; zeros are passed over.
        degrees: Seeds less one of each.
    """
    pairs = [(v, d) for v, d in zip(variances, degrees, strict=True) if v > 1e-12 and d >= 1]
    if len(pairs) < 3:
        return Prior()
    from scipy.special import digamma, polygamma

    seen = np.array([v for v, _ in pairs])
    half = np.array([d for _, d in pairs]) / 2
    logs = np.log(seen) - digamma(half) + np.log(half)
    excess = float(logs.var(ddof=1) - polygamma(1, half).mean())
    most = min(MOST_PRIOR, float(2 * half.sum()) / 2)
    if excess <= 0:
        return Prior(math.exp(float(logs.mean())), most)
    freedom = 2 * _inverse_trigamma(excess)
    variance = math.exp(float(logs.mean() + digamma(freedom / 2) - math.log(freedom / 2)))
    return Prior(variance, min(most, freedom))


def _inverse_trigamma(value: float) -> float:
    """The x whose trigamma is ``value``, by Newton's method on its reciprocal."""
    from scipy.special import polygamma

    x = 0.5 + 1 / value
    for _ in range(50):
        slope = polygamma(1, x)
        step = float(slope * (1 - slope / value) / polygamma(2, x))
        x += step
        if abs(step) < 1e-9 * x:
            break
    return x


@dataclass(frozen=True)
class SeedPart:
    """The spread over seeds of one condition, in one contrast or in several at once.

    Attributes:
        weight: Of the condition's mean in the whole.
        seeds: How many.
        variance: Of each contrast over the seeds, in squared points, [contrasts].
        prior: What the prior says it should be, [contrasts].
    """

    weight: float
    seeds: int
    variance: Floats
    prior: Floats


def errors(
    seeds: Sequence[SeedPart],
    prior_freedom: float,
    *,
    items: Floats | None,
    items_freedom: float,
    both: Floats | float,
) -> tuple[Floats, Floats, Basis]:
    """Put the parts of some contrasts together.

    Args:
        seeds: One part a condition.
        prior_freedom: Degrees of freedom of the prior.
        items: Variance over items, [contrasts]; ``None`` where they are not known.
        items_freedom: Its degrees of freedom.
        both: The part that items and seeds share, [contrasts].

    Returns:
        Standard errors, not a number where nothing is known, and their degrees of freedom, both [contrasts]; and what
        the errors carry.
    """
    over_seeds = np.zeros_like(seeds[0].variance)
    lost = np.zeros_like(over_seeds)
    if items is not None and not np.isfinite(items).all():
        items = None
    if any(part.seeds - 1 + prior_freedom <= 0 for part in seeds):
        if items is None:
            return over_seeds * np.nan, over_seeds + 1, "nothing"
        return np.sqrt(items), over_seeds + items_freedom, "items"
    for part in seeds:
        freedom = part.seeds - 1 + prior_freedom
        spread = np.maximum(part.variance, (prior_freedom * part.prior + (part.seeds - 1) * part.variance) / freedom)
        share = part.weight**2 * spread / part.seeds
        over_seeds = over_seeds + share
        lost = lost + share**2 / freedom
    basis: Basis = "seeds"
    total = over_seeds
    if items is not None:
        basis = "items and seeds"
        total = np.maximum(items, over_seeds + np.maximum(0.0, items - both))
        lost = lost + items**2 / items_freedom
    elif not over_seeds.any():
        return over_seeds * np.nan, over_seeds + 1, "nothing"
    known = np.where(total > 0, total, np.nan)
    freedoms = np.where(lost > 0, known**2 / np.where(lost > 0, lost, 1.0), math.inf)
    return np.sqrt(known), np.where(np.isnan(freedoms), 1.0, freedoms), basis


def p_values(values: Floats, error: Floats, freedoms: Floats) -> Floats:
    """Two-sided p-values of no effect, 1 where the error is not known; all [contrasts]."""
    from scipy.special import stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(error > 0, np.abs(values) / error, np.where(values == 0, 0.0, math.inf))
    tail: Floats = np.minimum(1.0, 2 * stdtr(np.clip(freedoms, 1.0, 1e6), -t))
    return np.where(np.isnan(error), 1.0, tail)


def as_effect(value: float, error: float, freedom: float, basis: Basis, seeds: float) -> Effect:
    """One contrast of :func:`errors`."""
    if math.isnan(error):
        return Effect(value, None, 1.0, "nothing", seeds)
    return Effect(value, error, freedom, basis, seeds)
