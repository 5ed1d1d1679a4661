"""The contract as tests; ``tried`` is one method of the package that ``--holdfast-contract`` names."""

from __future__ import annotations

from holdfast.testing import contract
from holdfast.testing.bench import Bench, Tried


def test_only_what_it_announces_moves_and_the_base_comes_back(tried: Tried, bench: Bench) -> None:
    contract.check_life(bench, tried)


def test_it_learns(tried: Tried, bench: Bench) -> None:
    contract.check_learning(bench, tried)


def test_what_is_saved_is_what_was_trained(tried: Tried, bench: Bench) -> None:
    contract.check_artifact(bench, tried)


def test_accumulating_batches_is_one_large_batch(tried: Tried, bench: Bench) -> None:
    contract.check_accumulation(bench, tried)


def test_speed_changes_no_number(tried: Tried, bench: Bench) -> None:
    contract.check_speed(bench, tried)


def test_an_unknown_option_is_refused(tried: Tried, bench: Bench) -> None:
    contract.check_options(bench, tried)
