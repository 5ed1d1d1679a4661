"""Several intervals into one: the limits of a weighted sum from the limits of its independent terms (MOVER).

Zou and Donner (Statistics in Medicine 27, 2008): each limit of the sum lies as far from the estimate as the limits of
the terms on that side, added as lengths of right angles are. What the terms' intervals do well, leaning and staying
inside a scale, the sum's does too; and the interval of a single term is that term's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Interval = tuple[float, float]


def weighted_sum(values: Sequence[float], intervals: Sequence[Interval], weights: Sequence[float]) -> Interval:
    """Interval of the sum of ``weights`` times ``values``; the weights are positive."""
    centre = below = above = 0.0
    for value, (low, high), weight in zip(values, intervals, weights, strict=True):
        centre += weight * value
        below += (weight * max(0.0, value - low)) ** 2
        above += (weight * max(0.0, high - value)) ** 2
    return centre - math.sqrt(below), centre + math.sqrt(above)


def mean(values: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """Interval of the mean of independent ``values``."""
    if len(values) == 1:
        return intervals[0]
    return weighted_sum(values, intervals, [1 / len(values)] * len(values))


def harmonic_mean(first: float, first_interval: Interval, second: float, second_interval: Interval) -> Interval:
    """Interval of 2 / (1 / first + 1 / second), both independent and not negative.

    The limits of a reciprocal are the reciprocals of the limits, so the sum of the two is a weighted sum again.
    """
    values = [1 / first if first > 0 else math.inf, 1 / second if second > 0 else math.inf]
    if math.inf in values:  # one of them is nothing: the mean is 0 and at most what the upper limits allow
        return 0.0, _harmonic(first_interval[1], second_interval[1])
    turned = [(1 / high, 1 / low if low > 0 else math.inf) for low, high in (first_interval, second_interval)]
    low, high = weighted_sum(values, turned, [0.5, 0.5])
    return (0.0 if math.isinf(high) else 1 / high), (
        1 / low if low > 0 else _harmonic(first_interval[1], second_interval[1])
    )


def _harmonic(first: float, second: float) -> float:
    return 2 * first * second / (first + second) if first + second > 0 else 0.0
