"""PEGO (arXiv 2407.15085): a group of LoRAs that are held orthogonal to the weight and to each other."""

from __future__ import annotations

from itertools import combinations
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from holdfast.methods.low_rank import LowRank, LowRankCard, LowRankOptions
from holdfast.methods.stacked import Stacked


class GroupOptions(LowRankOptions):
    """Rank and number of the LoRAs, and how hard they are held."""

    source = "JudgingH/PEGO"
    r: int = Field(default=4, gt=0, description="rank of each")
    alpha: float | None = Field(default=None, gt=0, description="scale, over r; default: r")
    group: int = Field(default=4, gt=0, description="how many there are")
    strength: float = Field(default=1e-3, ge=0, description="of the orthogonality terms")
    over: Literal["sum", "mean"] = Field(
        default="sum", description="entries of a term are summed, as the paper has it, or averaged"
    )


class Grouped(Stacked):
    """``scale * sum_i B_i A_i``; ``A [group, r, in]``, ``B [group, out, r]``."""

    many = "group"

    def weight(self) -> Tensor:
        return self.scale * torch.einsum("gor,gri->oi", self.B, self.A)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(self.inner(x).flatten(-2), self.B.transpose(0, 1).flatten(1)) * self.scale


class Pego(LowRank):
    """``W0 + sum_i B_i A_i``; the loss gains ``strength`` times the sizes of all entries of ``W0 (B_i A_i)^T`` and of
    ``(B_i A_i) (B_j A_j)^T``, one ``[out, out]`` matrix each, a layer and step. Made for the queries and values of
    image encoders; as sums over entries the terms grow with the width.
    """

    over_quantised = ()
    card = LowRankCard(
        name="pego",
        family="calibration",
        summary="several LoRAs, orthogonal to the weight and to each other",
        paper="arXiv 2407.15085",
        year=2024,
        official_code="JudgingH/PEGO",
        checked_against="dense products of the paper's terms under AdamW, three steps",
        default_lr=5e-4,
    )
    Settings = GroupOptions
    change = Grouped
    default_modules = ("q_proj", "v_proj")

    def penalty(self, step: int) -> Tensor | None:
        if not self.options.strength:
            return None
        terms = [term for name, site in self.sites.items() for term in self._terms(name, site.change)]
        return float(self.options.strength) * torch.stack([term.to(terms[0].device) for term in terms]).sum()

    def _terms(self, name: str, change: Any) -> list[Tensor]:
        weight = self.layers[name].weight.detach().to(change.A.dtype)
        pairs = list(zip(change.A, change.B, strict=True))
        entries = [(weight @ a.T) @ b.T for a, b in pairs]
        entries += [b @ (a @ c.T) @ d.T for (a, b), (c, d) in combinations(pairs, 2)]
        return [e.abs().sum() if self.options.over == "sum" else e.abs().mean() for e in entries]
