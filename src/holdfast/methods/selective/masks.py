"""Static masks on the sparse engine: random, magnitude, gradient and Fisher."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Card, Context
from holdfast.methods.registry import register
from holdfast.methods.selective.sparse import Sparse, SparseScope
from holdfast.models.anatomy import Component


def top(score: Tensor, ratio: float) -> Tensor:
    """Sorted flat indices of the ``round(ratio * size)`` highest scores (at least one)."""
    count = max(1, round(ratio * score.numel()))
    return score.reshape(-1).topk(count).indices.sort().values


@register(
    Card(
        "random_mask", "selective", "mask", "a random share of every matrix", "arXiv 2503.04543", 2025, True,
        checked_against="masked dense gradients, bit for bit",
    )
)  # fmt: skip
class RandomMask(Sparse):
    """The control of every mask: entries drawn without looking at them."""

    def choose(self, component: Component, context: Context) -> dict[str, Tensor]:
        return {
            name: top(torch.rand(parameter.numel(), generator=context.generator), self.options.ratio)
            for name, parameter in self.matrices(component).items()
        }


class MagnitudeScope(SparseScope):
    """Half of the entries, as in SPIDER's and NRCA's baselines."""

    ratio: float = Field(default=0.5, gt=0, le=1, description="share of the entries that train: the smallest ones")


@register(
    Card(
        "magnitude_mask", "selective", "mask", "the smallest weights train, the large ones keep what they know",
        "arXiv 2411.10928 (baseline)", 2024, True, official_code="WenkeHuang/SPIDER",
        checked_against="masked dense gradients, bit for bit",
    )
)  # fmt: skip
class MagnitudeMask(Sparse):
    """Trains the ``ratio`` of smallest ``|w|`` per tensor. The release resets weights after each step, which
    pollutes Adam's moments; here the rest never moves.
    """

    Settings = MagnitudeScope

    def choose(self, component: Component, context: Context) -> dict[str, Tensor]:
        return {
            name: top(-parameter.detach().abs(), self.options.ratio).cpu()
            for name, parameter in self.matrices(component).items()
        }


class GradientScope(SparseScope):
    """How many batches are looked at before the choice."""

    batches: int = Field(default=16, gt=0)


class _Scored(Sparse):
    """Accumulates a statistic of the gradients at the base before it chooses."""

    Settings = GradientScope

    def scores(
        self, component: Component, context: Context, statistic: Callable[[Tensor], Tensor]
    ) -> dict[str, Tensor]:
        if context.batches is None or context.loss is None:
            raise HoldfastError(
                f"method '{self.card.name}' needs training data to choose its entries", remedy="give a target"
            )
        matrices = self.matrices(component)
        totals = {name: torch.zeros_like(parameter, dtype=torch.float32) for name, parameter in matrices.items()}
        for parameter in matrices.values():
            parameter.requires_grad_(True)
        try:
            for batch in context.batches(self.options.batches):
                context.loss(batch).backward()
                for name, parameter in matrices.items():
                    if parameter.grad is not None:
                        totals[name] += statistic(parameter.grad.float())
                        parameter.grad = None
        finally:
            for parameter in matrices.values():
                parameter.requires_grad_(False)
                parameter.grad = None
        return totals


@register(
    Card(
        "gradient_mask", "selective", "mask", "the largest mean gradient of every matrix", "arXiv 2312.11875", 2024,
        True, official_code="song-wx/SIFT", checked_against="masked dense gradients, bit for bit",
    )
)  # fmt: skip
class GradientMask(_Scored):
    """SIFT's choice: per tensor the entries of largest ``|sum of gradients|``; SIFT itself looks at one batch
    (``batches: 1``).
    """

    def choose(self, component: Component, context: Context) -> dict[str, Tensor]:
        totals = self.scores(component, context, lambda gradient: gradient)
        return {name: top(total.abs(), self.options.ratio).cpu() for name, total in totals.items()}


@register(
    Card(
        "fish_mask", "selective", "mask", "the largest Fisher information over all matrices together",
        "arXiv 2111.09839", 2021, True, official_code="varunnair18/FISH",
        checked_against="masked dense gradients, bit for bit",
    )
)  # fmt: skip
class FishMask(_Scored):
    """``F = sum of squared gradients``, one global threshold. The paper squares per sample; with batches larger than
    one this squares batch means, so use ``train.batch_size: 1`` for the letter of it.
    """

    def choose(self, component: Component, context: Context) -> dict[str, Tensor]:
        totals = self.scores(component, context, torch.square)
        everything = torch.cat([total.reshape(-1) for total in totals.values()])
        chosen = top(everything, self.options.ratio)
        result: dict[str, Tensor] = {}
        begin = 0
        for name, total in totals.items():
            inside = chosen[(chosen >= begin) & (chosen < begin + total.numel())] - begin
            result[name] = inside.cpu()
            begin += total.numel()
        return result
