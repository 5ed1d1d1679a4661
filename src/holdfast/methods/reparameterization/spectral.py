"""LoRA that starts from parts of the weight itself: PiSSA and MiLoRA from singular triplets, OLoRA from QR."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import AliasChoices, Field
from torch import Tensor, nn

from holdfast.methods.contract import Context
from holdfast.methods.low_rank import LowRank, LowRankCard, LowRankOptions, fill

_SCALE = "scale, over r; with alpha = r the start is W's own part"


class SpectralOptions(LowRankOptions):
    """``alpha`` is ``r`` unless it is given, as the papers have it."""

    source = "arXiv 2404.02948, GraphPKU/PiSSA"
    r: int = Field(default=128, gt=0, description="singular triplets that train")
    alpha: float | None = Field(
        default=None, gt=0, validation_alias=AliasChoices("alpha", "lora_alpha"), description=_SCALE + "; default: r"
    )


class Pissa(LowRank):
    """``W0 + s (B A - B0 A0)``: ``W0 = U S V^T``, ``B0 = U_r sqrt(S_r / s)``, ``A0 = sqrt(S_r / s) V_r^T`` of the
    ``r`` largest singular values, ``s = alpha / r``; both factors train.

    The release writes ``W0 - s B0 A0`` into the weight; here the weight stays and the start is taken off beside it.
    Principal directions move, so look at F. The decomposition is exact, not the release's randomised one.
    """

    over_quantised = ()
    card = LowRankCard(
        name="pissa",
        family="calibration",
        summary="LoRA that starts from the largest singular triplets",
        paper="arXiv 2404.02948",
        year=2024,
        official_code="GraphPKU/PiSSA",
        checked_against="NumPy: explicit residual weight, gradients and AdamW over three steps",
        default_lr=2e-5,
    )
    Settings = SpectralOptions

    def start(self, name: str, layer: nn.Linear, change: Any, context: Context) -> None:
        left, values, right = self._triplets(layer.weight.float())
        root = (values / self.scale).sqrt()
        fill(change.B, left * root)
        fill(change.A, root[:, None] * right)

    def _triplets(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``U [out, r]``, ``S [r]``, ``V^T [r, in]``."""
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
        return left[:, : self.options.r], values[: self.options.r], right[: self.options.r]


class MinorOptions(SpectralOptions):
    """MiLoRA's rank."""

    source = "arXiv 2406.09044, sufenlp/MiLoRA"
    r: int = Field(default=64, gt=0, description="singular triplets that train")


class Milora(Pissa):
    """As PiSSA from the ``r`` smallest singular values: what the base holds in the large ones does not move."""

    card = LowRankCard(
        name="milora",
        family="calibration",
        summary="LoRA that starts from the smallest singular triplets",
        paper="arXiv 2406.09044",
        year=2025,
        official_code="sufenlp/MiLoRA",
        checked_against="NumPy: explicit residual weight, gradients and AdamW over three steps",
        default_lr=3e-4,
    )
    Settings = MinorOptions

    def _triplets(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
        return left[:, -self.options.r :], values[-self.options.r :], right[-self.options.r :]


class OrthonormalOptions(LowRankOptions):
    """As PEFT's OLoRA."""

    source = "PEFT's example for OLoRA"
    r: int = Field(default=32, gt=0, description="rank")
    alpha: float | None = Field(
        default=16, gt=0, validation_alias=AliasChoices("alpha", "lora_alpha"), description="scale, over r"
    )


class Olora(LowRank):
    """``W0 + s (B A - B0 A0)``: ``W0 = Q R``, ``B0`` the first ``r`` columns of ``Q``, ``A0`` the first ``r`` rows of
    ``R``, ``s = alpha / r``.
    """

    over_quantised = ()
    card = LowRankCard(
        name="olora",
        family="calibration",
        summary="LoRA that starts from an orthonormal basis of the weight",
        paper="arXiv 2406.01775",
        year=2024,
        official_code="huggingface/peft",
        checked_against="NumPy: explicit residual weight, gradients and AdamW over three steps",
        default_lr=3e-4,
    )
    Settings = OrthonormalOptions

    def start(self, name: str, layer: nn.Linear, change: Any, context: Context) -> None:
        basis, rest = torch.linalg.qr(layer.weight.float())
        fill(change.B, basis[:, : self.options.r])
        fill(change.A, rest[: self.options.r])
