"""PRoLoRA (arXiv 2402.16902): factors that repeat a shared chunk, each time rotated along the rank."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from holdfast.methods.contract import Context
from holdfast.methods.low_rank import LowRank, LowRankCard, LowRankOptions, Scaled, empty, kaiming


class RotationShareOptions(LowRankOptions):
    """Rank, how much of it is shared, and how often a chunk repeats."""

    source = "Forence1999/PRoLoRA"
    r: int = Field(default=16, gt=0, description="rank, all in all")
    alpha: float | None = Field(default=16, gt=0, description="scale, over r")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="on the input")
    unshared: int = Field(default=2, ge=0, description="ranks that are not shared; below r")
    chunks_in: int = Field(default=4, gt=0, description="how often a chunk of A repeats along the inputs")
    chunks_out: int = Field(default=4, gt=0, description="how often a chunk of B repeats along the outputs")


class Rotated(Scaled):
    """``A = [A_0 ... A_m-1; U_A]`` with ``A_j`` the chunk ``A [r - u, ceil(in / m)]`` rolled by ``j`` steps along its
    ranks, cut to the width; ``B`` likewise.
    """

    def __init__(self, layer: nn.Linear, options: RotationShareOptions, scale: float) -> None:
        super().__init__(layer, options, scale)
        shared = options.r - options.unshared
        self.widths = layer.in_features, layer.out_features
        self.chunks = options.chunks_in, options.chunks_out
        wide, tall = (-(-width // chunks) for width, chunks in zip(self.widths, self.chunks, strict=True))
        self.A, self.B = nn.Parameter(empty(layer, shared, wide)), nn.Parameter(empty(layer, shared, tall))
        if options.unshared:
            self.A_own = nn.Parameter(empty(layer, options.unshared, layer.in_features))
            self.B_own = nn.Parameter(empty(layer, options.unshared, layer.out_features))
        self.own = options.unshared > 0

    def factors(self) -> tuple[Tensor, Tensor]:
        """``A [r, in]`` and ``B^T [r, out]``."""
        pairs = []
        for chunk, count, width in zip((self.A, self.B), self.chunks, self.widths, strict=True):
            step = max(len(chunk) // count, 1)
            rolled = [chunk.roll(-step * place, dims=0) for place in range(count)]
            pairs.append(torch.cat(rolled, dim=1)[:, :width])
        if self.own:
            pairs = [torch.cat([pairs[0], self.A_own]), torch.cat([pairs[1], self.B_own])]
        return pairs[0], pairs[1]

    def weight(self) -> Tensor:
        a, b = self.factors()
        return self.scale * (b.T @ a)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.factors()
        return functional.linear(self.dropped(x, a), a) @ b * self.scale


class ProLora(LowRank):
    """``W0 + s B A`` where most ranks of ``A`` and ``B`` repeat one trained chunk along the width, rotated along the
    ranks so that no two copies are alike, and ``unshared`` ranks are free.
    """

    card = LowRankCard(
        name="prolora",
        family="structure",
        summary="factors from one chunk, repeated and rotated along the rank",
        paper="arXiv 2402.16902",
        year=2024,
        official_code="Forence1999/PRoLoRA",
        checked_against="factors laid out entry by entry, under AdamW, three steps",
        default_lr=2e-4,
    )
    Settings = RotationShareOptions
    change = Rotated

    def fits(self, layer: nn.Linear) -> str | None:
        options = self.options
        if options.unshared >= options.r:
            return f"{options.unshared} unshared ranks leave none of {options.r} to share; choose a lower unshared"
        if max(options.chunks_in, options.chunks_out) > min(layer.in_features, layer.out_features):
            return "there are more chunks than the width; choose fewer"
        return super().fits(layer)

    def start(self, name: str, layer: nn.Linear, change: Any, context: Context) -> None:
        for part, tensor in change.named_parameters():
            if part.startswith("A"):
                kaiming(tensor, context.generator, fan=layer.in_features)
            else:
                tensor.zero_()
