"""The contract on families of models, with shared rows and stored features on and off.

By default each method is tried on one family, another for each; ``pytest -m contract`` tries all on all.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest

from holdfast.errors import HoldfastError
from holdfast.testing import contract
from holdfast.testing.bench import Bench, Tried
from tests.support.benches import FAMILIES, bench, methods, tried

REFUSED: dict[tuple[str, str], str] = {}
"""Method and family, and a part of the reason why the one cannot work in the other."""

CHECKS = (contract.check_life, contract.check_artifact, contract.check_speed)


def chosen(method: str) -> str:
    """The family that a method is tried on by default."""
    return FAMILIES[zlib.crc32(method.encode()) % len(FAMILIES)]


def passes(check: Callable[[Bench, Tried], object], method: str, family: str) -> None:
    """One check, or the refusal that is known."""
    reason = REFUSED.get((method, family))
    if reason is None:
        check(bench(family), tried(method))
        return
    with pytest.raises(HoldfastError, match=reason):
        check(bench(family), tried(method))


@pytest.mark.parametrize("method", methods())
def test_speed_changes_no_number(method: str) -> None:
    passes(contract.check_speed, method, chosen(method))


@pytest.mark.contract
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", methods())
def test_the_whole(method: str, family: str, check: Callable[[Bench, Tried], object]) -> None:
    passes(check, method, family)


def test_what_is_declined_has_its_reason() -> None:
    found = {
        method: contract.check_speed(bench("llava"), tried(method))
        for method in ("prompt_tuning", "cocoop", "maple", "loreft", "vpt")
    }
    for method in ("prompt_tuning", "cocoop"):
        assert found[method]["share_images"].on and found[method]["feature_cache"].on, found[method]
    assert found["maple"]["share_images"].on and found["vpt"]["share_images"].on
    assert not found["maple"]["feature_cache"].on and "vision" in found["maple"]["feature_cache"].why
    assert not found["vpt"]["feature_cache"].on
    assert "looks at whole rows" in found["loreft"]["share_images"].why and found["loreft"]["feature_cache"].on
