"""LoRASculpt (arXiv 2503.16843): sparse factors, and a term against changes where the base's weights are large."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from holdfast.methods.kept import Kept
from holdfast.methods.low_rank import LowRank, LowRankCard, LowRankOptions
from holdfast.methods.selective.scores import share


class SculptOptions(LowRankOptions):
    """When and how much is cut, and how hard the term pulls."""

    source = "LiangJian24/LoRASculpt"
    warmup: int = Field(default=100, ge=0, description="optimizer steps of plain LoRA before the cut")
    keep: float = Field(default=0.1, gt=0, le=1, description="share of the largest entries of each factor that stay")
    omega: float = Field(default=1.0, gt=0, description="sharpness of the conflict mask")
    strength: float = Field(default=1e-3, ge=0, description="of the conflict term")
    conflict: tuple[str, ...] = Field(
        default=("q_proj", "k_proj", "v_proj"), description="last names of the layers that the conflict term looks at"
    )


class LoraSculpt(Kept, LowRank):
    """``W0 + s B A``; after ``warmup`` steps the ``keep`` share of largest entries of every ``A`` and ``B`` stays, once
    and for all, and the rest is zero after every step. The loss gains ``strength * mean over layers of |M * (B A)|_F``
    with ``M = tanh(omega |1 / ln(|W0| / |W0|_F + 1e-15)|)``, which builds one matrix a layer.

    The release masks before the forward pass, so its last step stays unmasked; here the mask holds at the end too.
    """

    over_quantised = ()
    card = LowRankCard(
        name="lorasculpt",
        family="calibration",
        summary="LoRA with sparse factors and a term against conflicts with the base",
        paper="arXiv 2503.16843",
        year=2025,
        official_code="LiangJian24/LoRASculpt",
        checked_against="dense loop of the paper's steps under AdamW",
        default_lr=2e-4,
    )
    Settings = SculptOptions

    def _conflict(self, name: str) -> Tensor:
        weight = self.layers[name].weight.detach().float()
        scaled = (weight.abs() / weight.norm() + 1e-15).log()
        return torch.tanh(self.options.omega * (1 / scaled).abs())

    def penalty(self, step: int) -> Tensor | None:
        names = [name for name in self.sites if name.rsplit(".", 1)[-1] in self.options.conflict]
        if not names or not self.options.strength:
            return None
        # The paper's term leaves the scale of the change out.
        products = [self._conflict(n) * self.sites[n].change.weight() / self.scale for n in names]
        return torch.stack([product.norm() for product in products]).mean() * float(self.options.strength)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        trained = self.named_trainable()
        if not self.kept and step + 1 >= self.options.warmup:
            self.kept = {name: _largest(tensor, self.options.keep) for name, tensor in trained.items()}
        for name, kept in self.kept.items():
            trained[name].mul_(kept)


def _largest(tensor: Tensor, ratio: float) -> Tensor:
    """True at the ``ratio`` of largest sizes."""
    mask = torch.zeros(tensor.numel(), dtype=torch.bool, device=tensor.device)
    mask[tensor.abs().view(-1).topk(share(ratio, tensor.numel())).indices] = True
    return mask.view_as(tensor)
