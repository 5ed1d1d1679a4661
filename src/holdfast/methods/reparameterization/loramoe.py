"""LoRAMoE (arXiv 2312.09979): several LoRAs, and a router that mixes them for every token."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import Tensor, nn

from holdfast.methods.low_rank import LowRankCard, LowRankOptions, empty
from holdfast.methods.stacked import Routed, Stacked, softmax_of, weighed


class ExpertOptions(LowRankOptions):
    """Rank, scale and the number of experts."""

    source = "Ablustrund/LoRAMoE"
    r: int = Field(default=4, gt=0, description="rank of each expert")
    alpha: float | None = Field(default=32, gt=0, description="scale, over r")
    dropout: float = Field(default=0.05, ge=0, lt=1, description="on the input of the experts")
    experts: int = Field(default=8, gt=1, description="how many there are")


class Experts(Stacked):
    """``scale * sum_n w_n(x) B_n A_n x``, ``w = softmax(R x)``; ``A [experts, r, in]``, ``B [experts, out, r]``."""

    def __init__(self, layer: nn.Linear, options: Any, scale: float) -> None:
        super().__init__(layer, options, scale)
        self.R = nn.Parameter(empty(layer, options.experts, layer.in_features))

    def forward(self, x: Tensor) -> Tensor:
        return weighed(softmax_of(x, self.R), self.inner(x), self.B) * self.scale


class LoraMoe(Routed):
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
