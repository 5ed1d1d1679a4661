import math

import numpy as np
import pytest

from holdfast.verdict.statistics.combining import harmonic_mean, mean, weighted_sum


def test_intervals_of_equal_reach_add_as_errors_do() -> None:
    values, errors = [0.1, -0.2, 0.05], [0.01, 0.03, 0.02]
    limits = [(v - 2 * e, v + 2 * e) for v, e in zip(values, errors, strict=True)]
    low, high = mean(values, limits)
    reach = 2 * math.sqrt(sum(e**2 for e in errors)) / 3
    assert (low, high) == pytest.approx((np.mean(values) - reach, np.mean(values) + reach))
    assert mean(values[:1], limits[:1]) == limits[0]


def test_a_leaning_interval_leans_the_sum() -> None:
    low, high = weighted_sum([0.5, 0.5], [(0.2, 0.6), (0.5, 0.5)], [1.0, 1.0])
    assert (low, high) == pytest.approx((0.7, 1.1))


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
