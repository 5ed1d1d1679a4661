"""E, F, O and H over the tasks, with the bootstrap draws of all tasks combined draw by draw.

E and F follow arXiv 2503.04543; H is that of LoRASculpt and SPIDER. H of raw scores mixes scales (a CIDEr of 120 and
an accuracy of 40), so the same four are also given for ratios to the base.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from holdfast.verdict.records import Estimate, Summary, TaskComparison
from holdfast.verdict.statistics.clusters import Floats
from holdfast.verdict.statistics.resampling import mean_of, percentile_interval


def summarise(tasks: Sequence[TaskComparison], means: Mapping[str, Floats], confidence: float) -> Summary:
    """Combine the tasks.

    Args:
        tasks: The compared tasks.
        means: Per task the bootstrap means before and after, [resamples, 2].
        confidence: Of the intervals.

    Returns:
        The summary; E, O and H are undefined without a target, F, O and H without a source, ratios where a base score
        is zero.
    """
    targets = [task for task in tasks if task.role == "target"]
    sources = [task for task in tasks if task.role == "source"]
    E = _Side(targets, means)
    F = _Side(sources, means)
    both = bool(targets and sources)

    def estimate(value: float | None, draws: NDArray[np.float64] | None) -> Estimate:
        if value is None or draws is None:
            return Estimate(None)
        return Estimate(value, percentile_interval(draws, confidence))

    def total(first: float | None, second: float | None) -> float | None:
        return None if first is None or second is None else first + second

    def harmony(first: float | None, second: float | None) -> float | None:
        if first is None or second is None:
            return None
        return 0.0 if first + second == 0 else 2 * first * second / (first + second)

    with np.errstate(divide="ignore", invalid="ignore"):
        H_draws = 2 * E.after_draws * F.after_draws / (E.after_draws + F.after_draws) if both else None
        ratio_H_draws = 2 * E.ratio_draws * F.ratio_draws / (E.ratio_draws + F.ratio_draws) if both else None
    return Summary(
        E=estimate(E.change, E.change_draws),
        F=estimate(F.change, F.change_draws),
        O=estimate(total(E.change, F.change), E.change_draws + F.change_draws if both else None),
        H=estimate(harmony(E.after, F.after), H_draws),
        H_before=harmony(E.before, F.before),
        ratios={
            "E": estimate(_less_one(E.ratio), E.ratio_draws - 1),
            "F": estimate(_less_one(F.ratio), F.ratio_draws - 1),
            "O": estimate(
                total(_less_one(E.ratio), _less_one(F.ratio)), E.ratio_draws + F.ratio_draws - 2 if both else None
            ),
            "H": estimate(harmony(E.ratio, F.ratio), ratio_H_draws),
        },
    )


class _Side:
    """The macro-averages of the targets, or of the sources."""

    def __init__(self, tasks: Sequence[TaskComparison], means: Mapping[str, Floats]) -> None:
        self.before = _mean([task.before for task in tasks])
        self.after = _mean([task.after for task in tasks])
        self.change = _mean([task.difference for task in tasks])
        ratios = [task.retention.value for task in tasks]
        known = [ratio for ratio in ratios if ratio is not None]
        self.ratio = _mean(known) if len(known) == len(ratios) else None
        draws = [means[task.name] for task in tasks] or [np.zeros((1, 2))]
        with np.errstate(divide="ignore", invalid="ignore"):
            self.after_draws = mean_of([draw[:, 1] for draw in draws])
            self.change_draws = mean_of([draw[:, 1] - draw[:, 0] for draw in draws])
            self.ratio_draws = mean_of([draw[:, 1] / draw[:, 0] for draw in draws])


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _less_one(ratio: float | None) -> float | None:
    return None if ratio is None else ratio - 1
