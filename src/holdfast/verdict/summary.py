"""E, F, O and H over the tasks: their values, their intervals from those of the tasks, and what may be claimed.

E and F follow arXiv 2503.04543; H is that of LoRASculpt and SPIDER. H of raw scores mixes scales (a CIDEr of 120 and
an accuracy of 40), so the same four are also given for ratios to the base. Tasks are taken to be independent of each
other. With one target, E is that task's change, its interval and its claim; so is F with one source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from holdfast.verdict.records import Estimate, Interval, Summary, TaskComparison
from holdfast.verdict.rule import Claim, agreeing, corrected, decide
from holdfast.verdict.statistics.clusters import Clusters
from holdfast.verdict.statistics.combining import Term, harmonic_mean, of_sum
from holdfast.verdict.statistics.intervals import change_interval, degrees, level_interval, quantile, ratio_interval
from holdfast.verdict.statistics.permutation import sign_flip_test


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
    ratios = [_ratio_interval([E]), _ratio_interval([F])]
    before = harmony((targets.before, sources.before), (None, None))
    return Summary(
        E=Estimate(E.change, E.interval, claims.get("E")),
        F=Estimate(F.change, F.interval, claims.get("F")),
        O=Estimate(total(E.change, F.change), _sum_interval(E, F)),
        H=harmony((targets.after, sources.after), (targets.after_interval(), sources.after_interval())),
        H_before=before.value,
        ratios={
            "E": Estimate(gains[0], _shifted(ratios[0], 1)),
            "F": Estimate(gains[1], _shifted(ratios[1], 1)),
            "O": Estimate(total(*gains), _shifted(_ratio_interval([E, F]), 2)),
            "H": harmony((E.ratio, F.ratio), ratios),
        },
    )


def _sum_interval(E: _Side, F: _Side) -> Interval | None:
    """Of the sum of both mean changes; not drawn out to zero, for nothing is claimed of it."""
    return of_sum(E.changes() + F.changes(), E.confidence) if E.tasks and F.tasks else None


def _ratio_interval(sides: Sequence[_Side]) -> Interval | None:
    """Of the sum of the sides' mean ratios; none is given where that of a single task has no limits."""
    if not all(side.tasks for side in sides):
        return None
    confidence = sides[0].confidence
    widest = quantile(confidence, min(term.freedom for side in sides for term in side.changes()))
    if any(ratio_interval(c, widest) is None for side in sides for c in side.clusters):
        return None
    return of_sum([term for side in sides for term in side.ratios()], confidence)


def _known_ratio(clusters: Clusters, top: float, reach: float) -> Interval:
    interval = ratio_interval(clusters, reach, top=top)
    assert interval is not None
    return interval


class _Side:
    """The macro-averages of some tasks, and their intervals."""

    def __init__(self, tasks: Sequence[TaskComparison], clusters: Mapping[str, Clusters], confidence: float) -> None:
        self.tasks = tasks
        self.confidence = confidence
        self.clusters = [clusters[task.name] for task in tasks]
        self.before = _mean([task.before for task in tasks])
        self.after = _mean([task.after for task in tasks])
        self.change = _mean([task.difference for task in tasks])
        ratios = [task.retention.value for task in tasks]
        known = [ratio for ratio in ratios if ratio is not None]
        self.ratio = _mean(known) if len(known) == len(ratios) else None
        self.interval: Interval | None = None

    def changes(self) -> list[Term]:
        """The changes of the tasks, whose sum is the mean change."""
        return self._terms(lambda task, c: partial(change_interval, c, binary=task.binary, top=task.top))

    def change_interval(self) -> Interval:
        """Of the mean change; there are tasks."""
        return of_sum(self.changes(), self.confidence)

    def after_interval(self) -> Interval | None:
        """Of the mean score after."""
        terms = self._terms(lambda task, c: partial(level_interval, c, top=task.top))
        return of_sum(terms, self.confidence) if terms else None

    def ratios(self) -> list[Term]:
        """The ratios after / before of the tasks, whose sum is the mean ratio."""
        return self._terms(lambda task, c: partial(_known_ratio, c, task.top))

    def test(self, seed: int, resamples: int) -> tuple[float, str]:
        """The paired test of the tasks, on the mean: each image counts by its share in its task."""
        most = max(c.n for c in self.clusters)
        changes = np.concatenate([c.change * (most / c.n) for c in self.clusters])
        result = sign_flip_test(changes, seed, resamples=resamples)
        return result.p_value, f"paired permutation over images and tasks, {result.method}"

    def _terms(self, interval: Callable[[TaskComparison, Clusters], Callable[[float], Interval]]) -> list[Term]:
        weight = 1 / len(self.tasks) if self.tasks else 0.0
        return [
            Term(weight, interval(task, c), degrees(c, binary=task.binary))
            for task, c in zip(self.tasks, self.clusters, strict=True)
        ]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _less_one(ratio: float | None) -> float | None:
    return None if ratio is None else ratio - 1


def _shifted(interval: Interval | None, by: float) -> Interval | None:
    return None if interval is None else (interval[0] - by, interval[1] - by)
