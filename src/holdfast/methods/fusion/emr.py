"""EMR-Merging: elect one change for all tasks, then mask and rescale it for the task at hand."""

from __future__ import annotations

from itertools import groupby

import torch
from pydantic import Field
from torch import Tensor

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Options
from holdfast.methods.experts import combined
from holdfast.methods.fusion.base import Fusion, FusionCard, Passes, Piece, Tensors


class Chosen(Options):
    """Whose weights are used."""

    source = "harveyhuang18/EMR_Merging"
    expert: int = Field(default=1, gt=0, description="whose mask and scale are laid on where nobody chooses, from 1")


class EmrMerging(Fusion):
    """``w0 + scale_t mask_t U``: the sign ``s`` of the experts' mean change (below zero where it is zero) and
    ``U = s max_t |D_t|`` over those that agree with it; ``mask_t = [D_t s > 0]`` and
    ``scale_t = sum_tensors mean |D_t| / sum_tensors mean |mask_t U|``.

    A recipe with several experts keeps ``U``, and for each a mask of one bit a weight and one number, so that any of
    them can be loaded, asked and exported; a folder of weights is that of ``expert``. With one expert this gives its
    own weights back.
    """

    card = FusionCard(
        name="emr",
        family="shared change",
        summary="one elected change for all tasks, masked and rescaled for one",
        paper="arXiv 2405.17461",
        year=2024,
        official_code="harveyhuang18/EMR_Merging",
        checked_against="NumPy formula",
    )
    experts = None
    Settings = Chosen

    def check(self, count: int) -> None:
        if self.options.expert > count:
            raise HoldfastError(
                f"fusion 'emr' is asked for expert {self.options.expert} of {count}",
                remedy=f"set expert to 1{'' if count == 1 else f' to {count}'}",
            )

    def begin(self, passes: Passes) -> None:
        sums = torch.zeros(2, 1, dtype=torch.float64)
        for _, group in groupby(passes(), key=lambda piece: piece.name):
            several, count = [], 0
            for piece in group:
                parts = self.share(piece)
                both = torch.stack([torch.stack(piece.changes), parts["shared"] * parts["masks"]])
                several.append(both.abs().sum(dim=-1, dtype=torch.float64))
                count += len(piece.base)
            sums = sums + torch.stack(several).sum(dim=0) / count  # [own and shared, experts]
        own, shared = sums.tolist()
        self.scales = [one / all_ if all_ else 1.0 for one, all_ in zip(own, shared, strict=True)]
        self.weights = [float(place == self.options.expert) for place in range(1, len(self.scales) + 1)]

    def combine(self, piece: Piece, generator: torch.Generator) -> Tensor:
        return combined(piece.base, self.share(piece), self.weights, self.scales)

    @property
    def shares(self) -> bool:
        return True

    def share(self, piece: Piece) -> Tensors:
        changes = torch.stack(piece.changes)
        sign = torch.where(changes.mean(dim=0) > 0, 1.0, -1.0)
        masks = changes * sign > 0
        return {"shared": sign * (changes.abs() * masks).amax(dim=0), "masks": masks}
