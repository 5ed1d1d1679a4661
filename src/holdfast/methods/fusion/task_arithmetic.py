"""Task arithmetic: add the changes of every expert."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from holdfast.methods.contract import Options
from holdfast.methods.fusion.base import Fusion, FusionCard, Piece


class Scaling(Options):
    """How strongly the summed changes count; below 0 unlearns."""

    strength: float = Field(default=0.4, ge=-2, le=2)


class TaskArithmetic(Fusion):
    """``w0 + strength * sum_t (w_t - w0)`` (arXiv 2212.04089); in mergekit ``task_arithmetic``, each ``weight`` being
    ``strength``."""

    card = FusionCard(
        name="task_arithmetic",
        family="sum of changes",
        summary="the summed changes of every expert",
        paper="arXiv 2212.04089",
        year=2023,
        official_code="mlfoundations/task_vectors",
        checked_against="NumPy formula",
    )
    experts = None
    Settings = Scaling

    def combine(self, piece: Piece, generator: torch.Generator) -> Tensor:
        strength: float = self.options.strength
        return piece.base + strength * torch.stack(piece.changes).sum(dim=0)
