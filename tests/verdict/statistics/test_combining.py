import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from holdfast.verdict.statistics.clusters import gather
from holdfast.verdict.statistics.combining import Term, harmonic_mean, of_sum
from holdfast.verdict.statistics.flips import score_interval, score_limits
from holdfast.verdict.statistics.intervals import level_interval

Interval = tuple[float, float]


def symmetric(value: float, error: float) -> Callable[[float], Interval]:
    return lambda reach: (value - reach * error, value + reach * error)


def test_intervals_of_equal_reach_add_as_errors_do() -> None:
    values, errors = [0.1, -0.2, 0.05], [0.01, 0.03, 0.02]
    terms = [Term(1 / 3, symmetric(v, e), math.inf) for v, e in zip(values, errors, strict=True)]
    half = 1.959963984540054 * math.sqrt(sum(e**2 for e in errors)) / 3
    assert of_sum(terms, 0.95) == pytest.approx((np.mean(values) - half, np.mean(values) + half), rel=1e-12)


def test_the_sum_of_two_means_is_welchs() -> None:
    generator = np.random.default_rng(3)
    one, other = generator.normal(size=12), generator.normal(1, 3, 25)
    terms = [Term(1.0, symmetric(x.mean(), stats.sem(x)), len(x) - 1.0) for x in (one, other)]
    welch = stats.ttest_ind(one, -other, equal_var=False).confidence_interval(0.9)
    assert of_sum(terms, 0.9) == pytest.approx((welch.low, welch.high), rel=1e-9)


def test_alike_tasks_are_worth_one_task_of_all_their_items() -> None:
    from statsmodels.stats.proportion import proportion_confint

    for right in (47, 50):  # and where nothing is wrong anywhere
        scores = np.repeat([1.0, 0.0], [right, 50 - right])
        clusters = gather(scores, scores, [None] * 50)
        found = of_sum([Term(1 / 8, lambda reach, c=clusters: level_interval(c, reach), math.inf)] * 8, 0.95)
        assert found == pytest.approx(proportion_confint(8 * right, 400, method="wilson"), abs=1e-6)
    for learned, forgot in ((0, 0), (1, 4), (0, 7)):
        term = Term(1 / 8, lambda reach, x=learned, y=forgot: score_limits(x, y, 50, reach), math.inf)
        assert of_sum([term] * 8, 0.95) == pytest.approx(score_interval(8 * learned, 8 * forgot, 400), abs=1e-9)
        assert of_sum([Term(1.0, term.interval, math.inf)], 0.95) == score_interval(learned, forgot, 50)


def test_limits_of_a_sum_lean_as_those_of_its_terms_and_stay_inside_the_scale() -> None:
    def leaning(reach: float) -> Interval:
        return score_limits(0, 1, 30, reach)

    low, high = of_sum([Term(0.5, leaning, 11.0), Term(0.5, lambda _: (-1.0, 1.0), 1.0)], 0.95)
    assert -1 <= low < high <= 1
    low, high = of_sum([Term(0.5, leaning, 11.0)] * 2, 0.95)
    assert -1 / 30 - low > high + 1 / 30  # more room below, where the flip was


def test_a_harmonic_mean_of_one_known_score() -> None:
    low, high = harmonic_mean(0.5, (0.5, 0.5), 0.8, (0.7, 0.9))
    assert (low, high) == pytest.approx((2 * 0.5 * 0.7 / 1.2, 2 * 0.5 * 0.9 / 1.4))


def test_a_harmonic_mean_stays_between_nothing_and_its_limits() -> None:
    assert harmonic_mean(0.0, (0.0, 0.1), 0.8, (0.7, 0.9)) == pytest.approx((0.0, 2 * 0.1 * 0.9 / 1.0))
    low, high = harmonic_mean(0.02, (0.0, 0.1), 0.8, (0.7, 0.9))
    assert low == 0.0 < high <= 0.18 + 1e-12
    assert harmonic_mean(0.0, (0.0, 0.0), 0.0, (0.0, 0.0)) == (0.0, 0.0)


def test_draws_of_two_scores_agree_with_the_interval_of_their_harmonic_mean() -> None:
    generator = np.random.default_rng(0)
    one, other = 0.6 + 0.03 * generator.standard_normal(40_000), 0.8 + 0.02 * generator.standard_normal(40_000)
    drawn = np.quantile(2 * one * other / (one + other), [0.025, 0.975])
    found = harmonic_mean(0.6, (0.6 - 1.96 * 0.03, 0.6 + 1.96 * 0.03), 0.8, (0.8 - 1.96 * 0.02, 0.8 + 1.96 * 0.02))
    assert found == pytest.approx(tuple(drawn), abs=1.5e-3)
