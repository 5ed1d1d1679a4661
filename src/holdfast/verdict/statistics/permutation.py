"""Paired permutation test: under 'no change' before and after may be swapped, cluster by cluster.

The statistic is the summed difference. Its null distribution is exact wherever scores lie on a common grid (0/1,
tenths of VQA accuracy, acc+...), because clusters with the same absolute difference m contribute m (2 B - k) with
B ~ Binomial(k, 1/2), and few distinct m are left to convolve. For 0/1 scores of unclustered items this *is* the exact
McNemar test. Off the grid: all sign patterns when few clusters changed, else seeded random signs.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holdfast.verdict.statistics.flips import mcnemar_exact

GRIDS = (1, 2, 3, 4, 5, 10, 12, 20, 30, 60, 100, 1000)
LONGEST_TABLE = 4_000_000
ENUMERATE_UP_TO = 16
RESAMPLES = 19_999
MOST_SIGNS = 200_000_000
SMALLEST_BY_TRANSFORM = 1e-12
FEW_ALIKE = 32
"""Clusters of one magnitude up to which adding shifted tables is quicker than a convolution with mostly zeros."""


@dataclass(frozen=True)
class PermutationTest:
    """Two-sided p-value and how it was found: ``exact`` or ``N resamples``."""

    p_value: float
    method: str


def sign_flip_test(differences: NDArray[np.float64], seed: int = 0, *, resamples: int = RESAMPLES) -> PermutationTest:
    """Two-sided sign-flip test of summed differences.

    Args:
        differences: One summed difference per cluster, [clusters]; the order does not matter.
        seed: For the random signs, where they are needed.
        resamples: How many random sign patterns then; fewer for very many clusters.

    Returns:
        P(|sum of randomly signed differences| >= |observed sum|); with random signs the observed one counts in.
    """
    changed = differences[np.abs(differences) > 1e-9]
    if not len(changed):
        return PermutationTest(1.0, "exact")
    for grid in GRIDS:
        steps = changed * grid
        whole = np.rint(steps)
        if float(np.abs(steps - whole).max()) < 1e-6 * max(1.0, grid / 100):
            if np.abs(whole).sum() * 2 + 1 <= LONGEST_TABLE:
                return PermutationTest(_exact(whole.astype(np.int64)), "exact")
            break
    magnitudes = np.sort(np.abs(changed))
    observed = abs(math.fsum(changed))
    if len(magnitudes) <= ENUMERATE_UP_TO:
        return PermutationTest(_enumerated(magnitudes, observed), "exact")
    return _random(magnitudes, observed, seed, resamples)


def _exact(steps: NDArray[np.int64]) -> float:
    magnitudes, counts = np.unique(np.abs(steps), return_counts=True)
    observed = int(abs(steps.sum()))
    if len(magnitudes) == 1:
        count, net = int(counts[0]), observed // int(magnitudes[0])
        return mcnemar_exact((count - net) // 2, (count + net) // 2)
    common = int(np.gcd.reduce(magnitudes))
    table = np.ones(1)
    inaccurate = False
    for magnitude, count in zip((magnitudes // common).tolist(), counts.tolist(), strict=True):
        if count <= FEW_ALIKE:
            table = _shifted_sums(table, _half_binomial(count), 2 * magnitude)
            continue
        spread = np.zeros(2 * magnitude * count + 1)
        spread[:: 2 * magnitude] = _half_binomial(count)
        if min(len(spread), len(table)) < 256:
            table = np.convolve(table, spread)
        else:
            inaccurate = True
            table = _convolve(table, spread)
    centre, reach = len(table) // 2, observed // common
    if reach == 0:
        return 1.0
    p_value = 2 * float(np.sort(table[centre + reach :]).sum())
    # The transform's rounding noise is near 1e-16 an entry; without it only underflow is to be kept from zero.
    return min(1.0, max(p_value, SMALLEST_BY_TRANSFORM if inaccurate else sys.float_info.min))


def _half_binomial(count: int) -> NDArray[np.float64]:
    """Probabilities of 0..count heads of a fair coin."""
    k = np.arange(1, count + 1)
    logs = np.concatenate(([0.0], np.cumsum(np.log((count - k + 1) / k))))
    weights = np.exp(logs - logs.max())
    probabilities: NDArray[np.float64] = weights / weights.sum()
    return probabilities


def _shifted_sums(table: NDArray[np.float64], weights: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    total = np.zeros(len(table) + step * (len(weights) - 1))
    for place, weight in enumerate(weights.tolist()):
        total[place * step : place * step + len(table)] += weight * table
    return total


def _convolve(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    length = len(first) + len(second) - 1
    size = 1 << (length - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(first, size) * np.fft.rfft(second, size), size)[:length]
    clipped: NDArray[np.float64] = np.clip(product, 0.0, None)
    return clipped


def _enumerated(magnitudes: NDArray[np.float64], observed: float) -> float:
    sums = np.zeros(1)
    for magnitude in magnitudes:
        sums = np.concatenate((sums + magnitude, sums - magnitude))
    return float((np.abs(sums) >= observed - 1e-9).mean())


def _random(magnitudes: NDArray[np.float64], observed: float, seed: int, most: int) -> PermutationTest:
    resamples = int(min(most, max(1_999, MOST_SIGNS // len(magnitudes))))
    generator = np.random.default_rng([seed, 2])
    weights = magnitudes.astype(np.float32)
    total = float(weights.sum(dtype=np.float64))
    extreme = 0
    batch = max(1, 8_000_000 // len(magnitudes))
    for start in range(0, resamples, batch):
        rows = min(batch, resamples - start)
        bits = np.unpackbits(generator.integers(0, 256, (rows, -(-len(weights) // 8)), dtype=np.uint8), axis=1)
        sums = 2.0 * (bits[:, : len(weights)].astype(np.float32) @ weights).astype(np.float64) - total
        extreme += int((np.abs(sums) >= observed * (1 - 1e-6)).sum())
    return PermutationTest((extreme + 1) / (resamples + 1), f"{resamples} resamples")
