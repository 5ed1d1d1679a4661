"""HydraLoRA (arXiv 2404.19245): one A, several B, and a router that weighs them for every token."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from holdfast.methods.low_rank import LowRankCard, LowRankOptions, Scaled, empty
from holdfast.methods.stacked import Routed, softmax_of, weighed


class HeadOptions(LowRankOptions):
    """Rank, scale and the number of heads."""

    source = "Clin0212/HydraLoRA"
    r: int = Field(default=4, gt=0, description="rank")
    alpha: float | None = Field(default=32, gt=0, description="scale, over r")
    heads: int = Field(default=4, gt=1, description="how many B there are")


class Hydra(Scaled):
    """``scale * sum_n w_n(x) B_n A x``, ``w = softmax(R x)``; ``B [heads, out, r]``, ``R [heads, in]``."""

    def __init__(self, layer: nn.Linear, options: Any, scale: float) -> None:
        super().__init__(layer, options, scale)
        self.A = nn.Parameter(empty(layer, options.r, layer.in_features))
        self.B = nn.Parameter(empty(layer, options.heads, layer.out_features, options.r))
        self.R = nn.Parameter(empty(layer, options.heads, layer.in_features))

    def forward(self, x: Tensor) -> Tensor:
        weights = softmax_of(x, self.R)
        low = functional.linear(self.dropped(x, self.A), self.A).unsqueeze(-2)
        return weighed(weights, low, self.B) * self.scale


class HydraLora(Routed):
    """``W0 x + s sum_n softmax(R x)_n B_n A x``; all ``B`` start at zero. The router reads each token by itself. The
    release's balance loss, which it leaves off, is not here.
    """

    card = LowRankCard(
        name="hydralora",
        family="structure",
        summary="one A, several B, and a router for every token",
        paper="arXiv 2404.19245",
        year=2024,
        mergeable=False,
        official_code="Clin0212/HydraLoRA",
        extra_inference_cost="a router and thin matrix products a layer",
        checked_against="loops over tokens and heads under AdamW, three steps",
        default_lr=2e-4,
    )
    Settings = HeadOptions
    change = Hydra
