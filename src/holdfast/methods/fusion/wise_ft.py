"""WiSE-FT: a straight line from the base to the tuned weights."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from holdfast.methods.contract import Options
from holdfast.methods.fusion.base import Fusion, FusionCard, Piece


class Alpha(Options):
    """How far to go from the base to the tuned weights."""

    alpha: float = Field(default=0.5, ge=0, le=1)


class WiseFT(Fusion):
    """``w0 + alpha (w - w0)`` (arXiv 2109.01903). Sweep alpha; one value says little."""

    card = FusionCard(
        name="wise_ft",
        family="interpolation",
        summary="a straight line from the base to the tuned weights",
        paper="arXiv 2109.01903",
        year=2022,
        official_code="mlfoundations/wise-ft",
        checked_against="NumPy formula",
    )
    Settings = Alpha

    def combine(self, piece: Piece, generator: torch.Generator) -> Tensor:
        alpha: float = self.options.alpha
        return piece.base + alpha * piece.changes[0]
