"""CART: centred changes of low rank around the average of the experts."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from holdfast.methods.contract import Options
from holdfast.methods.fusion.base import Fusion, FusionCard, Piece
from holdfast.methods.fusion.triplets import triplets


class Truncation(Options):
    """How low the rank is, and how strongly the truncated changes count."""

    source = "JH-GEECS/CART_public"
    rank: float = Field(default=0.08, gt=0, le=1, description="share of a matrix's singular triplets that stay")
    strength: float = Field(default=1.0, ge=0, description="of the truncated changes; the paper searches it")


class Cart(Fusion):
    """``w + strength sum_t SVD_k(w_t - w)`` with ``w`` the average of the experts and ``SVD_k`` the best approximation
    of rank ``k = max(1, floor(rank * min(shape)))``; what is no matrix becomes the average.

    With one expert the average would be the expert itself: then ``w`` is the base, so that its change is truncated.
    """

    card = FusionCard(
        name="cart",
        family="low-rank change",
        summary="centred changes of low rank around the experts' average",
        paper="arXiv 2412.12153",
        year=2025,
        official_code="JH-GEECS/CART_public",
        checked_against="NumPy singular value decompositions",
    )
    experts = None
    unit = "matrix"
    Settings = Truncation

    def combine(self, piece: Piece, generator: torch.Generator) -> Tensor:
        several = torch.stack(piece.tuned)
        # An average of equal numbers may round, and what nobody changed stays.
        untouched = (several == piece.base).all(dim=0)
        average = torch.where(untouched, piece.base, several.mean(dim=0))
        if len(piece.shape) != 2 or bool(untouched.all()):
            return average
        centre = average if len(several) > 1 else piece.base
        kept = [torch.mm(*triplets((tuned - centre).view(piece.shape), self.options.rank)) for tuned in several]
        strength: float = self.options.strength
        return centre + strength * torch.stack(kept).sum(dim=0).reshape(-1)
