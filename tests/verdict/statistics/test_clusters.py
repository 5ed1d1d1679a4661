import numpy as np
import pytest
from scipy import stats

from holdfast.verdict.statistics.clusters import gather, standard_error, student_interval
from holdfast.verdict.statistics.flips import score_interval
from holdfast.verdict.statistics.resampling import bootstrap_means, percentile_interval


def test_without_clusters_it_is_the_paired_t_interval() -> None:
    generator = np.random.default_rng(0)
    before, after = generator.random(60), generator.random(60)
    clusters = gather(before, after, [None] * 60)
    test = stats.ttest_rel(after, before)
    assert standard_error(clusters) == pytest.approx(stats.sem(after - before))
    assert student_interval(clusters) == pytest.approx(tuple(test.confidence_interval()))


def test_cluster_error_agrees_with_statsmodels() -> None:
    from statsmodels.regression.linear_model import OLS

    generator = np.random.default_rng(1)
    groups = generator.integers(0, 25, 120)
    before = generator.random(120)
    after = before + generator.normal(0, 0.2, 25)[groups] + generator.normal(0, 0.1, 120)
    clusters = gather(before, after, [f"image {group}" for group in groups])
    fit = OLS(after - before, np.ones(120)).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
    )
    expected = fit.bse[0] * np.sqrt(clusters.count / (clusters.count - 1))
    assert standard_error(clusters) == pytest.approx(expected)


def test_order_of_the_items_does_not_matter() -> None:
    generator = np.random.default_rng(2)
    before, after = generator.random(80), generator.random(80)
    keys = [None if i % 7 == 0 else f"k{i % 20}" for i in range(80)]
    order = generator.permutation(80)
    first = gather(before, after, keys)
    second = gather(before[order], after[order], [keys[i] for i in order])
    assert first.count == second.count
    assert np.allclose(first.before, second.before)
    assert bootstrap_means(first, "t", resamples=50) == pytest.approx(bootstrap_means(second, "t", resamples=50))


def test_bootstrap_spread_matches_the_cluster_error() -> None:
    generator = np.random.default_rng(3)
    before = (generator.random(900) < 0.7).astype(float)
    after = np.where(generator.random(900) < 0.15, 1 - before, before)
    clusters = gather(before, after, [f"i{i // 3}" for i in range(900)])
    means = bootstrap_means(clusters, "task", resamples=4000, seed=1)
    assert (means[:, 1] - means[:, 0]).std() == pytest.approx(standard_error(clusters), rel=0.05)
    assert means.mean(axis=0) == pytest.approx([before.mean(), after.mean()], abs=0.003)


def test_many_distinct_clusters_are_resampled_too() -> None:
    generator = np.random.default_rng(4)
    before, after = generator.random(2500), generator.random(2500)
    clusters = gather(before, after, [None] * 2500)
    means = bootstrap_means(clusters, "graded", resamples=400)
    assert (means[:, 1] - means[:, 0]).std() == pytest.approx(standard_error(clusters), rel=0.15)


def test_strata_have_their_own_draws_and_repeat() -> None:
    clusters = gather(np.array([0.0, 1, 1, 0]), np.array([1.0, 1, 0, 0]), [None] * 4)
    assert (bootstrap_means(clusters, "a") == bootstrap_means(clusters, "a")).all()
    assert (bootstrap_means(clusters, "a") != bootstrap_means(clusters, "b")).any()
    assert percentile_interval(np.array([1.0, np.nan])) is None


@pytest.mark.parametrize("count", [1, 2, 100, 2000])
def test_the_middle_of_the_draws_is_numpys(count: int) -> None:
    draws = np.random.default_rng(count).normal(size=count)
    for confidence in (0.9, 0.95):
        found = percentile_interval(draws, confidence)
        wanted = np.quantile(draws, [0.5 - confidence / 2, 0.5 + confidence / 2])
        assert found == pytest.approx(tuple(wanted), rel=1e-12)


def coverage(make, interval, truth: float, rounds: int) -> float:
    inside = 0
    for _ in range(rounds):
        low, high = interval(*make())
        inside += low <= truth <= high
    return inside / rounds


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(8)

    def flips():
        learned, forgot, _ = generator.multinomial(120, [0.05, 0.12, 0.83])
        return learned, forgot, 120

    assert 0.93 <= coverage(flips, score_interval, -0.07, 2000) <= 0.975

    def images():
        effect = np.repeat(generator.normal(-0.1, 0.3, 40), 4)
        difference = effect + generator.normal(0, 0.2, 160)
        return (gather(np.zeros(160), difference, [f"i{i // 4}" for i in range(160)]),)

    assert 0.925 <= coverage(images, student_interval, -0.1, 1000) <= 0.975
    naive = coverage(
        lambda: (gather(np.zeros(160), images()[0].after.repeat(4) / 4, [None] * 160),), student_interval, -0.1, 300
    )
    assert naive < 0.8  # what ignoring shared images would claim
