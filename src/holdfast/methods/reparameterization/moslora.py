"""MoSLoRA (arXiv 2406.11909): a small trained matrix mixes the ranks between the two factors."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from holdfast.methods.contract import Context
from holdfast.methods.low_rank import Factors, LowRank, LowRankCard, LowRankOptions, empty, fill, kaiming


class MixerOptions(LowRankOptions):
    """LoRA's, and how the mixer starts."""

    source = "wutaiqiang/MoSLoRA"
    r: int = Field(default=16, gt=0, description="rank")
    alpha: float | None = Field(default=32, gt=0, description="scale, over r")
    mixer: Literal["orthogonal", "kaiming"] = Field(default="orthogonal", description="start of the mixer")


class Mixed(Factors):
    """``scale * B X A`` with the mixer ``X [r, r]``."""

    def __init__(self, layer: nn.Linear, options: Any, scale: float) -> None:
        super().__init__(layer, options, scale)
        self.X = nn.Parameter(empty(layer, options.r, options.r))

    def factors(self) -> tuple[Tensor, Tensor]:
        return self.B @ self.X, self.A

    def forward(self, x: Tensor) -> Tensor:
        mixed = functional.linear(functional.linear(self.dropped(x, self.A), self.A), self.X)
        return functional.linear(mixed, self.B) * self.scale


class MosLora(LowRank):
    """``W0 + s B X A``, all three trained; ``B`` starts at zero."""

    over_shards = True
    card = LowRankCard(
        name="moslora",
        family="structure",
        summary="LoRA with a trained mixer between its factors",
        paper="arXiv 2406.11909",
        year=2024,
        official_code="wutaiqiang/MoSLoRA",
        checked_against="dense weights under AdamW, three steps",
        default_lr=3e-4,
    )
    Settings = MixerOptions
    change = Mixed

    def start(self, name: str, layer: nn.Linear, change: Any, context: Context) -> None:
        super().start(name, layer, change, context)
        if self.options.mixer == "kaiming":
            kaiming(change.X, context.generator)
            return
        square, signs = torch.linalg.qr(torch.randn(change.X.shape, generator=context.generator))
        fill(change.X, square * signs.diagonal().sign())  # Haar's measure, as nn.init.orthogonal_ draws it
