"""Child-Tuning F (arXiv 2109.05687): a new random child network at every step."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from holdfast.methods.contract import Card, Context
from holdfast.methods.selective.dense import Dense, Scope, in_scope
from holdfast.models.anatomy import Component


class Reserve(Scope):
    """How much of the gradient is kept."""

    ratio: float = Field(default=0.3, gt=0, le=1, description="chance of an entry's gradient to be kept at one step")


class ChildTuningF(Dense):
    """``g <- g * Bernoulli(p) / p`` after clipping and before AdamW, drawn anew for every entry and step.

    Adam's moments live on, so an entry that is not drawn still moves by its momentum: this is the release.
    """

    card = Card(
        name="child_tuning_f",
        paradigm="selective",
        family="iterative",
        summary="the gradient of a random child network at every step",
        paper="arXiv 2109.05687",
        year=2021,
        official_code="alibaba/AliceMind (ChildTuning)",
        default_lr=2e-5,
        checked_against="NumPy AdamW on masked and rescaled gradients",
    )
    Settings = Reserve

    def choose(self, component: Component, context: Context) -> dict[str, nn.Parameter]:
        self.seed = int(torch.randint(2**31, (1,), generator=context.generator))
        return in_scope(component, self.options)

    @torch.no_grad()
    def before_step(self, step: int) -> None:
        # A generator per step, so that a resumed run draws what the killed one would have drawn.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        for parameter in self.chosen.values():
            if parameter.grad is not None:
                drawn = torch.rand(parameter.shape, generator=generator).to(parameter.device) < self.options.ratio
                parameter.grad.mul_(drawn).div_(self.options.ratio)
