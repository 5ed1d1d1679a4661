"""Equal up to the order of sums, which processors choose for themselves."""

from __future__ import annotations

from torch import Tensor

FLOAT32 = 5e-5
"""Largest deviation relative to the largest value: 800 roundings of float32 (2^-24).

Two orders of one sum differ by at most as many roundings as it has terms, relative to its terms; layers add theirs. An
absolute bound would mean another thing for every size of logits, and training makes them as large as it likes.
"""


def deviation(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, relative to the largest value of ``wanted``."""
    assert found.shape == wanted.shape
    largest = float(wanted.detach().abs().max())
    difference = float((found.detach().double() - wanted.detach().double()).abs().max())
    return difference / largest if largest else difference


def assert_near(found: Tensor, wanted: Tensor, bound: float = FLOAT32) -> None:
    """Fail, with the figure, where ``found`` is further from ``wanted`` than ``bound``."""
    assert wanted.numel()
    far = deviation(found, wanted)
    assert far <= bound, (
        f"{far:.2e} of the largest value, {float(wanted.detach().abs().max()):.3g}; allowed {bound:.0e}"
    )
