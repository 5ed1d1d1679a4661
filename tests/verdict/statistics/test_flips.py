import math

import pytest
from scipy import optimize, stats

from holdfast.verdict.statistics import flips
from holdfast.verdict.statistics.decisions import detectable_effect, holm
from holdfast.verdict.statistics.flips import mcnemar_exact, score_interval


@pytest.mark.parametrize(
    ("forgot", "learned"), [(0, 0), (0, 1), (1, 1), (5, 0), (10, 3), (3, 10), (159, 166), (700, 640), (3000, 1900)]
)
def test_mcnemar_is_the_binomial_test(forgot: int, learned: int) -> None:
    expected = stats.binomtest(forgot, forgot + learned, 0.5).pvalue if forgot + learned else 1.0
    assert mcnemar_exact(forgot, learned) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_agrees_with_statsmodels() -> None:
    from statsmodels.stats.contingency_tables import mcnemar

    table = [[420, 31], [17, 132]]
    assert mcnemar_exact(31, 17) == pytest.approx(mcnemar(table, exact=True).pvalue, rel=1e-12)


def test_many_flips_by_logarithms_agree_with_whole_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = [mcnemar_exact(a, b) for a, b in ((2400, 2500), (2000, 2900), (1, 400))]
    monkeypatch.setattr(flips, "EXACT_UP_TO", 0)
    assert [mcnemar_exact(a, b) for a, b in ((2400, 2500), (2000, 2900), (1, 400))] == pytest.approx(exact, rel=1e-8)


def _constrained_score(learned: int, forgot: int, n: int, difference: float) -> float:
    """The score statistic with the nuisance maximised numerically, from the multinomial likelihood itself."""

    def loss(p21: float) -> float:
        p12, rest = p21 + difference, 1 - 2 * p21 - difference
        if min(p12, p21, rest) <= 0:
            return math.inf
        return -(learned * math.log(p12) + forgot * math.log(p21) + (n - learned - forgot) * math.log(rest))

    low, high = max(0.0, -difference), (1 - difference) / 2
    p21 = optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    variance = (2 * p21 + difference - difference**2) / n
    return ((learned - forgot) / n - difference) / math.sqrt(variance)


@pytest.mark.parametrize(("learned", "forgot", "n"), [(12, 5, 80), (3, 9, 44), (40, 38, 300), (1, 7, 50)])
def test_score_interval_inverts_the_score_test(learned: int, forgot: int, n: int) -> None:
    low, high = score_interval(learned, forgot, n)
    assert _constrained_score(learned, forgot, n, low) == pytest.approx(1.959964, abs=1e-4)
    assert _constrained_score(learned, forgot, n, high) == pytest.approx(-1.959964, abs=1e-4)


def test_score_interval_at_the_edges() -> None:
    low, high = score_interval(0, 0, 100)
    assert -low == high == pytest.approx(3.8415 / (100 + 3.8415), abs=1e-4)  # z^2 / (n + z^2)
    assert score_interval(20, 0, 20)[1] == 1.0
    assert score_interval(0, 20, 20)[0] == -1.0


def test_holm_agrees_with_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    p_values = [0.04, 0.001, 0.2, 0.012, 0.9, 0.012]
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]))


def test_detectable_effect() -> None:
    share = 0.2  # of the items flip: sd of the difference is sqrt(.2), and 2.8 sd / sqrt(150) is about ten points
    assert detectable_effect(math.sqrt(share / 150), 150) == pytest.approx(0.1023, abs=2e-4)
    assert detectable_effect(0.0, 30) == pytest.approx(6 / 30)
    assert detectable_effect(5.0, 30) == 1.0
