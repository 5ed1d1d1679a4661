import math

import numpy as np
import pytest
from scipy import stats

from holdfast.verdict.statistics.clusters import gather
from holdfast.verdict.statistics.intervals import (
    change_interval,
    degrees,
    design_effect,
    effective_items,
    level_interval,
    quantile,
    ratio_interval,
)
from holdfast.verdict.statistics.robust import (
    combined_degrees,
    degrees_of_freedom,
    item_variance,
    robust_variance,
)


def test_with_one_item_a_cluster_it_is_the_variance_of_a_paired_mean() -> None:
    generator = np.random.default_rng(0)
    before, after = generator.random(60), generator.random(60)
    clusters = gather(before, after, [None] * 60)
    error = stats.sem(after - before)
    assert math.sqrt(robust_variance(clusters.change, clusters.size)) == pytest.approx(error, rel=1e-9)
    assert degrees_of_freedom(clusters.size) == pytest.approx(59, rel=1e-12)
    apart = item_variance(clusters.squares[2], clusters.risen - clusters.fallen, 60)
    assert math.sqrt(apart) == pytest.approx(error, rel=1e-9)


def test_with_clusters_of_one_size_it_is_statsmodels_error_with_its_small_sample_factor() -> None:
    from statsmodels.regression.linear_model import OLS

    generator = np.random.default_rng(1)
    groups = np.repeat(np.arange(24), 5)
    before = generator.random(120)
    after = before + generator.normal(0, 0.2, 24)[groups] + generator.normal(0, 0.1, 120)
    clusters = gather(before, after, [f"image {group}" for group in groups])
    cluster = {"groups": groups, "use_correction": False}
    fit = OLS(after - before, np.ones(120)).fit(cov_type="cluster", cov_kwds=cluster)
    expected = fit.bse[0] * math.sqrt(24 / 23)
    assert math.sqrt(robust_variance(clusters.change, clusters.size)) == pytest.approx(expected, rel=1e-6)
    assert degrees_of_freedom(clusters.size) == pytest.approx(23)


@pytest.mark.parametrize("sizes", [(1, 2, 3, 4, 5, 9), (3, 3, 3, 3), (1, 1, 1, 30), (2, 7, 7, 1, 1, 1, 4)])
def test_cr2_and_its_degrees_are_what_their_matrices_say(sizes: tuple[int, ...]) -> None:
    """Bell and McCaffrey by the letter: residuals times (I - H_gg)^(-1/2), and Satterthwaite on the quadratic form."""
    n, groups = sum(sizes), np.repeat(np.arange(len(sizes)), sizes)
    values = np.random.default_rng(n).normal(size=n)
    X = np.ones((n, 1))
    bread = np.linalg.inv(X.T @ X)
    hat = np.eye(n) - X @ bread @ X.T
    columns, variance = [], 0.0
    for g in range(len(sizes)):
        inside = np.flatnonzero(groups == g)
        eigenvalues, vectors = np.linalg.eigh(np.eye(len(inside)) - (X @ bread @ X.T)[np.ix_(inside, inside)])
        root = vectors @ np.diag(eigenvalues**-0.5) @ vectors.T
        weights = hat[:, inside] @ root @ X[inside] @ bread
        columns.append(weights[:, 0])
        variance += float((weights[:, 0] @ values) ** 2)
    inner = np.array(columns) @ np.array(columns).T
    size = np.array(sizes, dtype=float)
    sums = np.bincount(groups, weights=values)
    assert robust_variance(sums, size) == pytest.approx(variance, rel=1e-9)
    assert degrees_of_freedom(size) == pytest.approx(np.trace(inner) ** 2 / (inner**2).sum(), rel=1e-9)


def test_welch_is_satterthwaite_for_two_terms() -> None:
    generator = np.random.default_rng(3)
    one, other = generator.normal(size=12), generator.normal(0, 3, 25)
    spreads = np.array([stats.sem(one), stats.sem(other)])
    found = combined_degrees(spreads, np.array([11.0, 24.0]))
    assert found == pytest.approx(stats.ttest_ind(one, other, equal_var=False).df, rel=1e-9)
    assert math.isinf(combined_degrees(spreads, np.array([math.inf, math.inf])))


def test_order_of_the_items_does_not_matter() -> None:
    generator = np.random.default_rng(2)
    before, after = generator.random(80), generator.random(80)
    keys = [None if i % 7 == 0 else f"k{i % 20}" for i in range(80)]
    order = generator.permutation(80)
    first = gather(before, after, keys)
    second = gather(before[order], after[order], [keys[i] for i in order])
    assert first.count == second.count and first.squares == second.squares
    assert np.allclose(first.before, second.before)
    assert change_interval(first, 2.0, binary=False) == change_interval(second, 2.0, binary=False)


