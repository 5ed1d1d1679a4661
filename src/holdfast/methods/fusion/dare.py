"""DARE: drop changes at random and rescale the rest."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from holdfast.methods.contract import Options
from holdfast.methods.fusion.base import Fusion, FusionCard, Piece


class Drop(Options):
    """How many changes are dropped, and how strongly the rest counts."""

    drop: float = Field(default=0.9, ge=0, lt=1)
    strength: float = Field(default=1.0, ge=0)


class Dare(Fusion):
    """Drops each change with probability ``drop`` and rescales the rest by ``1 / (1 - drop)`` (arXiv 2311.03099).

    Several experts are dropped one by one and summed. The draw matters: average the scores of several seeds. mergekit's
    ``dare_linear`` rescales what a draw left of a tensor to the L1 norm that its changes had, which is this factor on
    average only.
    """

    card = FusionCard(
        name="dare",
        family="sparse change",
        summary="drop changes at random and rescale the rest",
        paper="arXiv 2311.03099",
        year=2024,
        official_code="yule-BUAA/MergeLM",
        checked_against="NumPy formula; share of dropped changes",
    )
    experts = None
    Settings = Drop

    def combine(self, piece: Piece, generator: torch.Generator) -> Tensor:
        drop = self.options.drop
        result = piece.base.clone()
        for change in piece.changes:
            kept = torch.rand(change.shape, generator=generator) >= drop
            result += self.options.strength * (change * kept / (1 - drop))
        return result
