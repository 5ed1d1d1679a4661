"""The simulation of benchmarks/coverage.py draws what it says, and a part of it holds in every test run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from holdfast.verdict.statistics.clusters import gather
from holdfast.verdict.statistics.robust import robust_variance

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def coverage() -> Iterator[ModuleType]:
    """The script, under a name of its own: a package that measures tests is called coverage, too."""
    spec = spec_from_file_location("simulated_coverage", BENCHMARKS / "coverage.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(BENCHMARKS))
        del sys.modules[spec.name]


@pytest.mark.parametrize("graded", [False, True])
def test_scores_have_the_mean_and_the_correlation_that_were_asked_for(coverage: ModuleType, graded: bool) -> None:
    setting = coverage.Setting(20_000, 5, 0.5, 0.8, -0.1, graded)
    (before,), (after,), image = coverage.draw(setting, 1, np.random.default_rng(0))
    counts = np.bincount(image)
    assert (counts.sum(), counts.min(), counts.max()) == (20_000, 1, 9)
    assert counts.mean() == pytest.approx(5, abs=0.05)
    assert (before.mean(), after.mean()) == pytest.approx(coverage.truth(setting), abs=0.02)
    assert set(np.unique(before.round(6))) == ({0.0, 0.3, 0.6, 0.9, 1.0} if graded else {0.0, 1.0})
    sums = np.bincount(image, weights=after - before)
    alone = (after - before).var()
    assert sums.var() / counts.mean() > 1.3 * alone  # changes on one image go together


def test_the_clusters_of_many_rounds_at_once_are_those_of_each(coverage: ModuleType) -> None:
    setting = coverage.Setting(60, 5, 0.5, 0.8, -0.1, True)
    before, after, image = coverage.draw(setting, 7, np.random.default_rng(1))
    at_once = list(coverage.drawn(setting, 7, np.random.default_rng(1)))
    for found, *scores in zip(at_once, before, after, strict=True):
        alone = gather(*scores, image.tolist())
        assert (found.n, found.count) == (alone.n, alone.count)
        assert (found.risen, found.fallen, *found.squares) == pytest.approx((alone.risen, alone.fallen, *alone.squares))
        assert robust_variance(found.change, found.size) == pytest.approx(robust_variance(alone.change, alone.size))


def test_what_chance_makes_of_the_least_and_the_most_of_many_shares(coverage: ModuleType) -> None:
    drawn = np.random.default_rng(6).binomial(500, 0.95, size=(4000, 50)) / 500
    least, most = coverage.expected_extremes(0.95, 50, 500)
    assert (least, most) == pytest.approx((drawn.min(axis=1).mean(), drawn.max(axis=1).mean()), abs=5e-4)
    assert coverage.expected_extremes(0.95, 1, 500) == pytest.approx((0.95, 0.95))


@pytest.mark.parametrize(
    ("items", "questions", "correlation", "base", "change", "graded"),
    [(50, 5, 0.3, 0.5, 0.0, False), (100, 5, 0.3, 0.9, -0.03, False), (200, 10, 0.5, 0.7, 0.0, True)],
)
def test_where_the_old_intervals_missed_these_hold(
    coverage: ModuleType, items: int, questions: int, correlation: float, base: float, change: float, graded: bool
) -> None:
    cell = coverage.one_task(coverage.Setting(items, questions, correlation, base, change, graded), 600, seed=1)
    assert 0.93 <= cell["coverage"] <= 0.98
    assert cell["rejected"] <= 0.07 and cell["false within"] <= 0.08


def test_no_claim_is_false_more_often_than_it_may_be(coverage: ModuleType) -> None:
    study = coverage.several_tasks(coverage.Study(3, 50, 5, 0.3, 0.5, 0.0), 120, seed=3)
    assert study["any false claim"] <= 0.1
    assert min(study[name] for name in ("E", "F", "O")) >= 0.9


def test_the_number_needed_finds_its_drop_four_times_in_five(coverage: ModuleType) -> None:
    setting = coverage.Setting(1000, 1, 0.0, 0.8, -0.05, False)
    before, after, _ = coverage.draw(setting, 1, np.random.default_rng(2))
    items, images = coverage.needed(0.05, float((before != after).mean()), 1, 0.0)
    found = coverage.power(coverage.Setting(items, 1, 0.0, 0.8, -0.05, False), 300, seed=4)
    assert items == images and 0.7 <= found <= 0.9
