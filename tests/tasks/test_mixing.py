"""How often an example of a mixed data set is taken."""

from __future__ import annotations

from collections import Counter

import pytest

from holdfast.data.examples import Example, Turn
from holdfast.tasks.mixing import weighted

EXAMPLES = tuple(Example(str(at), (), (Turn("q", ("a",)),)) for at in range(10))


@pytest.mark.parametrize(
    ("weight", "times"), [(2.0, {2: 10}), (2.5, {2: 5, 3: 5}), (0.2, {1: 2}), (0.04, {}), (3.96, {4: 10})]
)
def test_whole_times_and_a_share(weight: float, times: dict[int, int]) -> None:
    taken = weighted(EXAMPLES, weight, seed=3)
    counts = Counter(example.id for example in taken)
    assert Counter(counts.values()) == times and len(taken) == sum(counts.values())
    assert [e.id for e in taken] == [e.id for e in weighted(EXAMPLES, weight, seed=3)]
    assert list(taken[1:4]) == list(taken)[1:4]


def test_another_seed_is_another_share_and_weight_one_is_the_set_itself() -> None:
    drawn = {tuple(e.id for e in weighted(EXAMPLES, 0.5, seed)) for seed in range(8)}
    assert len(drawn) > 1
    assert weighted(EXAMPLES, 1.0, 0) is EXAMPLES
