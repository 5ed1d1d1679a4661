"""C3A (arXiv 2407.19342): a circulant matrix in every block of the weight."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import AliasChoices, Field
from torch import Tensor, nn

from holdfast.methods.contract import Context
from holdfast.methods.low_rank import Change, LowRank, LowRankCard, empty, fill, normal
from holdfast.methods.selective.dense import Scope


class CirculantOptions(Scope):
    """Size of a circulant block, and the start."""

    source = "PEFT's C3AConfig"
    block: int = Field(
        default=256,
        gt=0,
        validation_alias=AliasChoices("block", "block_size"),
        description="divides the widths of every layer",
    )
    init: Literal["xavier_uniform", "kaiming_uniform", "gaussian", "zero"] = Field(
        default="xavier_uniform", description="of the kernels"
    )


class Circulants(Change):
    """``D[m b + k, n b + j] = w[m, n, (j - k) mod b] / in``; ``w [out / b, in / b, b]``."""

    def __init__(self, layer: nn.Linear, *, block: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(empty(layer, layer.out_features // block, layer.in_features // block, block))
        self.block, self.inputs = block, layer.in_features

    def weight(self) -> Tensor:
        places = torch.arange(self.block, device=self.kernel.device)
        spread = self.kernel[:, :, (places - places[:, None]) % self.block]
        return spread.transpose(1, 2).reshape(-1, self.inputs) / self.inputs

    def forward(self, x: Tensor) -> Tensor:
        waves = torch.fft.rfft(x.float().unflatten(-1, (-1, self.block)))
        mixed = torch.einsum("...nf,mnf->...mf", waves, torch.fft.rfft(self.kernel.float()).conj())
        found: Tensor = torch.fft.irfft(mixed, n=self.block).flatten(-2)
        return found / self.inputs


class C3a(LowRank):
    """``W0 + D`` with a circulant matrix, given by one trained row, in every ``block x block`` part of ``D``. It begins
    a little beside the base, unless ``init`` is zero.

    PEFT 0.21.2 has it too, and passes a wrong gradient on to the layers below.
    """

    card = LowRankCard(
        name="c3a",
        family="structure",
        summary="a circulant matrix in every block of the weight",
        paper="arXiv 2407.19342",
        year=2024,
        official_code="huggingface/peft",
        checked_against="circulants written out entry by entry, under AdamW, three steps",
        default_lr=1e-1,
    )
    Settings = CirculantOptions

    def fits(self, layer: nn.Linear) -> str | None:
        for width in (layer.in_features, layer.out_features):
            if width % self.options.block:
                return f"block {self.options.block} does not divide the width {width}; choose a divisor of every width"
        return None

    def build(self, name: str, layer: nn.Linear) -> Change:
        return Circulants(layer, block=self.options.block)

    def start(self, name: str, layer: nn.Linear, change: Any, context: Context) -> None:
        kernel, init = change.kernel, self.options.init
        if init == "gaussian":
            normal(kernel, context.generator)
            return
        wide, tall = layer.in_features, layer.out_features
        bounds = {"zero": 0.0, "kaiming_uniform": (1 / wide) ** 0.5, "xavier_uniform": (6 / (wide + tall)) ** 0.5}
        bound = bounds[init]
        fill(kernel, (torch.rand(kernel.shape, generator=context.generator) * 2 - 1) * bound)

    def anchored(self, change: Change) -> bool:
        return False  # the start is a part of the change, as the paper has it
