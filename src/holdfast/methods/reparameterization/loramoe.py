"""LoRAMoE (arXiv 2312.09979): several LoRAs, and a router that mixes them for every token."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from holdfast.methods.contract import Context
from holdfast.methods.low_rank import Change, LowRank, LowRankCard, LowRankOptions, Scaled, empty, kaiming


class ExpertOptions(LowRankOptions):
    """Rank, scale and the number of experts."""

    source = "Ablustrund/LoRAMoE"
    r: int = Field(default=4, gt=0, description="rank of each expert")
    alpha: float | None = Field(default=32, gt=0, description="scale, over r")
    dropout: float = Field(default=0.05, ge=0, lt=1, description="on the input of the experts")
    experts: int = Field(default=8, gt=1, description="how many there are")


class Experts(Scaled):
    """``scale * sum_n w_n(x) B_n A_n x``, ``w = softmax(R x)``; ``A [experts, r, in]``, ``B [experts, out, r]``."""

    def __init__(self, layer: nn.Linear, options: Any, scale: float) -> None:
        super().__init__(layer, options, scale)
        experts, r = options.experts, options.r
        self.A = nn.Parameter(empty(layer, experts, r, layer.in_features))
        self.B = nn.Parameter(empty(layer, experts, layer.out_features, r))
        self.R = nn.Parameter(empty(layer, experts, layer.in_features))

    def forward(self, x: Tensor) -> Tensor:
        weights = functional.linear(x.to(self.R.dtype), self.R).float().softmax(dim=-1)
        low = functional.linear(self.dropped(x, self.A), self.A.flatten(0, 1)).unflatten(-1, self.A.shape[:2])
        weighed = weights.to(low.dtype).unsqueeze(-1) * low
        return torch.einsum("...nr,nor->...o", weighed, self.B.to(weighed.dtype)) * self.scale


class LoraMoe(LowRank):
    """``W0 x + s sum_n softmax(R x)_n B_n A_n x`` in the MLP; all ``B`` start at zero and every expert has a part in
    every token. The paper's balance between experts of world knowledge and others, which the released script leaves
    off, wants each example's kind, which examples do not carry; it is not here.
    """

    card = LowRankCard(
        name="loramoe",
        family="structure",
        summary="several LoRAs, mixed for every token by a router",
        paper="arXiv 2312.09979",
        year=2024,
        mergeable=False,
        official_code="Ablustrund/LoRAMoE",
        extra_inference_cost="a router and thin matrix products a layer",
        checked_against="loops over tokens and experts under AdamW, three steps",
        default_lr=2e-4,
    )
    Settings = ExpertOptions
    change = Experts
    default_modules = ("mlp",)

    def start(self, name: str, layer: nn.Linear, change: Any, context: Context) -> None:
        super().start(name, layer, change, context)
        kaiming(change.R, context.generator)

    def anchored(self, change: Change) -> bool:
        return False  # zero experts are zero whatever the router says
