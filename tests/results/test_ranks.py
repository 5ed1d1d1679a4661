"""Ranks say no more than the pairs: those that cannot be told apart share some."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from holdfast.results.measured import measured
from holdfast.results.ranks import PairEffect, all_pairs, in_words, rank_ranges
from holdfast.results.variance import Effect
from tests.support.simulated import draw


@settings(deadline=None, derandomize=True)
@given(st.integers(2, 7), st.randoms(use_true_random=False))
def test_overlapping_ranks_are_those_that_cannot_be_told_apart(count: int, chance: object) -> None:
    values = np.arange(count, dtype=float)
    pairs = [
        PairEffect(i, j, Effect(values[i] - values[j], 1.0, 10.0, "seeds", 3), chance.choice([0.01, 0.5]))  # type: ignore[attr-defined]
        for i, j in itertools.combinations(range(count), 2)
    ]
    ranges = rank_ranges(count, pairs)
    for (low, high), number in zip(ranges, range(count), strict=True):
        assert 1 <= low <= count - number <= high <= count  # the rank of its mean is among them
    for pair in pairs:
        (first, second) = ranges[pair.first], ranges[pair.second]
        apart = first[1] < second[0] or second[1] < first[0]
        if pair.clear:
            assert first[0] > second[0] and first[1] >= second[1]
        elif apart:  # only where it follows from others
            assert any(p.clear for p in pairs)


def test_what_cannot_be_told_apart_by_any_path_overlaps() -> None:
    pairs = [
        PairEffect(0, 1, Effect(1.0, 1.0, 9, "seeds", 3), 0.4),
        PairEffect(0, 2, Effect(9.0, 1.0, 9, "seeds", 3), 0.001),
    ]
    pairs.append(PairEffect(1, 2, Effect(8.0, 1.0, 9, "seeds", 3), 0.3))
    assert [in_words(r) for r in rank_ranges(3, pairs)] == ["1-2", "1-3", "2-3"]
    assert [in_words(r) for r in rank_ranges(3, pairs, higher_is_better=False)] == ["2-3", "1-3", "1-2"]


def test_the_correction_is_holms_over_all_pairs() -> None:
    effects = {f"m{n}": {"digits": 0.3 + 0.15 * n, "color": 0.8, "count": 0.8} for n in range(4)}
    results, changes, _ = draw(effects=effects, seeds=4, seed_spread=0.1)
    pairs = all_pairs(measured(results, "E", changes))
    plain = [pair.effect.p_value() for pair in pairs if pair.effect is not None]
    assert len(plain) == 6
    assert [pair.p_holm for pair in pairs] == pytest.approx(multipletests(plain, method="holm")[1])
    assert pairs[2].clear  # the first against the last


def test_recipes_of_one_truth_share_a_rank() -> None:
    """False orders of any pair among six alike, in at most a few of forty studies."""
    effects = {f"m{n}": {"digits": 0.6, "color": 0.8, "count": 0.8} for n in range(6)}
    false = 0
    for seed in range(40):
        results, changes, _ = draw(seed, effects=effects, items=60)
        found = measured(results, "O", changes)
        false += any(rank != (1, 6) for rank in rank_ranges(6, all_pairs(found)))
    assert false <= 5


def test_one_training_each_tells_none_apart() -> None:
    effects = {"good": {"digits": 0.95, "color": 0.9, "count": 0.9}, "bad": {"digits": 0.1, "color": 0.2, "count": 0.2}}
    results, changes, _ = draw(effects=effects, seeds=1, items=300)
    (pair,) = all_pairs(measured(results, "O", changes))
    assert pair.effect is not None and pair.effect.basis == "items" and pair.effect.p_value() < 1e-9
    assert not pair.clear and rank_ranges(2, [pair]) == [(1, 2), (1, 2)]
