"""SPIDER (arXiv 2411.10928): a mask that weighs what the target wants against what the base holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from holdfast.methods.contract import Card, Context
from holdfast.methods.selective.dense import Dense, Scope
from holdfast.models.anatomy import Component


def importance(values: Tensor) -> Tensor:
    """``sigmoid(z(|values|))`` over one tensor, with the unbiased deviation; an all-zero tensor gives zeros."""
    size = values.abs()
    if not bool(size.any()):
        return torch.zeros_like(size)
    if size.numel() == 1:
        return torch.full_like(size, 0.5)
    return torch.sigmoid((size - size.mean()) / size.std().clamp_min(1e-12))


def soft_mask(general: Tensor, target: Tensor) -> Tensor:
    """``target / (general + target)`` where the target's importance is larger, divided by its mean, at most 1."""
    share = torch.where(target > general, target / (general + target).clamp_min(1e-12), torch.zeros_like(target))
    kept = share[share > 0]
    if not kept.numel():
        return share
    return (share / kept.mean()).clamp_max(1.0)


def hard_mask(general: Tensor, target: Tensor) -> Tensor:
    """1 where the target's importance is larger, else 0."""
    return (target > general).to(target.dtype)


class SpiderScope(Scope):
    """Which tensors, and how the mask weighs."""

    mask: Literal["soft", "hard"] = Field(default="soft", description="soft: the release; hard: its threshold alone")


class Spider(Dense):
    """After every optimizer step ``w <- (1 - m) w0 + m w`` with ``m`` from :func:`soft_mask` of the importance of
    ``w0`` and of the gradient sum.

    The sum is signed and runs from the first step; the optimizer's moments are not masked (release). Costs a gradient
    sum per trained weight, and a base copy where the model is not on the CPU; the base's importance is computed anew
    for one tensor at a time.
    """

    card = Card(
        name="spider",
        paradigm="selective",
        family="iterative",
        summary="masks from weight size against accumulated gradients",
        paper="arXiv 2411.10928",
        year=2025,
        official_code="WenkeHuang/SPIDER",
        default_lr=2e-4,
        checked_against="NumPy reference of the release's loop",
    )
    Settings = SpiderScope

    def attach(self, component: Component, context: Context) -> None:
        super().attach(component, context)
        self.origin = {name: self.base[name].to(p.device, p.dtype) for name, p in self.chosen.items()}
        self.gradients = {name: torch.zeros_like(parameter) for name, parameter in self.chosen.items()}

    @torch.no_grad()
    def before_step(self, step: int) -> None:
        for name, parameter in self.chosen.items():
            if parameter.grad is not None:
                self.gradients[name] += parameter.grad

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        weigh = soft_mask if self.options.mask == "soft" else hard_mask
        for name, parameter in self.chosen.items():
            origin = self.origin[name]
            mask = weigh(importance(origin), importance(self.gradients[name]))
            parameter.copy_(torch.lerp(origin, parameter, mask))

    def state(self) -> dict[str, Tensor]:
        return dict(self.gradients)

    def load(self, trainable: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        super().load(trainable, state)
        for name, total in state.items():
            self.gradients[name].copy_(total)
