"""CLoRA (arXiv 2410.16801): LoRA whose change is drawn towards having chosen directions in its null space."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.methods.contract import Artifact, Context
from holdfast.methods.low_rank import LowRank, LowRankCard, LowRankOptions


class NullOptions(LowRankOptions):
    """LoRA's, and how many directions are held how hard."""

    source = "arXiv 2410.16801; the strength from reproductions, as the code was never released"
    k: int = Field(default=128, gt=0, description="random directions a side that the change is to leave alone")
    strength: float = Field(default=1.0, ge=0, description="of the term")


class CLora(LowRank):
    """``W0 + s B A``; the loss gains ``strength * sum over layers of |A P|_F^2 + |Q^T B|_F^2`` with fixed random
    orthonormal ``P [in, k]``, ``Q [out, k]``, so that inputs along ``P`` change nothing and outputs move along ``Q``
    little.
    """

    card = LowRankCard(
        name="clora",
        family="calibration",
        summary="LoRA drawn away from random directions on both sides",
        paper="arXiv 2410.16801",
        year=2025,
        checked_against="the term written out over dense matrices, under AdamW, three steps",
        default_lr=2e-4,
    )
    Settings = NullOptions

    def fits(self, layer: nn.Linear) -> str | None:
        width = min(layer.in_features, layer.out_features)
        if self.options.k > width:
            return f"{self.options.k} directions exceed the width {width}; choose a lower k"
        return super().fits(layer)

    def begin(self, context: Context) -> None:
        self.directions: dict[str, tuple[Tensor, Tensor]] = {}

    def start(self, name: str, layer: nn.Linear, change: Any, context: Context) -> None:
        super().start(name, layer, change, context)
        sides = (layer.in_features, layer.out_features)
        drawn = [torch.linalg.qr(torch.randn(side, self.options.k, generator=context.generator))[0] for side in sides]
        self.directions[name] = (drawn[0].to(change.A.device), drawn[1].to(change.B.device))

    def penalty(self, step: int) -> Tensor | None:
        if not self.options.strength:
            return None
        terms = []
        for name, (inner, outer) in self.directions.items():
            change: Any = self.sites[name].change
            terms.append((change.A @ inner).square().sum() + (outer.T @ change.B).square().sum())
        return float(self.options.strength) * torch.stack([term.to(terms[0].device) for term in terms]).sum()

    def detach(self) -> Artifact:
        self.directions = {}
        return super().detach()
