"""Fusions of one tuned model with its base: WiSE-FT, DARE, TIES trimming, magnitude trimming."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from holdfast.errors import HoldfastError, nearest
from holdfast.methods.contract import Options
from holdfast.methods.registry import check_options

Tensors = Mapping[str, Tensor]


class Fusion:
    """Edits ``tuned - base`` after training."""

    name: ClassVar[str]
    paper: ClassVar[str]
    year: ClassVar[int]
    Settings: ClassVar[type[Options]]

    def __init__(self, options: Options) -> None:
        self.options: Any = options

    def fuse(self, base: Tensors, tuned: Tensors, generator: torch.Generator) -> dict[str, Tensor]:
        """New weights for every tensor of ``tuned``; both mappings have the same names and shapes."""
        raise NotImplementedError


FUSIONS: dict[str, type[Fusion]] = {}


def fusion(kind: type[Fusion]) -> type[Fusion]:
    """Class decorator: enter the registry."""
    FUSIONS[kind.name] = kind
    return kind


class Alpha(Options):
    """How far to go from the base to the tuned weights."""

    alpha: float = Field(default=0.5, ge=0, le=1)


@fusion
class WiseFT(Fusion):
    """``w0 + alpha (w - w0)`` (arXiv 2109.01903). Sweep alpha; one value says little."""

    name, paper, year = "wise_ft", "arXiv 2109.01903", 2022
    Settings = Alpha

    def fuse(self, base: Tensors, tuned: Tensors, generator: torch.Generator) -> dict[str, Tensor]:
        alpha = self.options.alpha
        return {
            name: (base[name].float() + alpha * (tensor.float() - base[name].float())).to(base[name].dtype)
            for name, tensor in tuned.items()
        }


class Drop(Options):
    """How many changes are dropped."""

    drop: float = Field(default=0.9, ge=0, lt=1)


@fusion
class Dare(Fusion):
    """Drops each change with probability ``drop`` and rescales the rest by ``1 / (1 - drop)`` (arXiv 2311.03099)."""

    name, paper, year = "dare", "arXiv 2311.03099", 2024
    Settings = Drop

    def fuse(self, base: Tensors, tuned: Tensors, generator: torch.Generator) -> dict[str, Tensor]:
        drop = self.options.drop
        fused = {}
        for name in sorted(tuned):
            change = tuned[name].float() - base[name].float()
            kept = torch.rand(change.shape, generator=generator) >= drop
            fused[name] = (base[name].float() + change * kept / (1 - drop)).to(base[name].dtype)
        return fused


class Trim(Options):
    """Which changes stay, and how strongly they count."""

    keep: float = Field(default=0.2, gt=0, le=1, description="share of the largest changes over all tensors")
    strength: float = Field(default=1.0, ge=0)


@fusion
class Ties(Fusion):
    """TIES (arXiv 2306.01708) with one expert: keep the largest changes, scale them. Signs have nobody to elect
    against.
    """

    name, paper, year = "ties", "arXiv 2306.01708", 2023
    Settings = Trim

    def fuse(self, base: Tensors, tuned: Tensors, generator: torch.Generator) -> dict[str, Tensor]:
        changes = {name: tuned[name].float() - base[name].float() for name in sorted(tuned)}
        sizes = torch.cat([change.abs().reshape(-1) for change in changes.values()])
        count = max(1, round(self.options.keep * sizes.numel()))
        threshold = sizes.kthvalue(sizes.numel() - count + 1).values
        return {
            name: (base[name].float() + self.options.strength * change * (change.abs() >= threshold)).to(
                base[name].dtype
            )
            for name, change in changes.items()
        }


def make_fusion(name: str, options: Mapping[str, Any]) -> Fusion:
    """The fusion of that name with checked options.

    Raises:
        HoldfastError: Unknown name or option.
    """
    if name not in FUSIONS:
        raise HoldfastError(f"unknown fusion '{name}'", remedy=nearest(name, FUSIONS))
    kind = FUSIONS[name]
    return kind(check_options(kind.Settings, options, f"fusion '{name}'"))
