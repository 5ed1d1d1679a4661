"""One task: difference, interval, test, flips, non-inferiority, format loss."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np

from holdfast.verdict.floors import blind_floor
from holdfast.verdict.records import (
    OUTCOMES,
    Estimate,
    FormatSplit,
    NonInferiority,
    Pair,
    TaskComparison,
)
from holdfast.verdict.rule import agreeing
from holdfast.verdict.statistics.clusters import Clusters, gather
from holdfast.verdict.statistics.decisions import detectable_effect
from holdfast.verdict.statistics.flips import mcnemar_exact
from holdfast.verdict.statistics.intervals import change_interval, degrees, quantile, ratio_interval
from holdfast.verdict.statistics.permutation import sign_flip_test
from holdfast.verdict.statistics.robust import robust_variance


def compare_task(
    name: str,
    pairs: Sequence[Pair],
    *,
    role: Literal["target", "source"],
    margin: float,
    confidence: float,
    resamples: int,
    seed: int,
) -> tuple[TaskComparison, Clusters]:
    """Compare the paired items of one task.

    Args:
        name: The task.
        pairs: At least one; all scored.
        role: Target or source.
        margin: Tolerated loss as a share.
        confidence: Of the two-sided interval and of the one-sided bound.
        resamples: Random sign patterns, where a test cannot be exact.
        seed: Of those patterns.

    Returns:
        The record (``p_holm`` and ``verdict`` still without the other claims of the comparison), and the clusters.
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
    top = max(1.0, float(before.max()), float(after.max()))
    freedom = degrees(clusters, binary=binary)
    test = sign_flip_test(clusters.change, seed, resamples=resamples)
    interval = change_interval(clusters, quantile(confidence, freedom), binary=binary, top=top)
    lower, upper = change_interval(clusters, quantile(2 * confidence - 1, freedom), binary=binary, top=top)
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
        interval=agreeing(interval, test.p_value, 1 - confidence),
        interval_method=_interval_name(clusters, binary),
        p_value=test.p_value,
        p_method=_test_name(clusters, binary, test.method),
        p_holm=test.p_value,
        verdict="no clear change",
        unchanged=all(pair.before.prediction == pair.after.prediction for pair in ordered)
        and not np.any(after - before),
        top=top,
        floor=blind_floor([pair.before for pair in ordered]) if top == 1.0 else None,
        mcnemar=mcnemar_exact(forgot, learned),
        counts={outcome: counts[outcome] for outcome in OUTCOMES},
        improved=int((after > before).sum()),
        worsened=int((after < before).sum()),
        noninferiority=NonInferiority(margin, lower, upper),
        detectable=detectable_effect(_error(clusters), n, level=1 - confidence, binary=binary),
        retention=_retention(clusters, quantile(confidence, freedom), top),
        format_split=_format_split(ordered, mean_before, mean_after),
        truncated=_count(ordered, "truncated"),
        unparsed=_count(ordered, "unparsed"),
        pairs=ordered,
    )
    return record, clusters


def _interval_name(clusters: Clusters, binary: bool) -> str:
    if binary and not clusters.shared:
        return "score interval (Tango)"
    units = "images" if clusters.shared else "items"
    return f"score interval on the effective number of items, CR2 over {units}"


def _test_name(clusters: Clusters, binary: bool, method: str) -> str:
    if binary and not clusters.shared:
        return "exact McNemar"
    units = "images" if clusters.shared else "items"
    return f"paired permutation over {units}, {method}"


def _error(clusters: Clusters) -> float:
    return math.sqrt(robust_variance(clusters.change, clusters.size)) if clusters.count > 1 else 1.0


def _retention(clusters: Clusters, reach: float, top: float) -> Estimate:
    before, after = float(clusters.before.sum()), float(clusters.after.sum())
    return Estimate(None) if before <= 0.0 else Estimate(after / before, ratio_interval(clusters, reach, top=top))


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
