"""OPLoRA (arXiv 2510.13003): LoRA that cannot reach the largest singular directions of the weight."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.methods.contract import Context
from holdfast.methods.low_rank import Factors, LowRank, LowRankCard, LowRankOptions, empty, fill


class KeptOptions(LowRankOptions):
    """LoRA's, and how many directions are kept."""

    source = "ours; the paper's k depends on the model"
    keep: int = Field(default=16, gt=0, description="k, the largest singular directions that do not move")


class Outside(Factors):
    """``scale * (I - U U^T) B A (I - V V^T)``; ``U [out, k]``, ``V [in, k]`` are fixed."""

    U: Tensor
    V: Tensor

    def __init__(self, layer: nn.Linear, options: Any, scale: float) -> None:
        super().__init__(layer, options, scale)
        self.register_buffer("U", empty(layer, layer.out_features, options.keep))
        self.register_buffer("V", empty(layer, layer.in_features, options.keep))

    def factors(self) -> tuple[Tensor, Tensor]:
        return self.B - self.U @ (self.U.T @ self.B), self.A - (self.A @ self.V) @ self.V.T


class OpLora(LowRank):
    """``W0 + s P_L B A P_R``: ``P_L = I - U_k U_k^T``, ``P_R = I - V_k V_k^T`` of ``W0 = U S V^T``, so that the ``k``
    largest singular triplets of ``W0`` are those of the tuned weight too, exactly.
    """

    over_quantised = ()
    card = LowRankCard(
        name="oplora",
        family="calibration",
        summary="LoRA outside the largest singular directions of the weight",
        paper="arXiv 2510.13003",
        year=2025,
        checked_against="dense projections under AdamW, three steps; kept triplets",
        default_lr=2e-4,
    )
    Settings = KeptOptions
    change = Outside

    def fits(self, layer: nn.Linear) -> str | None:
        width = min(layer.in_features, layer.out_features)
        if self.options.keep >= width:
            return f"{self.options.keep} kept directions leave nothing of the width {width}; choose a lower keep"
        return super().fits(layer)

    def start(self, name: str, layer: nn.Linear, change: Any, context: Context) -> None:
        super().start(name, layer, change, context)
        left, _, right = torch.linalg.svd(layer.weight.float(), full_matrices=False)
        fill(change.U, left[:, : self.options.keep])
        fill(change.V, right[: self.options.keep].T)
