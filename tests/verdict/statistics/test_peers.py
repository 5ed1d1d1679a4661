"""Where evalsig, a kept package for comparing evaluations, computes the same thing, it finds the same number."""

import math

import numpy as np
import pytest

from holdfast.verdict.statistics.clusters import gather
from holdfast.verdict.statistics.decisions import detectable_effect, holm
from holdfast.verdict.statistics.flips import mcnemar_exact
from holdfast.verdict.statistics.normal import normal_quantile, student_quantile
from holdfast.verdict.statistics.permutation import sign_flip_test
from holdfast.verdict.statistics.robust import robust_variance

inference = pytest.importorskip("evalsig.inference", reason="evalsig is a development dependency")


@pytest.mark.parametrize(("forgot", "learned"), [(0, 5), (7, 7), (3, 12), (25, 0), (0, 0)])
def test_mcnemar(forgot: int, learned: int) -> None:
    before = np.array([1] * forgot + [0] * learned + [1] * 40)
    after = np.array([0] * forgot + [1] * learned + [1] * 40)
    expected = inference.mcnemar_test(before, after).p_value
    assert mcnemar_exact(forgot, learned) == pytest.approx(expected, rel=1e-6)
    assert sign_flip_test((after - before).astype(float)).p_value == pytest.approx(expected, rel=1e-6)


def test_holm() -> None:
    p_values = [0.04, 0.001, 0.2, 0.012, 0.9, 0.012]
    assert holm(p_values) == pytest.approx(inference.holm(np.array(p_values)).p_adjusted.tolist(), rel=1e-6)


def test_the_smallest_effect_that_is_found() -> None:
    sd, n = 0.4, 500
    assert detectable_effect(sd / math.sqrt(n), n) == pytest.approx(inference.mde(sd, n).mde, rel=1e-6)


def test_the_error_of_a_paired_mean() -> None:
    generator = np.random.default_rng(0)
    before, after = generator.random(40), generator.random(40)
    found = inference.paired_t_test(before, after)
    clusters = gather(before, after, [None] * 40)
    reach = student_quantile(0.975, 39) * math.sqrt(robust_variance(clusters.change, clusters.size))
    centre = float((after - before).mean())
    assert found.ci == pytest.approx((centre - reach, centre + reach), rel=1e-6)


def test_quantiles_are_scipys() -> None:
    from scipy import stats

    for share in (0.6, 0.9, 0.975, 0.9995):
        assert normal_quantile(share) == pytest.approx(stats.norm.ppf(share), rel=1e-6)
        for degrees in (1.0, 2.7, 11.3, 140.0, 9_999.0):
            assert student_quantile(share, degrees) == pytest.approx(stats.t.ppf(share, degrees), rel=1e-6)
