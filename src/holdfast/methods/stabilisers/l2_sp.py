"""Distance to the starting point: L2-SP and L1-SP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field
from torch import Tensor

from holdfast.methods.contract import Method, Options
from holdfast.methods.stabilisers.base import Stabiliser, StabiliserCard, added, trained_weights


class Strength(Options):
    """How hard the pull is."""

    source = "NRCA's code, whose form is the mean"
    strength: float = Field(default=1e-3, ge=0, description="lambda")
    form: Literal["sum", "mean"] = Field(
        default="sum", description="sum: half the squared distance; mean: its mean a tensor, averaged (far weaker)"
    )


class L2SP(Stabiliser):
    """``strength / 2 * sum (w - w0)^2`` over the trained base weights (arXiv 1802.01483); or, as NRCA has it,
    ``strength * mean over tensors of mean (w - w0)^2``.

    Where a method changes weights by a product of factors, as LoRA does, that product counts: its squared norm, from
    the factors alone, or its mean, for which it is built.
    """

    card = StabiliserCard(
        name="l2_sp",
        family="distance",
        summary="half the squared distance to the starting point",
        paper="arXiv 1802.01483",
        year=2018,
    )
    Settings = Strength

    def check(self, methods: Mapping[str, Method]) -> None:
        self.held = trained_weights(self.card.name, methods, products=True)
        if self.options.form == "mean":  # which counts entries, so that the product itself is built
            self.held = [method for method in self.held if method.anchors() or method.weight_changes()]

    def penalty(self, step: int) -> Tensor | None:
        if self.options.form == "mean":
            pairs = [pair for method in self.held or () for pair in method.anchors() if pair[1].numel()]
            means = [(now - base).square().mean() for now, base in pairs]
            products = [method for method in self.held or () if not method.anchors()]
            means += [change.square().mean() for method in products for _, change in method.weight_changes().values()]
            if not means:
                return None
            return added(means) * float(self.options.strength / len(means))
        terms = [(now - base).square().sum() for method in self.held or () for now, base in method.anchors()]
        terms += [square for method in self.held or () for square in method.squares()]
        return added(terms) * float(self.options.strength / 2)


class WeakStrength(Options):
    """NRCA's default."""

    strength: float = Field(default=1e-6, ge=0)


class L1SP(Stabiliser):
    """``strength * mean over tensors of mean |w - w0|``, the form of NRCA's code."""

    card = StabiliserCard(
        name="l1_sp",
        family="distance",
        summary="the mean distance to the starting point",
        paper="OpenReview bif35if4n3",
        year=2025,
    )
    Settings = WeakStrength

    def check(self, methods: Mapping[str, Method]) -> None:
        self.held = trained_weights(self.card.name, methods)

    def penalty(self, step: int) -> Tensor | None:
        pairs = [pair for method in self.held or () for pair in method.anchors() if pair[1].numel()]
        terms = [(now - base).abs().mean() for now, base in pairs]
        return added(terms) * float(self.options.strength / len(terms))
