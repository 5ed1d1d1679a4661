"""Several intervals into one: of a weighted sum of tasks, and of the harmonic mean of two scores.

A sum is uncertain by less than its terms together, since they are seldom all at their limits at once. Yan and Su
(Statistics in Biopharmaceutical Research 2, 2010) therefore take every term's interval at one smaller quantile, chosen
so that the limits, simply added, are as wide as the error of the sum; what the terms' intervals do well, leaning and
staying inside a scale, the sum's does too, and tasks without a flip count by all their items together. The interval
of a single term is that term's. A harmonic mean is no sum: its limits come from those of both reciprocals (MOVER; Zou
and Donner, Statistics in Medicine 27, 2008).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from holdfast.verdict.statistics.intervals import Interval, quantile
from holdfast.verdict.statistics.robust import combined_degrees


@dataclass(frozen=True)
class Term:
    """One of the independent terms of a sum.

    Attributes:
        weight: What its value is multiplied by, positive.
        interval: From a quantile to the interval of its value.
        freedom: Degrees of freedom of that quantile; infinity is the normal one's.
    """

    weight: float
    interval: Callable[[float], Interval]
    freedom: float


def of_sum(terms: Sequence[Term], confidence: float) -> Interval:
    """Interval of the weighted sum of independent terms.

    Args:
        terms: At least one.
        confidence: Two-sided coverage.

    Returns:
        Sums of the limits at the quantile ``t * sqrt(sum w_i^2) / sum w_i``, with w_i the width of a term's weighted
        interval and t Student's quantile with Satterthwaite's degrees of freedom.
    """
    normal = quantile(confidence, math.inf)
    at_normal = [(term.weight, *term.interval(normal)) for term in terms]
    widths = np.array([weight * (high - low) for weight, low, high in at_normal])
    reach = quantile(confidence, combined_degrees(widths, np.array([term.freedom for term in terms])))
    total = float(widths.sum())
    if len(terms) > 1 and total > 0:
        reach *= math.sqrt(float(widths @ widths)) / total
    limits = [(term.weight, *term.interval(reach)) for term in terms]
    return sum(weight * low for weight, low, _ in limits), sum(weight * high for weight, _, high in limits)


def harmonic_mean(first: float, first_interval: Interval, second: float, second_interval: Interval) -> Interval:
    """Interval of 2 / (1 / first + 1 / second), both independent and not negative.

    The limits of a reciprocal are the reciprocals of the limits; those of half the sum of both lie as far from its
    value as both limits on that side, added as the lengths of right angles are.
    """
    lowest, highest = (_harmonic(first_interval[side], second_interval[side]) for side in (0, 1))
    if first <= 0 or second <= 0:  # one of them is nothing: the mean is 0 and at most what the upper limits allow
        return 0.0, highest
    value = (1 / first + 1 / second) / 2
    scores = ((first, first_interval), (second, second_interval))
    below = math.hypot(*(max(0.0, 1 / score - 1 / limits[1]) / 2 for score, limits in scores))
    high = 1 / (value - below) if value > below else highest
    if lowest <= 0:
        return 0.0, high
    above = math.hypot(*(max(0.0, 1 / limits[0] - 1 / score) / 2 for score, limits in scores))
    return 1 / (value + above), high


def _harmonic(first: float, second: float) -> float:
    return 2 * first * second / (first + second) if first + second > 0 else 0.0
