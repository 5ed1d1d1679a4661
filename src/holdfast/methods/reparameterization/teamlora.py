"""TeamLoRA (arXiv 2408.09856): experts that share one projection and compete for their weights."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from holdfast.methods.contract import Context
from holdfast.methods.low_rank import LowRankCard, LowRankOptions, empty, fill, kaiming
from holdfast.methods.stacked import Routed, Stacked, weighed


class TeamOptions(LowRankOptions):
    """Rank, scale and number of the experts, and the network that weighs them."""

    source = "arXiv 2408.09856; the scale and the width of the network are ours, as no code was released"
    r: int = Field(default=8, gt=0, description="rank of each expert")
    alpha: float | None = Field(default=16, gt=0, description="scale, over r")
    experts: int = Field(default=4, gt=1, description="how many there are")
    hidden: int = Field(default=32, gt=0, description="width of the network that says what each expert is worth")


class Team(Stacked):
    """``scale * sum_i w_i(x) B_i z_i``: ``z = A x`` in equal parts ``z_i``, ``w = M softmax(S x)``."""

    def __init__(self, layer: nn.Linear, options: TeamOptions, scale: float) -> None:
        super().__init__(layer, options, scale)
        self.S1 = nn.Parameter(empty(layer, options.hidden, layer.in_features))
        self.S2 = nn.Parameter(empty(layer, options.experts, options.hidden))
        self.M = nn.Parameter(empty(layer, options.experts, options.experts))

    def forward(self, x: Tensor) -> Tensor:
        worth = functional.linear(functional.linear(x.to(self.S1.dtype), self.S1).relu(), self.S2)
        weights = functional.linear(worth.float().softmax(dim=-1), self.M)
        return weighed(weights, self.inner(x), self.B) * self.scale


class TeamLora(Routed):
    """``W0 x + s sum_i w_i B_i z_i``: one ``A`` for all experts, whose output is dealt out among them, and weights
    ``w = M softmax(S x)`` from a network ``S`` that stands for the experts' Shapley values and a trained matrix ``M``
    of how they act on each other; ``M`` starts with ones on its diagonal and uniform numbers beside it, ``B`` at zero.
    """

    card = LowRankCard(
        name="teamlora",
        family="structure",
        summary="experts that share a projection and compete for their weights",
        paper="arXiv 2408.09856",
        year=2025,
        mergeable=False,
        extra_inference_cost="a small network and thin matrix products a layer",
        checked_against="loops over tokens and experts under AdamW, three steps",
        default_lr=2e-4,
    )
    Settings = TeamOptions
    change = Team
    default_modules = ("mlp",)

    def start(self, name: str, layer: nn.Linear, change: Any, context: Context) -> None:
        for factor in (change.A, change.S1, change.S2):
            kaiming(factor, context.generator)
        beside = torch.rand(change.M.shape, generator=context.generator)
        fill(change.M, beside.fill_diagonal_(1.0))
        change.B.zero_()
