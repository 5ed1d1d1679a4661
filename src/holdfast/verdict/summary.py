"""E, F, O and H over the tasks: their values, their intervals from those of the tasks, and what may be claimed.

E and F follow arXiv 2503.04543; H is that of LoRASculpt and SPIDER. H of raw scores mixes scales (a CIDEr of 120 and
an accuracy of 40), so the same four are also given for ratios to the base. Tasks are taken to be independent of each
other. With one target, E is that task's change, its interval and its claim; so is F with one source.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from holdfast.verdict.records import Estimate, Interval, Summary, TaskComparison
from holdfast.verdict.rule import Claim, agreeing, corrected, decide
from holdfast.verdict.statistics.clusters import Clusters
from holdfast.verdict.statistics.combining import harmonic_mean, mean, weighted_sum
from holdfast.verdict.statistics.intervals import change_interval, degrees, level_interval, quantile, ratio_interval
from holdfast.verdict.statistics.permutation import sign_flip_test
from holdfast.verdict.statistics.robust import combined_degrees


def conclude(
    tasks: Sequence[TaskComparison], clusters: Mapping[str, Clusters], *, confidence: float, seed: int, resamples: int
) -> tuple[list[TaskComparison], Summary]:
    """Combine the tasks, and decide by the one rule what may be said of each and of all.

    Args:
        tasks: The compared tasks, not yet decided.
        clusters: Their clusters by name.
        confidence: Of the intervals; 1 - confidence is the level of the rule.
        seed: Of the random signs of a test that cannot be exact.
        resamples: How many of those.

    Returns:
        The tasks with corrected p-values and verdicts; and the summary. E, O and H are undefined without a target, F, O
        and H without a source, E and F without one that can show what they measure, ratios where a base score is zero.
    """
    unchanged = all(task.unchanged for task in tasks)
    targets = [task for task in tasks if task.role == "target"]
    sources = [task for task in tasks if task.role == "source"]
    # Where nothing at all changed every figure is exactly 0, whatever the tasks could have shown.
    rising = [task for task in targets if unchanged or task.cannot_rise is None]
    falling = [task for task in sources if unchanged or task.cannot_fall is None]
    E, F = _Side(rising, clusters, confidence), _Side(falling, clusters, confidence)
    several = {name: side for name, side in (("E", E), ("F", F)) if len(side.tasks) > 1}
    tests = {name: side.test(seed, resamples) for name, side in several.items()}
    p_values = corrected([task.p_value for task in tasks] + [test[0] for test in tests.values()])
    level = 1 - confidence
    decided = []
    for task, p_holm in zip(tasks, p_values, strict=False):
        verdict = decide(task.difference, task.interval, p_holm, level=level, unchanged=task.unchanged)
        decided.append(replace(task, p_holm=p_holm, verdict=verdict))
    corrected_of = dict(zip(tests, p_values[len(tasks) :], strict=True))
    claims: dict[str, Claim] = {}
    for name, side in (("E", E), ("F", F)):
        if name in tests:
            p_value, method = tests[name]
            side.interval = agreeing(side.change_interval(), p_value, level)
            assert side.change is not None
            verdict = decide(side.change, side.interval, corrected_of[name], level=level, unchanged=unchanged)
            claims[name] = Claim(p_value, method, corrected_of[name], verdict)
        elif side.tasks:
            alone = next(task for task in decided if task.name == side.tasks[0].name)
            side.interval = alone.interval
            claims[name] = Claim(alone.p_value, alone.p_method, alone.p_holm, alone.verdict)
    summary = _summary(E, F, _Side(targets, clusters, confidence), _Side(sources, clusters, confidence), claims)
    left_out = {"E": _names(targets, rising), "F": _names(sources, falling)}
    return decided, replace(summary, left_out=left_out, claims=len(p_values))


def _names(tasks: Sequence[TaskComparison], kept: Sequence[TaskComparison]) -> tuple[str, ...]:
    names = {task.name for task in kept}
    return tuple(task.name for task in tasks if task.name not in names)


def _summary(E: _Side, F: _Side, targets: _Side, sources: _Side, claims: Mapping[str, Claim]) -> Summary:
    def total(first: float | None, second: float | None) -> float | None:
        return None if first is None or second is None else first + second

    def sum_interval(values: Sequence[float | None], intervals: Sequence[Interval | None]) -> Interval | None:
        known = [value for value in values if value is not None]
        limits = [interval for interval in intervals if interval is not None]
        return weighted_sum(known, limits, [1.0] * len(limits)) if len(known) == len(limits) == len(values) else None

    def harmony(values: Sequence[float | None], intervals: Sequence[Interval | None]) -> Estimate:
        first, second = values
        if first is None or second is None:
            return Estimate(None)
        value = 0.0 if first + second == 0 else 2 * first * second / (first + second)
        one, other = intervals
        if one is None or other is None:
            return Estimate(value)
        return Estimate(value, harmonic_mean(first, one, second, other))

    gains = [_less_one(E.ratio), _less_one(F.ratio)]
    shifted = [_shifted(E.ratio_interval()), _shifted(F.ratio_interval())]
    before = harmony((targets.before, sources.before), (None, None))
    return Summary(
        E=Estimate(E.change, E.interval, claims.get("E")),
        F=Estimate(F.change, F.interval, claims.get("F")),
        O=Estimate(total(E.change, F.change), sum_interval((E.change, F.change), (E.interval, F.interval))),
        H=harmony((targets.after, sources.after), (targets.after_interval(), sources.after_interval())),
        H_before=before.value,
        ratios={
            "E": Estimate(gains[0], shifted[0]),
            "F": Estimate(gains[1], shifted[1]),
            "O": Estimate(total(*gains), sum_interval(gains, shifted)),
            "H": harmony((E.ratio, F.ratio), (E.ratio_interval(), F.ratio_interval())),
        },
    )


class _Side:
    """The macro-averages of some tasks, and their intervals."""

    def __init__(self, tasks: Sequence[TaskComparison], clusters: Mapping[str, Clusters], confidence: float) -> None:
        self.tasks = tasks
        self.clusters = [clusters[task.name] for task in tasks]
        self.before = _mean([task.before for task in tasks])
        self.after = _mean([task.after for task in tasks])
        self.change = _mean([task.difference for task in tasks])
        ratios = [task.retention.value for task in tasks]
        known = [ratio for ratio in ratios if ratio is not None]
        self.ratio = _mean(known) if len(known) == len(ratios) else None
        self.reach = self._reach(confidence) if tasks else math.nan
        self.interval: Interval | None = None

    def _reach(self, confidence: float) -> float:
        """The quantile whose degrees of freedom are those of the mean, not of a single task."""
        freedom = [degrees(c, binary=task.binary) for task, c in zip(self.tasks, self.clusters, strict=True)]
        normal = quantile(confidence, math.inf)
        limits = [
            change_interval(c, normal, binary=task.binary, top=task.top)
            for task, c in zip(self.tasks, self.clusters, strict=True)
        ]
        spreads = np.array([high - low for low, high in limits])
        return quantile(confidence, combined_degrees(spreads, np.array(freedom)))

    def change_interval(self) -> Interval:
        """Of the mean change."""
        pairs = zip(self.tasks, self.clusters, strict=True)
        limits = [change_interval(c, self.reach, binary=task.binary, top=task.top) for task, c in pairs]
        return mean([task.difference for task in self.tasks], limits)

    def after_interval(self) -> Interval | None:
        """Of the mean score after."""
        pairs = zip(self.tasks, self.clusters, strict=True)
        limits = [level_interval(c.after, c.size, c.squares[1], self.reach, top=task.top) for task, c in pairs]
        return mean([task.after for task in self.tasks], limits) if limits else None

    def ratio_interval(self) -> Interval | None:
        """Of the mean ratio after / before."""
        limits = [ratio_interval(c, self.reach) for c in self.clusters]
        known = [limit for limit in limits if limit is not None]
        if not known or len(known) < len(limits):
            return None
        return mean([task.retention.value or 0.0 for task in self.tasks], known)

    def test(self, seed: int, resamples: int) -> tuple[float, str]:
        """The paired test of the tasks, on the mean: each image counts by its share in its task."""
        most = max(c.n for c in self.clusters)
        changes = np.concatenate([c.change * (most / c.n) for c in self.clusters])
        result = sign_flip_test(changes, seed, resamples=resamples)
        return result.p_value, f"paired permutation over images and tasks, {result.method}"


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _less_one(ratio: float | None) -> float | None:
    return None if ratio is None else ratio - 1


def _shifted(interval: Interval | None) -> Interval | None:
    return None if interval is None else (interval[0] - 1, interval[1] - 1)
