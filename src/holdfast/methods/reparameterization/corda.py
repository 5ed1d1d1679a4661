"""CorDA (arXiv 2406.05223): LoRA from the singular triplets of the weight as data pass through it."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.methods.contract import Context
from holdfast.methods.inputs import Inputs
from holdfast.methods.low_rank import LowRank, LowRankCard, LowRankOptions, fill

ATTEMPTS = 20
"""Doublings of the damping before a covariance counts as beyond repair; the release has no end to them."""


class CovarianceOptions(LowRankOptions):
    """Which directions train, and over which data."""

    source = "iboing/CorDA"
    r: int = Field(default=128, gt=0, description="singular triplets that train")
    alpha: float | None = Field(default=None, gt=0, description="scale, over r; default: r")
    mode: Literal["knowledge", "instruction"] = Field(
        default="knowledge",
        description="knowledge: the smallest triplets over source examples (KPA); instruction: the largest over the "
        "target's (IPA)",
    )
    samples: int = Field(default=256, gt=0, description="examples looked at")
    damping: float = Field(default=0.01, gt=0, description="of the covariance's diagonal, doubled until it inverts")


class Corda(LowRank):
    """``W0 + s (B A - B0 A0)``: with ``C`` the mean of ``x x^T`` over the tokens that reach the layer,
    ``W0 C = U S V^T``, ``B0 = U_r sqrt(S_r / s)``, ``A0 = sqrt(S_r / s) V_r^T C^-1`` of the smallest or largest
    singular values.

    Needs one forward pass a sample and an ``[in, in]`` matrix a layer before step 1.
    """

    over_quantised = ()
    card = LowRankCard(
        name="corda",
        family="calibration",
        summary="LoRA from the singular triplets of the weight times its inputs' covariance",
        paper="arXiv 2406.05223",
        year=2024,
        official_code="iboing/CorDA",
        checked_against="NumPy: covariance, decomposition, explicit residual weight under AdamW",
        default_lr=2e-5,
    )
    Settings = CovarianceOptions

    @property
    def needs_sources(self) -> bool:
        return bool(self.options.mode == "knowledge")

    def begin(self, context: Context) -> None:
        self.inputs = Inputs(self.layers)
        pool: Any = "sources" if self.needs_sources else "train"
        self.inputs.look(context, "method 'corda'", samples=self.options.samples, of=pool)

    def start(self, name: str, layer: nn.Linear, change: Any, context: Context) -> None:
        covariance = self.inputs.squares.pop(name) / max(self.inputs.rows[name], 1)
        covariance, inverse = invertible(covariance, self.options.damping)
        weight = layer.weight.detach().float().cpu()
        left, values, right = torch.linalg.svd(weight @ covariance, full_matrices=False)
        rank = self.options.r
        kept = slice(-rank, None) if self.options.mode == "knowledge" else slice(0, rank)
        root = (values[kept] / self.scale).sqrt()
        fill(change.B, left[:, kept] * root)
        fill(change.A, root[:, None] * (right[kept] @ inverse))


def invertible(covariance: Tensor, damping: float) -> tuple[Tensor, Tensor]:
    """The covariance with as much on its diagonal as an accurate inverse needs, and that inverse."""
    size = covariance.diagonal().mean()
    unit = torch.eye(len(covariance))
    for _ in range(ATTEMPTS):
        damped = covariance + damping * size * unit
        inverse = torch.linalg.inv(damped)
        if float((damped @ inverse - unit).norm()) < 0.05:
            break
        damping *= 2
    return damped, inverse
