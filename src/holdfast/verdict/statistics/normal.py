"""Quantiles: the normal one from the standard library, Student's from scipy only when it is asked for."""

from __future__ import annotations

from statistics import NormalDist

_NORMAL = NormalDist()


def normal_quantile(probability: float) -> float:
    """The standard normal quantile."""
    return _NORMAL.inv_cdf(probability)


def student_quantile(probability: float, degrees: float) -> float:
    """Student's t quantile; the normal one from 10,000 degrees on, where they agree to three decimals."""
    if degrees >= 10_000:
        return normal_quantile(probability)
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))
