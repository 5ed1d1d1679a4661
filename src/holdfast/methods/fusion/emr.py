"""EMR-Merging: elect one change for all tasks, then mask and rescale it for the task at hand."""

from __future__ import annotations

from itertools import groupby
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Card, Options
from holdfast.methods.fusion.base import Fusion, Passes, Piece


class Chosen(Options):
    """Whose weights are written."""

    source: ClassVar[str] = "harveyhuang18/EMR_Merging"
    expert: int = Field(default=1, gt=0, description="the tuned model whose mask and scale are laid on, from 1")


class EmrMerging(Fusion):
    """``w0 + scale_t mask_t U``: the sign ``s`` of the experts' mean change (below zero where it is zero) and
    ``U = s max_t |D_t|`` over those that agree with it; ``mask_t = [D_t s > 0]`` and
    ``scale_t = sum_tensors mean |D_t| / sum_tensors mean |mask_t U|``.

    What is written are the weights of one task, ``expert``: a result for all of them is ``U``, with a mask of one bit a
    weight and one number a task. With one expert this gives its own weights back.
    """

    card = Card(
        name="emr",
        paradigm="selective",
        family="shared change",
        summary="one elected change for all tasks, masked and rescaled for one",
        paper="arXiv 2405.17461",
        year=2024,
        official_code="harveyhuang18/EMR_Merging",
        checked_against="NumPy formula",
    )
    experts = None
    Settings = Chosen

    def begin(self, passes: Passes) -> None:
        own = shared = 0.0
        for _, group in groupby(passes(), key=lambda piece: piece.name):
            sums, count = torch.zeros(2, dtype=torch.float64), 0
            for piece in group:
                if self.options.expert > len(piece.tuned):
                    raise HoldfastError(
                        f"fusion 'emr' is asked for expert {self.options.expert} of {len(piece.tuned)}",
                        remedy=f"set expert to 1{'' if len(piece.tuned) == 1 else f' to {len(piece.tuned)}'}",
                    )
                parts = (piece.changes[self.options.expert - 1], self._masked(piece))
                sums += torch.stack([part.abs().sum(dtype=torch.float64) for part in parts])
                count += len(piece.base)
            own, shared = own + float(sums[0]) / count, shared + float(sums[1]) / count
        self.scale = own / shared if shared else 1.0

    def combine(self, piece: Piece, generator: torch.Generator) -> Tensor:
        return piece.base + self.scale * self._masked(piece)

    def _masked(self, piece: Piece) -> Tensor:
        changes = torch.stack(piece.changes)
        sign = torch.where(changes.mean(dim=0) > 0, 1.0, -1.0)
        agreeing = changes * sign > 0
        elected = sign * (changes.abs() * agreeing).amax(dim=0)
        return elected * agreeing[self.options.expert - 1]
