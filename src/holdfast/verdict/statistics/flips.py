"""Right and wrong, before and after: the exact McNemar test and the score interval of the paired difference."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

from holdfast.verdict.statistics.normal import normal_quantile

EXACT_UP_TO = 5_000
"""Flips up to which the binomial tail is summed in whole numbers; beyond, by logarithms (relative error 1e-9)."""


def mcnemar_exact(forgot: int, learned: int) -> float:
    """Two-sided exact McNemar p-value (binomial test of the flips against one half).

    Args:
        forgot: Items right before and wrong after.
        learned: Items wrong before and right after.

    Returns:
        min(1, 2 P(X <= min(forgot, learned))) with X ~ Binomial(forgot + learned, 1/2); 1 when nothing flipped, and
        never 0.
    """
    flips, fewer = forgot + learned, min(forgot, learned)
    if flips == 0:
        return 1.0
    if flips <= EXACT_UP_TO:
        term = total = 1
        for k in range(1, fewer + 1):
            term = term * (flips - k + 1) // k
            total += term
        return min(1.0, max(float(2 * total / 2**flips), sys.float_info.min))
    log_term = math.lgamma(flips + 1) - math.lgamma(fewer + 1) - math.lgamma(flips - fewer + 1) - flips * math.log(2)
    share = ratio_sum = 1.0
    for k in range(fewer, 0, -1):
        share *= k / (flips - k + 1)
        ratio_sum += share
        if share < 1e-17 * ratio_sum:
            break
    return min(1.0, max(2 * math.exp(log_term + math.log(ratio_sum)), sys.float_info.min))


def score_interval(learned: float, forgot: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of the paired difference of proportions, (learned - forgot) / n.

    It inverts the score test with the nuisance parameter at its constrained maximum (Tango, Statistics in Medicine
    17, 1998), and so keeps a sensible width when nothing flips, where Wald and bootstrap intervals collapse.

    Args:
        learned: Items wrong before and right after; need not be whole.
        forgot: Items right before and wrong after.
        n: All items, positive.
        confidence: Two-sided coverage.

    Returns:
        Lower and upper limit as shares, -1 to 1.
    """
    return score_limits(learned, forgot, n, normal_quantile(0.5 + confidence / 2))


def score_limits(learned: float, forgot: float, n: float, reach: float) -> tuple[float, float]:
    """Where the score statistic is ``reach``, a quantile, on either side; see :func:`score_interval`."""
    difference = (learned - forgot) / n

    def excess(candidate: float) -> float:
        return _score_statistic(learned, forgot, n, candidate) - reach

    def shortfall(candidate: float) -> float:
        return _score_statistic(learned, forgot, n, candidate) + reach

    lower = -1.0 if difference <= -1.0 else _root(excess, -1.0, difference)
    upper = 1.0 if difference >= 1.0 else _root(shortfall, difference, 1.0)
    return lower, upper


def _score_statistic(learned: float, forgot: float, n: float, candidate: float) -> float:
    numerator = learned - forgot - n * candidate
    b = (2 * n - learned + forgot) * candidate - learned - forgot
    c = -forgot * candidate * (1 - candidate)
    nuisance = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    variance = n * (2 * nuisance + candidate * (1 - candidate))
    if variance <= 0.0:
        return math.copysign(math.inf, numerator) if numerator else 0.0
    return numerator / math.sqrt(variance)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """The root of a falling function, to the last bits that matter in points.

    False position in the Illinois variant (Dowell and Jarratt, BIT 11, 1971); every third step halves, so that neither
    a pole nor a jump at an end of the scale holds it up.
    """
    above, below = function(low), function(high)
    last = 0
    for step in range(120):
        middle = (low + high) / 2
        if step % 3 < 2 and math.isfinite(above - below) and above > below:
            middle = min(max(low + above / (above - below) * (high - low), low), high)
        value = function(middle)
        if abs(value) < 1e-13 or high - low < 1e-15:
            return middle
        if value > 0:
            low, above = middle, value
            below = below / 2 if last > 0 else below
            last = 1
        else:
            high, below = middle, value
            above = above / 2 if last < 0 else above
            last = -1
    return (low + high) / 2
