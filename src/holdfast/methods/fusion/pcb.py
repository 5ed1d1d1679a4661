"""PCB-Merging: parameters compete within their task and across tasks, and the losers go back to the base."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from holdfast.methods.contract import Options
from holdfast.methods.fusion.base import Fusion, FusionCard, Passes, Piece
from holdfast.methods.fusion.threshold import order_statistics

TAIL = 1e-4
"""The share of changes at either end of their sizes that is clamped (release)."""


class Competition(Options):
    """How many win, and how strongly they count."""

    source = "duguodong7/pcb-merging"
    keep: float = Field(default=0.1, gt=0, le=1, description="share of each expert's changes that win")
    strength: float = Field(
        default=1.2, ge=0, description="of the merged change; the release searches 0.8 to 1.3 for every task"
    )


class PcbMerging(Fusion):
    """With ``D_t`` the change of expert ``t`` of ``n`` and ``a_t`` its size, clamped to its 0.01 and 99.99 % quantiles:
    ``score_t = exp(n minmax(a_t)^2) tanh(D_t sum_s D_s)``; ``scale_t`` is the score less its ``1 - keep`` quantile,
    over its range, 0 below; ``w0 + strength (sum_t sign(D_t) a_t scale_t) / sum_t scale_t``.

    With one expert the largest changes stay. Quantiles are taken over all tensors that are fused, as the release does
    over its flat vectors.
    """

    card = FusionCard(
        name="pcb",
        family="sparse change",
        summary="changes compete within their task and across tasks",
        paper="arXiv 2410.02396",
        year=2024,
        official_code="duguodong7/pcb-merging",
        checked_against="NumPy formula with sorted vectors",
    )
    experts = None
    Settings = Competition

    def begin(self, passes: Passes) -> None:
        self.sizes = order_statistics(
            passes,
            lambda piece: [change.abs() for change in piece.changes],
            [lambda n: int(n * TAIL), lambda n: max(0, int(n * (1 - TAIL) - 1))],
        )
        share = 1 - self.options.keep
        self.scores = order_statistics(
            passes, lambda piece: list(self._score(piece)), [lambda n: min(n - 1, int(n * share)), lambda n: n - 1]
        )

    def combine(self, piece: Piece, generator: torch.Generator) -> Tensor:
        low, high = torch.tensor(self.scores).T[:, :, None]
        scale = ((self._score(piece) - low) / (high - low).clamp_min(1e-38)).clamp(0, 1)
        changes = torch.stack(piece.changes)
        merged = (changes.sign() * self._clamped(piece) * scale).sum(dim=0) / scale.sum(dim=0).clamp_min(1e-12)
        result: Tensor = piece.base + self.options.strength * merged
        return result

    def _clamped(self, piece: Piece) -> Tensor:
        """Sizes ``[experts, values]``."""
        low, high = torch.tensor(self.sizes).T[:, :, None]
        sizes: Tensor = torch.stack(piece.changes).abs().clamp(low, high)
        return sizes

    def _score(self, piece: Piece) -> Tensor:
        low, high = torch.tensor(self.sizes).T[:, :, None]
        own = (self._clamped(piece) - low) / (high - low).clamp_min(1e-38)
        changes = torch.stack(piece.changes)
        score: Tensor = torch.exp(len(changes) * own.square()) * torch.tanh(changes * changes.sum(dim=0))
        return score
