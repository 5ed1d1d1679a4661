"""TIES: trim, elect signs, merge what agrees."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from holdfast.methods.contract import Options
from holdfast.methods.fusion.base import Fusion, FusionCard, Passes, Piece
from holdfast.methods.fusion.threshold import thresholds


class Trim(Options):
    """Which changes stay, and how strongly they count."""

    keep: float = Field(default=0.2, gt=0, le=1, description="share of the largest changes over all tensors")
    strength: float = Field(default=1.0, ge=0)
    per_tensor: bool = Field(default=False, description="the share of every tensor on its own, as mergekit trims")


class Ties(Fusion):
    """TIES (arXiv 2306.01708): of each expert's changes the largest stay; each weight elects the sign of their sum;
    the mean of the changes with that sign, times ``strength``, joins the base.

    A sum of exactly zero elects the sign that most weights elected, as in the official code. With one expert this is
    trimming and scaling: signs have nobody to be elected against. Shares count the tensors that the expert changed, and
    are rounded to the nearest number of entries; the release keeps one entry more or less.

    mergekit's ``ties`` is this with ``per_tensor``, its ``density`` being ``keep``, while all experts weigh alike; it
    rounds the share down. Paper and release trim the whole model at once, so that tensors that changed more keep more.
    """

    card = FusionCard(
        name="ties",
        family="sparse change",
        summary="trim, elect signs, merge what agrees",
        paper="arXiv 2306.01708",
        year=2023,
        official_code="prateeky2806/ties-merging",
        checked_against="NumPy formula",
    )
    experts = None
    Settings = Trim

    def begin(self, passes: Passes) -> None:
        self.threshold = thresholds(passes, self.options.keep, per_tensor=self.options.per_tensor)
        self.majority = 0.0
        balance = 0
        for piece in passes():
            if len(piece.tuned) == 1:
                return
            balance += int(self._trimmed(piece).sum(dim=0).sign().sum(dtype=torch.int64))
        self.majority = float((balance > 0) - (balance < 0))

    def combine(self, piece: Piece, generator: torch.Generator) -> Tensor:
        trimmed = self._trimmed(piece)
        strength: float = self.options.strength
        if len(trimmed) == 1:
            return piece.base + strength * trimmed[0]
        signs = trimmed.sum(dim=0).sign()
        signs = torch.where(signs == 0, torch.full_like(signs, self.majority), signs)
        agreeing = (trimmed.sign() == signs) & (trimmed != 0)
        mean = (trimmed * agreeing).sum(dim=0) / agreeing.sum(dim=0).clamp_min(1)
        return piece.base + strength * mean

    def _trimmed(self, piece: Piece) -> Tensor:
        """``[experts, values]``."""
        return torch.stack([d * (d.abs() >= self.threshold(piece.name, t)) for t, d in enumerate(piece.changes)])
