"""Several tasks, small sets and 'no loss' claims: Holm's correction, the detectable effect, non-inferiority."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.verdict.statistics.normal import normal_quantile


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the given order; they bound the chance of any false alarm."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def detectable_effect(error: float, n: int, *, level: float = 0.05, power: float = 0.8, binary: bool = True) -> float:
    """The smallest true difference a test at ``level`` finds with ``power``.

    (z_(1 - level/2) + z_power) times the standard error of the difference. For 0/1 scores never less than six items:
    five flips, all one way, still have p = 1/16.

    Args:
        error: (Cluster-robust) standard error of the mean difference, as a share.
        n: Items.
        level: Two-sided level.
        power: Wanted power.
        binary: Whether the scores are 0/1.

    Returns:
        A share, at most 1.
    """
    reach = (normal_quantile(1 - level / 2) + normal_quantile(power)) * error
    if binary or error == 0:  # without any spread the items themselves are the only measure
        fewest = 1
        while 2 * 0.5**fewest >= level:
            fewest += 1
        reach = max(reach, fewest / n)
    return min(1.0, reach)
