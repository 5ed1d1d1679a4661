"""Cluster bootstrap, one stratum a task, so that sources and targets are resampled together but apart.

Clusters with the same size and the same sums are interchangeable, so a resample is one multinomial draw over distinct
clusters: a 0/1 task of 100,000 items has four of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from holdfast.verdict.statistics.clusters import Clusters, Floats

RESAMPLES = 2_000
MULTINOMIAL_UP_TO = 2_000


def bootstrap_means(clusters: Clusters, task: str, *, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Means before and after under resampled clusters.

    Args:
        clusters: The task's clusters.
        task: Names the stratum: its draws do not depend on which other tasks are compared.
        resamples: Draws.
        seed: Same seed, same draws.

    Returns:
        float64 [resamples, 2]: mean score before and after, of the same resampled items.
    """
    generator = np.random.default_rng([seed, zlib.crc32(task.encode("utf-8"))])
    table = np.stack((clusters.size, clusters.before, clusters.after), axis=1)
    distinct, counts = np.unique(table, axis=0, return_counts=True)
    if len(distinct) <= MULTINOMIAL_UP_TO:
        draws = generator.multinomial(clusters.count, counts / counts.sum(), size=resamples)
        sums = draws @ distinct
    else:
        sums = np.empty((resamples, 3))
        for row in range(resamples):
            chosen = np.bincount(generator.integers(0, clusters.count, clusters.count), minlength=clusters.count)
            sums[row] = chosen @ table
    means: Floats = sums[:, 1:] / sums[:, :1]
    return means


def percentile_interval(draws: NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float] | None:
    """The middle share of the draws; ``None`` when any draw is undefined (a ratio to a zero base score)."""
    if not np.isfinite(draws).all():
        return None
    # np.quantile gives the same numbers, and imports numpy.ma for it: a twentieth of all of `holdfast compare`.
    shares = np.array([0.5 - confidence / 2, 0.5 + confidence / 2])
    low, high = np.interp(shares * (len(draws) - 1), np.arange(len(draws)), np.sort(draws))
    return float(low), float(high)


def mean_of(draws: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The macro-average over tasks, draw by draw."""
    average: NDArray[np.float64] = np.mean(np.stack(draws), axis=0)
    return average
