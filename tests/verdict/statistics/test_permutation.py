import itertools

import numpy as np
import pytest
from scipy import stats

from holdfast.verdict.statistics import permutation
from holdfast.verdict.statistics.flips import mcnemar_exact
from holdfast.verdict.statistics.permutation import sign_flip_test


def brute_force(differences: np.ndarray) -> float:
    observed = abs(differences.sum())
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((1, -1), repeat=len(differences))]
    return float(np.mean(np.array(sums) >= observed - 1e-9))


@pytest.mark.parametrize("grid", [1, 3, 10])
def test_exact_on_a_grid_is_full_enumeration(grid: int) -> None:
    generator = np.random.default_rng(grid)
    for _ in range(8):
        differences = generator.integers(-3 * grid, 3 * grid + 1, 12) / grid
        result = sign_flip_test(differences)
        assert result.method == "exact"
        assert result.p_value == pytest.approx(brute_force(differences[differences != 0]), rel=1e-9)


def test_zero_one_differences_give_mcnemar() -> None:
    differences = np.array([1.0] * 31 + [-1.0] * 17 + [0.0] * 400)
    assert sign_flip_test(differences).p_value == pytest.approx(mcnemar_exact(17, 31), rel=1e-12)


def test_long_tables_by_fourier_transform_agree_with_direct_sums() -> None:
    generator = np.random.default_rng(5)
    differences = generator.choice([-0.9, -0.6, -0.3, 0.3, 0.6, 1.0], 900)
    table = np.ones(1)
    steps = np.rint(10 * np.abs(differences)).astype(int)
    for step in steps:
        table = np.convolve(table, np.array([0.5] + [0.0] * (2 * step - 1) + [0.5]))
    observed = round(10 * abs(float(differences.sum())))
    sums = np.arange(len(table)) - len(table) // 2
    assert sign_flip_test(differences).p_value == pytest.approx(table[np.abs(sums) >= observed].sum(), rel=1e-6)


def test_off_the_grid_few_changes_are_enumerated_and_many_drawn() -> None:
    generator = np.random.default_rng(1)
    few = generator.normal(0.2, 0.5, 10)
    assert sign_flip_test(few).p_value == pytest.approx(brute_force(few))
    many = generator.normal(0.05, 0.5, 400)
    result = sign_flip_test(many)
    assert result.method == "19999 resamples"
    reference = stats.permutation_test(
        (many, np.zeros(400)), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=9999, rng=3
    )
    assert result.p_value == pytest.approx(reference.pvalue, abs=0.015)


def test_order_and_repetition_do_not_matter() -> None:
    generator = np.random.default_rng(2)
    values = generator.normal(0.02, 0.4, 300)
    shuffled = generator.permutation(values)
    assert sign_flip_test(values, seed=7) == sign_flip_test(shuffled, seed=7) == sign_flip_test(values, seed=7)


def test_no_change_has_p_one() -> None:
    assert sign_flip_test(np.zeros(50)) == permutation.PermutationTest(1.0, "exact")


def test_level_is_kept_under_the_null() -> None:
    generator = np.random.default_rng(11)
    rejected = sum(sign_flip_test(generator.choice([-2.0, -1, 0, 0, 1, 2], 40)).p_value < 0.05 for _ in range(600))
    assert rejected / 600 < 0.075