def flips(learned: int, forgot: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    before, after = np.ones(n), np.ones(n)
    before[:learned], after[n - forgot :] = 0, 0
    return before, after


def test_copies_of_an_item_on_one_image_are_worth_one_item() -> None:
    before, after = flips(4, 9, 60)
    alone = gather(before, after, [None] * 60)
    copied = gather(np.repeat(before, 3), np.repeat(after, 3), [f"i{i // 3}" for i in range(180)])
    assert effective_items(alone, binary=True) == 60
    assert effective_items(copied, binary=True) == pytest.approx(60, rel=0.02)
    assert change_interval(copied, 2.0, binary=True) == pytest.approx(
        change_interval(alone, 2.0, binary=True), abs=1e-3
    )


def test_intervals_stay_inside_the_scale_and_never_collapse() -> None:
    for learned, forgot, keys in ((0, 0, 4), (12, 0, 12), (0, 12, 3), (1, 0, 4)):
        before, after = flips(learned, forgot, 12)
        clusters = gather(before, after, [f"i{i % keys}" for i in range(12)])
        reach = quantile(0.95, degrees(clusters, binary=True))
        low, high = change_interval(clusters, reach, binary=True)
        assert -1 <= low < high <= 1
        low, high = level_interval(clusters, reach)
        assert 0 <= low < high <= 1
    tens = gather(np.array([0.0, 10, 3, 4]), np.array([10.0, 10, 9, 10]), [None] * 4)
    low, high = change_interval(tens, 3.2, binary=False, top=10.0)
    assert -10 <= low < 4.75 < high <= 10


def test_a_level_is_wilsons_for_single_items() -> None:
    from statsmodels.stats.proportion import proportion_confint

    scores = np.array([1.0] * 37 + [0.0] * 13)
    clusters = gather(scores, scores, [None] * 50)
    found = level_interval(clusters, 1.959963984540054)
    assert found == pytest.approx(proportion_confint(37, 50, method="wilson"), abs=1e-6)


def test_a_level_knows_from_both_sides_how_alike_questions_on_one_image_are() -> None:
    from statsmodels.stats.proportion import proportion_confint

    before, after = np.repeat([1.0, 0.0], [37, 13]), np.ones(50)
    keys = [f"i{i // 3}" for i in range(150)]
    copied = gather(np.repeat(before, 3), np.repeat(before, 3), keys)  # copies of an item are worth one item
    level = 0.0455003  # outside two standard errors
    assert level_interval(copied, 2.0) == pytest.approx(proportion_confint(37, 50, level, "wilson"), abs=2e-3)
    faultless = gather(np.repeat(before, 3), np.repeat(after, 3), keys)  # what is all right shows no likeness itself
    assert design_effect(faultless) == pytest.approx(3, rel=0.02)
    assert level_interval(faultless, 2.0) == pytest.approx(proportion_confint(50, 50, level, "wilson"), abs=2e-3)


def test_a_side_whose_images_are_all_alike_makes_the_other_no_surer() -> None:
    from statsmodels.stats.proportion import proportion_confint

    always_yes = np.tile([1.0, 0.0, 1.0, 0.0], 50)  # two of four right on every image: no variance between images
    keys, level = [f"i{i // 4}" for i in range(200)], 0.0455003
    copied = gather(always_yes, np.repeat([1.0, 0.0], [37 * 4, 13 * 4]), keys)
    assert level_interval(copied, 2.0) == pytest.approx(proportion_confint(37, 50, level, "wilson"), abs=2e-3)
    faultless = gather(always_yes, np.ones(200), keys)
    assert level_interval(faultless, 2.0) == pytest.approx(proportion_confint(200, 200, level, "wilson"), abs=1e-6)


def test_a_ratio_is_fiellers() -> None:
    generator = np.random.default_rng(5)
    before, after = generator.normal(5, 1, 40), generator.normal(4, 1, 40)
    clusters = gather(before, after, [None] * 40)
    interval = ratio_interval(clusters, 2.0)
    assert interval is not None
    for ratio in interval:  # at its limits, after - ratio * before is just two standard errors from zero
        difference = after - ratio * before
        assert abs(difference.mean()) / stats.sem(difference) == pytest.approx(2.0, rel=1e-9)
    assert ratio_interval(gather(np.zeros(5), np.ones(5), [None] * 5), 2.0) is None


def coverage(make, interval, truth: float, rounds: int) -> float:
    inside = 0
    for _ in range(rounds):
        low, high = interval(*make())
        inside += low <= truth <= high
    return inside / rounds


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(8)

    def images():
        hard = generator.random(14) < 0.5  # on half of the images most questions are forgotten, on the others none
        forgot = generator.random((14, 4)) < np.where(hard, 0.8, 0.0)[:, None]
        learned = ~forgot & (generator.random((14, 4)) < 0.1)
        before, after = (~learned).astype(float).ravel(), (~forgot).astype(float).ravel()
        return (gather(before, after, [f"i{i // 4}" for i in range(56)]),)

    def interval(clusters):
        return change_interval(clusters, quantile(0.95, degrees(clusters, binary=True)), binary=True)

    truth = 0.1 * 0.6 - 0.4
    assert 0.925 <= coverage(images, interval, truth, 1000) <= 0.98

    def ignoring(clusters):
        alone = gather(*flips(round(clusters.risen), round(clusters.fallen), 56), [None] * 56)
        return change_interval(alone, 1.96, binary=True)

    assert coverage(images, ignoring, truth, 1000) < 0.9  # what not knowing the images would claim
