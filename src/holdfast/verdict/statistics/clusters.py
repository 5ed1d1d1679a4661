"""Questions that share an image are not independent: sums per cluster and the cluster-robust error of a mean.

Two questions on one picture stand or fall together when the model misreads the picture, so the independent unit of
every interval and test here is the image (Miller, 'Adding error bars to evals', arXiv 2411.00640, section 2.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holdfast.verdict.statistics.normal import student_quantile

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Clusters:
    """Per-cluster sums of the scores before and after.

    Attributes:
        size: Items of each cluster, float64 [clusters].
        before: Sum of the scores before, float64 [clusters].
        after: Sum of the scores after, float64 [clusters].
        n: All items.
    """

    size: Floats
    before: Floats
    after: Floats
    n: int

    @property
    def count(self) -> int:
        """How many independent units there are."""
        return len(self.size)

    @property
    def shared(self) -> bool:
        """Whether any two items share a cluster."""
        return self.count < self.n


def gather(before: Floats, after: Floats, keys: Sequence[str | None]) -> Clusters:
    """Sum scores over the items of each cluster.

    Args:
        before: Scores of the items before, [items].
        after: Scores of the same items after, [items].
        keys: Cluster of each item; an item without one is its own cluster.

    Returns:
        The clusters in a canonical order, so that nothing computed from them depends on the order of the items.
    """
    names: dict[str, int] = {}
    index = np.empty(len(before), dtype=np.int64)
    count = 0
    for position, key in enumerate(keys):
        if key is None:
            index[position] = count
            count += 1
            continue
        known = names.setdefault(key, count)
        index[position] = known
        count += known == count
    size = np.bincount(index, minlength=count).astype(np.float64)
    sums_before: Floats = np.bincount(index, weights=before, minlength=count).astype(np.float64)
    sums_after: Floats = np.bincount(index, weights=after, minlength=count).astype(np.float64)
    order = np.lexsort((sums_after, sums_before, size))
    return Clusters(size[order], sums_before[order], sums_after[order], len(before))


def standard_error(clusters: Clusters) -> float:
    """Cluster-robust standard error of the mean difference per item.

    se^2 = G / (G - 1) * sum_g (D_g - N_g d)^2 / N^2, with D_g the summed difference of cluster g, N_g its items, d the
    mean difference and G clusters; with one item a cluster it is the ordinary standard error of a paired mean.
    """
    if clusters.count < 2:
        return math.inf
    differences = clusters.after - clusters.before
    residuals = differences - clusters.size * (differences.sum() / clusters.n)
    correction = clusters.count / (clusters.count - 1)
    return math.sqrt(correction * float(residuals @ residuals)) / clusters.n


def student_interval(clusters: Clusters, confidence: float = 0.95) -> tuple[float, float]:
    """Mean difference plus and minus Student's t (clusters - 1 degrees) times the cluster-robust error."""
    centre = float((clusters.after - clusters.before).sum()) / clusters.n
    if clusters.count < 2:
        return -1.0, 1.0
    reach = student_quantile(0.5 + confidence / 2, clusters.count - 1) * standard_error(clusters)
    return centre - reach, centre + reach
