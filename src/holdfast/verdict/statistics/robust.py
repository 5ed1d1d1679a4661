"""The cluster-robust variance of a mean, without the bias that few clusters bring, and its degrees of freedom.

CR2 and its degrees of freedom are Bell and McCaffrey's (Survey Methodology 28, 2002), for a model with an intercept
only: cluster g has leverage N_g / N, so its residual is divided by sqrt(1 - N_g / N), and the degrees of freedom are
Satterthwaite's for independent items of equal variance. Both have closed forms there, and with one item a cluster they
are the ordinary variance of a mean and n - 1.
"""

from __future__ import annotations

import math

import numpy as np

from holdfast.verdict.statistics.clusters import Floats


def robust_variance(sums: Floats, size: Floats) -> float:
    """Variance of the mean per item.

    Args:
        sums: Summed values of each cluster, [clusters].
        size: Items of each cluster, [clusters].

    Returns:
        sum_g (S_g - N_g m)^2 / (1 - N_g / N) / N^2, m being the mean per item; infinite for a single cluster.
    """
    return robust_covariance(sums, sums, size)


def robust_covariance(first: Floats, second: Floats, size: Floats) -> float:
    """Covariance of two means per item over the same clusters; see :func:`robust_variance`."""
    if len(size) < 2:
        return math.inf
    n = float(size.sum())
    left = first - size * (float(first.sum()) / n)
    right = second - size * (float(second.sum()) / n)
    return float((left * right / (1 - size / n)).sum()) / n**2


def degrees_of_freedom(size: Floats) -> float:
    """Bell and McCaffrey's degrees of freedom of :func:`robust_variance`; clusters - 1 where all are of one size."""
    if len(size) < 2:
        return 1.0
    n = float(size.sum())
    weights = size**2 / (1 - size / n)
    crossed = (float(weights.sum()) ** 2 - float(weights @ weights)) / n**2
    return n**2 / (float(size @ size) + crossed)


def item_variance(squares: float, total: float, n: int) -> float:
    """Variance of the mean if all items were independent, from the sum of squares and the sum of the values."""
    return max(0.0, squares - total**2 / n) / (n * max(1, n - 1))


def combined_degrees(spreads: Floats, degrees: Floats) -> float:
    """Satterthwaite's degrees of freedom of a sum of independent terms.

    Args:
        spreads: Standard error of each term, [terms].
        degrees: Degrees of freedom of each, infinity allowed, [terms].
    """
    variances = spreads**2
    total = float(variances.sum())
    lost = float((variances**2 / degrees).sum())
    return math.inf if lost <= 0 else float(np.divide(total**2, lost))
