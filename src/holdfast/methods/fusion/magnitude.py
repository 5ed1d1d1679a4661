"""Magnitude trimming: small changes go back to the base, tensor by tensor."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from holdfast.methods.contract import Options
from holdfast.methods.fusion.base import Fusion, FusionCard, Passes, Piece
from holdfast.methods.fusion.threshold import thresholds


class Smallest(Options):
    """How many changes are dropped."""

    drop: float = Field(default=0.9, ge=0, lt=1, description="share of the smallest changes of every tensor")
    rescale: bool = Field(default=False, description="multiply the rest by 1 / (1 - drop)")


class Magnitude(Fusion):
    """Drops the ``drop`` share of smallest ``|w - w0|`` in every tensor: the baseline of DARE (arXiv 2311.03099).

    The share is rounded to the nearest number of entries; the release drops one entry more or less. mergekit's ``ties``
    of one expert does the same with ``normalize: false``, and rounds what it keeps down.
    """

    card = FusionCard(
        name="magnitude",
        family="sparse change",
        summary="small changes go back to the base, tensor by tensor",
        paper="arXiv 2311.03099 (baseline)",
        year=2024,
        official_code="yule-BUAA/MergeLM",
        checked_against="NumPy formula",
    )
    Settings = Smallest

    def begin(self, passes: Passes) -> None:
        self.threshold = thresholds(passes, 1 - self.options.drop, per_tensor=True)

    def combine(self, piece: Piece, generator: torch.Generator) -> Tensor:
        change = piece.changes[0]
        kept = change * (change.abs() >= self.threshold(piece.name, 0))
        return piece.base + (kept / (1 - self.options.drop) if self.options.rescale else kept)
