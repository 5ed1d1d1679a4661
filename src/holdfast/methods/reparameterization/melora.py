"""MELoRA (arXiv 2402.17263): several small LoRAs side by side, each on its slice of inputs and outputs."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.methods.low_rank import LowRank, LowRankCard, LowRankOptions, Scaled, empty


class MiniOptions(LowRankOptions):
    """How many there are, and the rank of each."""

    source = "arXiv 2402.17263, ChasonShi/MELoRA"
    minis: int = Field(default=8, gt=0, description="slices; divides inputs and outputs of every layer")
    r: int = Field(default=1, gt=0, description="rank of each slice's LoRA")
    alpha: float | None = Field(default=16, gt=0, description="scale, over r")
    dropout: float = Field(default=0.05, ge=0, lt=1, description="on the input")


class Slices(Scaled):
    """A block-diagonal change: ``A [minis, r, in / minis]``, ``B [minis, out / minis, r]``."""

    def __init__(self, layer: nn.Linear, options: Any, scale: float) -> None:
        super().__init__(layer, options, scale)
        minis, r = options.minis, options.r
        self.A = nn.Parameter(empty(layer, minis, r, layer.in_features // minis))
        self.B = nn.Parameter(empty(layer, minis, layer.out_features // minis, r))

    def weight(self) -> Tensor:
        whole: Tensor = torch.block_diag(*(self.scale * (self.B @ self.A)))
        return whole

    def forward(self, x: Tensor) -> Tensor:
        sliced = self.dropped(x, self.A).unflatten(-1, (len(self.A), -1)).unsqueeze(-1)
        out: Tensor = (self.B @ (self.A @ sliced)).squeeze(-1).flatten(-2)
        return out * self.scale

    def square(self) -> Tensor:
        return self.scale**2 * (self.B @ self.A).square().sum()


class MeLora(LowRank):
    """``W0 + s diag(B_1 A_1, ..., B_n A_n)``: rank ``n r`` for the values of rank ``r``; slices do not mix."""

    card = LowRankCard(
        name="melora",
        family="structure",
        summary="small LoRAs side by side on slices of the layer",
        paper="arXiv 2402.17263",
        year=2024,
        official_code="ChasonShi/MELoRA",
        checked_against="dense weights under AdamW, three steps",
        default_lr=3e-4,
    )
    Settings = MiniOptions
    change = Slices

    def fits(self, layer: nn.Linear) -> str | None:
        for width in (layer.in_features, layer.out_features):
            if width % self.options.minis:
                return f"{self.options.minis} slices do not divide the width {width}; choose minis that divide it"
            if self.options.r > width // self.options.minis:
                return f"rank {self.options.r} is above the {width // self.options.minis} of a slice; choose a lower r"
        return None
