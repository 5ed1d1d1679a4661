"""The error of a mean over items and seeds, against an analysis of variance and simulated truth."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from holdfast.results.measured import measured
from holdfast.results.variance import Effect, SeedPart, errors, fit_prior
from holdfast.verdict.statistics.robust import robust_variance
from tests.support.simulated import draw

TWO = {"a": {"digits": 0.6, "color": 0.8, "count": 0.8}, "b": {"digits": 0.7, "color": 0.7, "count": 0.8}}


def alone(values: np.ndarray) -> Effect:
    """The mean of [seeds, items] by the code of the room, without its prior."""
    results, changes, _ = draw(effects={"a": TWO["a"]}, sources=("color",), seeds=len(values), items=values.shape[1])
    for row, point in zip(values, results.points, strict=True):
        changes[point.key]["digits"] = changes[point.key]["digits"].__class__("x", np.ones(len(row)), row)
        point.scores["E"] = 100 * float(row.mean())
    found = measured(results, "E", changes)
    assert found.prior.freedom == 0
    mean = found.mean(0)
    assert mean is not None
    return mean


@pytest.mark.parametrize("spread", [0.0, 0.4])
def test_crossed_variance_is_that_of_the_two_way_analysis(spread: float) -> None:
    """(MS_seed + MS_item - MS_rest) / (S I), never below MS_item / (S I), and Satterthwaite's degrees of freedom."""
    generator = np.random.default_rng(4)
    S, I = 4, 60  # noqa: E741 - seeds and items
    values = generator.normal(size=I) + spread * generator.normal(size=(S, 1)) + 0.6 * generator.normal(size=(S, I))
    frame = pd.DataFrame({"y": values.ravel(), "seed": np.repeat(range(S), I), "item": np.tile(range(I), S)})
    square = anova_lm(ols("y ~ C(seed) + C(item)", frame).fit())["mean_sq"]
    seeds, items, rest = square["C(seed)"], square["C(item)"], square["Residual"]
    mean = alone(values)
    assert mean.error is not None
    floor = 2 / I**2  # two items that flipped
    assert mean.value == pytest.approx(100 * values.mean())
    assert (mean.error / 100) ** 2 == pytest.approx(max(seeds + items - rest, items) / (S * I) + floor, rel=1e-9)
    parts = seeds / (S * I), items / (S * I) + floor
    freedom = (mean.error / 100) ** 4 / (parts[0] ** 2 / (S - 1) + parts[1] ** 2 / (I - 1))
    assert mean.freedom == pytest.approx(freedom, rel=1e-9)


def test_one_seed_has_the_cluster_robust_variance_of_compare() -> None:
    results, changes, _ = draw(effects={"a": TWO["a"]}, sources=("color",), seeds=1, items=90, questions=3)
    task = changes[results.points[0].key]["digits"]
    mean = measured(results, "E", changes).mean(0)
    assert mean is not None and mean.error is not None and mean.basis == "items"
    floor = 2 / 90 / 30
    assert (mean.error / 100) ** 2 == pytest.approx(robust_variance(task.change, task.sizes) + floor)


def test_without_items_a_pair_is_students_paired_test() -> None:
    results, _, _ = draw(effects=TWO, seeds=5)
    found = measured(results, "E", {})
    difference = found.contrast({0: 1.0, 1: -1.0})
    assert difference is not None and difference.basis == "seeds"
    theirs = scipy.stats.ttest_rel(found.values[0], found.values[1])
    assert difference.p_value() == pytest.approx(theirs.pvalue)
    low, high = theirs.confidence_interval(0.95)
    assert difference.interval() == pytest.approx((low, high))


def test_all_pairs_at_once_are_the_pairs_one_by_one() -> None:
    effects = {f"{m}/{c}": {"digits": 0.5, "tissue": 0.6, "color": 0.7, "count": 0.8} for m in "abc" for c in "xy"}
    results, changes, _ = draw(
        effects=effects, factors=("method", "connector"), targets=("digits", "tissue"), items=40, questions=2
    )
    holes = results.__class__(**{**vars(results), "points": results.points[:9] + results.points[11:]})
    for study in (results, holes):
        found = measured(study, "O", changes)
        for first, second, pair, p_value in found.differences():
            single = found.contrast({first: 1.0, second: -1.0})
            assert pair is not None and single is not None
            assert vars(pair) == pytest.approx(vars(single)) and p_value == pytest.approx(single.p_value())


