"""Intervals of a change, of a score and of a ratio, all on the effective number of items.

The effective number of items is what the sample is worth: the number of independent items whose trinomial (of a change)
or binomial (of a score) variance equals the cluster-robust variance that is seen. Score intervals on that number stay
inside the scale, lean the right way when few items flip, and keep an honest width when none does; for 0/1 scores on
images of their own they are Tango's and Wilson's. The design effect as a divisor of the counts is Rao and Scott's
(Biometrics 48, 1992). `docs/statistics.md` holds the coverage of each, simulated.
"""

from __future__ import annotations

import math

from holdfast.verdict.statistics.clusters import Clusters
from holdfast.verdict.statistics.flips import score_limits
from holdfast.verdict.statistics.normal import normal_quantile, student_quantile
from holdfast.verdict.statistics.robust import degrees_of_freedom, item_variance, robust_covariance, robust_variance

Interval = tuple[float, float]

SMALLEST_DESIGN_EFFECT = 0.1
"""Images whose sums happen to agree would otherwise claim any precision."""

PRIOR_UNITS = 0.5
"""Graded scores near the end of their scale: the variance seen on the few images that differ counts together with the
largest possible one, as if so many images had shown it."""


def degrees(clusters: Clusters, *, binary: bool) -> float:
    """Degrees of freedom of the task's intervals: none are spent where 0/1 scores of single items fix the variance."""
    return math.inf if binary and not clusters.shared else degrees_of_freedom(clusters.size)


def quantile(confidence: float, freedom: float) -> float:
    """Of a two-sided interval: Student's, or the normal one with infinite ``freedom``."""
    share = 0.5 + confidence / 2
    return normal_quantile(share) if math.isinf(freedom) else student_quantile(share, freedom)


def change_interval(clusters: Clusters, reach: float, *, binary: bool, top: float = 1.0) -> Interval:
    """Score interval of the mean difference.

    Args:
        clusters: The task's.
        reach: The quantile, from :func:`quantile`.
        binary: Whether all scores are 0 or 1.
        top: The largest possible score.

    Returns:
        Limits within -top and top.
    """
    if clusters.count < 2:
        return -top, top
    risen, fallen, n = clusters.risen / top, clusters.fallen / top, clusters.n
    items = effective_items(clusters, binary=binary, top=top)
    low, high = score_limits(risen * items / n, fallen * items / n, items, reach)
    return low * top, high * top


def effective_items(clusters: Clusters, *, binary: bool, top: float = 1.0) -> float:
    """How many independent items with the same rises and falls would be as uncertain."""
    n = clusters.n
    if binary and not clusters.shared:
        return float(n)
    mean = (clusters.risen - clusters.fallen) / top / n
    trinomial = max(0.0, (clusters.risen + clusters.fallen) / top - n * mean**2) / (n * max(1, n - 1))
    apart = item_variance(clusters.squares[2], clusters.risen - clusters.fallen, n)
    seen = max(robust_variance(clusters.change, clusters.size), SMALLEST_DESIGN_EFFECT * apart) / top**2
    if trinomial <= 1e-15 or seen <= 1e-15:
        return float(clusters.count)  # no spread is seen: the independent units are all that is known
    return n * trinomial / seen


def level_interval(clusters: Clusters, reach: float, *, top: float = 1.0) -> Interval:
    """Wilson's interval of the mean score after.

    Args:
        clusters: The task's.
        reach: The quantile.
        top: The largest possible score.

    Returns:
        Limits within 0 and top.
    """
    if clusters.count < 2:
        return 0.0, top
    n, total = clusters.n, float(clusters.after.sum())
    share = min(1.0, max(0.0, total / n / top))
    binomial = share * (1 - share) / max(1, n - 1)
    alike = design_effect(clusters)
    seen = item_variance(clusters.squares[1], total, n) / top**2 * alike
    if seen < binomial:
        differing = clusters.count * min(share, 1 - share)
        seen += (binomial - seen) * PRIOR_UNITS / (differing + PRIOR_UNITS)
    items = n / alike if binomial <= 1e-15 or seen <= 1e-15 else n * binomial / seen
    shrunk = 1 + reach**2 / items
    middle = (share + reach**2 / (2 * items)) / shrunk
    half = reach / shrunk * math.sqrt(share * (1 - share) / items + reach**2 / (4 * items**2))
    return max(0.0, middle - half) * top, min(1.0, middle + half) * top


def design_effect(clusters: Clusters) -> float:
    """By how much the variance of the mean score after exceeds that of independent items.

    A few images with few mistakes on them say too little about how alike the questions on one image are, so the score
    before has its say (pooled, as in Rao and Scott 1992), but only to widen: a model that answers *yes* to everything
    is right on half of the questions on every image alike, and says nothing of one that looks.

    Returns:
        The larger of that of both sides together and that of the side after; items for each image where neither side
        has any spread.
    """
    if not clusters.shared:
        return 1.0
    sides = ((clusters.before, clusters.squares[0]), (clusters.after, clusters.squares[1]))
    apart = [item_variance(squares, float(sums.sum()), clusters.n) for sums, squares in sides]
    if sum(apart) <= 1e-15:
        return clusters.n / clusters.count
    seen = [robust_variance(sums, clusters.size) for sums, _ in sides]
    own = seen[1] / apart[1] if apart[1] > 1e-15 else 1.0
    return max(sum(seen) / sum(apart), own, SMALLEST_DESIGN_EFFECT)


def ratio_interval(clusters: Clusters, reach: float, *, top: float = 1.0) -> Interval | None:
    """Fieller's interval of the ratio of the means, after over before.

    The change is never taken to be surer than a single flip would show it: where nothing flipped, all variances cancel
    and the interval would be a point.

    Args:
        clusters: The task's.
        reach: The quantile.
        top: The largest possible score.

    Returns:
        ``None`` where the score before is not clearly above zero, so that the ratio has no upper limit.
    """
    if clusters.count < 2:
        return None
    n, size = clusters.n, clusters.size
    after, before = float(clusters.after.sum()) / n, float(clusters.before.sum()) / n
    unseen = top**2 / (n * clusters.count) - robust_variance(clusters.change, size)
    of_after = robust_variance(clusters.after, size) + max(0.0, unseen)
    of_before = robust_variance(clusters.before, size)
    of_both = robust_covariance(clusters.after, clusters.before, size)
    a = before**2 - reach**2 * of_before
    b = before * after - reach**2 * of_both
    c = after**2 - reach**2 * of_after
    if a <= 0:
        return None
    root = math.sqrt(max(0.0, b * b - a * c))
    return max(0.0, (b - root) / a), (b + root) / a
