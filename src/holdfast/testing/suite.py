"""The contract as tests; ``tried`` is one method of the package that ``--holdfast-contract`` names."""

from __future__ import annotations

from holdfast.testing import contract
from holdfast.testing.bench import Tried, pocket_bench


def test_only_what_it_announces_moves_and_the_base_comes_back(tried: Tried) -> None:
    contract.check_life(pocket_bench(), tried)


def test_it_learns(tried: Tried) -> None:
    contract.check_learning(pocket_bench(), tried)


def test_what_is_saved_is_what_was_trained(tried: Tried) -> None:
    contract.check_artifact(pocket_bench(), tried)


def test_accumulating_batches_is_one_large_batch(tried: Tried) -> None:
    contract.check_accumulation(pocket_bench(), tried)


def test_speed_changes_no_number(tried: Tried) -> None:
    contract.check_speed(pocket_bench(), tried)


def test_an_unknown_option_is_refused(tried: Tried) -> None:
    contract.check_options(pocket_bench(), tried)
