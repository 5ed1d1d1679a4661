"""One task: difference, interval, test, flips, non-inferiority, format loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from holdfast.verdict.records import (
    OUTCOMES,
    Estimate,
    FormatSplit,
    Interval,
    NonInferiority,
    Pair,
    TaskComparison,
)
from holdfast.verdict.statistics.clusters import Clusters, Floats, gather, standard_error, student_interval
from holdfast.verdict.statistics.decisions import detectable_effect, holm
from holdfast.verdict.statistics.flips import mcnemar_exact, score_interval
from holdfast.verdict.statistics.permutation import sign_flip_test
from holdfast.verdict.statistics.resampling import bootstrap_means, percentile_interval


def compare_task(
    name: str,
    pairs: Sequence[Pair],
    *,
    role: Literal["target", "source"],
    margin: float,
    confidence: float,
    resamples: int,
    seed: int,
) -> tuple[TaskComparison, Floats]:
    """Compare the paired items of one task.

    Args:
        name: The task.
        pairs: At least one; all scored.
        role: Target or source.
        margin: Tolerated loss as a share.
        confidence: Of the two-sided interval and of the one-sided bound.
        resamples: Bootstrap draws.
        seed: Of the draws.

    Returns:
        The record (``p_holm`` still uncorrected) and the bootstrap means before and after, [resamples, 2].
    """
    ordered = tuple(sorted(pairs, key=lambda pair: pair.before.id))  # sums of floats depend on their order
    before = np.array([pair.before.score for pair in ordered], dtype=np.float64)
    after = np.array([pair.after.score for pair in ordered], dtype=np.float64)
    n = len(ordered)
    clusters = gather(before, after, [pair.before.image or pair.after.image or None for pair in ordered])
    counts = Counter(pair.outcome for pair in ordered)
    binary = bool(np.isin(before, (0.0, 1.0)).all() and np.isin(after, (0.0, 1.0)).all())
    learned, forgot = counts["learned"], counts["forgot"]
    mean_before, mean_after = float(before.sum()) / n, float(after.sum()) / n
    difference = float((after - before).sum()) / n
    interval, method = _interval(clusters, binary, learned, forgot, confidence)
    (bound, _), _ = _interval(clusters, binary, learned, forgot, 2 * confidence - 1)
    test = sign_flip_test(clusters.after - clusters.before, seed)
    means = bootstrap_means(clusters, name, resamples=resamples, seed=seed)
    record = TaskComparison(
        name=name,
        role=role,
        metric=ordered[0].after.metric or ordered[0].before.metric,
        n=n,
        clusters=clusters.count,
        binary=binary,
        before=mean_before,
        after=mean_after,
        difference=difference,
        interval=interval,
        interval_method=method,
        p_value=test.p_value,
        p_method=_test_name(clusters, binary, test.method),
        p_holm=test.p_value,
        mcnemar=mcnemar_exact(forgot, learned),
        counts={outcome: counts[outcome] for outcome in OUTCOMES},
        improved=int((after > before).sum()),
        worsened=int((after < before).sum()),
        noninferiority=NonInferiority(margin, bound, bound > -margin),
        detectable=detectable_effect(_error(clusters), n, level=1 - confidence, binary=binary),
        retention=_retention(mean_before, mean_after, means, confidence),
        format_split=_format_split(ordered, mean_before, mean_after),
        truncated=_count(ordered, "truncated"),
        unparsed=_count(ordered, "unparsed"),
        pairs=ordered,
    )
    return record, means


def with_holm(tasks: Sequence[TaskComparison]) -> list[TaskComparison]:
    """The same records with their p-values corrected for all of them."""
    adjusted = holm([task.p_value for task in tasks])
    return [replace(task, p_holm=value) for task, value in zip(tasks, adjusted, strict=True)]


def _interval(clusters: Clusters, binary: bool, learned: int, forgot: int, confidence: float) -> tuple[Interval, str]:
    if binary and not clusters.shared:
        return score_interval(learned, forgot, clusters.n, confidence), "score interval (Tango)"
    if np.array_equal(clusters.before, clusters.after):
        # No spread to estimate an error from; the score interval on the independent units keeps an honest width.
        return score_interval(0, 0, clusters.count, confidence), "score interval (Tango), no change seen"
    name = "Student t, clustered by image" if clusters.shared else "Student t"
    return student_interval(clusters, confidence), name


def _test_name(clusters: Clusters, binary: bool, method: str) -> str:
    if binary and not clusters.shared:
        return "exact McNemar"
    units = "images" if clusters.shared else "items"
    return f"paired permutation over {units}, {method}"


def _error(clusters: Clusters) -> float:
    return standard_error(clusters) if clusters.count > 1 else 1.0


def _retention(before: float, after: float, means: Floats, confidence: float) -> Estimate:
    if before <= 0.0:
        return Estimate(None)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Estimate(after / before, percentile_interval(means[:, 1] / means[:, 0], confidence))


def _format_split(pairs: Sequence[Pair], before: float, after: float) -> FormatSplit | None:
    if all(pair.before.lenient is None and pair.after.lenient is None for pair in pairs):
        return None
    lenient = np.array(
        [
            [side.score if side.lenient is None else side.lenient for side in (pair.before, pair.after)]
            for pair in pairs
        ],
        dtype=np.float64,
    )
    lenient_before, lenient_after = (lenient.sum(axis=0) / len(pairs)).tolist()
    ability = lenient_after - lenient_before
    form = (after - before) - ability
    lost = before - after
    share = min(1.0, max(0.0, -form / lost)) if lost > 1e-12 else None
    return FormatSplit(lenient_before, lenient_after, form, ability, share)


def _count(pairs: Sequence[Pair], what: Literal["truncated", "unparsed"]) -> tuple[int, int]:
    if what == "truncated":
        return sum(pair.before.truncated for pair in pairs), sum(pair.after.truncated for pair in pairs)
    return (
        sum(pair.before.status == "unparsed" for pair in pairs),
        sum(pair.after.status == "unparsed" for pair in pairs),
    )