def test_the_prior_finds_the_distribution_the_spreads_come_from() -> None:
    generator = np.random.default_rng(3)
    freedom, variance = 3.0, 2.5
    true = freedom * variance / generator.chisquare(freedom, 4000)
    seen = true * generator.chisquare(2, 4000) / 2
    prior = fit_prior(seen.tolist(), [2] * 4000)
    assert prior.variance == pytest.approx(variance, rel=0.1)
    assert prior.freedom == pytest.approx(freedom, rel=0.15)
    same = fit_prior((variance * generator.chisquare(2, 4000) / 2).tolist(), [2] * 4000)
    assert same.variance == pytest.approx(variance, rel=0.1) and same.freedom == 4.0
    assert fit_prior([1.0, 2.0], [2, 2]).freedom == 0  # two cells say nothing about a distribution


def test_an_unsteady_recipe_never_looks_steadier_than_it_was() -> None:
    def of(variance: float) -> tuple[float, float]:
        part = SeedPart(weight=1.0, seeds=3, variance=np.array([variance]), prior=np.array([1.0]))
        error, freedom, basis = errors([part], 4.0, items=None, items_freedom=1.0, both=0.0)
        assert basis == "seeds"
        return float(error[0]), float(freedom[0])

    assert of(9.0) == (pytest.approx(math.sqrt(9 / 3)), 6)
    assert of(0.0) == (pytest.approx(math.sqrt(4 / 6 / 3)), 6)


def test_what_changed_nothing_is_exactly_nothing() -> None:
    results, changes, _ = draw(effects=TWO)
    for point in results.points[:3]:
        changes[point.key] = {
            task: of.__class__(of.items, of.sizes, 0 * of.change) for task, of in changes[point.key].items()
        }
        point.scores.update(E=0.0, F=0.0, O=0.0)
    still = measured(results, "E", changes).mean(0)
    assert still is not None and still.interval() == (0.0, 0.0) and still.p_value() == 1.0


def test_nothing_is_claimed_where_nothing_is_known() -> None:
    results, _, _ = draw(effects=TWO, seeds=1)
    mean = measured(results, "E", {}).mean(0)
    assert mean is not None and mean.interval() is None and mean.p_value() == 1.0 and mean.basis == "nothing"


def test_items_that_do_not_add_up_to_the_score_are_not_used() -> None:
    results, changes, _ = draw(effects=TWO, seeds=2)
    results.points[0].scores["E"] += 5
    found = measured(results, "E", changes)
    first, second = found.mean(0), found.mean(1)
    assert first is not None and first.basis == "seeds"
    assert second is not None and second.basis == "items and seeds"


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Nominal 0.95 over 240 means and 240 differences; `benchmarks/study_coverage.py` has the table."""
    effects = {f"m{n}": {"digits": 0.5 + 0.1 * n, "color": 0.8, "count": 0.85 - 0.1 * n} for n in range(4)}
    means = pairs = rounds = 0
    for seed in range(60):
        results, changes, world = draw(seed, effects=effects, items=80, questions=2)
        found = measured(results, "O", changes)
        truth = [world.truth(recipe[0], "O") for recipe in found.recipes]
        for number in range(4):
            mean = found.mean(number)
            pair = found.contrast({number: 1.0, (number + 1) % 4: -1.0})
            assert mean is not None and pair is not None
            (low, high), (below, above) = mean.interval() or (0, 0), pair.interval() or (0, 0)
            means += low <= truth[number] <= high
            pairs += below <= truth[number] - truth[(number + 1) % 4] <= above
            rounds += 1
    assert 0.92 < means / rounds <= 1 and 0.92 < pairs / rounds <= 1
